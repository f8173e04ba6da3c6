"""Saturated stars."""

import numpy as np
from photometry_scenes import as_frame, field, how

from pipnick_watch.photometry import measure
from pipnick_watch.photometry.flags import Flag
from pipnick_watch.photometry.saturation import find_saturated


def test_one_star_for_each_core() -> None:
    """A round core with a bleed along its column is one star, at the core; a lone hit is none."""
    data = np.full((200, 200), 300.0)
    y, x = np.mgrid[:200, :200]
    r = np.hypot(x - 80, y - 120)
    data += np.where(r < 15, 150000.0 * np.exp(-((r / 7.0) ** 2)), 0.0)
    data = np.minimum(data, 103000.0)
    data[60:180, 79:82] = 103000.0
    data[40, 150] = 103000.0
    cores = find_saturated(data, np.zeros(data.shape, dtype=bool), 100000.0)
    assert len(cores.x) == 1
    assert abs(cores.x[0] - 80) < 2
    assert abs(cores.y[0] - 120) < 3
    assert cores.pixels[40, 150]


def test_a_saturated_star_is_one_flagged_source() -> None:
    """In a simulated field each saturated star is one source with the flag, and no swarm."""
    simulated = field(seed=5, n_saturated=1)
    catalogue = measure(as_frame(simulated), how()).catalogue
    star = simulated.truth[simulated.truth["saturated"]][0]
    near = np.hypot(catalogue["x_fit"] - star["x"], catalogue["y_fit"] - star["y"]) < 16.0
    flagged = (np.asarray(catalogue["flags"]) & Flag.SATURATED) > 0
    assert (near & flagged).sum() == 1
    others = simulated.truth[~simulated.truth["saturated"]]
    expected = (np.hypot(others["x"] - star["x"], others["y"] - star["y"]) < 17.0).sum()
    assert near.sum() <= 1 + expected
