"""How well does a light curve do: its achieved scatter against the predicted one."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Performance", "performance"]

FloatArray = npt.NDArray[np.float64]

TEN_MINUTES = 10.0 / 1440.0
LEAST_BINS = 15
"""With fewer, ingress and egress of a transit are most of what the means show."""


@dataclass(frozen=True, kw_only=True)
class Performance:
    """Scatter of a light curve, magnitudes; nan when there are too few points.

    Attributes
    ----------
    achieved, predicted : float
        Of single frames.
    achieved_10min, predicted_10min : float
        Of means over ten minutes.
    """

    achieved: float
    predicted: float
    achieved_10min: float
    predicted_10min: float


def performance(mjd: FloatArray, mag: FloatArray, error: FloatArray) -> Performance:
    """Compare scatter and errors.

    The scatter is that of each point against the mean of its neighbours, so that a slow change
    of the star does not count.

    Parameters
    ----------
    mjd, mag, error : ndarray, shape (n,)
        In the order of time; nan where a point is missing.
    """
    known = np.isfinite(mjd) & np.isfinite(mag) & np.isfinite(error)
    t, m, e = mjd[known], mag[known], error[known]
    single = _local(m), float(np.median(e)) if len(e) else math.nan
    bins = np.floor((t - t[0]) / TEN_MINUTES) if len(t) else np.empty(0)
    means, errors = [], []
    for one in np.unique(bins):
        weight = e[bins == one] ** -2
        means.append(float((weight * m[bins == one]).sum() / weight.sum()))
        errors.append(float(weight.sum() ** -0.5))
    binned = _local(np.array(means), LEAST_BINS), float(np.median(errors)) if errors else math.nan
    return Performance(
        achieved=single[0], predicted=single[1],
        achieved_10min=binned[0], predicted_10min=binned[1],
    )  # fmt: skip


def _local(m: FloatArray, least: int = 5) -> float:
    if len(m) < least:
        return math.nan
    apart = m[1:-1] - (m[:-2] + m[2:]) / 2
    return 1.4826 * float(np.median(np.abs(apart))) / math.sqrt(1.5)
