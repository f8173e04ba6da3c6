"""What takes long, done a little at a time, so that no frame has to wait for it.

A task is a generator: where it yields, frames may be looked at, given to workers and published.
"""

import time
from collections.abc import Generator
from typing import Any, TypeVar

__all__ = ["Slices", "Task", "finish"]

T = TypeVar("T")

Task = Generator[None, None, None]


class Slices:
    """Tasks that are under way, the first one first."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}

    @property
    def busy(self) -> bool:
        """Whether there is something to go on with."""
        return bool(self._tasks)

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def add(self, name: str, task: Task) -> None:
        """Begin a task; one of the same name that is under way goes on instead."""
        self._tasks.setdefault(name, task)

    def clear(self) -> None:
        """Give up what is under way."""
        self._tasks.clear()

    def advance(self, seconds: float) -> None:
        """Go on for so long, a step at least.

        Raises
        ------
        Exception
            What a task raises; it is not gone on with.
        """
        end = time.monotonic() + seconds
        while self._tasks:
            name, task = next(iter(self._tasks.items()))
            try:
                next(task)
            except BaseException as error:
                self._tasks.pop(name, None)
                if not isinstance(error, StopIteration):
                    raise
            if time.monotonic() >= end:
                return


def finish(task: Generator[None, None, T]) -> T:
    """Do all of a task at once and give what it returns."""
    while True:
        try:
            next(task)
        except StopIteration as end:
            result: Any = end.value
            return result  # type: ignore[no-any-return]
