"""What a frame's outcome changes in the records: its own row, and those it takes the place of."""

import itertools
import os
from collections.abc import Iterable, Iterator

from pipnick_watch.records.commit import Change
from pipnick_watch.records.entry import Entry
from pipnick_watch.records.layout import Kind
from pipnick_watch.records.nightlog import RENAMED, NightLog
from pipnick_watch.records.objectcsv import (
    CatalogueGoneError,
    first_frame,
    read_lines,
    with_frame,
)
from pipnick_watch.records.result import FrameResult

__all__ = [
    "change_of",
    "gone",
    "is_recorded",
    "standing",
    "stays_in_place",
    "superseded",
    "under_new_name",
]

EQUALS = 1000
"""Files of equal bytes, the last ones first, that are asked whether they are gone: a night of
copies must not cost more with each of them."""

_OF_THE_ROW = {"frame", "object", "filter", "status", "reason", "version", "recorded_at", "wait_s",
               "latency_s", "csv_bytes", "consol_bytes", "wcs"}  # fmt: skip
"""What a row says of its frame's name and of its own making, and not of what was measured."""


def is_recorded(entry: Entry, result: FrameResult, version: str) -> bool:
    """Tell whether a frame's row says already what a result says."""
    facts = result.facts
    content = (facts.get("sha256", ""), facts.get("settings", ""), version)
    same_content = content == (entry.sha256, entry.settings, entry.version)
    same_outcome = (result.status, result.reason) == (entry.status, entry.reason)
    if result.status == "failed" and entry.status == "done":
        return same_content
    if result.status != "done":
        about = (facts.get("size"), facts.get("mtime_ns"))
        same_file = content[0] == entry.sha256 if content[0] else (
            about == (entry.size, entry.mtime_ns)
        )  # fmt: skip
        same_way = content[1:] == (entry.settings, entry.version)
        return same_outcome and same_file and (same_way or result.status == "excluded")
    return (
        same_outcome
        and same_content
        and (result.object, result.filter) == (entry.object, entry.filter)
        and (result.consolidated is None or entry.consol_bytes is not None)
        and facts.get("wcs", "") in ("", entry.wcs)
    )


def change_of(
    before: Entry | None, result: FrameResult, version: str, since: float | None
) -> Change:
    """Make the change that a result is.

    A frame that is excluded without having been read keeps what is known of it, as long as its
    size and time are the same.
    """
    told = {"frame": result.frame, "object": result.object, "filter": result.filter,
            "status": result.status, "reason": result.reason}  # fmt: skip
    if result.status == "excluded" and before is not None and "sha256" not in result.facts:
        if result.object == "UNKNOWN":
            told |= {"object": before.object, "filter": before.filter}
        known = {"size": before.size, "mtime_ns": before.mtime_ns}
        if {**known, **result.facts}.items() >= known.items():
            return Change.of(before, **told)
    bodies: dict[Kind, bytes] = {}
    if result.status == "done":
        bodies["unconsolidated"] = result.catalogue.encode()
        if result.consolidated is not None:
            bodies["consolidated"] = result.consolidated.encode()
    row = {**result.facts, **told, "version": version}
    return Change(row=row, consolidated="consolidated" in bodies, bodies=bodies, since=since)


def superseded(log: NightLog, result: FrameResult) -> Iterator[Change]:
    """Find the frames that leave because this one takes their place.

    A frame with the same content whose file is gone was renamed; another file of the same folder
    and stem is the same frame.
    """
    sha256 = str(result.facts.get("sha256", ""))
    before = log.entries.get(result.frame)
    known = before is not None and before.sha256 == sha256 and not before.reason.startswith(RENAMED)
    if sha256 and not known:
        for entry in gone(log, result.frame, log.with_hash(sha256)):
            yield Change.of(entry, status="excluded", reason=RENAMED + result.frame)
    if result.status == "done":
        for frame in log.same_identity(result.frame):
            entry = log.entries[frame]
            if entry.status == "done":
                reason = f"same frame as {result.frame}"
                yield Change.of(entry, status="excluded", reason=reason)


def gone(log: NightLog, frame: str, among: Iterable[str]) -> list[Entry]:
    """Find the done frames among these, other than this one, whose files are gone."""
    return [
        log.entries[one]
        for one in itertools.islice(among, EQUALS)
        if one != frame
        and log.entries[one].status == "done"
        and not os.path.lexists(f"{log.layout.reduced}/{one}")
    ]


def under_new_name(log: NightLog, entry: Entry, frame: str, *, group: bool) -> FrameResult | None:
    """Make the outcome of a renamed frame from its old catalogue; None where that is not whole.

    It is without positions on the sky: a solution belongs to a name, and the new name's comes as
    late ones do.
    """
    if standing(log, entry) is None or (group and entry.consol_bytes is None):
        return None

    def lines_of(kind: Kind) -> str:
        return with_frame(read_lines(log.catalogue(entry, kind)), frame)

    try:
        lines = lines_of("unconsolidated")
        consolidated = lines_of("consolidated") if group else None
    except CatalogueGoneError:
        return None
    facts = {
        name: value
        for name, value in entry.facts.items()
        if name not in _OF_THE_ROW and value is not None
    }
    return FrameResult(
        frame=frame,
        object=entry.object,
        filter=entry.filter,
        status="done",
        facts={**facts, "wcs": ""},
        catalogue=lines,
        consolidated=consolidated,
    )


def stays_in_place(log: NightLog, result: FrameResult) -> bool:
    """Tell whether a result only replaces the frame's own lines where they are."""
    known = log.measured.get(result.frame)
    return (
        known is not None
        and (known.object, known.filter) == (result.object, result.filter)
        and not any(superseded(log, result))
    )


def standing(log: NightLog, entry: Entry) -> Change | None:
    """Bring a frame back as it was measured, if its catalogue is of the same content."""
    measured = log.measured.get(entry.frame)
    if measured is None or not entry.sha256 or measured.sha256 != entry.sha256:
        return None
    try:
        lines = read_lines(log.catalogue(measured, "unconsolidated"))
    except CatalogueGoneError:
        return None
    count = lines.count(b"\n")
    if count != measured.n_sources or (count and first_frame(lines) != entry.frame):
        return None
    if measured.consol_bytes is not None and not log.catalogue(measured, "consolidated").exists():
        return None
    return Change.of(measured, size=entry.size, mtime_ns=entry.mtime_ns)
