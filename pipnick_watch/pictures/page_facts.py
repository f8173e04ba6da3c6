"""What the page and the overview pictures are made from, read back from the disk."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from pipnick_watch.columns import LIGHT_CURVE_FRAMES
from pipnick_watch.lightcurves import frames_path, read_frame_rows
from pipnick_watch.records import Entry, Records, cells

__all__ = ["Curve", "NightFacts", "clock", "link", "moment", "read_curve", "read_night"]

FloatArray = npt.NDArray[np.float64]

_COLUMNS = {column.name: column for column in LIGHT_CURVE_FRAMES}
_ZERO = datetime(1858, 11, 17, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """The frames' figures of one object and filter, in the order of time.

    Attributes
    ----------
    object, filter : str
    columns : mapping
        Arrays of numbers and lists of texts, by the name of the column.
    """

    object: str
    filter: str
    columns: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.columns["frame"])

    def numbers(self, name: str) -> FloatArray:
        """Give a column of numbers; nan where missing."""
        return np.asarray(self.columns[name], dtype=np.float64)

    def last(self, name: str) -> float:
        """Give the last known number of a column; nan without one."""
        known = self.numbers(name)
        known = known[np.isfinite(known)]
        return float(known[-1]) if len(known) else math.nan

    def text(self, name: str) -> str:
        """Give the last row's text of a column."""
        texts = self.columns[name]
        return str(texts[-1]) if len(texts) else ""


@dataclass(frozen=True, kw_only=True, eq=False)
class NightFacts:
    """All frames and light curves of a MAINDIR.

    Attributes
    ----------
    entries : list of Entry
        Failed ones first, then the newest first.
    facts : mapping
        The night log's columns of each frame.
    curves : list of Curve
        The one with the latest frame first.
    """

    entries: list[Entry]
    facts: Mapping[str, Mapping[str, Any]]
    curves: list[Curve]


def read_curve(path: Path, object_name: str, band: str) -> Curve | None:
    """Read a ``_frames.csv``; None when there is none, or it is another version's."""
    rows = read_frame_rows(path)
    if not rows or not set(_COLUMNS) <= set(rows[0]):
        return None
    columns: dict[str, Any] = {}
    for name, column in _COLUMNS.items():
        values = [cells.value(row[name], column) for row in rows]
        if column.kind != "text":
            values = [math.nan if one is None else float(one) for one in values]
        columns[name] = values if column.kind == "text" else np.array(values)
    return Curve(object=object_name, filter=band, columns=columns)


def read_night(records: Records) -> NightFacts:
    """Read what is recorded of all frames, and all light curves."""
    entries = list(records.entries().values())
    facts = {entry.frame: entry.facts for entry in entries}

    def rank(entry: Entry) -> tuple[bool, float, str]:
        mjd = facts[entry.frame]["mjd_mid"]
        return entry.status != "failed", -mjd if math.isfinite(mjd) else math.inf, entry.frame

    pairs = sorted({(one.object, one.filter) for one in entries if one.listed})
    found = [read_curve(frames_path(records.layout, *pair), *pair) for pair in pairs]
    curves = [one for one in found if one is not None]
    curves.sort(key=lambda one: (-_latest(one), one.object, one.filter))
    return NightFacts(entries=sorted(entries, key=rank), facts=facts, curves=curves)


def _latest(curve: Curve) -> float:
    mjd = curve.last("mjd_mid")
    return mjd if math.isfinite(mjd) else -math.inf


def moment(mjd: float) -> datetime | None:
    """Turn an MJD into a time, UTC, to the second; None when it is none."""
    if not -600_000.0 < mjd < 2_900_000.0:
        return None
    return _ZERO + timedelta(seconds=round(mjd * 86400.0))


def clock(mjd: float) -> str:
    """Write the time of day, UTC: ``07:12``."""
    when = moment(mjd)
    return "—" if when is None else f"{when:%H:%M}"


def link(path: Path, start: Path) -> str:
    """Write a path as a relative link, whatever characters its name has."""
    return quote(path.relative_to(start).as_posix())
