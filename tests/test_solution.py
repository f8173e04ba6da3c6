"""Where on the sky are a frame's sources, by a solution that may be another frame's."""

import hashlib
import math
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from pipnick_watch.errors import SolutionError
from pipnick_watch.solution import place_sources, solution_identity

RA, DEC, SCALE = 182.52, 18.54, 0.37
X, Y = np.array([0.0, 511.5, 1023.0, 300.25]), np.array([0.0, 511.5, 10.0, 800.5])


def cards(
    ra: float = RA, dec: float = DEC, scale: float = SCALE, kind: str = "ICRS", angle: float = 3.0
) -> fits.Header:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crpix = [512.5, 512.5]
    wcs.wcs.crval = [ra, dec]
    turn = math.radians(angle)
    matrix = np.array([[-math.cos(turn), math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    wcs.wcs.cd = matrix * scale / 3600
    wcs.wcs.radesys = kind
    if kind != "ICRS":
        wcs.wcs.equinox = 2000.0 if kind == "FK5" else 1950.0
    header: fits.Header = wcs.to_header()
    return header


def solution(path: Path, **how: Any) -> Path:
    fits.PrimaryHDU(np.zeros((1024, 1024), np.int16), cards(**how)).writeto(path, overwrite=True)
    return path


def place(path: Path, pointing: tuple[float, float] = (RA, DEC)) -> tuple[np.ndarray, np.ndarray]:
    return place_sources(path, pointing, SCALE, X, Y)


def test_positions(tmp_path: Path) -> None:
    """Pixels counted from 0 become the positions that the solution gives them."""
    ra, dec = place(solution(tmp_path / "d1_astro.fits"))
    assert (ra.dtype, dec.dtype) == (np.float64, np.float64)
    assert (ra[1], dec[1]) == pytest.approx((RA, DEC), abs=1e-9)
    expected = WCS(cards()).pixel_to_world(X, Y)
    assert np.allclose(ra, expected.ra.deg, atol=1e-10)
    assert np.allclose(dec, expected.dec.deg, atol=1e-10)


@pytest.mark.parametrize("kind", ["FK5", "FK4"])
def test_other_frames_become_icrs(tmp_path: Path, kind: str) -> None:
    """Positions are ICRS, whatever the solution's own reference frame."""
    path = solution(tmp_path / "d1_astro.fits", kind=kind)
    own = SkyCoord(RA, DEC, unit=u.deg, frame=kind.lower()).icrs
    ra, dec = place(path, (own.ra.deg, own.dec.deg))
    assert (ra[1], dec[1]) == pytest.approx((own.ra.deg, own.dec.deg), abs=1e-8)


def test_bare_and_extension(tmp_path: Path) -> None:
    """A solution without an image, and one in an extension, do as well."""
    path = tmp_path / "d1_astro.fits"
    whole = place(solution(path))
    bare = cards()
    bare["IMAGEW"], bare["IMAGEH"] = 1024, 1024
    fits.PrimaryHDU(header=bare).writeto(path, overwrite=True)
    assert np.array_equal(place(path), whole)
    extension = fits.ImageHDU(np.zeros((1024, 1024), np.int16), cards())
    fits.HDUList([fits.PrimaryHDU(), extension]).writeto(path, overwrite=True)
    assert np.array_equal(place(path), whole)


def test_distortion(tmp_path: Path) -> None:
    """The distortion that astrometry.net fits is applied."""
    header = cards()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    header.update({"A_ORDER": 2, "A_2_0": 1e-5, "B_ORDER": 2, "B_0_2": 0.0})
    path = tmp_path / "d1_astro.fits"
    fits.PrimaryHDU(np.zeros((1024, 1024), np.int16), header).writeto(path)
    ra, dec = place(path)
    moved = 511.5**2 * 1e-5
    expected = WCS(cards()).pixel_to_world(X[0] + moved, Y[0])
    assert (ra[0], dec[0]) == pytest.approx((expected.ra.deg, expected.dec.deg), abs=1e-7)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"dec": DEC + 0.25}, "its centre is 0.25 deg"),
        ({"ra": RA + 90}, "its centre"),
        ({"scale": SCALE * 1.06}, "arcsec per pixel"),
        ({"scale": SCALE * 0.94}, "arcsec per pixel"),
    ],
)
def test_another_frames(tmp_path: Path, how: dict[str, float], reason: str) -> None:
    """A solution that is far off the pointing or the camera's scale is not this frame's."""
    with pytest.raises(SolutionError, match=reason):
        place(solution(tmp_path / "d1_astro.fits", **how))


