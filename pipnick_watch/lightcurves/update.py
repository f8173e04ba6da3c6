"""(Re)make the light curves of one object and filter, and tell which are out of date.

Both files are a function of the set of frames whose lines stand in the object's CSV, of their
catalogues and of the settings: not of the order in which the frames came, nor of earlier calls.
What is remembered between calls only saves time.
"""

import csv
import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipnick_watch import __version__
from pipnick_watch.camera import Camera
from pipnick_watch.columns import LIGHT_CURVE, LIGHT_CURVE_FRAMES, names
from pipnick_watch.errors import FrameError, FrameNotReadyError
from pipnick_watch.lightcurves.assemble import Assembly, assemble
from pipnick_watch.lightcurves.curve_text import curve_text
from pipnick_watch.lightcurves.figures import frame_rows
from pipnick_watch.lightcurves.forced import ForcedFlux, measure_forced
from pipnick_watch.lightcurves.reading import Kept, in_time, read_frames
from pipnick_watch.lightcurves.registration import Registration, register
from pipnick_watch.lightcurves.starlist import FLUXES, StarList
from pipnick_watch.lightcurves.target import find_star
from pipnick_watch.outline import Outline, outline
from pipnick_watch.records import Entry, Layout, Records, cells
from pipnick_watch.records.publishing import make_folder, write_whole
from pipnick_watch.settings import Settings
from pipnick_watch.times import angle_degrees

__all__ = ["Summary", "curve_path", "frames_path", "outdated", "read_frame_rows", "update"]

MOST_CARRIED = 8
"""Objects whose frames are remembered: those that are observed in turn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Carried:
    """What an earlier call leaves to a later one: who is who, and what was read."""

    registration: Registration
    kept: dict[str, Kept]


_carried: dict[tuple[Path, str, str], _Carried] = {}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a light curve was made of."""

    object: str
    filter: str
    n_frames: int
    n_matched: int
    n_stars: int
    n_comparisons: int
    n_variable: int
    flux: str
    target: str


def curve_path(layout: Layout, object: str, filter: str) -> Path:  # noqa: A002
    """Give the path of a light curve."""
    return layout.lightcurves / f"{object}_{filter}.csv"


def frames_path(layout: Layout, object: str, filter: str) -> Path:  # noqa: A002
    """Give the path of the frames' figures beside a light curve."""
    return layout.lightcurves / f"{object}_{filter}_frames.csv"


def outdated(records: Records, settings: Settings) -> list[tuple[str, str]]:
    """List the objects and filters whose light curves are not what :func:`update` would make.

    Costs a read of each ``_frames.csv``; no catalogue is opened.
    """
    pairs = _listed(records.entries().values())
    wrong = []
    for (name, band), entries in pairs.items():
        curve, rows = (make(records.layout, name, band) for make in (curve_path, frames_path))
        if not entries:
            if curve.exists() or rows.exists():
                wrong.append((name, band))
        elif not curve.exists() or _made_from(rows) != _digests(entries, settings):
            wrong.append((name, band))
    return wrong


def update(maindir: Path, object: str, filter: str, settings: Settings) -> Summary:  # noqa: A002
    """Make ``lightcurves/<OBJECT>_<FILTER>.csv`` and ``…_frames.csv`` anew, whole.

    Where no frame is left, both files are removed.

    Parameters
    ----------
    maindir : Path
    object, filter : str
        Cleaned names.
    settings : Settings

    Raises
    ------
    OSError
        The disk is full, failing or gone; what was there is still there.
    """
    records = _records(Path(maindir))
    layout = records.layout
    entries = _listed(records.entries().values()).get((object, filter), [])
    curve, rows_path = curve_path(layout, object, filter), frames_path(layout, object, filter)
    if not entries:
        curve.unlink(missing_ok=True)
        rows_path.unlink(missing_ok=True)
        return Summary(object=object, filter=filter, n_frames=0, n_matched=0, n_stars=0,
                       n_comparisons=0, n_variable=0, flux="", target="")  # fmt: skip
    key = layout.maindir, object, filter
    before = _carried.pop(key, None)
    digests = _digests(entries, settings)
    kept = read_frames(records, entries, digests, before.kept if before else {})
    frames = in_time(kept)
    done, carry = register(frames, before.registration if before else None)
    _carried[key] = _Carried(registration=carry, kept=kept)
    while len(_carried) > MOST_CARRIED:
        del _carried[next(iter(_carried))]
    one, rows = _assembled(done, frames, entries, layout, settings, filter)
    make_folder(layout.lightcurves, layout.maindir)
    write_whole(curve, curve_text(one))
    lines = [cells.header(LIGHT_CURVE_FRAMES), *cells.lines(rows, LIGHT_CURVE_FRAMES)]
    write_whole(rows_path, "".join(lines).encode())
    return Summary(
        object=object, filter=filter, n_frames=len(frames), n_matched=len(one.cube.rows),
        n_stars=len(one.cube.stars), n_comparisons=len(one.recipe.comparisons),
        n_variable=one.n_variable, flux=FLUXES[one.recipe.choice], target=one.aim.kind,
    )  # fmt: skip


