"""What a worker of a Dask cluster does with a task: it has it done by a process of its own.

So a frame that kills or hangs what measures it costs one process and is charged, as on one
machine; and when a Dask worker is lost, that is never the frame's fault.
"""

import contextlib
import functools
import multiprocessing
import platform
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from pipnick_watch import __version__
from pipnick_watch.watch.crew import MEASURE_LIMIT_S
from pipnick_watch.watch.workers import WorkerPool

__all__ = ["MismatchError", "NeverStartedError", "difference", "do", "sees", "versions", "warm"]

T = TypeVar("T")

PACKAGES = ("numpy", "scipy", "astropy", "photutils", "distributed")
"""What the numbers depend on, and what carries them."""

LOOK_S = 0.5
"""How often a task's process is looked at."""

_own = threading.local()
_one_at_a_time = threading.Lock()
_spare: list[WorkerPool] = []


class MismatchError(Exception):
    """The worker has other packages than its client."""


class NeverStartedError(Exception):
    """The process that was to do the task could not be started."""


@functools.cache
def versions() -> dict[str, str]:
    """Give the versions that must be the same at both ends, by name."""
    found = {"pipnick-watch": __version__, "python": ".".join(platform.python_version_tuple()[:2])}
    for package in PACKAGES:
        found[package] = "missing"
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def difference(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Say in which packages a worker differs from the client; empty when in none."""
    return ", ".join(
        f"{name} is {there.get(name, 'missing')} there and {version} here"
        for name, version in here.items()
        if there.get(name) != version
    )


def sees(folder: Path) -> bool:
    """Tell whether a folder is there for this worker."""
    return folder.is_dir()


def warm() -> None:
    """Have a first process started, with all its imports, while the client still looks round."""
    threading.Thread(target=lambda: _spare.append(_start()), daemon=True).start()


def do(here: Mapping[str, str], fn: Callable[..., T], args: tuple[Any, ...]) -> T:
    """Do a task as :class:`~pipnick_watch.watch.workers.WorkerPool` does it on one machine.

    Raises
    ------
    MismatchError
        The client's versions, ``here``, are others than this worker's: it may have come late.
    NeverStartedError
        It was not begun; another worker may do it.
    """
    differs = difference(here, versions())
    if differs:
        raise MismatchError(differs)
    pool = _pool()
    try:
        with _one_at_a_time:
            future: Future[T] = pool.submit(fn, *args)
    except OSError as error:
        raise NeverStartedError(str(error)) from error
    while not future.done():
        wait([future], timeout=LOOK_S)
        pool.kill_late(MEASURE_LIMIT_S)
    if pool.never_started(future):
        raise NeverStartedError("its process died before it began")
    return future.result()


def _pool() -> WorkerPool:
    """Give this thread's process; each thread of a Dask worker has one."""
    pool: WorkerPool | None = getattr(_own, "pool", None)
    if pool is None:
        try:
            pool = _spare.pop()
        except IndexError:
            pool = _start()
        _own.pool = pool
    return pool


def _start() -> WorkerPool:
    # Dask's nanny starts its worker as a daemon, which may have no children: ours end by
    # themselves when their parent does, which is all that this guards against.
    multiprocessing.current_process().daemon = False
    with _one_at_a_time:
        pool = WorkerPool(1)
        pool.warm_up()
    return pool
