"""The PSF from the frame's own stars."""

import dataclasses

import numpy as np
from photometry_scenes import drawn, plain_psf, sources_at

from pipnick_watch.photometry.psf_fit import fit_psf
from pipnick_watch.photometry.psf_stars import choose_psf_stars, cut_psf_stars


def grid_of_stars(n: int = 16, flux: float = 3e5) -> list[tuple[float, float, float]]:
    """Spread stars over 240 × 240 pixels."""
    side = int(np.sqrt(n))
    at = np.linspace(30, 210, side)
    return [(x + 0.3, y - 0.2, flux) for x in at for y in at]


def test_width_exponent_and_drift_come_back() -> None:
    """Stars drawn with a drifting Moffat give its FWHM to 1 %, and the drift."""
    truth = dataclasses.replace(
        plain_psf(5.0, (240, 240)), beta=2.6,
        log_alpha=np.array([np.log(4.6), 0.0, 0.0, 0.05, 0.0, 0.0]),
    )  # fmt: skip
    sources = sources_at(grid_of_stars())
    scene, _ = drawn(truth, sources, seed=1)
    start = plain_psf(6.0, (240, 240))
    chosen = choose_psf_stars(scene, start, sources, crowding=0.1)
    assert len(chosen) == 16
    stars = cut_psf_stars(scene, start, sources, chosen, None)
    found, used = fit_psf(stars, start, elliptical=False, corrected=False)
    assert used.all()
    assert abs(found.fwhm / truth.fwhm - 1.0) < 0.01
    assert abs(found.beta - 2.6) < 0.2
    assert abs(found.log_alpha[3] - 0.05) < 0.01


def test_one_odd_star_does_not_matter() -> None:
    """A galaxy among the stars is left out."""
    truth = plain_psf(5.0, (240, 240))
    places = grid_of_stars()
    sources = sources_at(places)
    scene, _ = drawn(truth, sources, seed=2)
    broad, _ = drawn(plain_psf(9.0, (240, 240)), sources_at([places[5]]), seed=3)
    scene = dataclasses.replace(scene, data=scene.data + broad.data)
    start = plain_psf(5.5, (240, 240))
    stars = cut_psf_stars(scene, start, sources, np.arange(16), None)
    found, used = fit_psf(stars, start, elliptical=False, corrected=False)
    assert not used[5]
    assert abs(found.fwhm / 5.0 - 1.0) < 0.01


def test_elliptical_stars() -> None:
    """The axes' ratio and angle come back."""
    truth = dataclasses.replace(plain_psf(5.0, (240, 240)), g1=0.1 * np.eye(6)[0])
    sources = sources_at(grid_of_stars())
    scene, _ = drawn(truth, sources, seed=4)
    start = plain_psf(5.0, (240, 240))
    stars = cut_psf_stars(scene, start, sources, np.arange(16), None)
    found, _ = fit_psf(stars, start, elliptical=True, corrected=True)
    assert abs(found.ellipticity - truth.ellipticity) < 0.01
    assert min(found.pa, 180.0 - found.pa) < 2.0


def test_gaussian_stars() -> None:
    """Stars without wings give their width to 2 %, far as the usual exponent is from theirs."""
    sources = sources_at(grid_of_stars())
    start = plain_psf(5.5, (240, 240))
    scene, _ = drawn(start, sources)
    y, x = np.mgrid[:240, :240].astype(float)
    sigma = 5.0 / 2.3548
    light = np.zeros((240, 240))
    for px, py, flux in grid_of_stars():
        light += flux * np.exp(-0.5 * ((x - px) ** 2 + (y - py) ** 2) / sigma**2)
    light /= 2 * np.pi * sigma**2
    noise = np.random.default_rng(6).normal(0.0, 1.0, light.shape) * np.sqrt(100.0 + light)
    scene = dataclasses.replace(scene, data=scene.canvas.pad(light + noise))
    stars = cut_psf_stars(scene, start, sources, np.arange(16), None)
    found, _ = fit_psf(stars, start, elliptical=False, corrected=False, rounds=7)
    assert abs(found.fwhm / 5.0 - 1.0) < 0.02
