"""Whether UNCERT may be trusted."""

import numpy as np

from pipnick_watch.photometry.background import measure_sky
from pipnick_watch.photometry.noise import sky_noise


def test_uncert_is_used_only_where_it_agrees() -> None:
    """A true UNCERT is used; one ten times too small, or missing, or not finite, is not."""
    rng = np.random.default_rng(1)
    data = rng.normal(300.0, 20.0, (200, 200))
    bad = np.zeros(data.shape, dtype=bool)
    sky = measure_sky(data, bad, 50)
    for uncert, origin in (
        (np.full(data.shape, 20.5), "uncert"),
        (np.full(data.shape, 3.0), "model"),
        (np.full(data.shape, np.nan), "model"),
        (None, "model"),
    ):
        rms, found = sky_noise(data, bad, uncert, sky, 50)
        assert found == origin
        assert abs(np.median(rms) / 20.0 - 1.0) < 0.05
