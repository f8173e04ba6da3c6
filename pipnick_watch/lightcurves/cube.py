"""What was measured of each star in each frame, as arrays."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipnick_watch.columns import RADII
from pipnick_watch.lightcurves.crowding import neighbours_light, psf_area
from pipnick_watch.lightcurves.registration import Registration
from pipnick_watch.lightcurves.spoiled import excess_residual
from pipnick_watch.lightcurves.starlist import FLUXES
from pipnick_watch.photometry.flags import Flag

__all__ = ["SEEING_TERMS", "Cube", "field_terms", "fill_cube", "flux_errors", "thinned"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MOST_SEEN = 3
SHARE_SEEN = 0.1

SEEING_TERMS = 5
MOST_BLUR = 0.5
"""Logarithm of the seeing over the typical one; what is farther off is out of focus."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cube:
    """The matched frames, in the order of time, and their stars.

    Attributes
    ----------
    rows : list of int
        Place of each frame in the registration.
    stars : ndarray of int, shape (n_stars,)
        Number of each star in the registration.
    flux : ndarray, shape (n_frames, n_stars, n_fluxes)
        Electrons; nan where a star was not detected.
    flux_err, peak, bkg_rms, x, y, ra, dec : ndarray, shape (n_frames, n_stars)
    flags : ndarray of int, shape (n_frames, n_stars)
    exptime, airmass, fwhm : ndarray, shape (n_frames,)
    crowding : ndarray, shape (n_stars,)
        Light of the neighbours in a pixel at the star, as a share of its own.
    psf_area : float
        Pixels that a star's light would fill as brightly as its central one; nan where unknown.
    odd : ndarray, shape (n_frames, n_stars)
        By what share something else in a star's light may have changed it; 0: nothing.
    bent : ndarray, shape (n_frames, n_stars, n_fluxes), or None
        By how many magnitudes a star is too faint because of its place on the detector.
    """

    rows: list[int]
    stars: IntArray
    flux: FloatArray
    flux_err: FloatArray
    peak: FloatArray
    bkg_rms: FloatArray
    x: FloatArray
    y: FloatArray
    ra: FloatArray
    dec: FloatArray
    flags: IntArray
    exptime: FloatArray
    airmass: FloatArray
    fwhm: FloatArray
    crowding: FloatArray
    psf_area: float
    odd: FloatArray
    bent: FloatArray | None = None

    def has(self, *flags: Flag) -> npt.NDArray[np.bool_]:
        """Tell where one of these flags is set."""
        return np.asarray((self.flags & sum(map(int, flags))) != 0)


