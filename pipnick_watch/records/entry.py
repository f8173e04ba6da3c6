"""What a row of frames.csv, the night log, says of a frame."""

import csv
import sys
from dataclasses import dataclass
from typing import Any, cast

from pipnick_watch.columns import NIGHT_LOG, names
from pipnick_watch.records import cells
from pipnick_watch.records.layout import Kind
from pipnick_watch.records.result import Status

__all__ = ["Entry", "read_row"]

_NAMES = names(NIGHT_LOG)
_PLACE = {name: number for number, name in enumerate(_NAMES)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """The row of one frame.

    Attributes
    ----------
    frame, object, filter : str
    status : {"done", "failed", "excluded"}
    reason : str
        Of a failed or excluded frame; a done frame that has one has a catalogue but no lines in
        the object's CSV, because the file table leaves it out.
    size, mtime_ns : int or None
        Of the frame's file; None when unknown.
    sha256, settings, wcs, version : str
        Empty when unknown.
    n_sources : int or None
    csv_bytes : int
        Size of the object's CSV after this row; 0 when there was none.
    consol_bytes : int or None
        The same for the consolidated one; None when no consolidated catalogue was made.
    line : str
        The row as it stands in the file.
    """

    frame: str
    object: str
    filter: str
    status: Status
    reason: str
    size: int | None
    mtime_ns: int | None
    sha256: str
    settings: str
    wcs: str
    version: str
    n_sources: int | None
    csv_bytes: int
    consol_bytes: int | None
    line: str

    @property
    def listed(self) -> bool:
        """Whether the frame's lines stand in the object's CSV."""
        return self.status == "done" and not self.reason

    def lists(self, kind: Kind) -> bool:
        """Tell whether the frame's lines stand in the object's CSV of this kind."""
        return self.listed and (kind == "unconsolidated" or self.consol_bytes is not None)

    @property
    def facts(self) -> dict[str, Any]:
        """All values of the row by name, as text, float, int, or None."""
        found = cells.split(self.line)
        return {column.name: cells.value(text, column)
                for column, text in zip(NIGHT_LOG, found, strict=False)}  # fmt: skip


def read_row(line: str, width: int) -> Entry:
    """Read one row of this many cells.

    Raises
    ------
    ValueError
        It is no row of a night log.
    """
    if not line.rstrip("\n").isprintable():
        raise ValueError("characters that we never write")
    try:
        found = cells.split(line)
    except (csv.Error, StopIteration) as error:
        raise ValueError(f"no CSV: {error}") from error
    if len(found) != width:
        raise ValueError(f"{len(found)} cells instead of {width}")

    def of(name: str) -> Any:
        return cells.value(found[_PLACE[name]], NIGHT_LOG[_PLACE[name]])

    status = of("status")
    if status not in ("done", "failed", "excluded"):
        raise ValueError(f"unknown status {status!r}")
    frame = of("frame")
    if not frame or frame.startswith("/") or ".." in frame.split("/"):
        raise ValueError(f"{frame!r} is no path below reduced/")
    return Entry(
        frame=frame, object=sys.intern(of("object")), filter=sys.intern(of("filter")),
        status=cast(Status, sys.intern(status)), reason=of("reason"), size=of("size"),
        mtime_ns=of("mtime_ns"), sha256=of("sha256"), settings=sys.intern(of("settings")),
        wcs=of("wcs"), version=sys.intern(of("version")), n_sources=of("n_sources"),
        csv_bytes=of("csv_bytes") or 0, consol_bytes=of("consol_bytes"), line=line,
    )  # fmt: skip
