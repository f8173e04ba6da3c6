"""What rings around the sources say of the sky."""

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.rings import correct_by_rings
from pipnick_watch.photometry.sources import new_sources
from pipnick_watch.photometry.stamps import Canvas

FWHM = 5.0
CANVAS = Canvas(shape=(400, 500), margin=60)
NOISE = 20.0


def correction(
    sky: npt.NDArray[np.float64], *, stars: int, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return what is added at the places of stars on a frame without light, and the truth."""
    rng = np.random.default_rng(seed)
    empty = rng.normal(sky, NOISE)
    x, y = rng.uniform(0, 499, stars), rng.uniform(0, 399, stars)
    sources = new_sources(x, y, np.full(stars, 1e4), iteration=1)
    bad = rng.random(sky.shape) < 0.02
    empty[bad] = 1e6
    found = correct_by_rings(empty, bad, np.full(sky.shape, NOISE), CANVAS, sources, FWHM)
    assert found.shape == sky.shape
    iy, ix = np.rint(y).astype(int), np.rint(x).astype(int)
    return found[iy, ix], sky[iy, ix]


def test_a_map_that_is_right_is_left_alone() -> None:
    """Where nothing but noise is in the rings next to nothing is added, however few they are."""
    for stars in (1, 4, 12, 80):
        found, _ = correction(np.zeros(CANVAS.shape), stars=stars, seed=stars)
        assert np.abs(found).max() < 0.5


def test_what_the_map_has_wrong_is_mended() -> None:
    """Waves that the map has missed are mostly gone near the sources."""
    y, x = np.mgrid[:400, :500]
    waves = 8.0 * np.sin(x / 35.0) * np.cos(y / 35.0)
    found, truth = correction(waves, stars=80, seed=5)
    assert np.std(truth - found) < 0.4 * np.std(truth)


def test_no_source_means_no_correction() -> None:
    """A frame without sources keeps its map."""
    found = correct_by_rings(
        np.ones(CANVAS.shape), np.zeros(CANVAS.shape, dtype=bool), np.ones(CANVAS.shape), CANVAS,
        new_sources(np.zeros(0), np.zeros(0), np.zeros(0), iteration=1), FWHM,
    )  # fmt: skip
    assert not found.any()
