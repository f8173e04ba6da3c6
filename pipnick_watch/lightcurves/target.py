"""Which star is the target."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipnick_watch.lightcurves.geometry import fit_mapping
from pipnick_watch.lightcurves.registration import Registration
from pipnick_watch.settings import Target

__all__ = ["Aim", "find_star", "sky_to_pixel"]

FloatArray = npt.NDArray[np.float64]

PIXELS = 8.0
"""How far the target may lie from the pixel that a person gave."""

ARCSEC = 4.0


@dataclass(frozen=True, kw_only=True)
class Aim:
    """Where the target is.

    Attributes
    ----------
    kind : str
        ``target``, ``candidate``, or why there is none.
    place : tuple of float or None
        In the reference's pixels.
    """

    kind: str
    place: tuple[float, float] | None = None


def find_star(
    done: Registration, target: Target | None, pointing: tuple[float, float], plate_scale: float
) -> Aim:
    """Find the target's place in the reference frame.

    Parameters
    ----------
    done : Registration
    target : Target or None
        Of the settings.
    pointing : tuple of float
        The header's RA and Dec of the reference, degrees; nan when unknown.
    plate_scale : float
        Arcseconds per pixel.
    """
    if target is None:
        place = sky_to_pixel(done, *pointing)
        if place is None:
            return Aim(kind="none named in [targets]")
        return Aim(kind="candidate", place=_nearest(done, place, math.inf))
    if target.ra is not None and target.dec is not None:
        place = sky_to_pixel(done, target.ra, target.dec)
        if place is not None:
            near = _nearest(done, place, max(ARCSEC / plate_scale, 2.0))
            return Aim(kind="target", place=near or place)
        if target.x is None:
            return Aim(kind="no frame has a solution to find its RA and Dec by")
    assert target.x is not None
    assert target.y is not None
    where = _frame_of(done, target.frame)
    if where is None:
        return Aim(kind=f"its frame {target.frame or '(the earliest)'} was not matched")
    mapping = done.mappings[where]
    assert mapping is not None
    x, y = mapping(np.array([target.x]), np.array([target.y]))
    place = float(x[0]), float(y[0])
    return Aim(kind="target", place=_nearest(done, place, PIXELS) or place)


def _frame_of(done: Registration, name: str) -> int | None:
    """Find the matched frame that a target's pixels are of: the one named, or the earliest."""
    if name:
        return next(
            (k for k, one in enumerate(done.frames)
             if one.frame == name and done.mappings[k] is not None), None,
        )  # fmt: skip
    times = [(one.mjd_mid if math.isfinite(one.mjd_mid) else math.inf, one.frame)
             for one in done.frames]  # fmt: skip
    first = times.index(min(times))
    return first if done.mappings[first] is not None else None


def _nearest(
    done: Registration, place: tuple[float, float], reach: float
) -> tuple[float, float] | None:
    """Give the place of the nearest star that is seen again and again."""
    x, y = done.places
    lasting = np.flatnonzero(done.seen >= max(min(3, done.n_matched), 0.1 * done.n_matched))
    if len(lasting) == 0:
        return None
    away = np.hypot(x[lasting] - place[0], y[lasting] - place[1])
    best = int(np.argmin(away))
    if away[best] > reach:
        return None
    return float(x[lasting[best]]), float(y[lasting[best]])


def sky_to_pixel(done: Registration, ra: float, dec: float) -> tuple[float, float] | None:
    """Turn a position on the sky, degrees, into the reference's pixels; None without solutions."""
    star_ra, star_dec = done.sky
    known = np.flatnonzero(np.isfinite(star_ra))
    if len(known) < 3 or not math.isfinite(ra + dec):
        return None
    u, v = _tangent(star_ra[known], star_dec[known], ra, dec)
    x, y = done.places
    # pixels of a 1000th of a degree, mirrored: right ascension runs against x, or y does
    design = np.stack([np.ones_like(u), u, v], axis=-1)
    if len(known) >= 8:
        terms = np.linalg.lstsq(design, np.stack([x[known], y[known]], axis=-1), rcond=None)[0]
        return float(terms[0, 0]), float(terms[0, 1])
    for side in (1.0, -1.0):
        scale = _scale(u, v, x[known], y[known])
        mapping = fit_mapping(side * u * scale, v * scale, x[known], y[known], n_free=7)
        to_x, to_y = mapping(side * u * scale, v * scale)
        if np.hypot(to_x - x[known], to_y - y[known]).max() < 3.0:
            origin_x, origin_y = mapping(np.zeros(1), np.zeros(1))
            return float(origin_x[0]), float(origin_y[0])
    return None


def _scale(u: FloatArray, v: FloatArray, x: FloatArray, y: FloatArray) -> float:
    here = np.hypot(u - u.mean(), v - v.mean()).sum()
    there = np.hypot(x - x.mean(), y - y.mean()).sum()
    return float(there / here) if here > 0 else 1.0


def _tangent(
    ra: FloatArray, dec: FloatArray, ra0: float, dec0: float
) -> tuple[FloatArray, FloatArray]:
    """Project onto the plane that touches the sky at ra0, dec0; radians."""
    ra, dec = np.radians(ra), np.radians(dec)
    a, d = math.radians(ra0), math.radians(dec0)
    below = np.sin(dec) * math.sin(d) + np.cos(dec) * math.cos(d) * np.cos(ra - a)
    u = np.cos(dec) * np.sin(ra - a) / below
    v = (np.sin(dec) * math.cos(d) - np.cos(dec) * math.sin(d) * np.cos(ra - a)) / below
    return u, v
