"""Who measures where one machine is too small: a Dask cluster behind the ``Executor`` interface.

The client publishes; the workers only read frames, through a file system that all of them share.
What a lost worker or scheduler takes with it is given out again and charged to no frame.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from distributed import Client, KilledWorker
from distributed.comm.core import CommClosedError

from pipnick_watch.errors import ClusterError, UsageError
from pipnick_watch.watch import member
from pipnick_watch.watch.workers import Pool

__all__ = ["Cluster"]

T = TypeVar("T")
logger = logging.getLogger(__name__)

AHEAD = 2
"""Tasks in flight for each thread of a worker: the next one is there when one is done."""

REACH_S = 10.0
"""How long the scheduler and a first worker may take to answer before the first frame."""

PATIENCE_S = 300.0
"""How long the run waits for a scheduler or a worker to come back."""

LOOK_S = 2.0
"""How often the workers are counted, and a lost scheduler is looked for."""

MAX_KILLED = 3
"""Dask calls a task a killer when it was on four workers that died. After so many times four, it
is believed: the frame is charged."""

LOST = (KilledWorker, CommClosedError, member.NeverStartedError)


@dataclass(kw_only=True, eq=False)
class _Task:
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    outer: Future[Any] = field(default_factory=Future)
    killed: int = 0


class Cluster(Pool):
    """The workers of a Dask scheduler.

    Parameters
    ----------
    address : str
        Of the scheduler: ``tcp://host:8786``.
    patience_s : float
        How long to wait for what is lost.

    Attributes
    ----------
    n_workers : int
        Tasks that are kept in flight: twice the workers' threads, as many as there are now.

    Raises
    ------
    UsageError
        The scheduler does not answer, there is no worker, or one has other versions.
    """

    def __init__(self, address: str, *, patience_s: float = PATIENCE_S) -> None:
        _quieten()
        self.address = address
        self.n_workers = AHEAD
        self._patience_s = patience_s
        self._here = member.versions()
        self._mutex = threading.Lock()
        self._running: dict[_Task, Future[Any]] = {}
        self._lost: list[_Task] = []
        self._fatal = ""
        self._troubled_since: float | None = None
        self._looked_at = 0.0
        self._closed = False
        try:
            self._client = Client(address, timeout=REACH_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"--dask {address}: no scheduler answers there; start one with `dask scheduler`"
            ) from error
        self._executor = self._client.get_executor(pure=False)
        try:
            self._meet()
        except BaseException:
            self.shutdown(wait=False)
            raise

    def check_folder(self, folder: Path) -> None:
        """Ask each worker that is there now whether it sees a folder.

        Raises
        ------
        UsageError
            One does not.
        """
        for worker, seen in self._ask(member.sees, folder).items():
            if seen is False:
                raise UsageError(
                    f"the Dask worker {worker} does not see {folder}: frames are read through a "
                    "file system that all machines share, under the same path"
                )

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a task done by one of the workers; it must be a function of a module."""
        task = _Task(fn=fn, args=args)
        task.outer.set_running_or_notify_cancel()
        self._give(task)
        return task.outer

    def never_started(self, future: Future[Any]) -> bool:
        """Tell nothing: what was not started is given out again."""
        return False

    def kill_late(self, limit_s: float) -> None:
        """Give out again what was lost. Each worker ends by itself what takes it too long.

        Raises
        ------
        ClusterError
            The scheduler, or all workers, have been gone for long, or one has other versions.
        """
        if self._fatal:
            raise ClusterError(self._fatal)
        now = time.monotonic()
        if now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        trouble = self._trouble()
        if trouble and self._troubled_since is None:
            logger.warning("%s; waiting for it", trouble)
            self._troubled_since = now
        elif not trouble and self._troubled_since is not None:
            logger.warning("the cluster works again")
            self._troubled_since = None
        if self._troubled_since is not None and now - self._troubled_since > self._patience_s:
            raise ClusterError(
                f"{trouble}, for {self._patience_s:g} s; start it, then this command again: "
                "it goes on from here"
            )
        if not trouble:
            with self._mutex:
                lost, self._lost = self._lost, []
            for task in lost:
                self._give(task)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let go of the cluster; what it still works on is of no use to anybody."""
        if self._closed:
            return
        if wait and not cancel_futures:
            self._wait()
        self._closed = True
        self._executor.shutdown(wait=False)
        # Dask's executor cannot cancel what it has given out.
        self._client.close(timeout=2)

    def _wait(self) -> None:
        """Wait until all that was given out is done."""
        while True:
            with self._mutex:
                left = [task.outer for task in (*self._running, *self._lost)]
            if not left:
                return
            wait(left, timeout=LOOK_S)
            self.kill_late(0.0)

    def _give(self, task: _Task) -> None:
        inner = self._executor.submit(member.do, self._here, task.fn, task.args)
        with self._mutex:
            self._running[task] = inner
        inner.add_done_callback(lambda done: self._ended(task, done))

    def _ended(self, task: _Task, inner: Future[Any]) -> None:
        """Pass on what came of a task, or note that it was lost; another thread calls this."""
        with self._mutex:
            self._running.pop(task, None)
        error = None if inner.cancelled() else inner.exception()
        if isinstance(error, member.MismatchError):
            self._fatal = f"a Dask worker that came late differs: {error}"
        if isinstance(error, KilledWorker):
            task.killed += 1
            if task.killed >= MAX_KILLED:
                error = BrokenProcessPool("each worker that had it died")
        if inner.cancelled() or isinstance(error, (*LOST, member.MismatchError)):
            logger.debug("given out again: %s", error or "the scheduler was lost")
            with self._mutex:
                self._lost.append(task)
        elif error is not None:
            task.outer.set_exception(error)
        else:
            task.outer.set_result(inner.result())

    def _meet(self) -> None:
        """Wait for a first worker, and compare the versions of all."""
        try:
            self._client.wait_for_workers(1, timeout=REACH_S)
        except TimeoutError as error:
            raise UsageError(
                f"--dask {self.address}: the scheduler has no worker; start some with "
                f"`dask worker {self.address}`"
            ) from error
        for worker, there in self._ask(member.versions).items():
            if not isinstance(there, dict):
                raise UsageError(
                    f"the Dask worker {worker} cannot measure: {there}; install pipnick-watch "
                    f"{self._here['pipnick-watch']} there"
                )
            differs = member.difference(self._here, there)
            if differs:
                raise UsageError(f"the Dask worker {worker} differs: {differs}; install the same")
        self._ask(member.warm)
        self._trouble()

    def _ask(self, fn: Callable[..., Any], *args: Any) -> dict[str, Any]:
        """Run a function on each worker; gives what it answered, or the error."""
        answers: dict[str, Any] = self._client.run(fn, *args, on_error="return")
        return answers

    def _trouble(self) -> str:
        """Count the workers; say what is missing."""
        if self._client.status == "closed":
            self._reconnect()
        if self._client.status != "running":
            return f"the Dask scheduler {self.address} is gone"
        try:
            threads = sum(self._client.nthreads().values())
        except OSError:
            return f"the Dask scheduler {self.address} does not answer"
        if not threads:
            return f"the Dask scheduler {self.address} has no worker"
        self.n_workers = AHEAD * threads
        return ""

    def _reconnect(self) -> None:
        """Look for the scheduler once; those who wait look again."""
        try:
            self._client = Client(self.address, timeout=LOOK_S, set_as_default=False)
        except OSError:
            return
        self._executor = self._client.get_executor(pure=False)


def _quieten() -> None:
    """Have Dask's messages go where ours go, and only the serious ones."""
    for name in ("distributed", "distributed.client", "distributed.core", "distributed.comm"):
        dask = logging.getLogger(name)
        dask.handlers.clear()
        dask.propagate = True
        dask.setLevel(logging.CRITICAL)