def thinned(cube: Cube, most: int) -> tuple[Cube, slice]:
    """Take every n-th frame, so that no more than ``most`` are left; also tell which."""
    every = slice(None, None, -(-len(cube.rows) // most) or 1)
    planes: tuple[str, ...] = (
        "flux", "flux_err", "peak", "bkg_rms", "x", "y", "ra", "dec", "flags", "odd",
    )  # fmt: skip
    planes += ("rows", "exptime", "airmass", "fwhm")
    parts = {name: getattr(cube, name)[every] for name in planes}
    if cube.bent is not None:
        parts["bent"] = cube.bent[every]
    return dataclasses.replace(cube, **parts), every


def fill_cube(done: Registration, wanted: IntArray, *, blank: bool = False) -> Cube:
    """Collect what belongs together.

    Stars are kept that three frames show, and a tenth of all; they are numbered by the frame that
    showed them first and then by brightness, so that numbers last through a growing night.

    Parameters
    ----------
    done : Registration
    wanted : ndarray of int
        Stars to keep however seldom they are seen.
    blank : bool
        Add a star that no frame shows, at the end; its number is -1.
    """
    rows = [k for k, mapping in enumerate(done.mappings) if mapping is not None]
    rows.sort(key=lambda k: _time_key(done, k))
    frames = [done.frames[k] for k in rows]
    number = np.repeat(np.arange(len(rows)), [len(one) for one in frames])
    who = np.concatenate([done.members[k] for k in rows])
    named = np.flatnonzero(who >= 0)
    number, who = number[named], who[named]
    n_all = len(done.places[0])
    seen = np.bincount(who, minlength=n_all)
    first, light = np.full(n_all, len(rows)), np.zeros(n_all)
    latest_first = slice(None, None, -1)  # so that the first frame's is what stays
    first[who[latest_first]] = number[latest_first]
    light[who[latest_first]] = np.concatenate([one.flux[:, 0] for one in frames])[
        named[latest_first]
    ]
    kept = np.asarray(seen >= max(min(MOST_SEEN, len(rows)), SHARE_SEEN * len(rows)))
    kept[wanted] = True
    stars = np.flatnonzero(kept)
    stars = stars[np.lexsort((stars, -light[stars], first[stars]))]
    place = np.full(n_all, -1)
    place[stars] = np.arange(len(stars))

    if blank:
        stars = np.append(stars, -1)
    shape = len(rows), len(stars)
    # the source that shows each star in each frame; the last one, beyond all, is none
    mine = np.flatnonzero(place[who] >= 0)
    n_sources = sum(map(len, frames))
    source = np.full(shape, n_sources)
    source.ravel()[number[mine] * len(stars) + place[who[mine]]] = named[mine]

    def plane(name: str, missing: npt.NDArray[Any]) -> npt.NDArray[Any]:
        parts = [getattr(one, name) for one in frames]
        return np.concatenate([*parts, missing]).take(source, axis=0)

    none = np.array([np.nan])
    names = ("flux_err", "peak", "bkg_rms", "x", "y", "ra", "dec", "qfit")
    planes = {name: plane(name, none) for name in names}
    flux = plane("flux", np.full((1, len(FLUXES)), np.nan))
    flags = plane("flags", np.zeros(1, dtype=np.int64))
    widths = np.array([one.fwhm for one in frames])
    known = widths[np.isfinite(widths)]
    fwhm = float(np.median(known)) if len(known) else float("nan")
    shared = neighbours_light(*done.places, done.flux, fwhm)
    return Cube(
        rows=rows, stars=stars, flux=flux, flags=flags,
        odd=excess_residual(planes.pop("qfit")), **planes,
        exptime=np.array([one.exptime for one in frames]),
        airmass=np.array([one.airmass for one in frames]), fwhm=widths,
        crowding=np.where(stars >= 0, shared[stars], 0.0) if n_all else np.zeros(len(stars)),
        psf_area=psf_area(fwhm),
    )  # fmt: skip


def _time_key(done: Registration, k: int) -> tuple[bool, float, str]:
    one = done.frames[k]
    unknown = not np.isfinite(one.mjd_mid)
    return unknown, 0.0 if unknown else one.mjd_mid, one.frame


def field_terms(
    cube: Cube, stars: IntArray | slice = slice(None), frames: slice = slice(None)
) -> FloatArray:
    """Give the surfaces over the field at each point: up to the fourth order, and r to the sixth.

    The last ``SEEING_TERMS`` are surfaces that come and go with the seeing: where the PSF is broad
    for the camera's sake, an aperture loses more of the light in a frame that is blurred.

    Returns
    -------
    ndarray, shape (n_terms, n_frames, n_stars)
        0 where a star was not detected.
    """
    middle_x, middle_y = np.nanmedian(cube.x), np.nanmedian(cube.y)
    size = max(float(np.nanmax(cube.x) - np.nanmin(cube.x)), 1.0) / 2
    u = np.nan_to_num((cube.x[frames, stars] - middle_x) / size)
    v = np.nan_to_num((cube.y[frames, stars] - middle_y) / size)
    uu, uv, vv = u * u, u * v, v * v
    width = np.where(cube.fwhm > 0, cube.fwhm, np.nan)
    known = np.isfinite(width)
    typical = float(np.median(width[known])) if known.any() else 1.0
    blur = np.nan_to_num(np.log(width / typical)).clip(-MOST_BLUR, MOST_BLUR)[frames, None]
    return np.stack([
        u, v, uu, uv, vv, u * uu, v * uu, u * vv, v * vv,
        uu * uu, uu * uv, uv * uv, uv * vv, vv * vv, (uu + vv) ** 3,
        blur * u, blur * v, blur * uu, blur * uv, blur * vv,
    ])  # fmt: skip


def flux_errors(cube: Cube, choice: int, stars: IntArray | slice = slice(None)) -> FloatArray:
    """Give the errors of one choice of flux: photons, sky and read noise; electrons."""
    if choice == 0:
        return cube.flux_err[:, stars]
    area = np.pi * RADII[choice - 1] ** 2
    light = np.maximum(cube.flux[:, stars, choice], 0.0)
    return np.asarray(np.sqrt(light + area * cube.bkg_rms[:, stars] ** 2))
