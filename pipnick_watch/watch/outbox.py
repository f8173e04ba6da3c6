"""What has been measured and waits to be durable; a disk that refuses delays it, no more."""

import logging
import time
from collections import deque
from dataclasses import dataclass

from pipnick_watch.errors import RecordsError
from pipnick_watch.records import FrameResult, Records
from pipnick_watch.watch.jobs import Outcome

__all__ = ["Finished", "Outbox"]

logger = logging.getLogger(__name__)

RETRY_S = (1.0, 2.0, 5.0, 10.0)
"""Pauses between attempts while nothing can be written."""


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


class Outbox:
    """Publishes in order, and holds back while the disk is full or failing.

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
        self._waiting: deque[Finished] = deque()
        self._retry_at = 0.0
        self._attempts = 0
        self._trouble_since = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, finished: Finished) -> None:
        """Take a frame whose fate is known."""
        self._waiting.append(finished)

    def holds(self, frame: str) -> bool:
        """Whether this frame's fate is known and not durable yet."""
        return any(one.result.frame == frame for one in self._waiting)

    @property
    def due(self) -> float:
        """Monotonic time at which to publish again; infinite when nothing waits."""
        return self._retry_at if self._waiting else float("inf")

    def publish(self) -> list[Finished]:
        """Make durable what can be; gives what was published."""
        published: list[Finished] = []
        while self._waiting and time.monotonic() >= self._retry_at:
            one = self._waiting[0]
            try:
                new = self.records.publish(one.result, since=one.since, force=one.force)
            except (OSError, RecordsError) as error:
                self.refuse(str(error))
                break
            self._waiting.popleft()
            self.recover()
            published.append(one)
            if new:
                self._report(one)
        return published

    def refuse(self, reason: str) -> None:
        """Note that nothing can be written: say so once, wait, charge nobody."""
        if not self.trouble:
            self._trouble_since = time.monotonic()
        if self.trouble != reason:
            logger.error("nothing can be written, waiting: %s", reason)
        self.trouble = reason
        self._retry_at = time.monotonic() + RETRY_S[min(self._attempts, len(RETRY_S) - 1)]
        self._attempts += 1

    def recover(self) -> None:
        """Note that writing works."""
        if self.trouble:
            logger.warning("writing works again")
        self.trouble, self._attempts, self._retry_at = "", 0, 0.0

    def give_up_after(self, seconds: float) -> None:
        """Stop waiting for a disk that has refused for so long.

        Raises
        ------
        RecordsError
            It has.
        """
        if self.trouble and time.monotonic() - self._trouble_since > seconds:
            raise RecordsError(f"nothing can be written: {self.trouble}")

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
