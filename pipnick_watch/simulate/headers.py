"""How a simulated frame's header is spelled: as the Nickel's pipeline does, or another camera's."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from astropy.io import fits

__all__ = ["Pointing", "nickel_header", "other_header"]

PLATE_SCALE = 0.37
"""Arcseconds per pixel."""


@dataclass(frozen=True, kw_only=True)
class Pointing:
    """What was observed, where and when.

    Attributes
    ----------
    object, filter : str
    start : datetime
        Start of the exposure, UTC.
    exptime : float
        Seconds.
    airmass : float
    ra, dec : float
        Of the frame's centre, degrees.
    number : int
        Of the observation.
    """

    object: str = "SIMULATED"
    filter: str = "V"
    start: datetime = datetime(2024, 5, 13, 4, 32, 47, 120000, tzinfo=UTC)
    exptime: float = 60.0
    airmass: float = 1.2
    ra: float = 201.4152
    dec: float = -8.8245
    number: int = 1001


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-4]


def _mjd(moment: datetime) -> float:
    since = moment - datetime(1858, 11, 17, tzinfo=UTC)
    return round(since.total_seconds() / 86400, 9)


def _sexagesimal(value: float, decimals: int) -> str:
    """Write degrees or hours with colons, without a leading zero."""
    units = round(abs(value) * 3600 * 10**decimals)
    whole, rest = divmod(units, 10**decimals)
    minutes, seconds = divmod(whole, 60)
    tail = f"{seconds:02d}.{rest:0{decimals}d}"
    return f"{'-' if value < 0 else ''}{minutes // 60}:{minutes % 60:02d}:{tail}"


def nickel_header(pointing: Pointing, shape: tuple[int, int]) -> fits.Header:
    """Write the header of a reduced Nickel frame: the cards that matter, spelled as there.

    The WCS is the telescope's pointing, not a solution; GAIN is an index, not a gain.
    """
    end = pointing.start + timedelta(seconds=pointing.exptime)
    exptime = int(pointing.exptime) if pointing.exptime % 1 == 0 else pointing.exptime
    step = PLATE_SCALE / 3600
    header = fits.Header()
    for keyword, value, comment in (
        ("OBSNUM", pointing.number, "OBSERVATION NUMBER"),
        ("OBSTYPE", "OBJECT", "IMAGE TYPE"),
        ("EXPTIME", exptime, "Exp time (not counting shutter error)"),
        ("PROGRAM", "NEWCAM", "New Lick Camera"),
        ("VERSION", "nickel_direct", "Data acquisition version"),
        ("DATE", _iso(end), "UT of CCD readout & descramble"),
        ("AIRMASS", pointing.airmass, "AIRMASS AT START OF OBSERVATION"),
        ("DEC", f"{_sexagesimal(pointing.dec, 1):<18}", "DECLINATION"),
        ("RA", f"{_sexagesimal(pointing.ra / 15, 2):<18}", "RIGHT ASCENSION"),
        ("INSTRUME", "Nickel Direct Camera", ""),
        ("FILTNAM", f"{pointing.filter:<8}", "FILTER POSITION NAME"),
        ("DSENSOR", "Loral 2Kx2K", "SENSOR DESCRIPTION"),
        ("GAIN", 1, "DCS GAIN INDEX"),
        ("TEMPDET", -109.2, "EXPOSURE START DETECTOR TEMPERATURE"),
        ("OBJECT", f"{pointing.object:<18}", ""),
        ("BUNIT", "electron", ""),
        ("WCSAXES", 2, "Number of coordinate axes"),
        ("CRPIX1", shape[1] / 2, "Pixel coordinate of reference point"),
        ("CRPIX2", shape[0] / 2, "Pixel coordinate of reference point"),
        ("PC1_1", -step, "Coordinate transformation matrix element"),
        ("PC2_2", -step, "Coordinate transformation matrix element"),
        ("CDELT1", 1.0, "[deg] Coordinate increment at reference point"),
        ("CDELT2", 1.0, "[deg] Coordinate increment at reference point"),
        ("CUNIT1", "deg", "Units of coordinate increment and value"),
        ("CUNIT2", "deg", "Units of coordinate increment and value"),
        ("CTYPE1", "RA---TAN", "Right ascension, gnomonic projection"),
        ("CTYPE2", "DEC--TAN", "Declination, gnomonic projection"),
        ("CRVAL1", pointing.ra, "[deg] Coordinate value at reference point"),
        ("CRVAL2", pointing.dec, "[deg] Coordinate value at reference point"),
        ("DATE-BEG", _iso(pointing.start), "ISO-8601 time at start of observation"),
        ("MJD-BEG", _mjd(pointing.start), "[d] MJD at start of observation"),
        ("DATE-END", _iso(end), "ISO-8601 time at end of observation"),
        ("MJD-END", _mjd(end), "[d] MJD at end of observation"),
        ("RADESYS", "FK5", "Equatorial coordinate system"),
        ("EQUINOX", 2000.0, "[yr] Equinox of equatorial coordinates"),
    ):
        header[keyword] = (value, comment)
    return header


def other_header(pointing: Pointing, unit: str = "adu") -> fits.Header:
    """Write the header of another camera's reduced frame: no airmass, no WCS, other spellings."""
    header = fits.Header()
    header["OBJECT"] = pointing.object
    header["FILTER"] = pointing.filter
    header["EXPTIME"] = (pointing.exptime, "[s]")
    header["DATE-OBS"] = (_iso(pointing.start), "UTC, start of the exposure")
    header["RA"] = (pointing.ra, "[deg]")
    header["DEC"] = (pointing.dec, "[deg]")
    if unit:
        header["BUNIT"] = unit
    return header
