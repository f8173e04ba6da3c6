"""How noisy is a sky pixel: what was measured, or what UNCERT says where it may be trusted."""

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.background import Sky, measure_sky

__all__ = ["sky_noise"]

FloatArray = npt.NDArray[np.float64]

AGREEMENT = 1.25  # greatest ratio of the two, either way
LEAST_PIXELS = 100


def sky_noise(
    data: FloatArray, bad: npt.NDArray[np.bool_], uncert: FloatArray | None, sky: Sky, box: int
) -> tuple[FloatArray, str]:
    """Choose the noise of a sky pixel.

    UNCERT of reduced frames often holds the calibration frames' share alone, a tenth of the
    noise.  Where its median over the sky agrees with the measured noise, its level is used; its
    single pixels never are, since a pixel's own value in its weight biases faint stars.

    Returns
    -------
    rms : ndarray, shape (ny, nx)
    origin : {"uncert", "model"}
    """
    if uncert is None:
        return sky.rms, "model"
    thin = (slice(None, None, 4), slice(None, None, 4))
    plain = ~bad[thin] & (np.abs(data[thin] - sky.level[thin]) < 2.0 * sky.rms[thin])
    plain &= np.isfinite(uncert[thin]) & (uncert[thin] > 0)
    if plain.sum() < LEAST_PIXELS:
        return sky.rms, "model"
    ratio = float(np.median(uncert[thin][plain] / sky.rms[thin][plain]))
    if not 1.0 / AGREEMENT <= ratio <= AGREEMENT:
        return sky.rms, "model"
    usable = np.isfinite(uncert) & (uncert > 0)
    level = measure_sky(np.where(usable, uncert, 0.0), bad | ~usable, box).level
    # UNCERT's own wild places may not make a pixel count more, or less, than the sky shows
    return np.clip(level, sky.rms / AGREEMENT, sky.rms * AGREEMENT), "uncert"
