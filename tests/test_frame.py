"""One FITS file becomes a frame: whole, traceable, in electrons, or refused with a reason."""

import hashlib
import math
import os
import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from pipnick_watch.camera import Camera, Keywords
from pipnick_watch.errors import FrameError, FrameNotReadyError
from pipnick_watch.frame import Frame, read_frame
from pipnick_watch.settings import Settings, Target
from pipnick_watch.times import barycentric_jd

NIGHT = Path(__file__).parents[2] / "shared" / "nights" / "2024-05-13"
HEAD = {
    "OBJECT": "HAT-P-32",
    "FILTNAM": "V",
    "EXPTIME": 60.0,
    "AIRMASS": 1.1,
    "DATE-BEG": "2024-05-13T04:37:01.29",
    "RA": "12:10:06.30",
    "DEC": "18:32:33.7",
    "BUNIT": "electron",
    "GAIN": 7,
}


def write(path: Path, changes: dict[str, Any] | None = None, **how: Any) -> Path:
    """Write a small frame; a change to None takes the card out."""
    cards = {
        word: value for word, value in {**HEAD, **(changes or {})}.items() if value is not None
    }
    data = np.arange(1200.0).reshape(40, 30)
    fits.PrimaryHDU(data, fits.Header(cards)).writeto(path, **how)
    return path


def facts(path: Path, changes: dict[str, Any], settings: Settings | None = None) -> Frame:
    return read_frame(write(path, changes, overwrite=True), path.name, settings or Settings())


def test_frame(tmp_path: Path) -> None:
    """Pixels, names, numbers and the file's identity are as they were written."""
    path = write(tmp_path / "d1.fits")
    frame = read_frame(path, "X_V/d1.fits", Settings())
    assert frame.name == "X_V/d1.fits"
    assert frame.data.dtype == np.float64
    assert frame.data[7, 11] == 7 * 30 + 11
    assert frame.uncert is None
    assert (frame.object, frame.filter, frame.exptime, frame.airmass) == ("HAT-P-32", "V", 60, 1.1)
    assert frame.mjd_mid == pytest.approx(Time("2024-05-13T04:37:31.29").mjd, abs=1e-10)
    assert (frame.ra, frame.dec) == pytest.approx((182.52625, 18.54269), abs=1e-5)
    assert frame.airmass_mid == pytest.approx(1.0587, abs=2e-4)
    assert frame.size == path.stat().st_size
    assert frame.mtime_ns == path.stat().st_mtime_ns
    assert frame.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert frame.warnings == ()


def test_gain(tmp_path: Path) -> None:
    """Fluxes are image units × the profile's gain; the header's GAIN is never looked at."""
    path = write(tmp_path / "d1.fits", {"BUNIT": "adu"})
    frame = read_frame(path, "d1.fits", Settings(camera=Camera(gain=1.8)))
    assert frame.data[7, 11] == pytest.approx(1.8 * 221)
    assert frame.saturation == pytest.approx(180_000)


@pytest.mark.parametrize("unit", ["adu", "ADU", "adu / pix", "DN", "counts", "count"])
def test_adu_is_refused(tmp_path: Path, unit: str) -> None:
    """A frame in adu is refused while the profile says electrons."""
    path = write(tmp_path / "d1.fits", {"BUNIT": unit})
    with pytest.raises(FrameError, match=r"BUNIT is .* set gain"):
        read_frame(path, "d1.fits", Settings())


@pytest.mark.parametrize("unit", [None, "", "electron", "Electrons", "e-"])
def test_electrons_are_taken(tmp_path: Path, unit: str | None) -> None:
    """A frame in electrons, or one that does not say, is taken without a word."""
    assert facts(tmp_path / "d1.fits", {"BUNIT": unit}).warnings == ()


@pytest.mark.parametrize(
    ("changes", "middle"),
    [
        ({"DATE-BEG": "2024-05-12T21:37:01.29-0700"}, "2024-05-13T04:37:31.29"),
        ({"DATE-BEG": None, "DATE-OBS": "2024-05-13T04:00:00"}, "2024-05-13T04:00:30"),
        ({"DATE-BEG": None, "UT-OBS": "2024-05-13T05:00:00"}, "2024-05-13T05:00:30"),
        (
            {"DATE-BEG": None, "DATE-OBS": "2024-05-13", "UT-OBS": "04:00:00"},
            "2024-05-13T04:00:30",
        ),
        ({"EXPTIME": None, "EXPOSURE": 10}, "2024-05-13T04:37:06.29"),
        ({"MJD-BEG": 50000.0, "DATE-OBS": "2020-01-01T00:00:00"}, "2024-05-13T04:37:31.29"),
    ],
)
def test_middle(tmp_path: Path, changes: dict[str, Any], middle: str) -> None:
    """The middle is the first start keyword present + half the exposure, in UTC."""
    frame = facts(tmp_path / "d1.fits", changes)
    assert frame.mjd_mid == pytest.approx(Time(middle).mjd, abs=1e-10)


