"""Sums within radii."""

import dataclasses

import numpy as np
import pytest
from photometry_scenes import drawn, plain_psf, sources_at
from photutils.aperture import CircularAperture

from pipnick_watch.photometry.apertures import overlap, sum_apertures


@pytest.mark.parametrize("radius", [2.5, 5.0, 8.0, 20.0])
def test_the_area_is_that_of_a_circle(radius: float) -> None:
    """The pixels' shares add up to the circle's area, wherever its centre is."""
    y, x = np.mgrid[-25:26, -25:26].astype(float)
    for cx, cy in ((0.0, 0.0), (0.3, -0.4), (0.5, 0.5)):
        area = overlap(x - cx, y - cy, radius).sum()
        assert abs(area / (np.pi * radius**2) - 1.0) < 2e-3


def test_agrees_with_photutils() -> None:
    """On a noisy frame of overlapping stars the plain sums are photutils' exact ones."""
    psf = plain_psf(4.0)
    sources = sources_at([(50.2, 60.1, 20000.0), (57.9, 61.3, 15000.0), (90.4, 30.6, 5000.0)])
    scene, light = drawn(psf, sources, seed=1)
    found = sum_apertures(scene, psf, sources, light, (2.5, 8.0))
    data = scene.canvas.crop(scene.data)
    for k, radius in enumerate((2.5, 8.0)):
        exact = CircularAperture(np.column_stack([sources.x, sources.y]), radius)
        sums = exact.do_photometry(data)[0]
        np.testing.assert_allclose(found.everything[k], sums, rtol=2e-3)


def test_neighbours_are_subtracted() -> None:
    """A star beside one ten times brighter has its own light only."""
    psf = plain_psf(4.0)
    sources = sources_at([(60.0, 60.0, 1e4), (67.0, 60.0, 1e5)])
    scene, light = drawn(psf, sources)
    single, _ = drawn(psf, sources_at([(60.0, 60.0, 1e4)]))
    alone = sum_apertures(scene, psf, sources, light, (5.0,)).alone[0, 0]
    truth = CircularAperture((60.0, 60.0), 5.0).do_photometry(single.canvas.crop(single.data))[0]
    assert abs(alone / truth[0] - 1.0) < 2e-3


def test_masked_pixels_are_filled_and_counted() -> None:
    """A masked pixel is replaced by the model, and its share of the light is told."""
    psf = plain_psf(4.0)
    sources = sources_at([(60.0, 60.0, 1e4)])
    scene, light = drawn(psf, sources)
    at = scene.canvas.at(np.array([60]), np.array([60]))
    good, data = scene.good.copy(), scene.data.copy()
    good[at], data[at] = 0.0, 0.0
    broken = dataclasses.replace(scene, good=good, data=data)
    whole = sum_apertures(scene, psf, sources, light, (5.0,))
    found = sum_apertures(broken, psf, sources, light, (5.0,))
    assert abs(found.alone[0, 0] / whole.alone[0, 0] - 1.0) < 1e-6
    assert 0.03 < found.lost[0, 0] < 0.1
