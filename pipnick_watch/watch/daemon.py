"""The daemon: follows MAINDIRs until it is told to stop, and tells systemd how it goes."""

import contextlib
import faulthandler
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from apscheduler.schedulers.background import BackgroundScheduler

from pipnick_watch import __version__
from pipnick_watch.errors import RecordsError
from pipnick_watch.records import Layout, daemon_lock
from pipnick_watch.settings import Settings
from pipnick_watch.watch import service
from pipnick_watch.watch.following import TICK_S, Following
from pipnick_watch.watch.metrics import MetricsFile
from pipnick_watch.watch.report import one_line
from pipnick_watch.watch.signals import ended_by_signals
from pipnick_watch.watch.workers import WorkerPool, default_workers

__all__ = ["Loop", "run_daemon"]

logger = logging.getLogger(__name__)

STOP_S = 5.0
"""Frames that are being measured when the daemon is stopped have this long to end."""

WORKERS_REST_S = 120.0
"""A worker that has rested for so long is replaced: it holds more memory than a new one."""

SAID = 3
"""MAINDIRs that systemd's line has room for, the most urgent first."""

JOBS = (("pictures", 60.0), ("summary", 60.0), ("workers", 60.0), ("metrics", 10.0))
"""What may be late, and how often it is asked for, seconds."""


def run_daemon(maindir: Path, settings: Settings, metrics: Path | None = None) -> int:
    """Follow ``maindir`` until SIGTERM or SIGINT.

    Parameters
    ----------
    maindir : Path
    settings : Settings
    metrics : Path, optional
        Written for Prometheus' textfile collector.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    AnotherDaemonError
        Another daemon watches it.
    RecordsError
        MAINDIR cannot be written to.
    UsageError
        Metrics are asked for, and what writes them is not installed.
    """
    wake = threading.Event()
    watched = MetricsFile(metrics) if metrics is not None else None
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(daemon_lock(Layout(maindir)))
        except OSError as error:
            raise RecordsError(f"{maindir}: cannot be written to: {error.strerror}") from error
        stop = held.enter_context(ended_by_signals(wake))
        n_workers = settings.watch.workers or default_workers()
        logger.info(
            "pipnick-watch %s, PID %d: watching %s with %d workers",
            __version__, os.getpid(), maindir, n_workers,
        )  # fmt: skip
        logger.debug("settings: %s", settings)
        pool = held.enter_context(WorkerPool(n_workers))
        pool.warm_up()
        one = Following(maindir, settings, pool, wake.set)
        one.begin()
        Loop(pool, wake, watched).run(stop, lambda: [one])
    logger.info("stopped")
    return 0


class Loop:
    """Comes round all MAINDIRs that are followed, one after the other, without end.

    Parameters
    ----------
    pool : WorkerPool
        Shared by all of them; closed at the end.
    wake : threading.Event
        Set when there is something to do.
    metrics : MetricsFile or None
    idle_line : str
        What systemd shows while nothing is followed.
    """

    def __init__(
        self,
        pool: WorkerPool,
        wake: threading.Event,
        metrics: MetricsFile | None = None,
        *,
        idle_line: str = "",
    ) -> None:
        self.idle_line = idle_line
        self.pool = pool
        self.wake = wake
        self.metrics = metrics
        self._asked: deque[str] = deque()
        self._followed: Sequence[Following] = ()

    def run(self, stop: threading.Event, followed: Callable[[], Sequence[Following]]) -> None:
        """Come round until ``stop`` is set.

        Parameters
        ----------
        stop : threading.Event
        followed : callable
            Gives those that are to be followed now, the most urgent first; asked in each round.
        """
        if sys.stderr is not None:
            # systemd's watchdog ends a hung process with SIGABRT: the journal then says where.
            faulthandler.enable(all_threads=True)
        self._followed = followed()
        service.notify("READY=1")
        scheduler = self._schedule()
        try:
            while not stop.is_set():
                self.wake.clear()
                self._followed = followed()
                pause = self._round()
                self._tell()
                self.wake.wait(pause)
        finally:
            service.notify("STOPPING=1", "STATUS=stopping")
            scheduler.shutdown(wait=False)
            end = time.monotonic() + STOP_S
            for one in self._followed:
                one.finish(max(0.0, end - time.monotonic()))
            # What is still being measured is abandoned: nothing of it was published.
            self.pool.shutdown(wait=False, cancel_futures=True)

    def _schedule(self) -> BackgroundScheduler:
        """Set up what may be late. The jobs only ask; the loop does."""
        # Its clock is the wall's and it drops what is late, unless it is told otherwise: so
        # nothing that the rows depend on is scheduled here.
        scheduler = BackgroundScheduler(
            timezone="UTC",
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        for job, seconds in JOBS:
            scheduler.add_job(self._ask, "interval", args=[job], seconds=seconds)
        scheduler.start()
        return scheduler

    def _ask(self, job: str) -> None:
        self._asked.append(job)
        self.wake.set()

    def _do(self, job: str) -> None:
        if job == "metrics" and self.metrics is not None:
            self.metrics.write([one.status for one in self._followed])
        if job == "workers":
            self._refresh()
        for one in self._followed:
            one.do(job)

    def _refresh(self) -> None:
        try:
            self.pool.refresh(WORKERS_REST_S)
        except OSError as error:
            logger.debug("no worker is replaced: %s", error)

    def _round(self) -> float:
        """Give each MAINDIR its turn; give the seconds until one of them wants the next."""
        pause = TICK_S
        while self._asked:
            self._do(self._asked.popleft())
        for one in self._followed:
            others = sum(other.night.n_busy for other in self._followed if other is not one)
            one.night.share(self.pool.n_workers - others)
            pause = min(pause, one.turn())
        return pause

    def _tell(self) -> None:
        """Give systemd its sign of life, if all make progress, and the line that it shows."""
        stalled = [text for one in self._followed if (text := one.stalled())]
        if not stalled:
            service.alive()
        lines = [f"{one.layout.maindir.name}: {one_line(one.status)}" for one in self._followed]
        service.say(" | ".join(lines[:SAID]) or self.idle_line)
