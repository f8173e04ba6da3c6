"""What becomes of a frame that was measured, could not be, or is not to be."""

import dataclasses
import logging
import time
from collections import Counter

from pipnick_watch.errors import RecordsError
from pipnick_watch.records import FrameResult, Records, probe_frame_lock
from pipnick_watch.records.result import Status
from pipnick_watch.watch.backlog import Backlog
from pipnick_watch.watch.claims import SAME_FRAME, Claims
from pipnick_watch.watch.crew import Measured
from pipnick_watch.watch.exclusions import Exclusions
from pipnick_watch.watch.jobs import Outcome
from pipnick_watch.watch.outbox import Finished, Outbox
from pipnick_watch.watch.ready import Candidate, Limits
from pipnick_watch.watch.solutions import Solutions

__all__ = ["Fates"]

logger = logging.getLogger(__name__)

MAX_TRIES = 3


class Fates:
    """Turns what workers and looks found into outcomes to be recorded, or into another look.

    Parameters
    ----------
    records : Records
    backlog : Backlog
    claims : Claims
    exclusions : Exclusions
    solutions : Solutions
    outbox : Outbox
    limits : Limits

    Attributes
    ----------
    warned : Counter of str
        How often each warning was given.
    """

    def __init__(
        self,
        records: Records,
        backlog: Backlog,
        claims: Claims,
        exclusions: Exclusions,
        solutions: Solutions,
        outbox: Outbox,
        limits: Limits,
    ) -> None:
        self.records = records
        self.backlog = backlog
        self.claims = claims
        self.exclusions = exclusions
        self.solutions = solutions
        self.outbox = outbox
        self.limits = limits
        self.warned: Counter[str] = Counter()

    def take(self, measured: Measured) -> None:
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
        self._accept(measured, outcome)

    def _accept(self, measured: Measured, outcome: Outcome) -> None:
        """Have recorded what a worker found."""
        one = measured.candidate
        assert one.outline is not None
        first = self.claims.first_of(one.name)
        beside = SAME_FRAME + first if first != one.name else ""
        excluded = beside or self.exclusions.why(one.name, one.outline)
        if excluded:  # while it was measured
            self.settle(one, "excluded", excluded)
            return
        if outcome.kind == "same":
            if outcome.sha256 == self.claims.own_hash(one.name):
                self._touch(one, outcome)
                return
            result = self.records.taken_over(one.name, outcome.sha256, self.claims.fingerprint)
            if result is None:
                one.afresh = True
                self.backlog.wait(one)
                return
            about = {"size": outcome.size, "mtime_ns": outcome.mtime_ns}
            facts = {**result.facts, **about, "measure_s": outcome.seconds}
            result = dataclasses.replace(result, facts=facts)
            logger.info("%s: was renamed; its rows move with it", one.name)
            self.solutions.expect()  # its new name's may be there already
        else:
            assert outcome.result is not None
            result = outcome.result
        self.claims.deal_with(one.name, one.seen)
        self.backlog.drop(one)
        if outcome.refused:
            self.solutions.refuse(one.name, outcome.refused)
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

    def _touch(self, one: Candidate, outcome: Outcome) -> None:
        """Note that a file's time has changed, and its content has not."""
        self.claims.deal_with(one.name, one.seen)
        self.backlog.drop(one)
        try:
            self.records.touch(one.name, outcome.size, outcome.mtime_ns)
        except (OSError, RecordsError) as error:
            self.outbox.refuse(str(error))  # the next scan finds its time changed once more

    def _put_off(self, one: Candidate, reason: str) -> None:
        """Look again at a frame that its worker could not read, unless that lasts."""
        now = time.monotonic()
        one.reason, unchanged_s = reason, now - one.changed_at
        if unchanged_s >= self.limits.short_s and not probe_frame_lock(one.path).held:
            self.settle(one, "failed", reason)
            return
        one.due = now + (0.1 if unchanged_s < 10.0 else 1.0)
        self.backlog.wait(one)

    def _strike(self, one: Candidate, reason: str) -> None:
        """Charge a try: three in a row fail the frame until its content changes."""
        one.tries += 1
        logger.warning("%s: try %d of %d: %s", one.name, one.tries, MAX_TRIES, reason)
        if one.tries >= MAX_TRIES:
            self.settle(one, "failed", f"{reason} ({MAX_TRIES} tries)")
        else:
            one.due = time.monotonic() + 0.5 * one.tries
            self.backlog.wait(one)

    def settle(self, one: Candidate, status: Status, reason: str) -> None:
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
