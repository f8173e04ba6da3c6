"""One FITS file becomes a :class:`Frame`: the only reader of headers and pixels."""

import hashlib
import math
import os
import re
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from astropy.utils.exceptions import AstropyWarning

from pipnick_watch.camera import Camera, Keywords
from pipnick_watch.errors import FrameError, FrameNotReadyError
from pipnick_watch.header import ReadAt, number
from pipnick_watch.outline import Outline, open_regular, outline_of
from pipnick_watch.pixels import BoolArray, FloatArray, check_sums, one_line, read_pixels
from pipnick_watch.settings import Settings
from pipnick_watch.times import airmass_at, angle_degrees, barycentric_jd, mjd_of, split_time

__all__ = ["Frame", "pointing_of", "read_frame"]

MAX_WARNINGS = 10
YOUNG_NS = 11_000_000  # a tick is 10 ms at the coarsest
CLOCK_TOLERANCE = 2.0  # seconds by which the end keyword may disagree, beside 1 % of the exposure


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """A reduced frame, ready to be measured.

    Attributes
    ----------
    name : str
        Path below ``reduced/``.
    data : ndarray of float64, shape (ny, nx)
        Electrons; 0 where not finite.
    mask : ndarray of bool, shape (ny, nx)
        True for a pixel to leave out: MASK extension, bad columns, border, not finite.
    uncert : ndarray of float64, shape (ny, nx), or None
        UNCERT as it came, in electrons, the median where it is not a positive number. It may not
        be trusted.
    camera : Camera
    object, filter : str
        Cleaned names.
    exptime : float
        Seconds; nan when unknown, as every number here.
    airmass, airmass_mid : float
        As the header has it; computed for mid-exposure.
    mjd_mid, bjd_tdb : float
        Middle of the exposure, MJD UTC and BJD TDB.
    ra, dec : float
        The header's pointing, degrees.
    size, mtime_ns : int
        Of the file.
    sha256 : str
        Of the file's bytes.
    warnings : tuple of str
        What a person should know of the header, one line each.
    """

    name: str
    data: FloatArray
    mask: BoolArray
    uncert: FloatArray | None
    camera: Camera
    object: str
    filter: str
    exptime: float
    airmass: float
    airmass_mid: float
    mjd_mid: float
    bjd_tdb: float
    ra: float
    dec: float
    size: int
    mtime_ns: int
    sha256: str
    warnings: tuple[str, ...] = ()

    @property
    def saturation(self) -> float:
        """Level, in electrons, at which the detector clips."""
        return self.camera.saturation * self.camera.gain


