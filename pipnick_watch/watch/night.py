"""The flow of one MAINDIR: from a path that was seen to rows that are durable.

One thread owns everything here. Each :meth:`Night.step` does what can be done now and says when
it wants to be called again; the daemon and ``--once`` are two loops around it.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path

from pipnick_watch.errors import RecordsError, UsageError
from pipnick_watch.records import Records, TableError
from pipnick_watch.settings import Settings
from pipnick_watch.watch.backlog import Backlog
from pipnick_watch.watch.claims import Claims
from pipnick_watch.watch.crew import Crew
from pipnick_watch.watch.exclusions import Exclusions
from pipnick_watch.watch.fates import Fates
from pipnick_watch.watch.gallery import Gallery
from pipnick_watch.watch.gate import Gate
from pipnick_watch.watch.outbox import Outbox
from pipnick_watch.watch.overview import Overview
from pipnick_watch.watch.ready import Candidate, Limits, Verdict
from pipnick_watch.watch.roster import Roster
from pipnick_watch.watch.slices import Slices, Task, finish
from pipnick_watch.watch.solutions import Solutions
from pipnick_watch.watch.sweep import Sweep

__all__ = ["Night"]

logger = logging.getLogger(__name__)

ONCE_SHORT_S = 10.0
"""How long ``--once`` waits for a short frame to grow."""

TURN_S = 0.02
"""How long frames are looked at before finished ones are published."""

SLICE_S = 0.005
"""How long the folder is looked through before events are taken again."""

HELD_S = 0.05
"""How soon a frame is looked at whose earlier content waits to be durable."""


class Night:
    """One MAINDIR on its way from frames to rows.

    Parameters
    ----------
    maindir : Path
    settings : Settings
    pool : Executor
        Who measures and draws.
    slots : int
        How many tasks the pool works on at a time.
    wake : callable
        Called, from another thread, when a task has ended.
    once : bool
        Measure what is there, give up on what does not become ready, and redo frames whose
        settings or version differ.
    redo : iterable of str
        Frames to measure again, whatever is recorded.
    """

    def __init__(
        self,
        maindir: Path,
        settings: Settings,
        pool: Executor,
        slots: int,
        *,
        wake: Callable[[], None],
        once: bool = False,
        redo: Iterable[str] = (),
    ) -> None:
        self.settings = settings
        self.records = Records(maindir, group=settings.photometry.group)
        self.layout = self.records.layout
        self.outbox = Outbox(self.records)
        self.exclusions = Exclusions(self.records, settings)
        self.gallery = Gallery(self.records, settings, pool, wake)
        self.solutions = Solutions(self.records, settings, pool, wake)
        self.overview = Overview(self.records, settings, pool, wake)
        self.claims = Claims(self.records, self.exclusions, settings, once=once, redo=redo)
        self.backlog = Backlog(self.layout.reduced)
        self.sweep = Sweep(
            self.records, backlog=self.backlog, outbox=self.outbox, claims=self.claims,
            exclusions=self.exclusions, solutions=self.solutions, gallery=self.gallery,
        )  # fmt: skip
        self._crew = Crew(pool, slots, wake)
        self._once = once
        limits = Limits(
            short_s=ONCE_SHORT_S if once else settings.watch.short_timeout_s,
            lock_s=settings.watch.lock_timeout_s,
            give_up=once,
        )
        self._gate = Gate(self.records, settings, self.claims, self.exclusions, limits)
        self._fates = Fates(
            self.records, self.backlog, self.claims, self.exclusions, self.solutions, self.outbox,
            limits,
        )  # fmt: skip
        self._roster = Roster(
            settings, self.records, crew=self._crew, backlog=self.backlog, gate=self._gate,
            claims=self.claims, outbox=self.outbox, exclusions=self.exclusions,
            gallery=self.gallery, solutions=self.solutions, overview=self.overview, once=once,
        )  # fmt: skip
        self._slices = Slices()

    @property
    def candidates(self) -> Mapping[str, Candidate]:
        """The frames whose fate is not known yet, by name."""
        return self.backlog.all

    @property
    def n_left(self) -> int:
        """How many frames have no durable rows yet."""
        return len(self.backlog) + len(self.outbox)

    @property
    def warned(self) -> Mapping[str, int]:
        """How often each warning was given."""
        return self._fates.warned

    @property
    def ready(self) -> Sequence[Candidate]:
        """The frames that wait for nothing but a free worker."""
        return self.backlog.ready

    @property
    def measuring(self) -> list[str]:
        """The frames that workers are at."""
        return self._crew.frames

    @property
    def n_busy(self) -> int:
        """How many workers are at this night's frames and pictures."""
        return self._roster.n_busy

    def share(self, slots: int) -> None:
        """Use this many workers from now on, other nights being at the rest."""
        self._crew.slots = slots

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do until something new comes."""
        behind = self.exclusions.busy or self.solutions.busy or self.gallery.busy
        return not (self.n_left or behind or self.overview.busy or self._slices.busy)

    def begin(self) -> None:
        """Bring what lies on disk to agreement with the commit record and the file table.

        Raises
        ------
        OSError, RecordsError
            Nothing can be written.
        UsageError
            The file table cannot be read, so that nothing is known of what it leaves out; in the
            daemon it is waited for.
        """
        for line in self.records.recover():
            logger.info("%s", line)
        try:
            for name in self.exclusions.begin():
                self._add(name, time.monotonic(), live=False)
        except TableError as error:
            if self._once:
                raise UsageError(str(error)) from error

    def rescan(self) -> None:
        """Look through the whole folder at once, as :meth:`look_through` does.

        Raises
        ------
        OSError
            ``reduced/`` is not there.
        """
        finish(self.look_through())

    def look_through(self) -> Task:
        """Look through the whole folder in slices: whatever became of the events, all is found.

        Raises
        ------
        OSError
            ``reduced/`` is not there.
        """
        return self.sweep.look_through()

    def slowly(self, name: str, task: Task) -> None:
        """Have a task done in slices, between the steps of frames, unless it is under way."""
        self._slices.add(name, task)

    def does_slowly(self, name: str) -> bool:
        """Tell whether a task is under way."""
        return name in self._slices

    def give_up_slices(self) -> None:
        """Leave undone what is under way in slices: the folder is gone."""
        self._slices.clear()

    def find_missing_pictures(self) -> None:
        """Queue the source pictures that are not there, to be drawn when nothing else is due."""
        self.slowly("pictures", self.gallery.find_missing())

    def hint(self, name: str, at: float, *, settles: bool) -> None:
        """Take an event of one frame: where to look, and whether its writer is done."""
        self.backlog.hint(name, at, settles=settles)

    def step(self) -> float:
        """Do what can be done now.

        Returns
        -------
        float
            Seconds until the next step is wanted, unless something wakes the loop before.
        """
        try:
            self._advance()
        except (OSError, RecordsError) as error:
            # Nothing is lost: what was not recorded is found again by the next scan.
            self.outbox.refuse(str(error))
        if self._slices.busy:
            return 0.0
        dues = (self.backlog.next_due(), self.outbox.due, self.exclusions.due, self.solutions.due)
        return min(1.0, max(0.0, min(dues) - time.monotonic()))

    def _advance(self) -> None:
        for measured in self._crew.collect():
            self._fates.take(measured)
        self.gallery.collect()
        self.overview.collect()
        self._look()
        # Before anything is written: the workers need not wait for the disk.
        self._roster.dispatch()
        self._publish()
        for name in self.exclusions.step():
            self.claims.again(name)
            self._add(name, time.monotonic(), live=False)
        self.solutions.step()
        if self.solutions.expected:
            self.slowly("solutions", self.solutions.look())
        self._slices.advance(SLICE_S)
        self._roster.dispatch()

    def finish(self, patience_s: float) -> None:
        """Publish what is measured within ``patience_s``: the loop is about to end."""
        end = time.monotonic() + patience_s
        while len(self._crew) and time.monotonic() < end:
            for measured in self._crew.collect():
                self._fates.take(measured)
            time.sleep(0.01)
        self._publish(hurry=True)
        if not self.outbox.trouble:
            try:
                self.solutions.step()
                self.solutions.flush()
            except (OSError, RecordsError) as error:
                self.outbox.refuse(str(error))

    def failed(self) -> dict[str, str]:
        """List the frames that stand as failed, and why."""
        return {
            name: entry.reason
            for name, entry in self.records.entries().items()
            if entry.status == "failed" and (self.layout.reduced / name).exists()
        }

    # What is to be measured

    def _add(self, name: str, now: float, *, live: bool) -> None:
        self.backlog.add(name, now, live=live)

    # Ready or not

    def _look(self) -> None:
        """Look at the frames that are due, for as long as no other need wait for it."""
        now = time.monotonic()
        for one in self.backlog.due(now):
            if self.outbox.holds(one.name):
                one.due = now + HELD_S
                self.backlog.wait(one)
                continue
            try:
                self._look_at(one, now)
            except (OSError, RecordsError):
                one.due = now + 1.0
                self.backlog.wait(one)
                raise
            if time.monotonic() > now + TURN_S:
                return

    def _look_at(self, one: Candidate, now: float) -> None:
        verdict = self._gate.decide(one, now)
        if verdict is Verdict.GONE:
            self.backlog.drop(one)
        elif verdict is Verdict.FAILED:
            self._fates.settle(one, "failed", one.reason)
        elif verdict is Verdict.EXCLUDED:
            self._fates.settle(one, "excluded", one.reason)
        elif verdict is Verdict.READY:
            self.backlog.queue(one)
        elif verdict is Verdict.WAITING:
            self.backlog.wait(one)

    def _publish(self, *, hurry: bool = False) -> None:
        # With nothing left to measure there is nothing to wait for.
        for finished in self.outbox.publish(hurry=hurry or not len(self.backlog)):
            self.claims.redo.discard(finished.result.frame)
            if finished.outcome is not None and finished.result.status == "done":
                self.gallery.add(finished.result, finished.outcome)