def test_within_the_limits(tmp_path: Path) -> None:
    """Within 0.2 degrees and 5 % a solution is taken, at any angle."""
    path = solution(tmp_path / "d1_astro.fits", dec=DEC + 0.19, scale=SCALE * 1.04, angle=200.0)
    assert np.isfinite(place(path)).all()


def test_no_pointing(tmp_path: Path) -> None:
    """Without a pointing only the scale is checked."""
    far = solution(tmp_path / "d1_astro.fits", ra=10.0)
    assert np.isfinite(place(far, (math.nan, math.nan))).all()
    wrong = solution(tmp_path / "d1_astro.fits", scale=1.0)
    with pytest.raises(SolutionError, match="arcsec per pixel"):
        place(wrong, (math.nan, math.nan))


def test_no_sources(tmp_path: Path) -> None:
    """No sources have no positions."""
    path = solution(tmp_path / "d1_astro.fits")
    ra, dec = place_sources(path, (RA, DEC), SCALE, np.empty(0), np.empty(0))
    assert (len(ra), len(dec)) == (0, 0)


def test_unknown_pixel(tmp_path: Path) -> None:
    """A source without a pixel has no position, and the others keep theirs."""
    path = solution(tmp_path / "d1_astro.fits")
    ra, _ = place_sources(path, (RA, DEC), SCALE, np.array([np.nan, 5.0]), np.array([1.0, 5.0]))
    assert np.isnan(ra).tolist() == [True, False]


def test_broken(tmp_path: Path) -> None:
    """What is no solution is refused with one line."""
    path = tmp_path / "d1_astro.fits"
    good = solution(path).read_bytes()
    broken = {
        b"": "no celestial",
        b"not a solution": "no celestial|incomplete",
        good[:2000]: "incomplete",
        good[:9000]: "incomplete",
        good.replace(b"RA---TAN", b"RA---XYZ"): "cannot be used",
        good.replace(b"DEC--TAN", b"FREQ    "): "cannot be used|no celestial",
        good.replace(b"CTYPE", b"DTYPE"): "no celestial",
    }
    for content, reason in broken.items():
        path.write_bytes(content)
        with pytest.raises(SolutionError, match=reason) as caught:
            place(path)
        assert str(caught.value).isprintable()
    path.unlink()
    with pytest.raises(SolutionError, match="No such file"):
        place(path)
    with pytest.raises(SolutionError, match="No such file"):
        solution_identity(path)


def test_singular(tmp_path: Path) -> None:
    """A solution whose matrix has no inverse is refused."""
    path = tmp_path / "d1_astro.fits"
    header = cards()
    header.update({"PC1_1": 0.0, "PC1_2": 0.0, "PC2_1": 0.0, "PC2_2": 0.0})
    fits.PrimaryHDU(np.zeros((1024, 1024), np.int16), header).writeto(path)
    with pytest.raises(SolutionError):
        place(path)


def test_identity(tmp_path: Path) -> None:
    """A solution's identity is that of its bytes."""
    path = solution(tmp_path / "d1_astro.fits")
    name = solution_identity(path)
    assert name == hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert solution_identity(solution(path, dec=DEC + 0.01)) != name


def test_random_cards(tmp_path: Path) -> None:
    """A solution with numbers changed at random gives positions or a SolutionError."""
    path = tmp_path / "d1_astro.fits"
    good, rng = solution(path).read_bytes(), np.random.default_rng()
    for _ in range(100):
        broken = bytearray(good)
        for at in rng.integers(240, 2000, rng.integers(1, 6)):
            broken[at] = rng.choice(bytearray(b"0123456789.-+E' ANX\x00\xff"))
        path.write_bytes(broken)
        try:
            ra, dec = place(path)
        except SolutionError as error:
            assert str(error).isprintable()
        else:
            assert len(ra) == len(dec) == len(X)
