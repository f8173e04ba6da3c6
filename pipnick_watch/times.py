"""When was the middle of an exposure, and where did its target stand then."""

import math
import re
import warnings
from datetime import UTC, datetime, timedelta

import erfa
import numpy as np
from astropy.utils import iers

from pipnick_watch.camera import Site

__all__ = ["airmass_at", "angle_degrees", "barycentric_jd", "mjd_of", "split_time"]

# Nothing may need the network. What is computed here takes UT1 = UTC and the pole as fixed, which
# moves a time by 2 microseconds and a star by 14 arcseconds, and needs no table of the Earth's
# rotation; others in the process may still ask astropy for one.
iers.conf.auto_download = False

MJD_ZERO = 2400000.5
LIGHT_TIME = 499.004783836  # seconds for an astronomical unit
METRES_PER_AU = 149597870700.0
WGS84 = 1
MJD_MIN, MJD_MAX = 15020.0, 88069.0  # 1900 to 2100, where the Earth's ephemeris holds
MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2}):(\d{2}(?:\.\d*)?)\s*(Z|[+-]\d{2}:?\d{2})?", re.IGNORECASE)


def split_time(text: str) -> tuple[str, str]:
    """Split a header's time into its date and its time of day, either of them ``""``.

    ``2024-05-13T04:37:01.29`` has both, ``2024-05-13`` a date, ``04:37:01`` a time of day; what
    is none of these has neither.
    """
    text = text.strip()
    date = _DATE.match(text)
    clock = text[date.end() :].lstrip("T ") if date else text
    if clock and not _CLOCK.fullmatch(clock):
        return "", ""
    return date[0] if date else "", clock


def mjd_of(date: str, clock: str) -> float:
    """Turn a date and a time of day into MJD UTC; nan when they are no time.

    Parameters
    ----------
    date : str
        ``YYYY-MM-DD``.
    clock : str
        ``HH:MM:SS.s``, UTC unless it carries an offset (``-0700``).
    """
    day, time = _DATE.fullmatch(date), _CLOCK.fullmatch(clock)
    if not day or not time:
        return math.nan
    hours, minutes, seconds = int(time[1]), int(time[2]), float(time[3])
    try:
        midnight = datetime(int(day[1]), int(day[2]), int(day[3]), tzinfo=UTC)
    except ValueError:
        return math.nan
    # a leap second is the 60th; nothing else may run over
    if hours > 23 or minutes > 59 or seconds >= 61:
        return math.nan
    moment = timedelta(hours=hours, minutes=minutes, seconds=seconds) - _offset(time[4])
    return (midnight - MJD_EPOCH + moment) / timedelta(days=1)


def _offset(text: str | None) -> timedelta:
    if text is None or text in "Zz":
        return timedelta(0)
    sign = -1 if text[0] == "-" else 1
    return sign * timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))


def angle_degrees(text: str, *, hours: bool) -> float:
    """Read an angle of a header; nan when it is none.

    Parameters
    ----------
    text : str
        With colons or blanks between its parts, or a plain number, which is degrees.
    hours : bool
        With colons it is hours, minutes and seconds (a right ascension).
    """
    parts = text.replace(":", " ").split()
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return math.nan
    if not 1 <= len(numbers) <= 3 or not all(map(math.isfinite, numbers)):
        return math.nan
    if len(numbers) == 1:
        return numbers[0]
    if any(number < 0 or number >= 60 for number in numbers[1:]):
        return math.nan
    size = sum(abs(number) / 60.0**power for power, number in enumerate(numbers))
    # "-0:30:00" is negative though its first number is not
    return (-size if parts[0].startswith("-") else size) * (15.0 if hours else 1.0)


def barycentric_jd(mjd: float, ra: float, dec: float, site: Site | None) -> float:
    """Compute the barycentric Julian date in TDB (Eastman et al. 2010, PASP 122, 935).

    Parameters
    ----------
    mjd : float
        UTC.
    ra, dec : float
        Degrees, ICRS.
    site : Site or None
        Without one the time is that at the Earth's centre, at most 21 ms off.

    Returns
    -------
    float
        Days; nan when something is not known.
    """
    if not _known(mjd, ra, dec):
        return math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", erfa.ErfaWarning)  # leap seconds to come are not known
        tt = erfa.taitt(*erfa.utctai(MJD_ZERO, mjd))
    tdb = erfa.tttdb(*tt, erfa.dtdb(*tt, 0.0, 0.0, 0.0, 0.0))
    _, earth = erfa.epv00(*tdb)
    place = earth["p"]
    if site is not None:
        fixed = erfa.gd2gc(
            WGS84, math.radians(site.longitude), math.radians(site.latitude), site.height
        )
        turn = erfa.c2t06a(*tt, MJD_ZERO, mjd, 0.0, 0.0)
        place = place + fixed @ turn / METRES_PER_AU
    star = erfa.s2c(math.radians(ra), math.radians(dec))
    delay = float(np.dot(place, star)) * LIGHT_TIME / 86400
    return float(tdb[0] + (tdb[1] + delay))


def airmass_at(mjd: float, ra: float, dec: float, site: Site | None) -> float:
    """Compute the airmass from the true altitude (Young 1994, Applied Optics 33, 1108).

    Returns
    -------
    float
        nan below the horizon, without a site, or when something else is not known.
    """
    if site is None or not _known(mjd, ra, dec):
        return math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", erfa.ErfaWarning)
        _, zenith_distance, *_ = erfa.atco13(
            math.radians(ra), math.radians(dec), 0.0, 0.0, 0.0, 0.0,  # no motion
            MJD_ZERO, mjd, 0.0,
            math.radians(site.longitude), math.radians(site.latitude), site.height, 0.0, 0.0,
            0.0, 0.0, 0.0, 0.5,  # no air: no refraction
        )  # fmt: skip
    c = math.cos(zenith_distance)
    if c < 0:
        return math.nan
    return (1.002432 * c**2 + 0.148386 * c + 0.0096467) / (
        c**3 + 0.149864 * c**2 + 0.0102963 * c + 0.000303978
    )


def _known(mjd: float, ra: float, dec: float) -> bool:
    return MJD_MIN < mjd < MJD_MAX and math.isfinite(ra) and abs(dec) <= 90
