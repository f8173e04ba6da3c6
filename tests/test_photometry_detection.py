"""Peaks, cosmic rays and the first guess of the FWHM."""

import numpy as np
import pytest
from photometry_scenes import drawn, plain_psf, sources_at

from pipnick_watch.photometry.detection import (
    bootstrap_fwhm,
    faint_light,
    fill_masked,
    filtered_peaks,
    sharp_pixels,
    smooth,
)


@pytest.mark.parametrize(("fwhm", "doubt"), [(1.5, 0.5), (3.0, 0.25), (6.0, 0.25), (12.0, 0.25)])
def test_first_guess_of_the_width(fwhm: float, doubt: float) -> None:
    """The FWHM is guessed to a quarter (half a pixel's width aside), cosmic rays or not."""
    psf = plain_psf(fwhm, (300, 300))
    rng = np.random.default_rng(1)
    places = [(x + rng.random(), y + rng.random(), 2000.0 * fwhm**2)
              for x in range(40, 280, 60) for y in range(40, 280, 60)]  # fmt: skip
    scene, _ = drawn(psf, sources_at(places), seed=2)
    data = scene.canvas.crop(scene.data).copy()
    data[rng.integers(20, 280, 8), rng.integers(20, 280, 8)] += 3000.0
    rms = np.full(data.shape, 10.0)
    found = bootstrap_fwhm(data, rms, np.zeros(data.shape, dtype=bool), 1e5)
    assert abs(found / fwhm - 1.0) < doubt


def test_noise_has_no_width() -> None:
    """Where nothing stands out the guess is nan."""
    data = np.random.default_rng(1).normal(0, 10.0, (100, 100))
    assert np.isnan(bootstrap_fwhm(data, np.full(data.shape, 10.0), data > 1e9, 1e5))


def test_cosmic_rays_are_sharper_than_stars() -> None:
    """Hits and tracks are marked, stars are not."""
    psf = plain_psf(4.0, (120, 120))
    scene, _ = drawn(psf, sources_at([(30.4, 30.2, 1e5), (80.0, 80.5, 5000.0)]), seed=1)
    data = scene.canvas.crop(scene.data).copy()
    data[60, 60] += 1000.0
    data[90, 20:26] += 2000.0
    found = sharp_pixels(data, np.full(data.shape, 10.0), np.zeros(data.shape, dtype=bool), 0.55)
    assert found[60, 60]
    assert found[90, 20:26].all()
    assert not found[26:35, 26:35].any()
    assert not found[76:85, 76:85].any()


def test_peaks_come_brightest_first_and_once() -> None:
    """A flat-topped peak counts once, and the order is by height."""
    data = np.zeros((20, 20))
    data[5, 5] = 3.0
    data[10, 10] = data[10, 11] = 7.0
    iy, ix = filtered_peaks(data, np.ones_like(data))
    assert list(zip(iy, ix, strict=True)) == [(10, 10), (5, 5)]


def test_smoothing_keeps_the_light() -> None:
    """A point becomes a Gaussian of that FWHM; nothing wraps around the edges."""
    data = np.zeros((64, 80))
    data[30, 40] = 1.0
    data[0, 0] = 1.0
    out = smooth(data, 4.0)
    assert abs(out[20:41, 30:51].sum() - 1.0) < 1e-3
    assert abs(out[30, 42] / out[30, 40] - 0.5) < 1e-3
    assert abs(out[-1, -1]) < 1e-6


def test_masked_pixels_are_bridged() -> None:
    """A dead column through a star is filled nearly as the star goes."""
    psf = plain_psf(5.0)
    scene, _ = drawn(psf, sources_at([(60.0, 60.0, 1e5)]))
    data = scene.canvas.crop(scene.data)
    bad = np.zeros(data.shape, dtype=bool)
    bad[:, 60] = True
    filled = fill_masked(np.where(bad, -999.0, data), bad, 5.0)
    assert abs(filled[60, 60] / data[60, 60] - 1.0) < 0.35


def test_single_faint_stars_are_left_out_of_the_sky_and_a_sea_of_them_is_not() -> None:
    """A few stars below the threshold are marked; where they are everywhere they are the sky."""
    rng = np.random.default_rng(8)
    shape, noise, fwhm = (512, 512), 20.0, 6.0

    def frame(stars: int) -> np.ndarray:
        data = np.zeros(shape)
        x, y = rng.integers(0, 512, stars), rng.integers(0, 512, stars)
        np.add.at(data, (y, x), rng.exponential(6000.0, stars))
        return smooth(data, fwhm) + rng.normal(0.0, noise, shape)

    clear, rms = np.zeros(shape, dtype=bool), np.full(shape, noise)
    few, sea = frame(40), frame(4000)
    marked = faint_light(few - np.median(few), clear, rms, fwhm, 36)
    assert 0.005 < marked.mean() < 0.1
    assert few[marked].mean() > few[~marked].mean() + noise
    assert faint_light(sea - np.median(sea), clear, rms, fwhm, 36).mean() < 0.2
