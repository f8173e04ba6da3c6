"""The page of the night, ``index.html``: one file that opens from disk, with no network.

It is a function of what lies on disk. The age of the last frame is computed by a few lines of
inline script when the page is looked at; the file itself holds absolute times only.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from pipnick_watch.lightcurves import frames_path
from pipnick_watch.pictures.lightcurve import draw_curve
from pipnick_watch.pictures.night import draw_night
from pipnick_watch.pictures.page_facts import (
    Curve,
    NightFacts,
    clock,
    link,
    moment,
    read_curve,
    read_night,
)
from pipnick_watch.pictures.page_words import alarms, cadence, cards, headline, number
from pipnick_watch.pictures.png import write_png
from pipnick_watch.records import Entry, Layout, Records
from pipnick_watch.records.publishing import make_folder, write_whole
from pipnick_watch.settings import Settings

__all__ = ["curve_picture", "draw_lightcurve", "draw_overview", "night_picture", "write_page"]

REFRESH_S = 15
LEAST_PATIENCE_S = 180.0
NIGHT_S = 12 * 3600.0
"""Without a frame for so long the night is over, and nothing is amiss."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table of frames; empty links where there is no picture."""

    frame: str
    picture: str
    when: str
    object: str
    filter: str
    status: str
    reason: str
    fwhm: str
    n_sources: str
    latency: str


def curve_picture(layout: Layout, object: str, filter: str) -> Path:  # noqa: A002
    """Give the path of the picture of a light curve."""
    return layout.plots / f"{object}_{filter}_lightcurve.png"


def night_picture(layout: Layout) -> Path:
    """Give the path of the night's overview."""
    return layout.plots / "night.png"


def draw_lightcurve(maindir: Path, object: str, filter: str) -> bool:  # noqa: A002
    """Draw ``plots/<OBJECT>_<FILTER>_lightcurve.png``; False, and none is left, without a curve.

    Raises
    ------
    OSError
        The disk is full, failing or gone.
    """
    layout = Layout(maindir)
    curve = read_curve(frames_path(layout, object, filter), object, filter)
    path = curve_picture(layout, object, filter)
    if curve is None:
        path.unlink(missing_ok=True)
        return False
    write_png(draw_curve(curve), path)
    return True


def draw_overview(maindir: Path, settings: Settings) -> None:
    """Draw ``plots/night.png``.

    Raises
    ------
    OSError
        The disk is full, failing or gone.
    """
    records = _records(Path(maindir))
    night = read_night(records)
    write_png(draw_night(night.curves, settings.camera.site), night_picture(records.layout))


def write_page(maindir: Path, settings: Settings) -> None:
    """Write ``index.html`` anew, whole.

    Parameters
    ----------
    maindir : Path
    settings : Settings

    Raises
    ------
    OSError
        The disk is full, failing or gone; what was there is still there.
    """
    records = _records(Path(maindir))
    night = read_night(records)
    layout = records.layout
    make_folder(layout.photometric, layout.maindir)
    text = _template().render(**_page(night, records, settings))
    if not _stands(layout.index, text.encode()):
        write_whole(layout.index, text.encode())


def _stands(path: Path, content: bytes) -> bool:
    """Tell whether a file holds this already; a page that is not new is not written."""
    try:
        return path.read_bytes() == content
    except FileNotFoundError:
        return False


