"""When was the middle of an exposure, and where did its target stand then."""

import math

import astropy.units as u
import erfa
import numpy as np
import pytest
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time

from pipnick_watch.camera import NICKEL_SITE, Site
from pipnick_watch.times import airmass_at, angle_degrees, barycentric_jd, mjd_of, split_time

MJD = 60443.19272326389


@pytest.mark.parametrize(
    ("text", "date", "clock"),
    [
        ("2024-05-13T04:37:01.29", "2024-05-13", "04:37:01.29"),
        ("2024-05-13 04:37:01", "2024-05-13", "04:37:01"),
        ("2024-05-12T21:37:01-0700", "2024-05-12", "21:37:01-0700"),
        ("2024-05-13", "2024-05-13", ""),
        (" 4:37:01.5 ", "", "4:37:01.5"),
        ("", "", ""),
        ("yesterday", "", ""),
        ("2024-05-13Tnoon", "", ""),
        ("13/05/24", "", ""),
    ],
)
def test_split_time(text: str, date: str, clock: str) -> None:
    """A header's time comes apart into date and time of day; what is neither gives nothing."""
    assert split_time(text) == (date, clock)


@pytest.mark.parametrize(
    ("clock", "iso"),
    [
        ("04:37:01.29", "2024-05-13T04:37:01.29"),
        ("4:37:01", "2024-05-13T04:37:01"),
        ("04:37:01Z", "2024-05-13T04:37:01"),
        ("04:37:01-0700", "2024-05-13T11:37:01"),
        ("21:37:01-07:00", "2024-05-14T04:37:01"),
        ("04:37:01+0530", "2024-05-12T23:07:01"),
        ("04:37:01.123456789", "2024-05-13T04:37:01.123456789"),
    ],
)
def test_mjd(clock: str, iso: str) -> None:
    """A time becomes the MJD that astropy gives, offsets taken off, to a microsecond."""
    assert mjd_of("2024-05-13", clock) == pytest.approx(Time(iso).mjd, abs=2e-11)


@pytest.mark.parametrize(
    ("date", "clock"),
    [
        ("", "04:37:01"), ("2024-05-13", ""), ("2024-02-30", "04:37:01"), ("0000-01-01", "0:00:00"),
        ("2024-05-13", "24:00:00"), ("2024-05-13", "12:60:00"), ("2024-05-13", "12:00:61"),
    ],
)  # fmt: skip
def test_no_time(date: str, clock: str) -> None:
    """What is no time gives nan."""
    assert math.isnan(mjd_of(date, clock))


def test_leap_second() -> None:
    """A leap second belongs to the end of its day."""
    assert mjd_of("2016-12-31", "23:59:60.0") == mjd_of("2017-01-01", "00:00:00")


@pytest.mark.parametrize(
    ("text", "hours", "degrees"),
    [
        ("12:10:06.30", True, 182.52625),
        ("12 10 06.30", True, 182.52625),
        ("182.52625", True, 182.52625),
        ("+18:32:33.7", False, 18.0 + 32 / 60 + 33.7 / 3600),
        ("-8:49:28.5", False, -(8 + 49 / 60 + 28.5 / 3600)),
        ("-0:30:00", False, -0.5),
        ("10:30", True, 157.5),
        ("-12.25", False, -12.25),
    ],
)
def test_angle(text: str, hours: bool, degrees: float) -> None:
    """With colons a right ascension is hours; a plain number is degrees; signs hold."""
    assert angle_degrees(text, hours=hours) == pytest.approx(degrees, abs=1e-9)


@pytest.mark.parametrize(
    "text", ["", "north", "1:2:3:4", "12:61:00", "12:-5:00", "nan", "inf", "::"]
)
def test_no_angle(text: str) -> None:
    """What is no angle gives nan."""
    assert math.isnan(angle_degrees(text, hours=True))


def test_barycentric_jd() -> None:
    """At the Earth's centre the light's delay is the Earth's place times the star's direction."""
    ra, dec = 182.52625, 18.5427
    tdb = Time(MJD, format="mjd", scale="utc").tdb
    earth = erfa.epv00(tdb.jd1, tdb.jd2)[1]["p"]
    star = erfa.s2c(math.radians(ra), math.radians(dec))
    delay_days = float(np.dot(earth, star)) * 499.004784 / 86400
    assert barycentric_jd(MJD, ra, dec, None) == pytest.approx(tdb.jd + delay_days, abs=2e-9)
    aside = barycentric_jd(MJD, ra, dec, NICKEL_SITE) - barycentric_jd(MJD, ra, dec, None)
    assert 0 < abs(aside) * 86400 < 0.0213


@pytest.mark.parametrize("mjd", [45000.2, 58849.9, 60443.19272326389])
def test_as_astropy(mjd: float) -> None:
    """Barycentric time and altitude are those of astropy, which knows the Earth's rotation."""
    place = EarthLocation.from_geodetic(-121.637 * u.deg, 37.343 * u.deg, 1290 * u.m)
    time = Time(mjd, format="mjd", scale="utc", location=place)
    for ra, dec in [(182.5, 18.5), (10.0, -60.0), (300.0, 85.0)]:
        star = SkyCoord(ra, dec, unit="deg")
        reference = (time.tdb + time.light_travel_time(star)).jd
        assert barycentric_jd(mjd, ra, dec, NICKEL_SITE) == pytest.approx(reference, abs=5e-10)
        altitude = float(star.transform_to(AltAz(obstime=time, location=place)).alt.deg)
        airmass = airmass_at(mjd, ra, dec, NICKEL_SITE)
        assert math.isnan(airmass) == (altitude < 0)
        if altitude > 20:
            expected = 1 / math.sin(math.radians(altitude))
            assert airmass == pytest.approx(expected, rel=0.003 * expected**2)


def test_no_barycentric_jd() -> None:
    """Without a time or a place there is no barycentric time."""
    for mjd, ra, dec in [(math.nan, 1, 2), (MJD, math.nan, 2), (MJD, 1, math.nan), (MJD, 1, 95)]:
        assert math.isnan(barycentric_jd(mjd, ra, dec, NICKEL_SITE))
        assert math.isnan(airmass_at(mjd, ra, dec, NICKEL_SITE))


@pytest.mark.parametrize("mjd", [-1e9, 0.0, 15021.0, 61369.9, 70000.0, 88000.0, 1e9, 1e300])
def test_any_night(mjd: float) -> None:
    """No night needs the network, warns or raises, however far from the tables."""
    inside = 15020 < mjd < 88069
    assert math.isfinite(barycentric_jd(mjd, 10.0, 20.0, NICKEL_SITE)) == inside
    airmass_at(mjd, 10.0, 89.0, NICKEL_SITE)


def test_airmass() -> None:
    """The airmass is 1 at the zenith, and the secant of the distance from it nearby."""
    pole = Site(longitude=0.0, latitude=90.0)
    for distance in (0.2, 30.0, 60.0):
        expected = 1 / math.cos(math.radians(distance))
        # the pole of date is within 0.2 degrees of that of 2000
        found = airmass_at(MJD, 123.0, 90.0 - distance, pole)
        assert found == pytest.approx(expected, abs=0.004 * expected**2 + 0.002)


def test_no_airmass() -> None:
    """Below the horizon, or without a site, there is no airmass."""
    assert math.isnan(airmass_at(MJD, 0.0, -89.0, NICKEL_SITE))
    assert math.isnan(airmass_at(MJD, 182.5, 18.5, None))
