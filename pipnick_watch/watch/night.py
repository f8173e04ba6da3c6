"""The flow of one MAINDIR: from a path that was seen to rows that are durable.

One thread owns everything here. Each :meth:`Night.step` does what can be done now and says when
it wants to be called again; the daemon and ``--once`` are two loops around it.
"""

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path

from pipnick_watch.errors import RecordsError, UsageError
from pipnick_watch.records import FrameResult, Records, TableError, probe_frame_lock
from pipnick_watch.records.result import Status
from pipnick_watch.settings import Settings
from pipnick_watch.watch.backlog import Backlog
from pipnick_watch.watch.claims import Claims
from pipnick_watch.watch.crew import Crew, Measured
from pipnick_watch.watch.exclusions import Exclusions, is_focus
from pipnick_watch.watch.gallery import Gallery
from pipnick_watch.watch.jobs import Job
from pipnick_watch.watch.outbox import Finished, Outbox
from pipnick_watch.watch.overview import Overview
from pipnick_watch.watch.ready import Candidate, Limits, Verdict, check_lock, look
from pipnick_watch.watch.scan import scan
from pipnick_watch.watch.solutions import Solutions

__all__ = ["Night"]

logger = logging.getLogger(__name__)

MAX_TRIES = 3
ONCE_SHORT_S = 10.0
"""How long ``--once`` waits for a short frame to grow."""

