"""Where on the sky are a frame's sources, by an astrometric solution that may be another's.

A broken solution can crash the WCS library: call this in worker processes only.
"""

import hashlib
import math
import os
import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
import numpy.typing as npt
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_area

from pipnick_watch.errors import FrameError, FrameNotReadyError, SolutionError
from pipnick_watch.header import printable, read_header
from pipnick_watch.outline import MAX_SIZE, open_regular

__all__ = ["MAX_OFFSET", "MAX_SCALE_ERROR", "place_sources", "solution_identity"]

MAX_OFFSET = 0.2
"""Degrees that the solution's centre may lie from the header's pointing."""

MAX_SCALE_ERROR = 0.05
"""Fraction by which its pixel scale may differ from the camera's."""

FloatArray = npt.NDArray[np.float64]


def place_sources(
    path: Path, pointing: tuple[float, float], plate_scale: float, x: FloatArray, y: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Turn pixels into positions.

    Parameters
    ----------
    path : Path
        The solution: a FITS file with a celestial WCS in its primary header, or else in the first
        header that has one.
    pointing : tuple of float
        The frame header's RA and Dec, degrees; with nan only the scale is checked.
    plate_scale : float
        The camera's, arcseconds per pixel.
    x, y : ndarray, shape (n,)
        Pixels, 0-based.

    Returns
    -------
    ra, dec : ndarray, shape (n,)
        Degrees, ICRS.

    Raises
    ------
    SolutionError
        It cannot be read, or it is not this frame's: its centre is more than 0.2° from the
        pointing, or its scale more than 5 % from the camera's.
    """
    cards = _celestial_cards(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = fits.Header.fromstring(cards)
            wcs = WCS(header, naxis=2)
            if not wcs.has_celestial:
                raise SolutionError("the solution has no celestial coordinates")
            _check(wcs, header, pointing, plate_scale)
            if not len(x):
                return np.empty(0), np.empty(0)
            places = wcs.pixel_to_world(x, y).icrs
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError,
            RuntimeError, OSError, fits.VerifyError) as error:  # fmt: skip
        raise SolutionError(f"the solution cannot be used: {type(error).__name__}") from error
    return np.asarray(places.ra.deg, dtype=np.float64), np.asarray(places.dec.deg, dtype=np.float64)


def solution_identity(path: Path) -> str:
    """Name a solution by its content, for the ``wcs`` column: 12 hexadecimal digits.

    Raises
    ------
    SolutionError
        It cannot be read.
    """
    try:
        with open_regular(path) as descriptor, open(descriptor, "rb", closefd=False) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:12]
    except (FrameError, FrameNotReadyError) as error:
        raise SolutionError(f"the solution: {error}") from error


def _celestial_cards(path: Path) -> bytes:
    """Give the first header that names a coordinate, of a file that is whole so far."""
    try:
        with open_regular(path) as descriptor:
            size = os.fstat(descriptor).st_size
            if size > MAX_SIZE:
                raise SolutionError(f"the solution is too large: {size // 1000} kB")
            at = 0
            while at < size:
                header = read_header(
                    lambda start, n: os.pread(descriptor, n, start), at, {"CTYPE1"}
                )
                if header is None or header.next_start() > size:
                    raise SolutionError("the solution is incomplete")
                if "CTYPE1" in header.values:
                    cards = os.pread(descriptor, header.stop - header.start, header.start)
                    return printable(cards)
                at = header.next_start()
    except (FrameError, FrameNotReadyError) as error:
        raise SolutionError(f"the solution: {error}") from error
    raise SolutionError("the solution has no celestial coordinates")


def _check(
    wcs: WCS, header: fits.Header, pointing: tuple[float, float], plate_scale: float
) -> None:
    scale = math.sqrt(float(proj_plane_pixel_area(wcs.celestial))) * 3600
    # written so that nan is refused
    if not abs(scale / plate_scale - 1) <= MAX_SCALE_ERROR:
        raise SolutionError(
            f"the solution is not this frame's: {scale:.4g} arcsec per pixel, not {plate_scale:g}"
        )
    if not all(map(math.isfinite, pointing)):
        return
    middle = []
    for axis, reference in enumerate(wcs.wcs.crpix, start=1):
        # a compressed image says its size in Z…, a bare solution in IMAGEW and IMAGEH, or nowhere
        words = (f"ZNAXIS{axis}", f"NAXIS{axis}", ("IMAGEW", "IMAGEH")[axis - 1])
        length = next((header[word] for word in words if word in header), 2 * reference - 1)
        middle.append((length - 1) / 2)
    centre = wcs.pixel_to_world(*middle).icrs
    offset = centre.separation(SkyCoord(*pointing, unit=u.deg)).deg
    if not offset <= MAX_OFFSET:
        raise SolutionError(
            f"the solution is not this frame's: its centre is {offset:.2f} deg from the pointing"
        )
