"""When is it dark, where is the Moon, and how high does an object stand: all night long.

Computed with erfa alone: no network, no tables. The Sun is good to 10 arcseconds, the Moon to a
few (Meeus 1998, as in ``erfa.moon98``).
"""

import math
from dataclasses import dataclass

import erfa
import numpy as np
import numpy.typing as npt

from pipnick_watch.camera import Site

__all__ = ["Darkness", "altitudes", "darkness", "moon_altitudes", "moonlight", "rises_through"]

FloatArray = npt.NDArray[np.float64]

MJD_ZERO = 2400000.5
TT_MINUS_UTC = 69.2 / 86400.0  # days; a second more or less moves nothing that is seen here
METRES_PER_AU = 149597870700.0
WGS84 = 1
STEP = 2.0 / 1440.0
ASTRONOMICAL = -18.0
HORIZON = -0.83


@dataclass(frozen=True, kw_only=True)
class Darkness:
    """One night, MJD UTC; nan where the Sun does not get there.

    Attributes
    ----------
    sunset, dusk, dawn, sunrise : float
        Dusk and dawn are the ends of astronomical twilight.
    """

    sunset: float
    dusk: float
    dawn: float
    sunrise: float


def altitudes(mjd: FloatArray, ra: float, dec: float, site: Site) -> FloatArray:
    """Give the altitude of a star, degrees, without refraction.

    Parameters
    ----------
    mjd : ndarray
        UTC.
    ra, dec : float
        Degrees, ICRS.
    site : Site
    """
    star = np.broadcast_to(erfa.s2c(math.radians(ra), math.radians(dec)), (len(mjd), 3))
    return _altitude(mjd, star, site)


def moon_altitudes(mjd: FloatArray, site: Site) -> FloatArray:
    """Give the altitude of the Moon as seen from the site, degrees."""
    turn = _earth_turn(mjd)
    moon = np.einsum("nij,nj->ni", turn, erfa.moon98(MJD_ZERO, mjd + TT_MINUS_UTC)["p"])
    place = np.asarray(_place(site)) / METRES_PER_AU
    return _above(moon - place, site)


def moonlight(mjd: float) -> float:
    """Give the share of the Moon's disk that is lit."""
    t = np.array([mjd + TT_MINUS_UTC])
    moon = erfa.moon98(MJD_ZERO, t)["p"][0]
    sun = -erfa.epv00(MJD_ZERO, t)[0]["p"][0]
    from_moon = sun - moon
    cosine = np.dot(-moon, from_moon) / np.linalg.norm(moon) / np.linalg.norm(from_moon)
    return float((1.0 + cosine) / 2.0)


def darkness(mjd: float, site: Site) -> Darkness:
    """Find the twilights of the night that a moment belongs to."""
    noon = math.floor(mjd + site.longitude / 360.0 - 0.5) + 0.5 - site.longitude / 360.0
    grid = noon + np.arange(0.0, 1.0, STEP)
    sun = _altitude(grid, -erfa.epv00(MJD_ZERO, grid + TT_MINUS_UTC)[0]["p"], site)
    return Darkness(
        sunset=rises_through(grid, -sun, -HORIZON),
        dusk=rises_through(grid, -sun, -ASTRONOMICAL),
        dawn=rises_through(grid[::-1], -sun[::-1], -ASTRONOMICAL),
        sunrise=rises_through(grid[::-1], -sun[::-1], -HORIZON),
    )


def rises_through(grid: FloatArray, values: FloatArray, level: float) -> float:
    """Give the first place where values come up through a level; nan when they never do."""
    up = np.flatnonzero((values[:-1] < level) & (values[1:] >= level))
    if len(up) == 0:
        return math.nan
    k = int(up[0])
    share = (level - values[k]) / (values[k + 1] - values[k])
    return float(grid[k] + share * (grid[k + 1] - grid[k]))


def _altitude(mjd: FloatArray, direction: FloatArray, site: Site) -> FloatArray:
    return _above(np.einsum("nij,nj->ni", _earth_turn(mjd), direction), site)


def _earth_turn(mjd: FloatArray) -> FloatArray:
    """Give the matrices that turn the celestial frame into the Earth's."""
    return np.asarray(erfa.c2t06a(MJD_ZERO, mjd + TT_MINUS_UTC, MJD_ZERO, mjd, 0.0, 0.0))


def _place(site: Site) -> FloatArray:
    longitude, latitude = math.radians(site.longitude), math.radians(site.latitude)
    return np.asarray(erfa.gd2gc(WGS84, longitude, latitude, site.height))


def _above(direction: FloatArray, site: Site) -> FloatArray:
    """Give the altitude of directions in the Earth's frame, degrees."""
    zenith = np.asarray(erfa.s2c(math.radians(site.longitude), math.radians(site.latitude)))
    sine = direction @ zenith / np.linalg.norm(direction, axis=-1)
    return np.asarray(np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0))))