@lru_cache(maxsize=4)
def _records(maindir: Path) -> Records:
    return Records(maindir)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("pipnick_watch.pictures"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("index.html.jinja")


def _page(night: NightFacts, records: Records, settings: Settings) -> dict[str, Any]:
    """Gather all that the template needs, as text and plain numbers."""
    layout = records.layout
    rows = [_row(entry, night, records, settings) for entry in night.entries]
    failed = [entry.frame for entry in night.entries if entry.status == "failed"]
    mjd = np.array([night.facts[entry.frame]["mjd_mid"] for entry in night.entries], dtype=float)
    exptime = np.array([night.facts[one.frame]["exptime"] for one in night.entries], dtype=float)
    last = _end_of_last(mjd, exptime)
    pace = cadence(mjd)
    curve = night.curves[0] if night.curves else None
    newest = next((row for row in _newest_first(night, rows) if row.picture), None)
    return {
        "title": headline(curve, len(failed)) if curve else _plain_headline(rows, len(failed)),
        "short": f"{curve.object} {curve.filter}" if curve else "pipnick-watch",
        "alarms": alarms(curve, failed) if curve else [],
        "cards": cards(curve, settings) if curve else [],
        "last": last,
        "last_text": _stamp(last),
        "pace": round(pace, 1) if math.isfinite(pace) else 0,
        "patience": _patience(pace, exptime),
        "night_s": NIGHT_S,
        "refresh": REFRESH_S,
        "curve_picture": _picture(curve_picture(layout, curve.object, curve.filter), layout, curve)
        if curve else "",
        "night_picture": _picture(night_picture(layout), layout, curve) if curve else "",
        "newest": newest,
        "objects": [_object(one, layout) for one in night.curves],
        "rows": rows,
        "n_done": sum(entry.status == "done" for entry in night.entries),
        "n_failed": len(failed),
        "n_excluded": sum(entry.status == "excluded" for entry in night.entries),
        "maindir": layout.maindir.name,
    }  # fmt: skip


def _plain_headline(rows: Sequence[Row], n_failed: int) -> str:
    if not rows:
        return "No frame yet"
    failed = f", {n_failed} failed" if n_failed else ""
    return f"{len(rows)} frame{'s' if len(rows) != 1 else ''}{failed}, no light curve yet"


def _end_of_last(mjd: np.ndarray[Any, Any], exptime: np.ndarray[Any, Any]) -> float:
    """Give when the last exposure ended, seconds since 1970; 0 when unknown."""
    ends = (mjd - 40587.0) * 86400.0 + np.where(np.isfinite(exptime), exptime, 0.0) / 2
    ends = ends[np.isfinite(ends)]
    return round(float(ends.max()), 1) if len(ends) else 0.0


def _stamp(seconds: float) -> str:
    when = moment(seconds / 86400.0 + 40587.0) if seconds else None
    return "—" if when is None else f"{when:%Y-%m-%d %H:%M:%S} UT"


def _patience(pace: float, exptime: np.ndarray[Any, Any]) -> float:
    """Give the seconds without a frame after which something is amiss."""
    known = exptime[np.isfinite(exptime)]
    longest = float(known.max()) if len(known) else 0.0
    usual = pace if math.isfinite(pace) else 0.0
    return round(max(3.0 * usual, 2.0 * longest, LEAST_PATIENCE_S), 1)


def _newest_first(night: NightFacts, rows: Sequence[Row]) -> list[Row]:
    times = [night.facts[row.frame]["mjd_mid"] for row in rows]
    order = sorted(
        range(len(rows)),
        key=lambda k: (-times[k] if math.isfinite(times[k]) else math.inf, rows[k].frame),
    )
    return [rows[k] for k in order if rows[k].status == "done"]


def _row(entry: Entry, night: NightFacts, records: Records, settings: Settings) -> Row:
    facts, layout = night.facts[entry.frame], records.layout
    stem = records.stem(entry.frame, entry.object, entry.filter)
    picture = layout.plot(entry.object, entry.filter, f"{stem}_sources.png")
    there = entry.status == "done" and picture.exists()
    return Row(
        frame=entry.frame, picture=link(picture, layout.photometric) if there else "",
        when=_time(facts["mjd_mid"]), object=entry.object, filter=entry.filter,
        status=entry.status, reason=entry.reason,
        fwhm=number(facts["fwhm"] * settings.camera.plate_scale, ".2f", "″"),
        n_sources="—" if entry.n_sources is None else str(entry.n_sources),
        latency=number(facts["latency_s"], ".2f", " s"),
    )  # fmt: skip


def _time(mjd: float) -> str:
    when = moment(mjd)
    return "—" if when is None else f"{when:%H:%M:%S}"


def _picture(path: Path, layout: Layout, curve: Curve) -> str:
    """Link a picture; what follows the ``?`` makes a browser look at it again when it changed."""
    if not path.exists():
        return ""
    return f"{link(path, layout.photometric)}?{len(curve)}-{curve.text('digest')}"


def _with_error(value: float, error: float) -> str:
    return f"{value:.3f} ± {number(error, '.3f')}" if math.isfinite(value) else "—"


def _object(curve: Curve, layout: Layout) -> dict[str, str]:
    mjd = curve.numbers("mjd_mid")
    known = mjd[np.isfinite(mjd)]
    span = f"{clock(float(known.min()))}–{clock(float(known.max()))}" if len(known) else "—"
    matched = int(np.nansum(curve.numbers("matched")))
    return {
        "name": f"{curve.object} {curve.filter}",
        "picture": _picture(curve_picture(layout, curve.object, curve.filter), layout, curve),
        "csv": link(layout.lightcurves / f"{curve.object}_{curve.filter}.csv", layout.photometric),
        "frames": f"{len(curve)}" if matched == len(curve) else f"{len(curve)}, {matched} matched",
        "span": span,
        "seeing": number(curve.last("seeing"), ".2f", "″"),
        "clouded": str(int(np.nansum(curve.numbers("clouded")))),
        "variable": number(curve.last("n_variable"), ".0f"),
        "zero_point": _with_error(curve.last("zero_point"), curve.last("zero_point_err")),
    }
