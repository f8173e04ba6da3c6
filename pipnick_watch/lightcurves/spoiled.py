"""Where is something else in a star's light: a cosmic ray, a hot pixel, a satellite.

What the PSF leaves over of a star, as a share of its flux, hardly changes from frame to frame once
the frame's own quality is taken out. Where it is several times larger, the light is not all the
star's, and the flux may be wrong by as much.
"""

import numpy as np
import numpy.typing as npt

from pipnick_watch.lightcurves.ensemble import column_medians

__all__ = ["excess_residual"]

FloatArray = npt.NDArray[np.float64]

TIMES = 3.0
LEAST = 0.02
LEAST_FRAMES, LEAST_STARS = 8, 6


def excess_residual(qfit: FloatArray) -> FloatArray:
    """Give by how much the residual is larger than usual, where it is far too large; else 0.

    Parameters
    ----------
    qfit : ndarray, shape (n_frames, n_stars)
        Sum of the absolute residuals over the flux; nan where a star was not detected.
    """
    if qfit.shape[0] < LEAST_FRAMES or qfit.shape[1] < LEAST_STARS:
        return np.zeros(qfit.shape)
    star = column_medians(qfit)
    with np.errstate(invalid="ignore", divide="ignore"):
        frame = column_medians((qfit / star).T)
        usual = star * frame[:, None]
        odd = (qfit > TIMES * usual) & (qfit - usual > LEAST)
    return np.where(odd, qfit - usual, 0.0)
