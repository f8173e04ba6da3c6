"""Who measures which frame now, and what becomes of a worker that dies or hangs."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from pipnick_watch.watch import jobs
from pipnick_watch.watch.jobs import Job, Outcome
from pipnick_watch.watch.ready import Candidate
from pipnick_watch.watch.workers import Pool

__all__ = ["Crew", "Measured"]

logger = logging.getLogger(__name__)

MEASURE_LIMIT_S = 300.0
"""A worker busy with one frame or picture for longer is killed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """A frame that a worker is done with.

    Attributes
    ----------
    candidate : Candidate
    since, wait_s : float
        When the frame was complete, and how long it had been waited for by then.
    outcome : Outcome or None
        None when the worker failed.
    error : str
        How it failed.
    innocent : bool
        The worker failed before it could begin with the frame.
    """

    candidate: Candidate
    since: float
    wait_s: float
    outcome: Outcome | None
    error: str = ""
    innocent: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class _Busy:
    candidate: Candidate
    started: float
    since: float
    wait_s: float


class Crew:
    """The workers as one MAINDIR uses them.

    Parameters
    ----------
    pool : Executor
    slots : int
        How many tasks the pool works on at a time.
    wake : callable
        Called, from another thread, when a task has ended.
    """

    def __init__(self, pool: Executor, slots: int, wake: Callable[[], None]) -> None:
        self.pool = pool
        self.slots = slots
        self.wake = wake
        self._busy: dict[Future[Outcome], _Busy] = {}

    def __len__(self) -> int:
        return len(self._busy)

    @property
    def frames(self) -> list[str]:
        """The frames that are being measured."""
        return [one.candidate.name for one in self._busy.values()]

    def measure(self, one: Candidate, job: Job) -> None:
        """Give a ready frame to a worker."""
        assert one.settled_at is not None
        future = self.pool.submit(jobs.measure, job)
        self._busy[future] = _Busy(
            candidate=one,
            started=time.monotonic(),
            since=one.settled_at,
            wait_s=max(0.0, one.settled_at - one.first_seen),
        )
        one.reason, one.hinted = "being measured", False
        future.add_done_callback(lambda _: self.wake())

    def collect(self) -> list[Measured]:
        """Take what has ended, and kill a worker that takes too long."""
        if isinstance(self.pool, Pool):
            self.pool.kill_late(MEASURE_LIMIT_S)
        return [
            self._measured(future, self._busy.pop(future))
            for future in [future for future in self._busy if future.done()]
        ]

    def _measured(self, future: Future[Outcome], busy: _Busy) -> Measured:
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            late = time.monotonic() - busy.started > MEASURE_LIMIT_S
            text = f"not measured in {MEASURE_LIMIT_S:g} s" if late else "its worker died"
        else:
            text = "" if error is None else str(error) or type(error).__name__
            if error is not None:
                logger.debug("%s: %s", busy.candidate.name, text, exc_info=error)
        return Measured(
            candidate=busy.candidate,
            since=busy.since,
            wait_s=busy.wait_s,
            outcome=None if error is not None else future.result(),
            error=text,
            innocent=isinstance(self.pool, Pool) and self.pool.never_started(future),
        )
