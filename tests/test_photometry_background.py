"""The sky and its noise."""

import numpy as np

from pipnick_watch.photometry.background import measure_sky


def test_a_gradient_is_followed_to_the_edges() -> None:
    """A tilted, curved sky is found to a small part of the noise, at the edges too."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:400, :500] / 400.0
    sky = 300.0 + 80.0 * x + 60.0 * y * y
    data = rng.normal(sky, 20.0)
    found = measure_sky(data, np.zeros(data.shape, dtype=bool), 50)
    assert np.abs(found.level - sky).max() < 8.0
    assert np.median(np.abs(found.level - sky)) < 1.0
    assert abs(found.median_rms / 20.0 - 1.0) < 0.03


def test_stars_do_not_raise_the_sky() -> None:
    """Bright pixels in a tenth of the frame move neither sky nor noise by much."""
    rng = np.random.default_rng(2)
    data = rng.normal(100.0, 5.0, (256, 256))
    some = rng.random(data.shape) < 0.1
    data[some] += rng.exponential(500.0, some.sum())
    found = measure_sky(data, np.zeros(data.shape, dtype=bool), 64)
    assert abs(found.median_level - 100.0) < 1.0
    assert abs(found.median_rms / 5.0 - 1.0) < 0.1


def test_masked_boxes_are_bridged() -> None:
    """Where a whole box is masked, the sky is that of the boxes around it."""
    rng = np.random.default_rng(3)
    data = rng.normal(100.0, 5.0, (256, 256))
    bad = np.zeros(data.shape, dtype=bool)
    bad[64:128, 64:128] = True
    data[bad] = 1e6
    found = measure_sky(data, bad, 64)
    assert np.abs(found.level - 100.0).max() < 3.0


def test_a_frame_without_good_pixels_has_a_sky() -> None:
    """Everything masked gives zeros, not an error."""
    data = np.ones((40, 50))
    found = measure_sky(data, np.ones(data.shape, dtype=bool), 16)
    assert found.level.shape == data.shape
    assert np.isfinite(found.level).all()
    assert (found.rms > 0).all()


def test_a_prior_sky_gives_the_same() -> None:
    """The second, cheaper look at a sky that is nearly known agrees with the first."""
    rng = np.random.default_rng(4)
    data = rng.normal(100.0, 5.0, (200, 200))
    bad = np.zeros(data.shape, dtype=bool)
    again = measure_sky(data, bad, 50, prior=measure_sky(data, bad, 50).level)
    assert abs(again.median_level - 100.0) < 0.5
    assert abs(again.median_rms / 5.0 - 1.0) < 0.05


def test_a_gradient_does_not_shift_the_sky() -> None:
    """Boxes of an even number of pixels have their centre between pixels: no half pixel is lost."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:256, :256].astype(float)
    sky = 300.0 + 30.0 * x - 20.0 * y
    found = measure_sky(rng.normal(sky, 5.0), np.zeros(sky.shape, dtype=bool), 32, prior=sky)
    assert abs(np.median(found.level - sky)) < 0.3
