"""One MAINDIR as a daemon follows it: its events, its scans, its frames, and how it fares."""

import logging
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipnick_watch.errors import RecordsError
from pipnick_watch.settings import Settings
from pipnick_watch.watch.crew import MEASURE_LIMIT_S
from pipnick_watch.watch.events import EventWatch, Hint
from pipnick_watch.watch.night import Night
from pipnick_watch.watch.report import StatusFile, describe
from pipnick_watch.watch.scan import can_be_a_frame
from pipnick_watch.watch.slices import Task, finish
from pipnick_watch.watch.status import Status
from pipnick_watch.watch.tally import Tally
from pipnick_watch.watch.workers import WorkerPool

__all__ = ["TICK_S", "Following"]

logger = logging.getLogger(__name__)

TICK_S = 1.0
"""The loop comes round at least this often: the table is looked at, systemd is told."""

HEALTH_S = 15.0
"""The watch is tested this often."""

QUIET_S = 7200.0
"""A night that has been quiet for so long is summed up: it is over, or clouded out."""

SCAN = "scan"

STALLED_S = MEASURE_LIMIT_S + 60.0
"""Frames that are ready and none taken for so long: a hung worker has been killed before."""


class Following:
    """What is done for one MAINDIR, turn by turn; one thread calls everything here.

    Parameters
    ----------
    maindir : Path
    settings : Settings
    pool : WorkerPool
    wake : callable
        Called, from other threads, when there is something to do.

    Attributes
    ----------
    stands : bool
        The watch stands and the first scan is next; or it is clear that there is nothing to scan.
    active_at : float
        Monotonic time at which something was last recorded, or the following began.
    changed : float
        Unix time at which something was last recorded; 0 when nothing was.
    """

    def __init__(
        self, maindir: Path, settings: Settings, pool: WorkerPool, wake: Callable[[], None]
    ) -> None:
        self.settings = settings
        self.night = Night(maindir, settings, pool, pool.n_workers, wake=wake)
        self.layout = self.night.layout
        self.tally = Tally(self.night.records)
        self.watch = EventWatch(self.layout.reduced, wake)
        self.watch.also(self.layout.maindir, recursive=False)
        self.watch.also(self.layout.solutions, recursive=True)
        self.stands = False
        self.active_at = time.monotonic()
        self.changed = 0.0
        self.status = Status()
        self._missing = ""
        self._begun = False
        self._scanned = False
        self._told = ""
        self._next_scan = 0.0
        self._next_health = time.monotonic() + HEALTH_S
        self._scanned_at = time.monotonic()
        self._moved: tuple[object, float] = (None, time.monotonic())
        self._file = StatusFile(self.layout)
        self._unsummed = False

    def do(self, job: str) -> None:
        """Do what is asked for now and then: ``pictures`` or ``summary``."""
        if job == "pictures" and self._begun:
            self.night.find_missing_pictures()
        elif job == "summary" and time.monotonic() - self.active_at >= QUIET_S:
            self._sum_up()

    def begin(self) -> None:
        """Say that it starts, start to listen, and bring what lies on disk to agreement."""
        self._say()
        if not self._absent():
            self._listen()
            self._recover()
        self.stands = True

    def turn(self) -> float:
        """Do all that can be done now; give the seconds until the next turn is wanted."""
        now = time.monotonic()
        missed = self.watch.missed()
        if missed:
            logger.warning("%s: events were lost; looking through the folder", self.layout.reduced)
        for hint in self.watch.take():
            self._take(hint)
        if now >= self._next_health:
            self._check_health(now)
        if missed:
            self._next_scan = now  # a scan that is under way may be past them
        if now >= self._next_scan and not self.night.does_slowly(SCAN):
            self._rescan(now)
        pause = min(TICK_S, max(0.0, self._next_scan - now))
        if self._begun and not self._missing:
            pause = min(pause, self.night.step())
        self._report(now)
        return pause

    def stalled(self) -> str:
        """Say what no longer makes progress, though nothing outside is to blame; else nothing."""
        now = time.monotonic()
        if now - self._scanned_at > 3 * self.settings.watch.rescan_s + 60.0:
            return (
                f"{self.layout.reduced} was not looked through for {now - self._scanned_at:.0f} s"
            )
        if now - self._next_health > 60.0:
            return f"the watch was not tested for {now - self._next_health:.0f} s"
        mark, since = self._moved
        if mark is not None and now - since > STALLED_S:
            return f"frames are ready, and none was taken for {now - since:.0f} s"
        return ""

    def quiet_for(self, now: float) -> float:
        """Count the seconds since something was to do or was recorded."""
        return now - self.active_at if self._missing or self.night.idle else 0.0

    def at_rest(self) -> bool:
        """Look through the folder; tell whether there is nothing to do for now."""
        if not self._absent():
            self._rescan(time.monotonic(), at_once=True)
        return bool(self._missing) or (self._begun and self.night.idle)

    def finish(self, patience_s: float, state: str = "stopped") -> None:
        """Publish what is measured within ``patience_s``, sum up, and say that it ends."""
        self.watch.stop()
        self.night.finish(patience_s)
        self.tally.refresh()
        self._sum_up()
        self._file.write(replace(describe(self.night, self.tally), state=state, troubles=[]))

    def _rescan(self, now: float, *, at_once: bool = False) -> None:
        self._next_scan = now + self.settings.watch.rescan_s
        if self._absent():
            return
        self._check_watch()
        if self.watch.deaf and not self.settings.watch.polling:
            self._listen()
        if not self._begun and not self._recover():
            return
        if at_once or not self._scanned:
            finish(self._scan())  # what the first one finds is no live frame
        else:
            self.night.slowly(SCAN, self._scan())

    def _scan(self) -> Task:
        """Look through the folder; one that cannot be read is lost."""
        try:
            yield from self.night.look_through()
            self._scanned = True
        except OSError as error:
            self._lost(str(error))
        self._scanned_at = time.monotonic()

    def _recover(self) -> bool:
        """Bring what lies on disk to agreement; a disk that refuses is asked again."""
        try:
            self.night.begin()
        except (OSError, RecordsError) as error:
            self.night.outbox.refuse(str(error))
            self._scanned_at = time.monotonic()
            self._next_scan = self._scanned_at + TICK_S
            return False
        self.night.outbox.recover()
        self._begun = True
        return True

    def _listen(self) -> None:
        """Start the watch before the scan, so that nothing falls between them."""
        if self.settings.watch.polling:
            return
        self.watch.start()
        if self.watch.deaf and self.watch.deaf != self._told:
            self._told = self.watch.deaf
            logger.warning(
                "%s: no file events (%s); looking through it every %g s instead",
                self.layout.reduced, self.watch.deaf, self.settings.watch.rescan_s,
            )  # fmt: skip

    def _absent(self) -> bool:
        """Look whether there is something to watch; an unmounted disk is no empty night."""
        try:
            there = stat.S_ISDIR(self.layout.reduced.stat().st_mode)
            reason = "" if there else "not a folder"
        except FileNotFoundError:
            reason = "no such folder"
        except OSError as error:  # a disk that fails, a server that does not answer
            reason = error.strerror or str(error)
        if not reason:
            if self._missing:
                logger.warning("%s: there again", self.layout.reduced)
            self._missing = ""
            return False
        self._lost(reason)
        return True

    def _lost(self, reason: str) -> None:
        if not self._missing:
            logger.warning("%s: waiting for it: %s", self.layout.reduced, reason)
        self._missing = reason
        self._begun = False  # who knows what it will be when it is back
        self.night.give_up_slices()
        self.watch.stop()
        self._scanned_at = time.monotonic()
        self._next_scan = self._scanned_at + TICK_S

    def _take(self, hint: Hint) -> None:
        """Pass on what an event says, if it is about a frame."""
        path = Path(hint.path)
        if self.layout.reduced in path.parents:
            name = path.relative_to(self.layout.reduced).as_posix()
            if can_be_a_frame(name):
                self.night.hint(name, hint.at, settles=hint.settles)
        elif self.layout.solutions in path.parents:
            self.night.solutions.expect()
        elif path == self.layout.reduced:
            self._next_scan = 0.0

    def _check_health(self, now: float) -> None:
        # On this loop's own clock: a scheduler's stands still when the wall's is set back.
        self._next_health = now + HEALTH_S
        if self._check_watch():
            self._next_scan = 0.0
        self.watch.bake_cookie()

    def _check_watch(self) -> bool:
        """Stop a watch that hears nothing or the wrong folder; the next scan starts another."""
        trouble = self.watch.trouble(self.night.sweep.n_folders)
        if not trouble or self.watch.deaf:
            return False
        logger.warning("%s: %s; watching anew", self.layout.reduced, trouble)
        self.watch.stop()
        return True

    def _sum_up(self) -> None:
        """Say what the night has come to, once after its last frame."""
        if self._unsummed:
            for line in self.tally.summary(self.night.warned):
                logger.info("%s", line)
        self._unsummed = False

    def _report(self, now: float) -> None:
        """Note what moved, and write the status file."""
        ready = self.night.ready
        # A disk that refuses is no fault of ours.
        mark = (
            (ready[0].name, ready[0].tries, self.night.outbox.counts.copy())
            if ready and not self.night.outbox.trouble
            else None
        )
        if mark != self._moved[0]:
            self._moved = mark, now
        if now < self._file.due:
            return
        if self._begun and not self._missing and self.tally.refresh():
            self.active_at, self.changed = now, time.time()
            self._unsummed = bool(sum(self.night.outbox.counts.values()))
        self._say()

    def _say(self) -> None:
        self.status = self._described()
        self._file.write(self.status)

    def _described(self) -> Status:
        status = describe(self.night, self.tally)
        asked = self.settings.watch.polling
        deaf = "asked for by --polling" if asked else self.watch.deaf
        troubles = [*status.troubles]
        if self._missing:
            troubles.insert(0, f"{self.layout.reduced}: {self._missing}")
        elif deaf and not asked and self.stands:
            troubles.append(f"no file events: {deaf}; with --polling this is meant")
        stalled = self.stalled()
        if stalled:
            troubles.append(stalled)
        state = "watching" if self._begun else "starting"
        return replace(
            status,
            state="waiting for reduced/" if self._missing else state,
            mode="scanning" if deaf else "events",
            why=deaf,
            troubles=troubles,
        )
