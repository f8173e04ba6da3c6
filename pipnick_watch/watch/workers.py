"""Who measures: warm worker processes behind the ordinary ``Executor`` interface.

Each slot is a process pool of one. So a worker that dies fails its own frame only, the guilty
frame is known, and a hung one can be killed without touching the others.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType, ModuleType
from typing import Any, TypeVar

from pipnick_watch.errors import PipnickWatchError
from pipnick_watch.watch import jobs

__all__ = ["Pool", "WorkerPool", "default_workers"]

T = TypeVar("T")
logger = logging.getLogger(__name__)

PRELOAD = ["pipnick_watch.watch.worker", "pipnick_watch.watch.derive"]
"""Imported once by the server that workers are forked from."""

STARTS = 5
"""How often a worker is started before the system is said to refuse."""

WARM = 2
"""Workers that stand ready while there is nothing to do: for the next frame, and its pictures."""

TASKS_PER_WORKER = 500
"""A worker is replaced after so many tasks, so that nothing it may leak can pile up."""


def default_workers() -> int:
    """Count the cores that this process may use, four at most."""
    return max(1, min(4, len(os.sched_getaffinity(0))))


class Pool(Executor):
    """An executor that looks after its workers when its user comes round.

    Attributes
    ----------
    n_workers : int
        How many tasks it works on at a time; may change.
    """

    n_workers: int

    def kill_late(self, limit_s: float) -> None:
        """End what is busy with one task for longer."""
        raise NotImplementedError

    def never_started(self, future: Future[Any]) -> bool:
        """Tell whether a task failed because its worker had died before it could begin."""
        raise NotImplementedError

    def refresh(self, quiet_s: float) -> None:
        """Give back the memory of workers that have rested for so long, where that pays."""


class _Slot:
    """One worker process and its queue."""

    def __init__(self, context: Any) -> None:
        self.executor = ProcessPoolExecutor(
            1, mp_context=context, initializer=jobs.start, initargs=(os.getpid(),)
        )
        others = set(multiprocessing.active_children())
        with _main_hidden():
            self.warm: Future[int] = self.executor.submit(jobs.warm_up)
        self.current: Future[Any] = self.warm
        self.started = time.monotonic()
        self.process = next(iter(set(multiprocessing.active_children()) - others), None)
        self.tasks = 0

    @property
    def free(self) -> bool:
        return self.tasks == 0 or self.current.done()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait until the processes started within stand, and keep it from them.

    It is for this process to handle: the server that workers come from would be killed by it
    while it does its imports, and a worker that nobody waits for any more would complain.
    """
    waiting: list[tuple[int, FrameType | None]] = []
    old = signal.getsignal(signal.SIGINT)
    ours = old is not None and threading.current_thread() is threading.main_thread()
    resource_tracker.ensure_running()  # its start would lift the mask
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # new processes inherit it
    if ours:
        # other threads may take the signal all the same
        signal.signal(signal.SIGINT, lambda *what: waiting.append(what))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if ours:
            signal.signal(signal.SIGINT, old)
        if waiting and callable(old):
            old(*waiting[0])


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Keep a new process from running the caller's script again: no task of ours is in it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class WorkerPool(Pool):
    """Worker processes, started by a fork server that has done their imports.

    They are started when they are needed, or with :meth:`warm_up`.

    Parameters
    ----------
    n_workers : int
        Number of processes.

    Raises
    ------
    PipnickWatchError
        None can be started.
    """

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        # Never fork: this process runs threads. The server is single-threaded.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOAD)
        self._slots: list[_Slot | None] = [None] * n_workers

    def warm_up(self) -> None:
        """Start the workers: the first tasks need not wait for them.

        Raises
        ------
        PipnickWatchError
            They cannot be started.
        """
        try:
            for number, slot in enumerate(self._slots):
                if slot is None:
                    self._start(number)
        except BaseException as error:
            self.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, OSError):
                raise PipnickWatchError(f"no worker can be started: {error}") from error
            raise

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Give the task to a free worker, a new one, or the first one when all are busy.

        Raises
        ------
        OSError
            No worker can be started now.
        """
        number = self._choose()
        slot = self._slots[number]
        if slot is None or (slot.tasks >= TASKS_PER_WORKER and slot.free):
            slot = self._start(number)
        try:
            future = slot.executor.submit(fn, *args, **kwargs)
        except BrokenProcessPool:
            # It died while idle or on its last task: nobody's fault here.
            slot = self._start(number)
            future = slot.executor.submit(fn, *args, **kwargs)
        slot.current = future
        slot.started = time.monotonic()
        slot.tasks += 1
        return future

    def _choose(self) -> int:
        free = (n for n, slot in enumerate(self._slots) if slot is not None and slot.free)
        unborn = (n for n, slot in enumerate(self._slots) if slot is None)
        return next(free, next(unborn, 0))

    def never_started(self, future: Future[Any]) -> bool:
        """Tell whether a task failed because its worker had died before it could begin."""
        for slot in self._standing():
            if slot.current is future:
                return slot.warm.done() and slot.warm.exception() is not None
        return False

    def refresh(self, quiet_s: float) -> None:
        """End the workers that have rested for so long; two stay, new ones: they share memory.

        Raises
        ------
        OSError
            No worker can be started now; the old ones stay.
        """
        for number, slot in enumerate(self._slots):
            if slot is None or not slot.current.done():
                continue
            if time.monotonic() - slot.started > quiet_s:
                if number >= WARM:
                    self._slots[number] = None
                    slot.executor.shutdown(wait=False)
                elif slot.tasks:
                    self._start(number)

    def kill_late(self, limit_s: float) -> None:
        """Kill the workers that are busy with one task for longer: it ends as if they had died."""
        for slot in self._standing():
            if not slot.current.done() and time.monotonic() - slot.started > limit_s:
                slot.kill()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers; without ``wait`` the busy ones are killed."""
        if not wait:
            for slot in self._standing():
                slot.kill()
        for slot in self._standing():
            # An executor that nobody waits for writes to closed pipes when the process ends.
            slot.executor.shutdown(wait=True, cancel_futures=cancel_futures)

    def _standing(self) -> list[_Slot]:
        return [slot for slot in self._slots if slot is not None]

    def _start(self, number: int) -> _Slot:
        """Start a worker in the place of one that is done with, or of none."""
        old = self._slots[number]
        logger.debug("worker %d is started%s", number, "" if old is None else " anew")
        new = self._slots[number] = self._started()
        if old is not None:
            old.executor.shutdown(wait=False)
        return new

    def _started(self) -> _Slot:
        """Start a worker; the server that workers come from may have ended, and is started anew."""
        for turn in range(STARTS):
            with contextlib.suppress(EOFError, ConnectionError), _interrupts_held():
                return _Slot(self._context)
            # a killed server refuses for a moment before the system calls it ended
            time.sleep(0.1 * (turn + 1))
        raise OSError("the server that starts the workers has ended")
