"""Correct the sky near the sources by what the rings around them say that its map does not."""

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.sources import Sources
from pipnick_watch.photometry.stamps import Canvas, pieces, ring

__all__ = ["correct_by_rings"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

INNER, OUTER = 2.0, 6.0  # FWHM
CLIP = 3.0  # standard deviations
CLIPPINGS = 2
LEAST = 0.3  # share of a ring that has to be left
FEWEST = 5  # rings that tell how far the map is off
SPREAD = 2.0  # FWHM over which a ring's word is carried
ALOOF = 0.05  # of a source's weight: where no source is near, the map stands
DOUBT = 2.3  # variance of a variance from n absolute deviations: (DOUBT / sqrt(n))^2


def correct_by_rings(
    empty: FloatArray, bad: BoolArray, rms: FloatArray, canvas: Canvas, sources: Sources,
    fwhm: float,
) -> FloatArray:  # fmt: skip
    """Find what has to be added to the sky's map near the sources.

    The mean in a ring around each source shows how far the map is off there, with a known error.
    How far maps of this frame are off is told by all rings together: each one's word is shrunk
    by as much as noise alone would explain (an empirical Bayes estimate: Efron and Morris 1973,
    JASA 68, 117). On a smooth sky nothing is left of it.

    Parameters
    ----------
    empty : ndarray, shape (ny, nx)
        Frame without sky and sources, electrons.
    bad : ndarray of bool, shape (ny, nx)
        Pixels to leave out.
    rms : ndarray, shape (ny, nx)
        Noise of a sky pixel.
    canvas : Canvas
    sources : Sources
        Those whose light is well taken off.
    fwhm : float
        Pixels.

    Returns
    -------
    ndarray, shape (ny, nx)
        Electrons.
    """
    off, error, rows = _means(empty, bad, rms, canvas, sources, fwhm)
    if len(rows) < FEWEST:
        return np.zeros(canvas.shape)
    spread = (1.4826 * np.median(np.abs(off - np.median(off)))) ** 2
    certain = spread / (1.0 + DOUBT / np.sqrt(len(rows)))
    real = max(float(certain - np.median(error) ** 2), 0.0)
    if real == 0.0:
        return np.zeros(canvas.shape)
    shrunk = off * real / (real + error**2)
    return _carry(shrunk, sources.x[rows], sources.y[rows], SPREAD * fwhm, canvas.shape)


def _means(
    empty: FloatArray, bad: BoolArray, rms: FloatArray, canvas: Canvas, sources: Sources,
    fwhm: float,
) -> tuple[FloatArray, FloatArray, IntArray]:  # fmt: skip
    """Average the rings that have enough pixels; return means, errors and the sources' rows."""
    window = ring(INNER * fwhm, min(OUTER * fwhm, canvas.margin - 1.0))
    values, good = canvas.pad(np.where(bad, 0.0, empty)), canvas.pad(~bad)
    ix, iy = sources.pixel
    noise = rms[iy.clip(0, rms.shape[0] - 1), ix.clip(0, rms.shape[1] - 1)]
    mean, count = np.zeros(len(sources)), np.zeros(len(sources))
    for piece in pieces(len(sources), len(window)):
        index = canvas.indices(ix[piece], iy[piece], window)
        some, known = values[index], good[index]
        level = np.zeros((len(some), 1))
        for _ in range(CLIPPINGS):
            used = known & (np.abs(some - level) <= CLIP * noise[piece, None])
            n = used.sum(axis=1, keepdims=True)
            level = (some * used).sum(axis=1, keepdims=True) / np.maximum(n, 1)
        mean[piece], count[piece] = level[:, 0], n[:, 0]
    rows = np.flatnonzero((count >= LEAST * len(window)) & ~sources.saturated)
    return mean[rows], noise[rows] / np.sqrt(count[rows]), rows


def _carry(
    values: FloatArray, x: FloatArray, y: FloatArray, sigma: float, shape: tuple[int, int]
) -> FloatArray:
    """Average values at x, y with Gaussian weights, for every pixel."""
    # so smooth a map is known from a few of its pixels
    step = max(1, int(0.5 * sigma))
    rows, columns = (np.arange(0, n + step, step) for n in shape)
    down, across = (
        np.exp(-0.5 * ((nodes - at[:, None]) / sigma) ** 2)
        for nodes, at in ((rows, y), (columns, x))
    )
    mean = (down.T @ (across * values[:, None])) / (down.T @ across + ALOOF)
    to_rows, to_columns = (_hats(n, step) for n in shape)
    return np.asarray(to_rows @ mean @ to_columns.T)


def _hats(n: int, step: int) -> FloatArray:
    """Make the matrix that draws straight lines between every ``step``-th of n pixels."""
    nodes = np.arange(0, n + step, step)
    return np.asarray((1.0 - np.abs(np.arange(n)[:, None] - nodes) / step).clip(0.0, None))
