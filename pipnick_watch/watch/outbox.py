"""What has been measured and waits to be durable; a disk that refuses delays it, no more."""

import errno
import logging
import time
from dataclasses import dataclass

from pipnick_watch.errors import RecordsError
from pipnick_watch.records import FrameResult, Records
from pipnick_watch.watch.jobs import Outcome

__all__ = ["Finished", "Outbox"]

logger = logging.getLogger(__name__)

RETRY_S = (1.0, 2.0, 5.0, 10.0)
"""Pauses between attempts while nothing can be written."""

NOT_WRITTEN = "nothing can be written"

TURN_S = 0.5
"""The loop must come round in spite of thousands of frames that are excluded at once."""

ITS_OWN = {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
"""Errors that may strike one path alone; all others are the disk's."""

BATCH_BYTES = 64 * 1024**2
"""Outcomes that wait to be published together are never more than so much."""

DRAWING_BYTES = 1024**2
"""What the pixels of a picture that is still to be drawn come to."""

SHARE = 10.0
"""Frames are measured for so many times as long as remaking an object's CSV took, before it is
remade for them together: however long the CSV grows, that costs a tenth of the time at most."""

LONGEST_S = 60.0
"""A frame that was measured again waits no longer for others."""

MANY = 8
"""So many frames set aside are no longer each one's own trouble."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """A frame whose fate is known.

    Attributes
    ----------
    result : FrameResult
    since : float
        Monotonic time at which the frame was complete.
    force : bool
        Publish it even if the same content is recorded already.
    outcome : Outcome or None
        What the worker gave, where one worked.
    """

    result: FrameResult
    since: float
    force: bool = False
    outcome: Outcome | None = None


@dataclass(frozen=True, kw_only=True)
class _Aside:
    reason: str
    since: float
    retry_at: float


def _size(one: Finished) -> int:
    """Estimate the memory that a frame takes which waits, bytes."""
    drawing = one.outcome is not None and one.outcome.drawing is not None
    texts = len(one.result.catalogue) + len(one.result.consolidated or "")
    return texts + (DRAWING_BYTES if drawing else 0)


class Outbox:
    """Publishes in order, and holds back while the disk is full or failing.

    What stands against one frame alone, a folder where its catalogue should be, say, sets this
    frame aside and holds up no other.

    Attributes
    ----------
    trouble : str
        Why nothing can be written; empty while all is well.
    counts : dict of str to int
        Frames that were published by status, and their ``sources``.
    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self.trouble = ""
        self.counts = {"done": 0, "failed": 0, "excluded": 0, "sources": 0}
        self._waiting: dict[str, Finished] = {}
        self._aside: dict[str, _Aside] = {}
        self._told = ""
        self._retry_at = 0.0
        self._attempts = 0
        self._trouble_since = 0.0
        self._together: dict[str, int] = {}
        self._together_at = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, finished: Finished) -> None:
        """Take a frame whose fate is known."""
        frame = finished.result.frame
        self._waiting[frame] = finished
        if frame not in self._aside and self._remakes(finished):
            self._together[frame] = _size(finished)

    def holds(self, frame: str) -> bool:
        """Whether this frame's fate is known and not durable yet."""
        return frame in self._waiting

    @property
    def aside(self) -> dict[str, str]:
        """Frames whose outcome cannot be written, though others' can, and why."""
        return {frame: one.reason for frame, one in self._aside.items()}

    @property
    def due(self) -> float:
        """Monotonic time at which to publish again; infinite when nothing waits."""
        if not self._waiting:
            return self._retry_at if self.trouble else float("inf")
        if len(self._waiting) > len(self._aside) + len(self._together):
            return self._retry_at
        dues = [one.retry_at for one in self._aside.values()]
        return max(self._retry_at, min(dues + [self._together_at] * bool(self._together)))

    def publish(self, *, hurry: bool = True) -> list[Finished]:
        """Make durable what can be in half a second; gives what was published.

        Parameters
        ----------
        hurry : bool
            Frames that were measured again are published too; else some may wait for others, so
            that their object's CSV is remade for all of them at once.
        """
        published = self._publish_together(hurry=hurry)
        end = time.monotonic() + TURN_S
        if not self._waiting and end - TURN_S >= self._retry_at:
            self.trouble = ""  # nothing is at hand to try it with: the next write will tell
        for frame, one in list(self._waiting.items()):
            now = time.monotonic()
            if now < self._retry_at or now > end:
                break
            if frame in self._together:
                continue
            if frame in self._aside and now < self._aside[frame].retry_at:
                continue
            try:
                new = self._write(one)
            except (OSError, RecordsError) as error:
                if not self._set_aside(frame, error):
                    self.refuse(str(error))
                    break
                continue
            self._settle(one, new=new)
            published.append(one)
        return published

    def _settle(self, one: Finished, *, new: bool) -> None:
        """Be done with a frame that is durable."""
        frame = one.result.frame
        del self._waiting[frame]
        self._aside.pop(frame, None)
        self._together.pop(frame, None)
        self.recover()
        if new:
            self._report(one)

    def _remakes(self, one: Finished) -> bool:
        """Tell whether a frame's rows stand in its object's CSV already, to be replaced."""
        before = self.records.entry(one.result.frame)
        return before is not None and before.listed and one.result.status == "done"

    def _publish_together(self, *, hurry: bool) -> list[Finished]:
        """Publish the frames that were measured again, if it is time; gives those published."""
        now = time.monotonic()
        full = sum(self._together.values()) >= BATCH_BYTES
        if not self._together or now < self._retry_at:
            return []
        if not (hurry or full or now >= self._together_at):
            return []
        published: list[Finished] = []
        batch = [self._waiting[frame] for frame in self._together]
        for force in {one.force for one in batch}:
            some = [one for one in batch if one.force is force]
            try:
                told = self.records.publish_many(
                    [(one.result, one.since) for one in some], force=force
                )
            except (OSError, RecordsError) as error:
                if isinstance(error, OSError) and error.errno in ITS_OWN:
                    self._together.clear()  # one by one it shows whose trouble it is
                else:
                    self.refuse(str(error))
                return published
            for one, new in zip(some, told, strict=True):
                if new:
                    self._settle(one, new=True)
                    published.append(one)
                else:
                    del self._together[one.result.frame]  # alone, it may only have to be touched
        seconds = time.monotonic() - now
        self._together_at = now + seconds + min(LONGEST_S, SHARE * seconds)
        return published

    def _write(self, one: Finished) -> bool:
        result = one.result
        new = self.records.publish(result, since=one.since, force=one.force)
        size, mtime_ns = result.facts.get("size"), result.facts.get("mtime_ns")
        if not new and isinstance(size, int) and isinstance(mtime_ns, int):
            # The same is recorded already, maybe of a file that looked otherwise.
            self.records.touch(result.frame, size, mtime_ns)
        return new

    def _set_aside(self, frame: str, error: OSError | RecordsError) -> bool:
        """Put off a frame that alone is refused; False when the trouble is everybody's."""
        if not isinstance(error, OSError) or error.errno not in ITS_OWN:
            return False
        known = self._aside.get(frame)
        if known is None and len(self._aside) >= MANY:
            return False
        now = time.monotonic()
        if known is None or known.reason != str(error):
            logger.error("%s: cannot be recorded, tried again later: %s", frame, error)
        since = now if known is None else known.since
        self._aside[frame] = _Aside(reason=str(error), since=since, retry_at=now + RETRY_S[-1])
        return True

    def refuse(self, reason: str, what: str = NOT_WRITTEN) -> None:
        """Note that the disk, or the system, refuses: say so once, wait, charge nobody."""
        if not self._told:
            self._trouble_since = time.monotonic()
        if self._told != reason:
            self._told = reason
            logger.error("%s, waiting: %s", what, reason)
        self.trouble = f"{what}: {reason}"
        self._retry_at = time.monotonic() + RETRY_S[min(self._attempts, len(RETRY_S) - 1)]
        self._attempts += 1

    def recover(self) -> None:
        """Note that writing works."""
        if self._told:
            logger.warning("it works again")
        self.trouble, self._told, self._attempts, self._retry_at = "", "", 0, 0.0

    def give_up_after(self, seconds: float) -> None:
        """Stop waiting for a disk that has refused for so long.

        Raises
        ------
        RecordsError
            It has.
        """
        now = time.monotonic()
        if self.trouble and now - self._trouble_since > seconds:
            raise RecordsError(self.trouble)
        if len(self._aside) == len(self._waiting):
            for frame, one in self._aside.items():
                if now - one.since > seconds:
                    raise RecordsError(f"{frame}: cannot be recorded: {one.reason}")

    def summarise(self, seconds: float) -> None:
        """Say what was published, in one line."""
        counts = self.counts
        logger.info(
            "%d frames done, %d failed, %d excluded; %d sources; %.1f s",
            counts["done"], counts["failed"], counts["excluded"], counts["sources"], seconds,
        )  # fmt: skip

    def _report(self, one: Finished) -> None:
        """One line for each frame, with the numbers that an observer wants."""
        result, facts = one.result, one.result.facts
        self.counts[result.status] += 1
        if result.status == "failed":
            logger.warning("%s: failed: %s", result.frame, result.reason)
        elif result.status == "excluded" and "fwhm" not in facts:
            logger.info("%s: excluded: %s", result.frame, result.reason)
        else:
            self.counts["sources"] += int(facts["n_sources"]) if result.status == "done" else 0
            logger.info(
                "%s: %s %s%s, %s sources, FWHM %.2f px, sky %.0f e-, rows %.2f s after the frame",
                result.frame, result.object, result.filter,
                f" ({result.reason})" if result.reason else "",
                facts["n_sources"], facts["fwhm"], facts["sky"], time.monotonic() - one.since,
            )  # fmt: skip
