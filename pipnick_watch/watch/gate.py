"""Which frames may be measured now: whole, wanted, not left out, and not locked."""

import logging
from pathlib import Path

from pipnick_watch.records import Records
from pipnick_watch.settings import Settings
from pipnick_watch.watch.claims import SAME_FRAME, Claims
from pipnick_watch.watch.exclusions import Exclusions
from pipnick_watch.watch.options import is_focus
from pipnick_watch.watch.ready import Candidate, Limits, Verdict, check_lock, look

__all__ = ["Gate"]

logger = logging.getLogger(__name__)


class Gate:
    """Looks at the frames of one MAINDIR and decides what each of them waits for.

    Parameters
    ----------
    records : Records
    settings : Settings
    claims : Claims
    exclusions : Exclusions
    limits : Limits
    """

    def __init__(
        self,
        records: Records,
        settings: Settings,
        claims: Claims,
        exclusions: Exclusions,
        limits: Limits,
    ) -> None:
        self.records = records
        self.settings = settings
        self.claims = claims
        self.exclusions = exclusions
        self.limits = limits

    def decide(self, one: Candidate, now: float) -> Verdict:
        """Look at a frame; its ``reason`` says what stands against it.

        Raises
        ------
        OSError
            The records cannot be read.
        """
        verdict = look(one, now, self.settings.camera, self.limits)
        return self._whole(one, now) if verdict is Verdict.WHOLE else verdict

    def _whole(self, one: Candidate, now: float) -> Verdict:
        """Decide about a frame that is all there."""
        assert one.seen is not None
        assert one.outline is not None
        if not self.claims.wanted(one.name, one.seen, self.records.entry(one.name)):
            return Verdict.GONE
        first = self.claims.first_of(one.name)
        if first != one.name:
            one.reason = SAME_FRAME + first
            return Verdict.EXCLUDED
        reason = self.exclusions.why(one.name, one.outline)
        excluded = bool(reason) or is_focus(one.outline.object)
        self.exclusions.register(one.name, one.outline, excluded=excluded)
        if reason:
            one.reason = reason
            return Verdict.EXCLUDED
        verdict = check_lock(one, now, self.limits)
        if verdict is Verdict.WAITING:
            self._report_stuck(one, now)
        elif verdict is Verdict.READY and self._solution_awaited(one, now):
            return Verdict.WAITING
        return verdict

    def _report_stuck(self, one: Candidate, now: float) -> None:
        assert one.locked_since is not None
        if not one.stuck and now - one.locked_since >= self.limits.lock_s:
            one.stuck = True
            logger.warning("%s: its lock seems stuck: %s", one.name, one.reason)

    def _solution_awaited(self, one: Candidate, now: float) -> bool:
        assert one.settled_at is not None
        limit = one.settled_at + self.settings.watch.wait_for_solution_s
        if now >= limit or self.solution(one) is not None:
            return False
        one.reason, one.due = "waiting for its astrometric solution", min(limit, now + 0.5)
        return True

    def solution(self, one: Candidate) -> Path | None:
        """Find the astrometric solution of a frame, where there is one."""
        assert one.outline is not None
        path = self.records.layout.solution(one.name, one.outline.object, one.outline.filter)
        return path if path.is_file() else None