TURN_S = 0.02
"""How long frames are looked at before finished ones are published."""

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
        self.backlog = Backlog()
        self.warned: Counter[str] = Counter()
        self.n_folders = 1
        self.n_frames = 0
        self._crew = Crew(pool, slots, wake)
        self._once = once
        self._limits = Limits(
            short_s=ONCE_SHORT_S if once else settings.watch.short_timeout_s,
            lock_s=settings.watch.lock_timeout_s,
            give_up=once,
        )
        self._ignored: set[str] = set()
        self._scanned = False

    @property
    def candidates(self) -> Mapping[str, Candidate]:
        """The frames whose fate is not known yet, by name."""
        return self.backlog.all

    @property
    def n_left(self) -> int:
        """How many frames have no durable rows yet."""
        return len(self.backlog) + len(self.outbox)

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
        behind = self.gallery.n_drawing + self.solutions.n_placing + self.overview.n_making
        return len(self._crew) + behind

    def share(self, slots: int) -> None:
        """Use this many workers from now on, other nights being at the rest."""
        self._crew.slots = slots

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do until something new comes."""
        behind = self.exclusions.busy or self.solutions.busy or self.gallery.busy
        return not (self.n_left or behind or self.overview.busy)

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
        """Look through the whole folder: whatever became of the events, nothing is missed.

        Raises
        ------
        OSError
            ``reduced/`` is not there.
        """
        listing = scan(self.layout.reduced)
        self.n_folders = listing.n_folders
        self.n_frames = len(listing.frames)
        for name in listing.ignored.keys() - self._ignored:
            logger.warning("%s: ignored: %s", name, listing.ignored[name])
        self._ignored = set(listing.ignored)
        self.claims.note(listing.frames)
        now = time.monotonic()
        entries = self.records.entries()
        lifted: list[str] = []
        for name, seen in listing.frames.items():
            busy = name in self.backlog or self.outbox.holds(name)
            entry = entries.get(name)
            if busy or not self.claims.wanted(name, seen, entry):
                continue
            if entry is not None and self.claims.only_lifted(seen, entry):
                lifted.append(name)
            else:
                self._add(name, now, live=self._scanned)
        self._take_back(lifted)
        self.exclusions.check()
        self.solutions.check()
        if not self._scanned:
            self.find_missing_pictures()
        self._scanned = True

    def _take_back(self, names: list[str]) -> None:
        """Have what is excluded no longer as it was measured; the rest is looked at."""
        try:
            look = self.exclusions.take_back(names) if names else []
        except (OSError, RecordsError) as error:
            self.outbox.refuse(str(error))  # the next scan finds them again
            return
        for name in look:
            self._add(name, time.monotonic(), live=self._scanned)

    def find_missing_pictures(self) -> None:
        """Queue the source pictures that are not there, to be drawn when nothing else is due."""
        self.gallery.find_missing()

    def hint(self, name: str, at: float, *, settles: bool) -> None:
        """Take an event of one frame: where to look, and whether its writer is done."""
        self.backlog.hint(self._add(name, at, live=True), at, settles=settles)

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
        dues = (self.backlog.next_due(), self.outbox.due, self.exclusions.due, self.solutions.due)
        return min(1.0, max(0.0, min(dues) - time.monotonic()))

    def _advance(self) -> None:
        for measured in self._crew.collect():
            self._take(measured)
        self.gallery.collect()
        self.overview.collect()
        self._look()
        # Before anything is written: the workers need not wait for the disk.
        self._dispatch()
        self._publish()
        for name in self.exclusions.step():
            self.claims.again(name)
            self._add(name, time.monotonic(), live=False)
        self.solutions.step()
        self._dispatch()

    def finish(self, patience_s: float) -> None:
        """Publish what is measured within ``patience_s``: the loop is about to end."""
        end = time.monotonic() + patience_s
        while len(self._crew) and time.monotonic() < end:
            for measured in self._crew.collect():
                self._take(measured)
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

    def _add(self, name: str, now: float, *, live: bool) -> Candidate:
        return self.backlog.add(name, self.layout.reduced / name, now, live=live)

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
        verdict = look(one, now, self.settings.camera, self._limits)
        if verdict is Verdict.WHOLE:
            verdict = self._whole(one, now)
        if verdict is Verdict.GONE:
            self.backlog.drop(one)
        elif verdict is Verdict.FAILED:
            self._settle(one, "failed", one.reason)
        elif verdict is Verdict.READY:
            self.backlog.queue(one)
        elif verdict is Verdict.WAITING:
            self.backlog.wait(one)

    def _whole(self, one: Candidate, now: float) -> Verdict:
        """Decide about a frame that is all there."""
        assert one.seen is not None
        assert one.outline is not None
        if not self.claims.wanted(one.name, one.seen, self.records.entry(one.name)):
            return Verdict.GONE
        first = self.claims.first_of(one.name)
        if first != one.name:
            self._settle(one, "excluded", f"same frame as {first}")
            return Verdict.EXCLUDED
        reason = self.exclusions.why(one.name, one.outline)
        excluded = bool(reason) or is_focus(one.outline.object)
        self.exclusions.register(one.name, one.outline, excluded=excluded)
        if reason:
            self._settle(one, "excluded", reason)
            return Verdict.EXCLUDED
        verdict = check_lock(one, now, self._limits)
        if verdict is Verdict.WAITING:
            self._report_stuck(one, now)
        elif verdict is Verdict.READY and self._solution_awaited(one, now):
            return Verdict.WAITING
        return verdict

    def _report_stuck(self, one: Candidate, now: float) -> None:
        assert one.locked_since is not None
        if not one.stuck and now - one.locked_since >= self._limits.lock_s:
            one.stuck = True
            logger.warning("%s: its lock seems stuck: %s", one.name, one.reason)

    def _solution_awaited(self, one: Candidate, now: float) -> bool:
        assert one.settled_at is not None
        limit = one.settled_at + self.settings.watch.wait_for_solution_s
        if now >= limit or self._solution(one) is not None:
            return False
        one.reason, one.due = "waiting for its astrometric solution", min(limit, now + 0.5)
        return True

    def _solution(self, one: Candidate) -> Path | None:
        assert one.outline is not None
        path = self.layout.solution(one.name, one.outline.object, one.outline.filter)
        return path if path.is_file() else None

    # Who measures

    def _dispatch(self) -> None:
        """Give work to free workers: live frames, pictures that pile up, then the rest."""
        while self.n_busy < self._crew.slots:
            if self.outbox.trouble:
                return
            one = self.backlog.first(live=True)
            if one is None and self.solutions.start_one():
                continue
            if one is None and self.gallery.piled_up and self._draw_one():
                continue
            if one is None and self.overview.overdue():
                continue
            one = one or self.backlog.first(live=False)
            if one is not None:
                self._crew.measure(one, self._job(one))
                self.backlog.take(one)
            elif not (self._draw_one() or self._make_overview()):
                return

    def _make_overview(self) -> bool:
        """Have the light curves and the page made; ``--once`` does that last."""
        if self._once:
            left = self.n_left or self.exclusions.busy or self.gallery.busy
            return not left and self.overview.start(hurry=True)
        # the page links the pictures that are there
        return not self.gallery.busy and self.overview.start(hurry=False)

    def _draw_one(self) -> bool:
        """Have a picture drawn, unless that leaves no worker for the frame that may come next."""
        spare = self._crew.slots - self.gallery.n_drawing
        return (spare > 1 or self._crew.slots == 1 or self._once) and self.gallery.draw_one()

    def _job(self, one: Candidate) -> Job:
        return Job(
            path=one.path,
            name=one.name,
            settings=self.settings,
            # a broken solution can kill the worker: the frame must not fail for it
            solution=None if one.tries else self._solution(one),
            known_sha256=self.claims.known_hash(one.name, self.records.entry(one.name)),
        )

    def _take(self, measured: Measured) -> None:
        """Decide about a frame that a worker is done with."""
        one, outcome = measured.candidate, measured.outcome
        if measured.innocent:
            self.outbox.refuse(measured.error, "no worker can be started")
            one.due = time.monotonic() + 1.0
            self.backlog.wait(one)
            return
        if outcome is None:
            self._strike(one, measured.error)
            return
        one.tries = 0
        if outcome.kind == "not ready":
            self._put_off(one, outcome.reason)
            return
        self.warned.update((*outcome.warnings, *outcome.advice))
        for line in outcome.advice:
            logger.warning("%s: %s", one.name, line)
        for line in outcome.warnings:
            logger.debug("%s: %s", one.name, line)
        assert one.outline is not None
        excluded = self.exclusions.why(one.name, one.outline)
        if excluded:  # while it was measured
            self._settle(one, "excluded", excluded)
            return
        self.claims.deal_with(one.name, one.seen)
        self.backlog.drop(one)
        if outcome.kind == "same":
            try:
                self.records.touch(one.name, outcome.size, outcome.mtime_ns)
            except (OSError, RecordsError) as error:
                self.outbox.refuse(str(error))  # the next scan finds its time changed once more
            return
        assert outcome.result is not None
        if outcome.refused:
            self.solutions.refuse(one.name, outcome.refused)
        result = outcome.result
        logger.debug("%s: %s: %s", one.name, result.status, result.facts)
        if result.status == "done":
            result = dataclasses.replace(result, reason=self.exclusions.kept_out(one.name))
        self.outbox.add(
            Finished(
                result=self._completed(one, result, measured.wait_s),
                since=measured.since,
                force=one.name in self.claims.redo,
                outcome=outcome,
            )
        )

    def _put_off(self, one: Candidate, reason: str) -> None:
        """Look again at a frame that its worker could not read, unless that lasts."""
        now = time.monotonic()
        one.reason, unchanged_s = reason, now - one.changed_at
        if unchanged_s >= self._limits.short_s and not probe_frame_lock(one.path).held:
            self._settle(one, "failed", reason)
            return
        one.due = now + (0.1 if unchanged_s < 10.0 else 1.0)
        self.backlog.wait(one)

    def _strike(self, one: Candidate, reason: str) -> None:
        """Charge a try: three in a row fail the frame until its content changes."""
        one.tries += 1
        logger.warning("%s: try %d of %d: %s", one.name, one.tries, MAX_TRIES, reason)
        if one.tries >= MAX_TRIES:
            self._settle(one, "failed", f"{reason} ({MAX_TRIES} tries)")
        else:
            one.due = time.monotonic() + 0.5 * one.tries
            self.backlog.wait(one)

    # What is written

    def _settle(self, one: Candidate, status: Status, reason: str) -> None:
        """Record a frame that is not measured."""
        self.claims.deal_with(one.name, one.seen)
        self.backlog.drop(one)
        known = one.outline
        result = FrameResult(
            frame=one.name,
            object="UNKNOWN" if known is None else known.object,
            filter="UNKNOWN" if known is None else known.filter,
            status=status,
            reason=reason,
        )
        since = time.monotonic() if one.settled_at is None else one.settled_at
        wait_s = max(0.0, since - one.first_seen)
        self.outbox.add(Finished(result=self._completed(one, result, wait_s), since=since))

    def _completed(self, one: Candidate, result: FrameResult, wait_s: float) -> FrameResult:
        """Add what only the watch knows."""
        facts: dict[str, float | int | str] = {
            "wait_s": wait_s,
            "settings": self.claims.fingerprint,
        }
        if one.seen is not None:
            facts |= {"size": one.seen.size, "mtime_ns": one.seen.mtime_ns}
        if one.outline is not None and result.status == "failed":
            result = dataclasses.replace(
                result, object=one.outline.object, filter=one.outline.filter
            )
        return dataclasses.replace(result, facts={**facts, **result.facts})

    def _publish(self, *, hurry: bool = False) -> None:
        # With nothing left to measure there is nothing to wait for.
        for finished in self.outbox.publish(hurry=hurry or not len(self.backlog)):
            self.claims.redo.discard(finished.result.frame)
            if finished.outcome is not None and finished.result.status == "done":
                self.gallery.add(finished.result, finished.outcome)