def read_frame(path: Path, name: str, settings: Settings) -> Frame:
    """Read one frame; hash, header and pixels are of the same bytes.

    Parameters
    ----------
    path : Path
        A regular FITS file, plain or compressed in tiles.
    name : str
        Its path below ``reduced/``.
    settings : Settings
        The camera's profile and the positions of the targets.

    Returns
    -------
    Frame

    Raises
    ------
    FrameError
        It cannot be measured unless its content changes.
    FrameNotReadyError
        It is shorter than its header says, was written to while it was read, or cannot be opened.
    """
    camera = settings.camera
    content, sketch = _snapshot(path, camera)
    notes: list[str] = []
    _check_unit(sketch, camera, notes)
    if sketch.has_checksum:
        check_sums(content, sketch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", AstropyWarning)
        data, mask, uncert = read_pixels(content, sketch, camera, notes)
        facts = _facts(sketch, settings, notes)
    notes += [str(one.message) for one in caught]
    return Frame(
        name=name,
        data=data,
        mask=mask,
        uncert=uncert,
        camera=camera,
        object=sketch.object,
        filter=sketch.filter,
        size=sketch.size,
        mtime_ns=sketch.mtime_ns,
        sha256=hashlib.sha256(content).hexdigest(),
        warnings=tuple(dict.fromkeys(one_line(note) for note in notes))[:MAX_WARNINGS],
        **facts,
    )


def _snapshot(path: Path, camera: Camera) -> tuple[bytes, Outline]:
    """Take the file's bytes in one read, and prove that nobody wrote to it meanwhile."""
    with open_regular(path) as descriptor:
        before = os.fstat(descriptor)
        # A write is stamped when it begins, and by the kernel's tick: one that is under way, or
        # that follows within the tick, would leave the stamp as it is.
        age = time.time_ns() - before.st_mtime_ns
        if 0 <= age < YOUNG_NS:
            time.sleep((YOUNG_NS - age) / 1e9)
        # first from the headers alone: what is refused or short is not worth the memory
        _whole(lambda at, size: os.pread(descriptor, size, at), before, camera)
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(before.st_size + 1)
        after = os.fstat(descriptor)
    stamps = [(one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in (before, after)]
    if stamps[0] != stamps[1] or len(content) != before.st_size:
        raise FrameNotReadyError("written to while it was read")
    return content, _whole(lambda at, size: content[at : at + size], before, camera)


def _whole(read: ReadAt, status: os.stat_result, camera: Camera) -> Outline:
    sketch = outline_of(read, status, camera)
    if not sketch.complete:
        raise FrameNotReadyError(sketch.reason)
    return sketch


def _check_unit(sketch: Outline, camera: Camera, notes: list[str]) -> None:
    unit = sketch.values.get("BUNIT", "").strip().lower()
    if not unit or unit.rstrip("s") in {"electron", "e-", "e", "photoelectron"}:
        return
    if re.match(r"(adu|dn|counts?|ct)\b", unit):
        if camera.gain == 1:
            raise FrameError(
                f"BUNIT is {one_line(unit)} but gain = 1 says that the image is in electrons: "
                "set gain in [camera]"
            )
        return
    notes.append(f"BUNIT is {unit}: taken as image units of gain {camera.gain:g}")


def _facts(sketch: Outline, settings: Settings, notes: list[str]) -> dict[str, float]:
    """Give the numbers that the header says or that follow from it."""
    keywords, site = settings.camera.keywords, settings.camera.site
    exptime = number(sketch.first(keywords.exptime))
    if exptime < 0:
        exptime = math.nan
    start = _moment(sketch.texts(keywords.start))
    mjd_mid = start + exptime / 2 / 86400
    if math.isnan(exptime):
        notes.append("the header has no exposure time")
    if math.isnan(start):
        notes.append("the header does not say when the exposure began")
    end = _moment(sketch.texts(keywords.end))
    difference = (end - start) * 86400 - exptime
    if abs(difference) > CLOCK_TOLERANCE + 0.01 * exptime:
        notes.append(f"the exposure's end is {difference:.1f} s from its start + exposure time")
    ra, dec = pointing_of(sketch, keywords)
    target = settings.targets.get(sketch.object)
    place = ra, dec
    if target is not None and target.ra is not None and target.dec is not None:
        place = target.ra, target.dec
    return {
        "exptime": exptime,
        "airmass": number(sketch.first(keywords.airmass)),
        "airmass_mid": airmass_at(mjd_mid, *place, site),
        "mjd_mid": mjd_mid,
        "bjd_tdb": barycentric_jd(mjd_mid, *place, site),
        "ra": ra,
        "dec": dec,
    }


def pointing_of(sketch: Outline, keywords: Keywords) -> tuple[float, float]:
    """Give the RA and Dec of a header, degrees; nan, both, when it does not say."""
    ra = angle_degrees(sketch.first(keywords.ra), hours=True)
    dec = angle_degrees(sketch.first(keywords.dec), hours=False)
    if not abs(dec) <= 90 or math.isnan(ra):
        return math.nan, math.nan
    return ra, dec


def _moment(texts: list[str]) -> float:
    """Read a time: the first text, with the time of day of a later one if it is a mere date."""
    pairs = [split_time(text) for text in texts]
    if not pairs:
        return math.nan
    date, clock = pairs[0]
    if date and not clock:
        clock = next((time for day, time in pairs[1:] if time and not day), "")
    return mjd_of(date, clock)
