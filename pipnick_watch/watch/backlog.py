"""Which frames wait, for what, and which of them is looked at or measured next.

A night may bring thousands of frames at once, so nothing here costs more than the frames that
are due.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from pipnick_watch.watch.ready import Candidate

__all__ = ["Backlog"]


class Backlog:
    """The frames between their first sight and their outcome.

    A frame waits to be looked at, or stands in the queue for a worker, or is taken: a worker has
    it. An event of a frame that is not waiting is kept for the next look.
    """

    def __init__(self) -> None:
        self._all: dict[str, Candidate] = {}
        self._queues: dict[bool, deque[Candidate]] = {True: deque(), False: deque()}
        self._dues: list[tuple[float, bool, int, Candidate]] = []
        self._waiting: dict[Candidate, int] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, name: object) -> bool:
        return name in self._all

    @property
    def all(self) -> Mapping[str, Candidate]:
        """Every frame by its name."""
        return MappingProxyType(self._all)

    def add(self, name: str, reduced: Path, now: float, *, live: bool) -> Candidate:
        """Take a frame that was seen, or give the candidate that it is already."""
        one = self._all.get(name)
        if one is None:
            one = Candidate(name=name, reduced=reduced, live=live, first_seen=now)
            self._all[name] = one
            self.wait(one)
        return one

    def hint(self, one: Candidate, at: float, *, settles: bool) -> None:
        """Note an event: the frame is looked at next, or again when its worker is done."""
        one.hinted, one.due = True, 0.0
        if settles:
            one.hinted_at = at
        if one in self._waiting:
            self.wait(one)

    def wait(self, one: Candidate) -> None:
        """Have a frame looked at when it is due."""
        number = next(self._numbers)
        self._waiting[one] = number
        heapq.heappush(self._dues, (one.due, not one.live, number, one))

    def due(self, now: float) -> Iterator[Candidate]:
        """Give the frames that are to be looked at now, live ones first; each waits no longer."""
        while self._dues and self._dues[0][0] <= now:
            _, _, number, one = heapq.heappop(self._dues)
            if self._waiting.get(one) == number:
                del self._waiting[one]
                yield one

    def next_due(self) -> float:
        """Give the monotonic time at which a frame is to be looked at; infinite without one."""
        while self._dues and self._waiting.get(self._dues[0][3]) != self._dues[0][2]:
            heapq.heappop(self._dues)
        return self._dues[0][0] if self._dues else float("inf")

    def queue(self, one: Candidate) -> None:
        """Put a ready frame into the queue for a worker."""
        one.reason = "waiting for a worker"
        self._queues[one.live].append(one)

    def first(self, *, live: bool) -> Candidate | None:
        """Give the frame that is measured next, live ones or the others; it stays queued."""
        queue = self._queues[live]
        return queue[0] if queue else None

    @property
    def ready(self) -> tuple[Candidate, ...]:
        """The frames in the queue, those to be measured first first."""
        return (*self._queues[True], *self._queues[False])

    def take(self, one: Candidate) -> None:
        """Take the first frame out of its queue: a worker has it."""
        self._queues[one.live].popleft()

    def drop(self, one: Candidate) -> None:
        """Forget a frame whose fate is known; where an event came meanwhile, look once more."""
        if one.hinted:
            self.wait(one)
        else:
            self._all.pop(one.name, None)
            self._waiting.pop(one, None)
