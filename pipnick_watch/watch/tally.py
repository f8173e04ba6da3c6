"""What a night has come to so far: counts, how long frames took, seeing and sky."""

import math
import statistics
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipnick_watch.records import Entry, Records
from pipnick_watch.watch.status import percentile

__all__ = ["BUCKETS_S", "Tally"]

BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the histogram of latencies."""

FAILED_TOLD = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class _Numbers:
    entry: Entry
    latency_s: float
    fwhm: float
    sky: float
    recorded_at: str


class Tally:
    """The numbers of one MAINDIR, taken from its night log; only new rows are looked into.

    Parameters
    ----------
    records : Records
    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self._known: dict[str, _Numbers] = {}
        self._last: _Numbers | None = None
        self._latencies: list[float] = []

    def refresh(self) -> bool:
        """Take in what was recorded since the last time; tell whether there was anything."""
        entries = self.records.entries()
        news = [
            entry
            for frame, entry in entries.items()
            if (known := self._known.get(frame)) is None or known.entry is not entry
        ]
        if not news and len(entries) == len(self._known):
            return False
        if len(entries) < len(self._known):  # the night log was made anew
            self._known.clear()
            news = list(entries.values())
        for entry in news:
            self._known[entry.frame] = _numbers(entry)
        self._last = max(
            self._known.values(), key=lambda numbers: numbers.recorded_at, default=None
        )
        self._latencies = sorted(self._of_done("latency_s"))
        return True

    def frames(self) -> dict[str, int]:
        """Count the frames by status."""
        counts = Counter(numbers.entry.status for numbers in self._known.values())
        return {status: counts[status] for status in ("done", "failed", "excluded")}

    def failed(self) -> list[dict[str, str]]:
        """List the frames that failed last, the latest first, and why."""
        failed = [one for one in self._known.values() if one.entry.status == "failed"]
        failed.sort(key=lambda numbers: numbers.recorded_at, reverse=True)
        return [
            {"frame": one.entry.frame, "reason": one.entry.reason} for one in failed[:FAILED_TOLD]
        ]

    def last(self) -> dict[str, Any]:
        """Describe the frame that was recorded last."""
        if self._last is None:
            return {}
        return {
            "frame": self._last.entry.frame,
            "status": self._last.entry.status,
            "latency_s": self._last.latency_s,
            "recorded_at": self._last.recorded_at,
        }

    def latency(self) -> dict[str, Any]:
        """Sum up how long the done frames took from their completion to durable rows, seconds."""
        found = self._latencies
        return {
            "n": len(found),
            "p50": percentile(found, 0.5),
            "p95": percentile(found, 0.95),
            "sum": round(math.fsum(found), 3),
            "buckets": {f"{bound:g}": bisect_right(found, bound) for bound in BUCKETS_S},
        }

    def summary(self, warned: Mapping[str, int]) -> list[str]:
        """Write the night in a few lines: frames, seeing, sky, latency, and what was warned of.

        Parameters
        ----------
        warned : mapping
            How often each warning was given.
        """
        counts, latency = self.frames(), self.latency()
        line = f"{counts['done']} done, {counts['failed']} failed, {counts['excluded']} excluded"
        if fwhm := list(self._of_done("fwhm")):
            line += f"; median FWHM {statistics.median(fwhm):.2f} px"
        if sky := list(self._of_done("sky")):
            line += f", sky {statistics.median(sky):.0f} e-"
        if latency["n"]:
            line += f"; latency p50 {latency['p50']:.2f} s, p95 {latency['p95']:.2f} s"
        most = sorted(warned.items(), key=lambda item: -item[1])
        return [
            f"the night so far: {line}",
            *(f"  failed: {one['frame']}: {one['reason']}" for one in self.failed()),
            *(f"  {number} × {text}" for text, number in most[:FAILED_TOLD]),
        ]

    def _of_done(self, name: str) -> list[float]:
        values = [getattr(one, name) for one in self._known.values() if one.entry.status == "done"]
        return [value for value in values if math.isfinite(value)]


def _numbers(entry: Entry) -> _Numbers:
    facts = entry.facts
    return _Numbers(
        entry=entry,
        latency_s=_number(facts["latency_s"]),
        fwhm=_number(facts["fwhm"]),
        sky=_number(facts["sky"]),
        recorded_at=str(facts["recorded_at"] or ""),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
