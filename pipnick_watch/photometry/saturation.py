"""Which stars are saturated, and which pixels must their fit leave out?"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, find_objects, label

__all__ = ["SaturatedStars", "find_saturated"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

NEAR = 0.7  # of the saturation level: a masked run that touches such a core is part of it


class SaturatedStars:
    """Saturated cores: pixels to leave out, centre and radius of each."""

    def __init__(self, pixels: BoolArray, x: FloatArray, y: FloatArray, radius: FloatArray) -> None:
        self.pixels = pixels
        self.x = x
        self.y = y
        self.radius = radius


def find_saturated(data: FloatArray, mask: BoolArray, level: float) -> SaturatedStars:
    """Find saturated cores.

    Parameters
    ----------
    data, mask : ndarray, shape (ny, nx)
    level : float
        Electrons, sky included.
    """
    none = np.zeros(0)
    clipped = data >= level
    bright = data >= NEAR * level
    if not bright.any():
        return SaturatedStars(np.zeros_like(mask), none, none, none)
    touching = mask & binary_dilation(bright & ~mask, structure=np.ones((3, 3), dtype=bool))
    seed = clipped | touching | (bright & mask)
    blobs, _ = label(binary_dilation(seed, structure=np.ones((3, 3), dtype=bool)))
    xs, ys, radii = [], [], []
    for k, where in enumerate(find_objects(blobs), start=1):
        member = (blobs[where] == k) & seed[where]
        core = member & (data[where] >= NEAR * level)
        if core.sum() < 1:
            continue
        iy, ix = np.nonzero(core)
        ys.append(iy.mean() + where[0].start)
        xs.append(ix.mean() + where[1].start)
        radii.append(np.sqrt(member.sum() / np.pi) + 1.0)
    pixels = binary_dilation(seed, structure=np.ones((3, 3), dtype=bool))
    return SaturatedStars(pixels, np.array(xs), np.array(ys), np.array(radii))