def read_frame_rows(path: Path) -> list[dict[str, str]]:
    """Read a ``_frames.csv`` as text by column; empty when there is none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []


_open_records: dict[Path, Records] = {}


def _records(maindir: Path) -> Records:
    """Give the records of a MAINDIR, kept open so that the night log's tail is all that is read."""
    if maindir not in _open_records:
        _open_records[maindir] = Records(maindir)
    return _open_records[maindir]


def _listed(entries: Iterable[Entry]) -> dict[tuple[str, str], list[Entry]]:
    """Sort the entries whose lines stand in an object's CSV by object and filter."""
    pairs: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        here = pairs.setdefault((entry.object, entry.filter), [])
        if entry.listed:
            here.append(entry)
    return pairs


def _digests(entries: Iterable[Entry], settings: Settings) -> dict[str, str]:
    """Name, for each frame, all that a light curve depends on."""
    parts = {
        "camera": dataclasses.asdict(settings.camera),
        "targets": {name: dataclasses.asdict(one) for name, one in settings.targets.items()},
        "standards": [dataclasses.asdict(one) for one in settings.standards],
        "version": __version__,
        "columns": names(LIGHT_CURVE) + names(LIGHT_CURVE_FRAMES),
    }
    common = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    digests = {}
    for entry in entries:
        own = common.copy()
        facts = (entry.sha256, entry.settings, entry.wcs, entry.version, str(entry.n_sources))
        own.update("\n".join(facts).encode(errors="surrogateescape"))
        digests[entry.frame] = own.hexdigest()[:12]
    return digests


def _made_from(path: Path) -> dict[str, str]:
    return {cells.text_value(row["frame"]): row.get("digest", "") for row in read_frame_rows(path)}


def _assembled(
    done: Registration, frames: Sequence[StarList], entries: Sequence[Entry], layout: Layout,
    settings: Settings, band: str,
) -> tuple[Assembly, list[dict[str, object]]]:  # fmt: skip
    hashes = {entry.frame: entry.sha256 for entry in entries}
    reference = done.frames[0].frame
    sketch = _outline(layout, reference, settings.camera)
    shape = _shape(sketch)
    target = settings.targets.get(entries[0].object)
    pointing = _pointing(sketch, settings.camera)
    aim = find_star(done, target, pointing, settings.camera.plate_scale)
    if target is not None and target.ra is not None and target.dec is not None:
        pointing = target.ra, target.dec

    def measure(name: str, x: float, y: float) -> ForcedFlux | None:
        return measure_forced(layout.frame_path(name), name, hashes[name], settings, x, y)

    one = assemble(done, aim, settings, measure)
    return one, frame_rows(frames, one, settings, band, shape, pointing)


def _outline(layout: Layout, frame: str, camera: Camera) -> Outline | None:
    try:
        return outline(layout.frame_path(frame), camera)
    except (FrameError, FrameNotReadyError, FileNotFoundError):
        return None


def _shape(sketch: Outline | None) -> tuple[int, int] | None:
    if sketch is None or sketch.image < 0:
        return None
    axes = [length for length in sketch.parts[sketch.image].axes if length != 1]
    return (axes[1], axes[0]) if len(axes) == 2 else None


def _pointing(sketch: Outline | None, camera: Camera) -> tuple[float, float]:
    if sketch is None:
        return math.nan, math.nan
    ra = angle_degrees(sketch.first(camera.keywords.ra), hours=True)
    dec = angle_degrees(sketch.first(camera.keywords.dec), hours=False)
    return ra, dec
