"""``--nights GLOB``: which night folders are followed now, one MAINDIR each.

A night is taken up when it changes, followed while something comes, and laid to rest when it has
been quiet for long; then only the times of its folders are looked at. The newest one is never
laid to rest: it may be tonight's.
"""

import contextlib
import glob
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipnick_watch import __version__, logs
from pipnick_watch.errors import PipnickWatchError
from pipnick_watch.records import Layout, daemon_lock
from pipnick_watch.settings import Settings
from pipnick_watch.watch.changes import DAY_S, Stamp, newest, stamp_of, touched
from pipnick_watch.watch.daemon import Loop
from pipnick_watch.watch.following import Following
from pipnick_watch.watch.metrics import MetricsFile
from pipnick_watch.watch.signals import ended_by_signals
from pipnick_watch.watch.workers import WorkerPool, default_workers

__all__ = ["Nights", "run_nights"]

logger = logging.getLogger(__name__)

LOOK_S = 5.0
"""How often new and changed nights are looked for."""

OLD_LOOKS = 60
"""In one of so many looks a night that was too old is looked into, not only at."""

REST_S = 900.0
"""A night is laid to rest when nothing has come for so long."""

THOROUGH_S = 3600.0
"""A resting night is taken up and looked through this often: a frame that is overwritten in its
place changes no folder."""


@dataclass(kw_only=True, eq=False)
class _Known:
    """A night that matches the pattern.

    Attributes
    ----------
    stamp : Stamp or None
        How it looked when it was laid to rest.
    rested_at : float
        Monotonic time of that.
    changed : float
        Unix time of its newest folder at the last look into it.
    trouble : str
        Why it could not be taken up; empty when it could.
    """

    stamp: Stamp | None = None
    rested_at: float = 0.0
    changed: float = 0.0
    trouble: str = ""


def run_nights(
    pattern: str,
    settings_of: Callable[[Path], Settings],
    *,
    workers: int = 0,
    since_days: float = 3.0,
    rest_s: float = REST_S,
    metrics: Path | None = None,
) -> int:
    """Follow the nights that match until SIGTERM or SIGINT.

    Parameters
    ----------
    pattern : str
        As the shell's: ``/data/*/``.
    settings_of : callable
        Gives the settings of a MAINDIR.
    workers : int
        Worker processes, shared by all nights; 0 takes one for each core, four at most.
    since_days : float
        Nights without a change for longer are not taken up.
    rest_s : float
        A night that is not the newest is laid to rest after so much quiet.
    metrics : Path, optional
        Written for Prometheus' textfile collector.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    UsageError
        Metrics are asked for, and what writes them is not installed.
    """
    wake = threading.Event()
    watched = MetricsFile(metrics) if metrics is not None else None
    n_workers = workers or default_workers()
    with ended_by_signals(wake) as stop, WorkerPool(n_workers) as pool:
        logger.info(
            "pipnick-watch %s, PID %d: watching the nights %s with %d workers",
            __version__, os.getpid(), pattern, n_workers,
        )  # fmt: skip
        pool.warm_up()
        nights = Nights(pattern, settings_of, pool, wake, since_days=since_days, rest_s=rest_s)
        try:
            Loop(pool, wake, watched, idle_line=nights.idle_line).run(stop, nights.followed)
        finally:
            nights.close()
    logger.info("stopped")
    return 0


