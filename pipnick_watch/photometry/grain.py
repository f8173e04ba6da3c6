"""How much noisier is the sky than its pixels say, on the scale of a star? Its grain.

What is left of the flat field, stars and galaxies below the threshold, and errors of the sky's
map make neighbouring pixels err alike: a sum over a star's pixels is then less certain than
their own scatter tells.
"""

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.smoothing import FWHM_TO_SIGMA, smooth
from pipnick_watch.photometry.sources import Scene

__all__ = ["measure_grain"]

FloatArray = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

BRIGHT = 1.0  # standard deviations of a pixel: what the model has more of shows its own faults
WIDE = 4.0  # pixels of FWHM: so wide a filter sees no more in single pixels than in two by two
EVERY = 2  # pixels: of what a filter has smoothed these tell as much
DOUBT = 2.3  # variance of a variance from n percentiles: (DOUBT / sqrt(n))^2
FEWEST = 1000  # pixels of sky that can tell
BELOW = 15.866  # per cent of a Gaussian that lies below one standard deviation


def measure_grain(scene: Scene, model: FloatArray, areas: tuple[float, ...]) -> tuple[float, ...]:
    """Measure by how much sums over some areas scatter more than single pixels would let them.

    The residual is seen through a Gaussian of the same area; its lower half counts, since stars
    below the threshold are above.

    Parameters
    ----------
    scene : Scene
    model : ndarray
        All sources, padded and flat.
    areas : tuple of float
        Of weights w that the pixels are summed with: (Σ w)² / Σ w², pixels.

    Returns
    -------
    tuple of float
        Ratio of the variances for each, at least 1.
    """
    planes: dict[int, tuple[Single, BoolArray]] = {}
    ratios = []
    for area in areas:
        fwhm = np.sqrt(area / (4.0 * np.pi)) / FWHM_TO_SIGMA
        step = 2 if fwhm > WIDE and all(side % 2 == 0 for side in scene.canvas.shape) else 1
        if step not in planes:
            planes[step] = _pulls(scene, model, step)
        pull, sky = planes[step]
        if sky.sum() < FEWEST:
            ratios.append(1.0)
            continue
        seen = smooth(pull, fwhm / step)[::EVERY, ::EVERY][sky[::EVERY, ::EVERY]]
        middle, low = np.percentile(seen, [50.0, BELOW])
        # less what chance may add to it: so many areas were seen
        chance = DOUBT / np.sqrt(sky.sum() * step**2 / area)
        ratios.append(max(float(area * (middle - low) ** 2 / (1.0 + chance)), 1.0))
    return tuple(ratios)


def _pulls(scene: Scene, model: FloatArray, step: int) -> tuple[Single, BoolArray]:
    """Divide what is left by the noise, averaged over ``step`` by ``step`` pixels; find the sky."""
    data, total, variance = (
        scene.canvas.crop(one) for one in (scene.data, model, scene.sky_variance)
    )
    good = scene.canvas.crop(scene.good)
    first = (slice(None, None, step), slice(None, None, step))
    noise = np.sqrt(variance[first]).astype(np.float32) + np.float32(1e-12)
    left = (data - total).astype(np.float32)
    left *= good
    if step == 2:
        left = left[::2] + left[1::2]
        left = left[:, ::2] + left[:, 1::2]
    left /= step**2 * noise
    return left, good[first] & (total[first] < BRIGHT * noise)
