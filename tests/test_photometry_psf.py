"""The PSF as a function of place."""

import dataclasses

import numpy as np
import pytest
from photometry_scenes import plain_psf

from pipnick_watch.photometry.drift import DRIFT_TERMS
from pipnick_watch.photometry.psf_correction import (
    TERMS,
    correction_gradient,
    correction_terms,
)


@pytest.mark.parametrize("fwhm", [1.2, 2.0, 3.0, 6.0, 12.0])
def test_unit_flux_and_width(fwhm: float) -> None:
    """The light of all pixels is 1, wherever in its pixel the star is, and the FWHM is right."""
    psf = plain_psf(fwhm, (400, 400))
    y, x = np.mgrid[:400, :400]
    for x0, y0 in ((200.0, 200.0), (200.5, 199.7)):
        place = np.array([x0]), np.array([y0])
        light = psf.evaluate((x - x0).reshape(1, -1), (y - y0).reshape(1, -1), *place)
        assert abs(light.sum() - 1.0) < 0.02
    assert abs(psf.fwhm / fwhm - 1.0) < 0.01


def test_gradient_is_the_difference() -> None:
    """The derivatives agree with finite differences, with shape, drift and correction."""
    rng = np.random.default_rng(1)
    psf = dataclasses.replace(
        plain_psf(5.0),
        g1=np.array([0.1, 0, 0, 0, 0, 0]),
        g2=np.array([-0.05, 0, 0, 0, 0, 0]),
        correction=rng.normal(0.0, 0.2, len(TERMS)),
    )
    dx, dy = rng.normal(0, 4, (3, 30)), rng.normal(0, 4, (3, 30))
    x, y = np.array([20.0, 60.0, 100.0]), np.array([90.0, 60.0, 10.0])
    _, by_x, by_y = psf.evaluate_with_gradient(dx, dy, x, y)
    h = 1e-4
    slope_x = (psf.evaluate(dx - h, dy, x, y) - psf.evaluate(dx + h, dy, x, y)) / (2 * h)
    slope_y = (psf.evaluate(dx, dy - h, x, y) - psf.evaluate(dx, dy + h, x, y)) / (2 * h)
    # the gradient leaves out how the light is spread within a pixel
    assert np.abs(by_x - slope_x).max() < 0.05 * np.abs(slope_x).max()
    assert np.abs(by_y - slope_y).max() < 0.05 * np.abs(slope_y).max()


def test_correction_gradient() -> None:
    """The correction's derivatives are those of its terms."""
    rng = np.random.default_rng(2)
    c = rng.normal(size=len(TERMS))
    u, v = rng.uniform(-1, 1, 20), rng.uniform(-1, 1, 20)
    h = 1e-6
    by_u = (c @ correction_terms(u + h, v) - c @ correction_terms(u - h, v)) / (2 * h)
    by_v = (c @ correction_terms(u, v + h) - c @ correction_terms(u, v - h)) / (2 * h)
    found = correction_gradient(c, u, v)
    np.testing.assert_allclose(found[0], by_u, atol=1e-6)
    np.testing.assert_allclose(found[1], by_v, atol=1e-6)


def test_shape_has_axes_and_angle() -> None:
    """Ellipticity and position angle say what the light does."""
    drift = np.zeros(DRIFT_TERMS)
    angle, half = np.radians(30.0), 0.5 * np.log(1.0 / 0.8)
    psf = dataclasses.replace(
        plain_psf(6.0),
        g1=drift + half * np.cos(2 * angle) * np.eye(6)[0],
        g2=drift + half * np.sin(2 * angle) * np.eye(6)[0],
    )
    assert abs(psf.ellipticity - 0.2) < 0.01
    assert abs(psf.pa - 30.0) < 0.5
    along = np.array([[3 * np.cos(angle)]]), np.array([[3 * np.sin(angle)]])
    across = np.array([[-3 * np.sin(angle)]]), np.array([[3 * np.cos(angle)]])
    assert psf.evaluate(*along, *psf.centre) > psf.evaluate(*across, *psf.centre)
