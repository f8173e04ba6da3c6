"""Whether errors know that neighbouring pixels of a sky err alike."""

import dataclasses

import numpy as np
import pytest
from photometry_scenes import as_frame, field, how
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from pipnick_watch.photometry.grain import measure_grain
from pipnick_watch.photometry.pipeline import measure
from pipnick_watch.photometry.sources import Scene
from pipnick_watch.photometry.stamps import Canvas

RMS = 20.0


def dust(shape: tuple[int, int], seed: int, fwhm: float = 12.0, height: float = 6.0) -> np.ndarray:
    """Draw what a flat field leaves: smooth specks, of this rms in electrons."""
    specks = gaussian_filter(np.random.default_rng(seed).normal(size=shape), fwhm / 2.3548)
    return np.asarray(height * specks / specks.std())


def scene(sky: np.ndarray) -> Scene:
    """Make a scene of a frame without stars."""
    canvas = Canvas(shape=sky.shape, margin=30)
    return Scene(
        canvas=canvas, data=canvas.pad(sky), sky_variance=canvas.pad(np.full(sky.shape, RMS**2)),
        good=canvas.pad(np.ones(sky.shape, dtype=bool)), rms=RMS,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(500, 500), (301, 400)])
def test_white_noise_has_no_grain(shape: tuple[int, int]) -> None:
    """Where pixels err each for itself, errors stay what single pixels give, at every scale."""
    some = scene(np.random.default_rng(1).normal(0.0, RMS, shape))
    found = measure_grain(some, np.zeros(some.canvas.size), (5.0, 20.0, 80.0, 200.0))
    assert found == pytest.approx((1.0,) * 4, abs=0.1)


def test_grain_is_what_sums_over_stars_scatter_by() -> None:
    """The ratio is that of the variances of weighted sums with and without what is alike."""
    shape, sigma = (600, 600), 2.5
    alike = dust(shape, 2)
    some = scene(np.random.default_rng(3).normal(0.0, RMS, shape) + alike)
    area = 4.0 * np.pi * sigma**2
    expected = 1.0 + gaussian_filter(alike, sigma).var() * area / RMS**2
    found = measure_grain(some, np.zeros(some.canvas.size), (area,))[0]
    assert expected > 2.0
    assert found == pytest.approx(expected, rel=0.15)


def test_a_frame_without_sky_has_no_grain() -> None:
    """Where nearly all pixels are masked nothing is raised."""
    some = scene(np.random.default_rng(1).normal(0.0, RMS, (100, 100)))
    blind = dataclasses.replace(some, good=np.zeros_like(some.good))
    assert measure_grain(blind, np.zeros(some.canvas.size), (80.0,)) == (1.0,)


def test_errors_hold_on_a_sky_with_specks() -> None:
    """What specks change in faint stars' fluxes is what they add to those stars' errors."""
    pull = []
    for seed in range(40, 46):
        clean = field(seed=seed, fwhm=5.0, n_stars=60, brightest=12000.0, sky=900.0)
        speckled = dataclasses.replace(clean, data=clean.data + dust(clean.data.shape, seed))
        without, within = (measure(as_frame(one), how()).catalogue for one in (clean, speckled))
        one, other = (np.column_stack([t["x_fit"], t["y_fit"]]) for t in (without, within))
        distance, row = cKDTree(one).query(other)
        same = (distance < 1.0) & (within["flags"] == 0) & (within["snr"] < 60.0)
        change = np.asarray(within["flux_psf"])[same] - np.asarray(without["flux_psf"])[row[same]]
        added = (
            np.asarray(within["flux_err"])[same] ** 2
            - np.asarray(without["flux_err"])[row[same]] ** 2
        )
        pull.append(change / np.sqrt(np.maximum(added, 1e-9)))
    low, high = np.percentile(np.concatenate(pull), [15.87, 84.13])
    assert len(np.concatenate(pull)) > 60
    assert 0.7 < 0.5 * (high - low) < 1.35