def test_end_only_checks(tmp_path: Path) -> None:
    """An end keyword that disagrees changes no number, and is told."""
    path = tmp_path / "d1.fits"
    right = facts(path, {"DATE-END": "2024-05-13T04:38:01.30"})
    wrong = facts(path, {"DATE-END": "2024-05-13T04:40:01.29"})
    assert right.warnings == ()
    assert "120.0 s" in wrong.warnings[0]
    assert wrong.mjd_mid == right.mjd_mid


@pytest.mark.parametrize(
    "changes",
    [
        {"EXPTIME": None}, {"EXPTIME": "long"}, {"EXPTIME": -60.0}, {"DATE-BEG": None},
        {"DATE-BEG": "last night"}, {"DATE-BEG": "2024-05-13"}, {"DATE-BEG": 60443.19},
    ],
)  # fmt: skip
def test_unknown_time(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Without a start or an exposure time the times are nan, the frame says so, and is read."""
    frame = facts(tmp_path / "d1.fits", changes)
    assert math.isnan(frame.mjd_mid)
    assert math.isnan(frame.bjd_tdb)
    assert math.isnan(frame.airmass_mid)
    assert frame.warnings


@pytest.mark.parametrize("airmass", [None, "high", True])
def test_unknown_airmass(tmp_path: Path, airmass: object) -> None:
    """An airmass that is missing or no number is nan."""
    assert math.isnan(facts(tmp_path / "d1.fits", {"AIRMASS": airmass}).airmass)


def test_place_of_the_barycentric_time(tmp_path: Path) -> None:
    """The target's position counts before the header's; without any the time is nan."""
    path, camera = tmp_path / "d1.fits", Camera()
    header = facts(path, {})
    targets = {"HAT-P-32": Target(ra=31.0427, dec=46.6878)}
    target = facts(path, {}, Settings(targets=targets))
    pixel = facts(path, {}, Settings(targets={"HAT-P-32": Target(x=3.0, y=4.0)}))
    expected = barycentric_jd(header.mjd_mid, 31.0427, 46.6878, camera.site)
    assert target.bjd_tdb == expected != header.bjd_tdb
    assert pixel.bjd_tdb == header.bjd_tdb
    assert (target.ra, target.dec) == (header.ra, header.dec)
    for changes in ({"RA": None}, {"DEC": "95:00:00"}, {"RA": "12:99:00"}):
        nowhere = facts(path, changes)
        assert math.isnan(nowhere.bjd_tdb)
        assert math.isnan(nowhere.ra)
        assert math.isnan(nowhere.dec)


def test_plain_numbers_are_degrees(tmp_path: Path) -> None:
    """A right ascension without colons is degrees, as a number or as text."""
    for value in (182.52625, "182.52625"):
        assert facts(tmp_path / "d1.fits", {"RA": value}).ra == pytest.approx(182.52625)


def test_profile_of_another_camera(tmp_path: Path) -> None:
    """Another camera's keywords are used, and without a site there is no computed airmass."""
    keywords = Keywords(object=("TARGET",), exptime=("HIERARCH SHUTTER OPEN TIME",))
    camera = Camera(name="Other", keywords=keywords, site=None)
    changes = {"TARGET": "m 13", "HIERARCH SHUTTER OPEN TIME": 5.0}
    frame = facts(tmp_path / "d1.fits", changes, Settings(camera=camera))
    assert (frame.object, frame.exptime) == ("M13", 5.0)
    assert math.isnan(frame.airmass_mid)
    assert math.isfinite(frame.bjd_tdb)


def test_checksum(tmp_path: Path) -> None:
    """A frame with a checksum is read when it agrees, and refused when a pixel has changed."""
    path = write(tmp_path / "d1.fits", checksum=True)
    assert read_frame(path, "d1.fits", Settings()).warnings == ()
    content = bytearray(path.read_bytes())
    content[-3000] ^= 1
    path.write_bytes(content)
    with pytest.raises(FrameError, match="checksum"):
        read_frame(path, "d1.fits", Settings())


def test_wrong_header_checksum(tmp_path: Path) -> None:
    """CHECKSUM covers the header too."""
    path = write(tmp_path / "d1.fits", checksum=True)
    path.write_bytes(path.read_bytes().replace(b"HAT-P-32", b"HAT-P-33"))
    with pytest.raises(FrameError, match="checksum"):
        read_frame(path, "d1.fits", Settings())


def test_short(tmp_path: Path) -> None:
    """A frame cut short, even by one byte, is not ready."""
    path = write(tmp_path / "d1.fits")
    for size in (0, 100, 5000, path.stat().st_size - 1):
        path.write_bytes(write(path, overwrite=True).read_bytes()[:size])
        with pytest.raises(FrameNotReadyError, match="incomplete"):
            read_frame(path, "d1.fits", Settings())


def test_writer_at_work(tmp_path: Path) -> None:
    """While somebody writes, a frame is either refused as not ready or wholly of one state."""
    path = tmp_path / "d1.fits"
    states = []
    for value in (1.0, 2.0):
        # small, so that one write(2) is over in less than the reader's patience
        fits.PrimaryHDU(np.full((100, 100), value)).writeto(path, overwrite=True)
        states.append(path.read_bytes())
    hashes = {hashlib.sha256(state).hexdigest() for state in states}
    stop, rng = threading.Event(), random.Random()

    def rewrite() -> None:
        descriptor = os.open(path, os.O_WRONLY)
        while not stop.wait(rng.uniform(0, 0.025)):
            os.pwrite(descriptor, rng.choice(states), 0)
        os.close(descriptor)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(100):
            try:
                frame = read_frame(path, "d1.fits", Settings())
            except FrameNotReadyError:
                continue
            assert frame.sha256 in hashes
    finally:
        stop.set()
        writer.join()
    assert read_frame(path, "d1.fits", Settings()).sha256 in hashes


def test_replaced_frame(tmp_path: Path) -> None:
    """A frame replaced by name is the old one or the new one."""
    path, new = tmp_path / "d1.fits", write(tmp_path / "new", {"OBJECT": "NEW"})
    write(path)
    os.replace(new, path)
    assert read_frame(path, "d1.fits", Settings()).object == "NEW"


def test_link_and_fifo(tmp_path: Path) -> None:
    """A link is not followed, and a FIFO does not hang the reader."""
    good = write(tmp_path / "d1.fits")
    (tmp_path / "link.fits").symlink_to(good)
    os.mkfifo(tmp_path / "fifo.fits")
    for name in ("link.fits", "fifo.fits"):
        with pytest.raises(FrameError, match="not a regular file"):
            read_frame(tmp_path / name, name, Settings())


@pytest.mark.parametrize(
    "name", [b"'../../x'", b"'a\x00\x1b[31m\n'", b"'=cmd|x'", b"'$\\frac{$'", b"'\xff'"]
)
def test_odd_object(tmp_path: Path, name: bytes) -> None:
    """Odd bytes in a header do not keep a frame from being read, and no odd name comes out."""
    path = write(tmp_path / "d1.fits")
    content = path.read_bytes()
    at = content.index(b"OBJECT  =")
    path.write_bytes(content[:at] + (b"OBJECT  = " + name).ljust(80) + content[at + 80 :])
    frame = read_frame(path, "d1.fits", Settings())
    assert frame.data[7, 11] == 221
    assert not set(frame.object) & set("/\0\x1b\n=$\\|{")
    assert all(warning.isprintable() for warning in frame.warnings)


@pytest.mark.parametrize("field", ["PG1323-085_V", "NGC_4147_V", "UGC_9837_V"])
def test_real_frames(tmp_path: Path, field: str) -> None:
    """The Nickel's own frames are read as the telescope says they are."""
    found = sorted((NIGHT / "reduced" / field).glob("*.fits.gz"))
    if not found:
        pytest.skip("the real frames are not here")
    path = tmp_path / found[0].stem
    gzipped = fits.open(found[0])
    with gzipped as hdus:
        hdus.writeto(path)
        header, mask = hdus[0].header, hdus["MASK"].data != 0
        frame = read_frame(path, path.name, Settings())
        assert np.array_equal(frame.data, hdus[0].data)
        assert frame.uncert is not None
        assert np.array_equal(frame.uncert, hdus["UNCERT"].data)
    assert f"{frame.object}_{frame.filter}" == field
    assert frame.warnings == ()
    assert frame.mask[mask].all()
    assert frame.mask[:, [255, 256, 783, 784, 1002]].all()
    assert frame.mask.mean() < 0.04
    ends = [Time(header[word]).mjd for word in ("DATE-BEG", "DATE-END")]
    assert frame.mjd_mid == pytest.approx(sum(ends) / 2, abs=1e-6)
    assert frame.airmass_mid == pytest.approx(header["AIRMASS"], abs=0.01)
    assert abs(frame.bjd_tdb - 2400000.5 - frame.mjd_mid) < 0.0068
