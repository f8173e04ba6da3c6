"""How changes of frames become durable: catalogues, then objects' CSVs, then rows of frames.csv."""

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipnick_watch.errors import RecordsError
from pipnick_watch.records.agreement import Place, may_grow
from pipnick_watch.records.entry import Entry
from pipnick_watch.records.layout import Kind
from pipnick_watch.records.nightlog import NightLog
from pipnick_watch.records.objectcsv import (
    CatalogueGoneError,
    add_lines,
    read_lines,
    write_lines,
)

__all__ = ["GONE", "KINDS", "Change", "commit"]

logger = logging.getLogger(__name__)

KINDS: tuple[Kind, Kind] = ("unconsolidated", "consolidated")
GONE = "its catalogue is gone; it is measured again"
"""Reason of a frame whose catalogue has vanished."""

_INPUTS = ("status", "object", "filter", "sha256", "settings", "version", "wcs")


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """A row that a frame is to get.

    Attributes
    ----------
    row : dict
        Values of ``columns.NIGHT_LOG`` by name, without the sizes of the CSVs.
    consolidated : bool
        A consolidated catalogue of the frame exists.
    bodies : dict
        Lines of the catalogues that are new; without them the one on disk stands.
    since : float or None
        When the frame was complete, on the monotonic clock; gives ``latency_s``.
    """

    row: dict[str, Any]
    consolidated: bool = False
    bodies: dict[Kind, bytes] = field(default_factory=dict)
    since: float | None = None

    @classmethod
    def of(cls, entry: Entry, **values: Any) -> "Change":
        """Change some values of the row that a frame has."""
        return cls(row={**entry.facts, **values}, consolidated=entry.consol_bytes is not None)

    @property
    def frame(self) -> str:
        """The frame."""
        return str(self.row["frame"])

    @property
    def object(self) -> str:
        """The object."""
        return str(self.row["object"])

    def home(self, kind: Kind) -> str | None:
        """Name the object whose CSV of this kind is to hold the frame's lines, if any."""
        if self.row["status"] != "done" or self.row["reason"]:
            return None
        return self.object if kind == "unconsolidated" or self.consolidated else None


def commit(
    log: NightLog,
    changes: Iterable[Change],
    *,
    remake: Iterable[Place] = (),
) -> None:
    """Make changes durable, all in one append to frames.csv; the caller holds the records lock.

    Parameters
    ----------
    log : NightLog
        Fresh.
    changes : iterable of Change
        At most one for a frame.
    remake : iterable of Place
        CSVs to make anew whatever changes.

    Raises
    ------
    OSError
        The rows were not added; what is on disk is as before, or is put right by the next commit.
    RecordsError
        ``reduced/`` is missing: nothing is written into an empty mount point.
    """
    layout = log.layout
    if not layout.reduced.is_dir():
        raise RecordsError(f"{layout.reduced}: is missing; is its disk mounted?")
    for line in log.mend():
        logger.warning("%s", line)
    known = {change.frame: change for change in changes}
    while True:
        try:
            sizes = _write(log, known, set(remake))
        except _LostError as lost:
            known[lost.frame] = lost.change
        else:
            break
    rows = _rows(log, list(known.values()), sizes)
    if rows:
        log.append(lambda: _stamped(rows, known))
        remove_stale(log)


def _stamped(
    rows: Sequence[dict[str, Any]], changes: Mapping[str, Change]
) -> Iterator[dict[str, Any]]:
    """Add to the rows what is known only now that they are written."""
    moment, clock = datetime.now(UTC), time.monotonic()
    now = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for row in rows:
        change = changes.get(row["frame"])
        since = None if change is None or change.row["object"] != row["object"] else change.since
        latency = {} if since is None else {"latency_s": clock - since}
        yield {**row, **latency, "recorded_at": now}


def remove_stale(log: NightLog) -> None:
    """Remove catalogues that are nobody's now: the frame was renamed or has another object."""
    for kind, name, band, stem in log.take_stale():
        with contextlib.suppress(OSError):  # it is harmless, and the next start tries again
            log.layout.catalogue(name, band, stem, kind).unlink(missing_ok=True)


class _LostError(Exception):
    """A frame's catalogue is gone: ``change`` says so."""

    def __init__(self, frame: str, change: Change) -> None:
        super().__init__(frame)
        self.frame = frame
        self.change = change