class Nights:
    """The nights that match a pattern, and those of them that are followed.

    Parameters
    ----------
    pattern : str
    settings_of : callable
    pool : WorkerPool
    wake : threading.Event
    since_days, rest_s : float
        As for :func:`run_nights`.
    """

    def __init__(
        self,
        pattern: str,
        settings_of: Callable[[Path], Settings],
        pool: WorkerPool,
        wake: threading.Event,
        *,
        since_days: float,
        rest_s: float,
    ) -> None:
        self.pattern = pattern
        self.since_s = since_days * DAY_S
        self.rest_s = rest_s
        self._settings_of = settings_of
        self._pool = pool
        self._wake = wake
        self._known: dict[Path, _Known] = {}
        self._followed: dict[Path, _OneNight] = {}
        self._next_look = 0.0
        self._n_looks = 0

    @property
    def idle_line(self) -> str:
        """What ``systemctl status`` shows while no night is followed."""
        return f"no night of the last {self.since_s / DAY_S:g} days matches {self.pattern}"

    def followed(self) -> Sequence["_OneNight"]:
        """Give the nights that are followed now, the newest first; look for new ones in time."""
        now = time.monotonic()
        if now >= self._next_look:
            self._look(now)
            self._next_look = time.monotonic() + LOOK_S
        return sorted(
            self._followed.values(), key=lambda one: self._known[one.maindir].changed, reverse=True
        )

    def close(self) -> None:
        """Let go of all nights; each has been finished."""
        for one in self._followed.values():
            one.close()
        self._followed.clear()

    def _look(self, now: float) -> None:
        self._n_looks += 1
        found = {Path(os.path.realpath(name)) for name in glob.glob(self.pattern)}  # noqa: PTH207
        found = {maindir for maindir in found if (maindir / "reduced").is_dir()}
        for maindir in self._known.keys() - found - self._followed.keys():
            del self._known[maindir]
        for number, maindir in enumerate(sorted(found - self._followed.keys())):
            known = self._known.setdefault(maindir, _Known())
            if self._due(maindir, known, number, now):
                self._take_up(maindir, known)
        latest = max(self._followed, key=lambda one: self._known[one].changed, default=None)
        for maindir, one in list(self._followed.items()):
            self._known[maindir].changed = max(self._known[maindir].changed, one.changed)
            too_old = time.time() - self._known[maindir].changed > self.since_s
            if one.quiet_for(now) > self.rest_s and (maindir != latest or too_old):
                self._lay_to_rest(maindir, one)

    def _due(self, maindir: Path, known: _Known, number: int, now: float) -> bool:
        """Tell whether a night is to be taken up: it is new, has changed, or had its rest."""
        old = known.changed > 0 and time.time() - known.changed > self.since_s
        # A look into every folder of years of nights would not be cheap.
        if old and (self._n_looks + number) % OLD_LOOKS and not touched(maindir, known.changed):
            return False
        stamp = stamp_of(maindir)
        known.changed = newest(stamp)
        if time.time() - known.changed > self.since_s:
            return False
        return stamp != known.stamp or now - known.rested_at > THOROUGH_S

    def _take_up(self, maindir: Path, known: _Known) -> None:
        try:
            one = _OneNight(maindir, self._settings_of(maindir), self._pool, self._wake)
        except (PipnickWatchError, OSError) as error:
            if str(error) != known.trouble:
                logger.warning("%s: not followed, tried again: %s", maindir, error)
            known.trouble = str(error)
            return
        known.trouble = ""
        self._followed[maindir] = one

    def _lay_to_rest(self, maindir: Path, one: "_OneNight") -> None:
        known = self._known[maindir]
        # Before the last look, so that what comes in between is seen afterwards.
        stamp = stamp_of(maindir)
        if not one.finished():
            return
        one.close()
        del self._followed[maindir]
        known.stamp, known.rested_at = stamp, time.monotonic()


class _OneNight(Following):
    """A MAINDIR that is followed beside others: its lock, its log file, its name in each line."""

    def __init__(
        self, maindir: Path, settings: Settings, pool: WorkerPool, wake: threading.Event
    ) -> None:
        self.maindir = maindir
        with contextlib.ExitStack() as held:
            held.enter_context(daemon_lock(Layout(maindir)))
            self._log = logs.open_log_file(maindir / "photometric" / "pipnick_watch.log")
            held.callback(self._log.close)
            super().__init__(maindir, settings, pool, wake.set)
            with logs.about(maindir.name, self._log):
                logger.info("following %s", maindir)
                logger.debug("settings: %s", settings)
                self.begin()
            self._held = held.pop_all()

    def turn(self) -> float:
        with logs.about(self.maindir.name, self._log):
            return super().turn()

    def do(self, job: str) -> None:
        with logs.about(self.maindir.name, self._log):
            super().do(job)

    def finish(self, patience_s: float, state: str = "stopped") -> None:
        with logs.about(self.maindir.name, self._log):
            super().finish(patience_s, state)

    def finished(self) -> bool:
        """Look through the folder once more, and lay the night to rest if that brings nothing."""
        with logs.about(self.maindir.name, self._log):
            if not self.at_rest():
                return False
            logger.info("quiet; looked at again when something changes")
            super().finish(0.0, "resting")
        return True

    def close(self) -> None:
        """Give up the lock and the log file."""
        self._held.close()
