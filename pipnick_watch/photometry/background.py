"""How bright is the sky, and how noisy is a pixel of it, everywhere in the frame.

Both come from clipped statistics of boxes. A box is sorted once; clipping then only moves the
ends of what counts, so that a map costs a few tens of milliseconds.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.polynomial.legendre import legvander
from scipy.interpolate import make_interp_spline
from scipy.ndimage import median_filter

__all__ = ["Sky", "measure_sky"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

CLIP = 3.0  # standard deviations
ROUNDS = 8
BELOW = 0.15997  # share of a Gaussian, clipped at CLIP, that lies below one standard deviation
NAN = np.float32(np.nan)
LEAST = 0.2  # share of a box that has to be left
BROAD_DEGREE = 4  # of the polynomial that holds the frame's broad shape
BROAD_ROUNDS = 4
TWICINGS = 2


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


def measure_sky(
    data: FloatArray, bad: BoolArray, box: int, *, prior: FloatArray | None = None, step: int = 1
) -> Sky:
    """Map the sky and its noise.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        Electrons; best with the known stars already taken off.
    bad : ndarray of bool, shape (ny, nx)
        Pixels to leave out.
    box : int
        Side of the boxes, pixels.
    prior : ndarray, shape (ny, nx), optional
        A sky that is nearly right. A gradient inside a box is not noise: without a prior the
        noise is measured in a second round, on what the first leaves.
    step : int
        Only every so many-th row and column is looked at.
    """
    ny, nx = data.shape
    grid = max(1, round(ny / box)), max(1, round(nx / box))
    thin = (slice(None, None, step), slice(None, None, step))
    some, lost = data[thin], bad[thin]
    if prior is not None:
        some = some - prior[thin]
    level, rms, share = _box_statistics(some, lost, grid, mode=prior is None)
    if prior is not None:
        # the whole sky is smoothed again: what a box of the prior had wrong must not stay in it
        level += _at_centres(prior, grid)
    surface = _interpolate(_smooth(_fill(level, share)), (ny, nx))
    if prior is None:
        _, rms, share = _box_statistics(some - surface[thin], lost, grid, mode=False)
    rms = _smooth(_fill(rms, share))
    floor = 1e-3 * float(np.median(rms)) + 1e-9
    rms = np.maximum(rms, floor)
    return Sky(
        level=surface,
        rms=np.maximum(_interpolate(rms, (ny, nx)), floor),
        median_level=float(np.median(surface[:: max(1, ny // 64), :: max(1, nx // 64)])),
        median_rms=float(np.median(rms)),
    )


def _box_statistics(
    data: FloatArray, bad: BoolArray, grid: tuple[int, int], *, mode: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return clipped level, clipped rms and share of the pixels used, of a grid of boxes."""
    (ny, nx), (ky, kx) = data.shape, grid
    hy, hx = -(-ny // ky), -(-nx // kx)
    source = data.astype(np.float32)
    source[bad] = np.nan
    if (ny, nx) != (ky * hy, kx * hx):
        source = source[_starts(ny, ky, hy)[:, None], _starts(nx, kx, hx)[None, :]]
    boxes = source.reshape(ky, hy, kx, hx).swapaxes(1, 2).reshape(ky * kx, hy * hx)
    boxes.sort(axis=1)
    level, rms, used = _clipped(boxes, mode=mode)
    return level.reshape(grid), rms.reshape(grid), (used / (hy * hx)).reshape(grid)


def _starts(n: int, k: int, h: int) -> npt.NDArray[np.intp]:
    """Index n pixels as k runs of h, evenly spread, overlapping by a little where they must."""
    first = np.round(np.linspace(0, n - h, k)).astype(np.intp)
    return (first[:, None] + np.arange(h)[None, :]).ravel()


def _at_centres(values: FloatArray, grid: tuple[int, int]) -> FloatArray:
    """Read a map at the centres of the boxes; that of an even box lies between pixels."""
    (low_y, high_y), (low_x, high_x) = (
        _middles(n, k) for n, k in zip(values.shape, grid, strict=True)
    )
    four = [values[np.ix_(y, x)] for y in (low_y, high_y) for x in (low_x, high_x)]
    return np.asarray(sum(four), dtype=np.float64) / 4.0


def _middles(n: int, k: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Index the last pixel up to the middle of each of k boxes over n, and the first from it."""
    h = -(-n // k)
    boxes = _starts(n, k, h).reshape(k, h)
    return boxes[:, (h - 1) // 2], boxes[:, h // 2]


def _clipped(
    ordered: npt.NDArray[np.float32], *, mode: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Clip each sorted row (nan last) around its median; return level, rms and count.

    ``mode`` is for frames whose bright stars are not taken off yet.
    """
    out = np.zeros((3, len(ordered)))
    for row, values in enumerate(ordered):
        count = int(values.searchsorted(NAN))
        if count < 4:
            continue
        low, high = 0, count
        for _ in range(ROUNDS):
            n = high - low
            middle = values[low + n // 2]
            # the lower half: stars sit above the median
            sigma = middle - values[low + int(BELOW * n)]
            cut = np.float32(CLIP) * sigma
            new_low = int(values.searchsorted(middle - cut))
            new_high = min(int(values.searchsorted(middle + cut, "right")), count)
            settled = (new_low, new_high) == (low, high)
            low, high = new_low, new_high
            if settled:
                break
        some = values[low:high]
        mean, median = float(some.mean(dtype=np.float64)), float(middle)
        # faint stars leave the mean above the median; bright ones move the median as well
        level = median
        if mode and abs(mean - median) < 0.3 * float(sigma):
            level -= 1.5 * (mean - median)
        out[:, row] = level, float(sigma), high - low
    return out[0], out[1], out[2]


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


def _smooth(values: FloatArray) -> FloatArray:
    """Take what single boxes have wrong out of them, and leave the slope and the bend of the sky.

    A median of 3 × 3 boxes would cut off the top of a bump of moonlight: the frame's broad shape
    is taken off before, and put back after; and what the median leaves is filtered again, so that
    real structure a few boxes wide stays (Tukey's twicing).
    """
    smooth = _broad_shape(values)
    for _ in range(TWICINGS):
        smooth = smooth + _median_of_neighbours(values - smooth)
    return smooth


def _broad_shape(values: FloatArray) -> FloatArray:
    """Fit a polynomial to the boxes, without those that stand out."""
    ky, kx = values.shape
    degree = min(BROAD_DEGREE, ky - 3, kx - 3)
    if degree < 1:
        return np.zeros_like(values)
    down, across = (legvander(np.linspace(-1.0, 1.0, k), degree) for k in (ky, kx))
    terms = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    design = np.stack([np.outer(down[:, j], across[:, i]).ravel() for i, j in terms], axis=1)
    flat = values.ravel()
    keep = np.ones(len(flat), dtype=bool)
    for _ in range(BROAD_ROUNDS):
        some = design[keep]
        matrix = some.T @ some
        matrix[np.diag_indices(len(terms))] *= 1.0 + 1e-9
        rest = flat - design @ np.linalg.solve(matrix, some.T @ flat[keep])
        spread = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
        new = np.abs(rest) <= CLIP * spread
        if new.sum() < 0.5 * len(flat):  # nothing but rounding errors, or no shape at all
            break
        keep = new
    return np.asarray(flat - rest).reshape(ky, kx)


def _median_of_neighbours(values: FloatArray) -> FloatArray:
    """Median-filter the boxes, 3 × 3; along an axis with fewer than three nothing is done.

    At the edges the slope goes on: a gradient must not be bent.
    """
    size = tuple(3 if n >= 3 else 1 for n in values.shape)
    rim = [(1, 1) if n >= 3 else (0, 0) for n in values.shape]
    padded = np.pad(values, rim, mode="reflect", reflect_type="odd")
    inner = tuple(slice(low, n + low) for (low, _), n in zip(rim, values.shape, strict=True))
    return np.asarray(median_filter(padded, size=size)[inner], dtype=np.float64)


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
    # beyond the outer centres a straight line through the two outermost: a spline's slope is noise
    for edge, inner, outside in ((0, 1, at < centre[0]), (k - 1, k - 2, at > centre[-1])):
        share = (at[outside] - centre[edge]) / (centre[inner] - centre[edge])
        weights[outside, edge] = 1.0 - share
        weights[outside, inner] = share
    return weights
