"""The daemon: follows a MAINDIR until it is told to stop."""

import logging
import os
import threading
import time
from collections import deque
from pathlib import Path

from apscheduler.schedulers.background import BackgroundScheduler

from pipnick_watch import __version__
from pipnick_watch.records import Layout, daemon_lock, is_frame_name
from pipnick_watch.settings import Settings
from pipnick_watch.watch import service
from pipnick_watch.watch.events import EventWatch, Hint
from pipnick_watch.watch.night import Night
from pipnick_watch.watch.signals import ended_by_signals
from pipnick_watch.watch.workers import WorkerPool, default_workers

__all__ = ["run_daemon"]

logger = logging.getLogger(__name__)

TICK_S = 1.0
"""The loop comes round at least this often: the table is looked at, systemd is told."""

STOP_S = 5.0
"""A frame that is being measured when the daemon is stopped has this long to end."""


def run_daemon(maindir: Path, settings: Settings) -> int:
    """Follow ``maindir`` until SIGTERM or SIGINT.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    AnotherDaemonError
        Another daemon watches it.
    """
    wake = threading.Event()
    with daemon_lock(Layout(maindir)), ended_by_signals(wake) as stop:
        n_workers = settings.watch.workers or default_workers()
        logger.info(
            "pipnick-watch %s, PID %d: watching %s with %d workers",
            __version__, os.getpid(), maindir, n_workers,
        )  # fmt: skip
        logger.debug("settings: %s", settings)
        with WorkerPool(n_workers) as pool:
            try:
                _Daemon(maindir, settings, pool, wake).run(stop)
            finally:
                # What is still being measured is abandoned: nothing of it was published.
                pool.shutdown(wait=False, cancel_futures=True)
        logger.info("stopped")
    return 0


class _Daemon:
    """The loop around one night."""

    def __init__(
        self, maindir: Path, settings: Settings, pool: WorkerPool, wake: threading.Event
    ) -> None:
        self.settings = settings
        self.wake = wake
        self.night = Night(maindir, settings, pool, pool.n_workers, wake=wake.set)
        self.layout = self.night.layout
        self.watch = EventWatch(self.layout.reduced, wake.set)
        self.watch.also(self.layout.maindir, recursive=False)
        self.watch.also(self.layout.solutions, recursive=True)
        self.asked: deque[str] = deque()
        self.missing = ""
        self.begun = False
        self.told = ""
        self.started = time.monotonic()
        self._pause = 0.0
        self.next_scan = 0.0

    def run(self, stop: threading.Event) -> None:
        scheduler = self._schedule()
        service.notify("READY=1", f"STATUS=watching {self.layout.maindir}")
        try:
            while not stop.is_set():
                self.wake.clear()
                self._turn()
                service.alive()
                self.wake.wait(self._pause)
        finally:
            service.notify("STOPPING=1")
            scheduler.shutdown(wait=False)
            self.watch.stop()
            self.night.finish(STOP_S)

    def _schedule(self) -> BackgroundScheduler:
        """Set up what may be late. The jobs only ask; this loop does."""
        # Its clock is the wall's and it drops what is late, unless it is told otherwise: so
        # nothing that the rows depend on is scheduled here.
        scheduler = BackgroundScheduler(
            timezone="UTC",
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        for job, seconds in (("health", 15.0), ("pictures", 60.0), ("summary", 3600.0)):
            scheduler.add_job(self._ask, "interval", args=[job], seconds=seconds)
        scheduler.start()
        return scheduler

    def _ask(self, job: str) -> None:
        self.asked.append(job)
        self.wake.set()

    def _turn(self) -> None:
        """Do all that can be done now."""
        now = time.monotonic()
        missed = self.watch.missed()
        if missed:
            logger.warning("%s: events were lost; looking through the folder", self.layout.reduced)
        for hint in self.watch.take():
            self._take(hint)
        if missed or now >= self.next_scan:
            self._rescan(now)
        while self.asked:
            self._do(self.asked.popleft())
        self._pause = min(TICK_S, max(0.0, self.next_scan - now))
        if self.begun and not self.missing:
            self._pause = min(self._pause, self.night.step())

    def _rescan(self, now: float) -> None:
        self.next_scan = now + self.settings.watch.rescan_s
        if self._absent():
            self.next_scan = now + TICK_S
            return
        if not self.begun:
            self.night.begin()
            self.begun = True
        if self.watch.deaf and not self.settings.watch.polling:
            self._listen()
        try:
            self.night.rescan()
        except OSError as error:
            self._lost(str(error))

    def _listen(self) -> None:
        """Start the watch before the scan, so that nothing falls between them."""
        self.watch.start()
        if self.watch.deaf and self.watch.deaf != self.told:
            self.told = self.watch.deaf
            logger.warning(
                "%s: no file events (%s); looking through it every %g s instead",
                self.layout.reduced, self.watch.deaf, self.settings.watch.rescan_s,
            )  # fmt: skip

    def _absent(self) -> bool:
        """Look whether there is something to watch; an unmounted disk is no empty night."""
        if self.layout.reduced.is_dir():
            if self.missing:
                logger.warning("%s: there again", self.layout.reduced)
            self.missing = ""
            return False
        self._lost("no such folder")
        return True

    def _lost(self, reason: str) -> None:
        if not self.missing:
            logger.warning("%s: waiting for it: %s", self.layout.reduced, reason)
        self.missing = reason
        self.watch.stop()
        self.next_scan = time.monotonic() + TICK_S

    def _take(self, hint: Hint) -> None:
        """Pass on what an event says, if it is about a frame."""
        path = Path(hint.path)
        if self.layout.reduced in path.parents:
            name = path.relative_to(self.layout.reduced).as_posix()
            if is_frame_name(path.name) and name.isprintable() and "|" not in name:
                self.night.hint(name, hint.at, settles=hint.settles)
        elif path == self.layout.reduced:
            self.next_scan = 0.0

    def _do(self, job: str) -> None:
        if job == "health":
            trouble = self.watch.trouble(self.night.n_folders)
            if trouble and not self.watch.deaf:
                logger.warning("%s: %s; watching anew", self.layout.reduced, trouble)
                self.watch.stop()
                self.next_scan = 0.0
            self.watch.bake_cookie()
        elif job == "pictures":
            self.night.find_missing_pictures()
        else:
            self.night.outbox.summarise(time.monotonic() - self.started)
