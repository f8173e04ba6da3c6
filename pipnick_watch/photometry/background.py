"""How bright is the sky, and how noisy is a pixel of it, everywhere in the frame?

Both come from clipped statistics of boxes. A box is sorted once; clipping then only moves the
ends of what counts, so that a map costs a few tens of milliseconds.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import make_interp_spline
from scipy.ndimage import median_filter

__all__ = ["Sky", "measure_sky"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

CLIP = 3.0  # standard deviations
ROUNDS = 6
LEAST = 0.2  # share of a box that has to be left
CLIPPED_TO_FULL = 1.0139  # standard deviation of a Gaussian over that of one clipped at CLIP


@dataclass(frozen=True, kw_only=True, eq=False)
class Sky:
    """The sky of a frame.

    Attributes
    ----------
    level, rms : ndarray, shape (ny, nx)
        Sky and standard deviation of a pixel, electrons.
    median_level, median_rms : float
        Their medians over the boxes.
    """

    level: FloatArray
    rms: FloatArray
    median_level: float
    median_rms: float


def measure_sky(data: FloatArray, bad: BoolArray, box: int, *, smooth: int = 3) -> Sky:
    """Map the sky and its noise.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        Electrons; best with the known stars already taken off.
    bad : ndarray of bool, shape (ny, nx)
        Pixels to leave out.
    box : int
        Side of the boxes, pixels.
    smooth : int
        Side of the median filter over the boxes.
    """
    ny, nx = data.shape
    ky, kx = max(1, round(ny / box)), max(1, round(nx / box))
    level, rms, share = _box_statistics(data, bad, ky, kx)
    level = _smooth(_fill(level, share), smooth)
    surface = _interpolate(level, (ny, nx))
    # a gradient inside a box is not noise: the noise is measured on what is left
    _, rms, share = _box_statistics(data - surface, bad, ky, kx)
    rms = _smooth(_fill(rms, share), smooth)
    floor = 1e-3 * float(np.median(rms)) + 1e-12
    return Sky(
        level=surface,
        rms=np.maximum(_interpolate(np.maximum(rms, floor), (ny, nx)), floor),
        median_level=float(np.median(level)),
        median_rms=float(np.median(rms)),
    )


def _box_statistics(
    data: FloatArray, bad: BoolArray, ky: int, kx: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return clipped level, clipped rms and share of pixels used of ky × kx boxes."""
    ny, nx = data.shape
    hy, hx = -(-ny // ky), -(-nx // kx)
    padded = np.full((ky * hy, kx * hx), np.nan, dtype=np.float32)
    # boxes of equal size that start where an even division puts them
    rows = _starts(ny, ky, hy)
    columns = _starts(nx, kx, hx)
    source = np.where(bad, np.float32(np.nan), data.astype(np.float32))
    if ny == ky * hy and nx == kx * hx:
        padded = source
    else:
        padded = source[rows[:, None], columns[None, :]]
    boxes = padded.reshape(ky, hy, kx, hx).swapaxes(1, 2).reshape(ky * kx, hy * hx)
    level, rms, used = _clipped(np.sort(boxes, axis=1))
    shape = (ky, kx)
    return level.reshape(shape), rms.reshape(shape), (used / (hy * hx)).reshape(shape)


def _starts(n: int, k: int, h: int) -> npt.NDArray[np.intp]:
    """Index n pixels as k runs of h, evenly spread, overlapping by a little where they must."""
    first = np.round(np.linspace(0, n - h, k)).astype(np.intp)
    return (first[:, None] + np.arange(h)[None, :]).ravel()


def _clipped(ordered: npt.NDArray[np.float32]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Clip each sorted row (nan last) around its median; return level, rms and count."""
    n_rows, width = ordered.shape
    missing = np.isnan(ordered)
    count = width - missing.sum(axis=1)
    row = np.arange(n_rows)
    middle = (count // 2).clip(0, width - 1)
    offset = np.where(count > 0, ordered[row, middle], np.float32(0.0)).astype(np.float64)
    centred = np.where(missing, np.inf, ordered - offset[:, None])
    zero = np.zeros((n_rows, 1))
    finite = np.where(missing, 0.0, centred)
    sums = np.concatenate([zero, np.cumsum(finite, axis=1)], axis=1)
    squares = np.concatenate([zero, np.cumsum(finite**2, axis=1)], axis=1)
    low, high = np.zeros(n_rows, dtype=np.intp), count.astype(np.intp)
    median, sigma = np.zeros(n_rows), np.zeros(n_rows)
    for turn in range(ROUNDS):
        n = np.maximum(high - low, 1)
        median = finite[row, (low + n // 2).clip(0, width - 1)]
        if turn == 0:
            # the lower quartile: stars sit above the median
            sigma = (median - finite[row, (low + n // 4).clip(0, width - 1)]) / 0.6745
        else:
            mean = (sums[row, high] - sums[row, low]) / n
            spread = (squares[row, high] - squares[row, low]) / n - mean**2
            sigma = np.sqrt(np.maximum(spread, 0.0)) * CLIPPED_TO_FULL
        new_low = (centred < (median - CLIP * sigma)[:, None]).sum(axis=1)
        new_high = (centred <= (median + CLIP * sigma)[:, None]).sum(axis=1)
        settled = np.array_equal(new_low, low) and np.array_equal(new_high, high)
        low, high = new_low, new_high
        if settled:
            break
    n = np.maximum(high - low, 1)
    mean = (sums[row, high] - sums[row, low]) / n
    # stars that are not known yet leave the mean above the median: take the mode
    skewed = np.abs(mean - median) > 0.3 * sigma
    level = np.where(skewed, median, 2.5 * median - 1.5 * mean) + offset
    return level, sigma, (high - low).astype(np.float64)


def _fill(values: FloatArray, share: FloatArray) -> FloatArray:
    """Replace boxes with too few pixels by the mean of their neighbours."""
    hole = share < LEAST
    if not hole.any():
        return values
    if hole.all():
        return np.full_like(values, float(np.median(values)))
    filled = np.where(hole, 0.0, values)
    known = (~hole).astype(np.float64)
    while hole.any():
        total = _neighbour_sum(filled * known)
        weight = _neighbour_sum(known)
        reached = hole & (weight > 0)
        filled[reached] = total[reached] / weight[reached]
        known[reached] = 1.0
        hole = hole & ~reached
    return filled


def _neighbour_sum(values: FloatArray) -> FloatArray:
    """Sum the 3 × 3 boxes around each."""
    padded = np.pad(values, 1)
    return np.asarray(
        sum(
            padded[i : i + values.shape[0], j : j + values.shape[1]]
            for i in range(3)
            for j in range(3)
        ),
        dtype=np.float64,
    )


def _smooth(values: FloatArray, side: int) -> FloatArray:
    """Median-filter the boxes; along an axis with fewer than ``side`` nothing is done."""
    size = tuple(side if n >= side else 1 for n in values.shape)
    return np.asarray(median_filter(values, size=size, mode="mirror"), dtype=np.float64)


def _interpolate(values: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Carry the boxes' values to every pixel, straight lines beyond the outer centres."""
    down = _weights(values.shape[0], shape[0])
    across = _weights(values.shape[1], shape[1])
    return np.asarray(down @ values @ across.T, dtype=np.float64)


def _weights(k: int, n: int) -> FloatArray:
    """Make the n × k matrix that interpolates k boxes over n pixels."""
    if k == 1:
        return np.ones((n, 1))
    h = -(-n // k)
    centre = np.round(np.linspace(0, n - h, k)) + (h - 1) / 2.0
    spline = make_interp_spline(centre, np.eye(k), k=min(3, k - 1) if k > 2 else 1)
    at = np.arange(n, dtype=np.float64)
    inside = at.clip(centre[0], centre[-1])
    weights = np.asarray(spline(inside), dtype=np.float64)
    slope = spline.derivative()
    for edge, outside in ((centre[0], at < centre[0]), (centre[-1], at > centre[-1])):
        weights[outside] += (at[outside] - edge)[:, None] * np.asarray(slope(edge))[None, :]
    return weights
