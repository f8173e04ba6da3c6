"""Whether a frame is ready to be measured, and if not, why not.

A close or a rename settles a frame; so does an unchanged size in two looks a second apart. A
settled frame is read by its header blocks alone: whole or short, free or locked.
"""

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from pipnick_watch.camera import Camera
from pipnick_watch.errors import FrameError, FrameNotReadyError
from pipnick_watch.outline import Outline, outline
from pipnick_watch.records.locks import probe_frame_lock
from pipnick_watch.watch.scan import Seen, see

__all__ = ["Candidate", "Limits", "Verdict", "check_lock", "look"]

SETTLE_S = 1.0
"""Time between two looks that must find the same size, when no event said that it is closed."""

LOCK_POLL_S = 0.05
"""How soon the release of a lock is noticed: it makes no event."""


class Verdict(Enum):
    """What a look at a frame found."""

    GONE = "gone"
    WAITING = "waiting"
    WHOLE = "whole"
    READY = "ready"
    EXCLUDED = "excluded"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a frame may stay short or locked, seconds.

    ``give_up`` says whether a lock held longer fails the frame or is only reported.
    """

    short_s: float
    lock_s: float
    give_up: bool


@dataclass(kw_only=True, eq=False, slots=True)
class Candidate:
    """A frame on its way to a worker.

    Attributes
    ----------
    name : str
        Path below ``reduced/``.
    reduced : Path
        That folder.
    live : bool
        It came while the watch stood: it goes before the backfill.
    first_seen : float
        Monotonic time, as all times here.
    hinted : bool
        An event came since the last look.
    hinted_at : float or None
        When an event said that its writer was done.
    seen, changed_at : Seen or None, float
        How the file looked, since when.
    settled_at : float or None
        When it was complete: the event's time, or the look that found it unchanged.
    outline : Outline or None
        Read once for each look of the file; only its names are kept once the file is whole.
    locked_since : float or None
    stuck : bool
        Its lock was reported.
    tries : int
        Failures of workers in a row.
    afresh : bool
        The rows of its older name are not to be had: it is measured.
    due : float
        When to look again.
    reason : str
        What it waits for.
    """

    name: str
    reduced: Path
    live: bool
    first_seen: float
    hinted: bool = False
    hinted_at: float | None = None
    seen: Seen | None = None
    changed_at: float = 0.0
    settled_at: float | None = None
    outline: Outline | None = None
    locked_since: float | None = None
    stuck: bool = False
    tries: int = 0
    afresh: bool = False
    due: float = 0.0
    reason: str = "new"

    @property
    def path(self) -> Path:
        """The file; made when it is asked for, as thousands may wait."""
        return self.reduced / self.name


def look(one: Candidate, now: float, camera: Camera, limits: Limits) -> Verdict:
    """Look whether the file is settled and whole; its lock is not asked for.

    The candidate's ``reason`` says what it waits for or why it failed, and ``due`` when to look
    again.
    """
    hinted, one.hinted_at, one.hinted = one.hinted_at, None, False
    seen = see(one.path)
    if seen is None:
        return Verdict.GONE
    if seen != one.seen:
        one.seen, one.changed_at = seen, now
        one.settled_at, one.outline, one.tries, one.afresh = None, None, 0, False
    if one.settled_at is None:
        if hinted is None and now - one.changed_at < SETTLE_S:
            return _wait(one, "growing", one.changed_at + SETTLE_S)
        one.settled_at = now if hinted is None else hinted
    if one.outline is None:
        try:
            one.outline = outline(one.path, camera)
        except FrameNotReadyError as error:
            one.reason = str(error)
            if now - one.changed_at >= limits.short_s:
                return Verdict.FAILED
            return _wait(one, one.reason, now + SETTLE_S)
        except FrameError as error:
            one.reason = str(error)
            return Verdict.FAILED
    if one.outline.complete:
        # Thousands may wait: what the headers say in full is read again by the worker.
        one.outline = replace(one.outline, values={}, parts=(), image=-1)
        return Verdict.WHOLE
    one.reason = one.outline.reason
    if now - one.changed_at >= limits.short_s:
        return Verdict.FAILED
    return _wait(one, one.reason, now + SETTLE_S)


def check_lock(one: Candidate, now: float, limits: Limits) -> Verdict:
    """Look whether anybody holds the lock of a whole frame."""
    lock = probe_frame_lock(one.path)
    if not lock.held:
        if one.locked_since is not None:
            # Its lock's release completed it.
            one.locked_since, one.stuck, one.settled_at = None, False, now
        return Verdict.READY
    if one.locked_since is None:
        one.locked_since = now
    one.reason = lock.reason
    held = now - one.locked_since
    if held >= limits.lock_s and limits.give_up:
        return Verdict.FAILED
    return _wait(one, lock.reason, now + max(LOCK_POLL_S, min(1.0, held / 500)))


def _wait(one: Candidate, reason: str, due: float) -> Verdict:
    one.reason, one.due = reason, due
    return Verdict.WAITING