def _write(log: NightLog, changes: dict[str, Change], remake: set[Place]) -> dict[Place, int]:
    """Write catalogues and objects' CSVs; give the sizes of the CSVs."""
    layout = log.layout
    for change in changes.values():
        for kind, body in list(change.bodies.items()):
            path = _catalogue(log, change.row, kind)
            if _is_written(log, change, path, body):
                del change.bodies[kind]
            else:
                write_lines(path, [body], layout.maindir)
    gains: dict[Place, list[Change]] = {}
    for change in changes.values():
        before = log.entries.get(change.frame)
        for kind in KINDS:
            old = before.object if before is not None and before.lists(kind) else None
            new = change.home(kind)
            if old is None and new is not None:
                gains.setdefault((kind, new), []).append(change)
            elif old is not None and (old != new or kind in change.bodies):
                remake.update((kind, name) for name in (old, new) if name is not None)
    sizes = {}
    for place, coming in gains.items():
        if place not in remake and may_grow(log, place):
            lines = b"".join([_lines(log, change, place[0]) for change in coming])
            sizes[place] = add_lines(layout.object_csv(place[1], place[0]), lines)
        else:
            remake.add(place)
    for kind, name in remake:
        lines_of_all = _lines_of_all(log, changes, kind, name)
        sizes[kind, name] = write_lines(layout.object_csv(name, kind), lines_of_all, layout.maindir)
        log.trusted.add((kind, name))
    return sizes


def _is_written(log: NightLog, change: Change, path: Path, body: bytes) -> bool:
    """Tell whether the same lines are recorded already, from the same content and settings.

    That the catalogue on disk is the same does not suffice: a publish that was cut short may have
    written it, and not the object's CSV.
    """
    before, row = log.entries.get(change.frame), change.row
    if before is None or any(row.get(name, "") != getattr(before, name) for name in _INPUTS):
        return False
    try:
        return read_lines(path) == body
    except CatalogueGoneError:
        return False


def _lines_of_all(
    log: NightLog, changes: dict[str, Change], kind: Kind, name: str
) -> Iterator[bytes]:
    for frame in log.members(name, kind):
        if frame not in changes:
            yield _lines(log, Change.of(log.entries[frame]), kind)
    for change in changes.values():
        if change.home(kind) == name:
            yield _lines(log, change, kind)


def _lines(log: NightLog, change: Change, kind: Kind) -> bytes:
    if kind in change.bodies:
        return change.bodies[kind]
    try:
        return read_lines(_catalogue(log, change.row, kind))
    except CatalogueGoneError:
        gone: dict[str, Any] = {"status": "excluded", "reason": GONE}
        row = {**change.row, **(gone if kind == "unconsolidated" else {})}
        lost = Change(row=row, bodies=change.bodies, since=change.since)
        raise _LostError(change.frame, lost) from None


def _catalogue(log: NightLog, row: dict[str, Any], kind: Kind) -> Path:
    stem = log.stem(row["frame"], row["object"], row["filter"])
    return log.layout.catalogue(row["object"], row["filter"], stem, kind)


def _rows(
    log: NightLog, changes: Sequence[Change], sizes: dict[Place, int]
) -> list[dict[str, Any]]:
    """Make the rows: first those by which frames leave a CSV, then those that stay."""
    leaving, staying = [], []
    for change in changes:
        before = log.entries.get(change.frame)
        if before is not None and _leaves_unsaid(before, change):
            leaving.append(Change.of(before, status="excluded", reason=_why(before, change)))
        staying.append(change)
    said = {(kind, one.object) for one in leaving + staying for kind in KINDS
            if kind == "unconsolidated" or one.consolidated}  # fmt: skip
    changed = {change.frame for change in changes}
    for kind, name in sizes.keys() - said:
        witness = _witness(log, kind, name, changed)
        if witness is not None and sizes[kind, name] != log.recorded_bytes(name, kind):
            staying.append(Change.of(witness))
    # Only the last row of each CSV says its size: if the append is torn, the rows that are left
    # say a size that it has not, and it is made anew.
    final = {(kind, name): sizes.get((kind, name), log.recorded_bytes(name, kind))
             for kind in KINDS for name in {one.object for one in leaving + staying}}  # fmt: skip
    rows = []
    for one in reversed(leaving + staying):
        consol = final.pop(("consolidated", one.object), 0) if one.consolidated else None
        plain = final.pop(("unconsolidated", one.object), 0)
        rows.append({**one.row, "csv_bytes": plain, "consol_bytes": consol})
    return rows[::-1]


def _leaves_unsaid(before: Entry, change: Change) -> bool:
    """Tell whether a frame leaves a CSV whose new size its own row cannot carry."""
    if before.object != change.object:
        return before.listed
    return before.lists("consolidated") and not change.consolidated


def _why(before: Entry, change: Change) -> str:
    if before.object != change.object:
        return f"its object is {change.object} now"
    return "its consolidated catalogue is out of date"


def _witness(log: NightLog, kind: Kind, name: str, changed: set[str]) -> Entry | None:
    """Find an unchanged frame whose row can carry the size of an object's CSV."""
    for entry in log.entries.values():
        carries = kind == "unconsolidated" or entry.consol_bytes is not None
        if entry.object == name and carries and entry.frame not in changed:
            return entry
    return None
