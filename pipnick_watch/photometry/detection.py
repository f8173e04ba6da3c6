"""Where are the sources? A matched filter, and the cosmic rays that are too sharp for it."""

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.background import measure_sky
from pipnick_watch.photometry.smoothing import FWHM_TO_SIGMA, smooth
from pipnick_watch.photometry.stamps import disk, pieces

__all__ = [
    "bootstrap_fwhm",
    "faint_light",
    "fill_masked",
    "filtered_peaks",
    "sharp_pixels",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

SAME = 0.15  # difference of logarithms within which two widths are the same
FAINT = 3.5  # standard deviations of the filtered noise
FINEST = 4.0  # pixels of FWHM
OFTEN = 0.25  # of the most frequent width: a broader one this frequent is the stars'
NEIGHBOURS = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]


def fill_masked(data: FloatArray, bad: BoolArray, fwhm: float) -> FloatArray:
    """Replace bad pixels by the Gaussian-weighted mean of the good ones around them.

    Where nothing good is near they become 0 (``data`` has no sky).
    """
    filled = data.copy()
    inner = _inside_rim(bad)
    iy, ix = np.nonzero(bad[inner])
    iy, ix = iy + inner[0].start, ix + inner[1].start
    filled[bad] = 0.0
    if len(iy) == 0:
        return filled
    # the nearest good pixels tell most
    sigma = max(0.25 * fwhm, 0.8)
    reach = max(2, int(np.ceil(0.8 * fwhm)))
    m = reach
    stride = data.shape[1] + 2 * m
    good = np.pad(~bad, m).ravel()
    flat = np.pad(filled, m).ravel()
    window = disk(reach)
    shares = np.exp(-0.5 * (window.ox**2 + window.oy**2) / sigma**2)
    total, weight = np.zeros(len(iy)), np.zeros(len(iy))
    for piece in pieces(len(iy), len(window)):
        centre = (iy[piece] + m) * stride + ix[piece] + m
        around = centre[:, None] + (window.oy * stride + window.ox)
        total[piece] = flat.take(around) @ shares
        weight[piece] = good.take(around) @ shares
    filled[iy, ix] = np.where(weight > 1e-4, total / np.maximum(weight, 1e-12), 0.0)
    return filled


def _inside_rim(bad: BoolArray) -> tuple[slice, slice]:
    """Leave out the rows and columns at the edges that are wholly bad."""
    rows, columns = np.flatnonzero(~bad.all(axis=1)), np.flatnonzero(~bad.all(axis=0))
    if len(rows) == 0:
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def faint_light(
    residual: FloatArray, bad: BoolArray, rms: FloatArray, fwhm: float, box: int
) -> BoolArray:
    """Mark where a frame without sky and sources, filtered, is too far from 0.

    Too far for noise, and for what is usual there: where the light of stars that are too faint to
    be sources is everywhere, as in a globular cluster, it is the sky that a source stands on.
    Bright and dark alike, so that the noise itself loses as much on either side.

    Parameters
    ----------
    residual, bad, rms : ndarray, shape (ny, nx)
        Electrons, pixels to leave out, and the noise of a sky pixel.
    fwhm : float
        Of the filter, pixels.
    box : int
        Side of the boxes that tell what is usual, pixels.
    """
    ny, nx = residual.shape
    left = np.where(bad, 0.0, residual)
    # a wide filter sees no more in single pixels than in two by two
    step = 2 if fwhm > FINEST and ny % 2 == nx % 2 == 0 else 1
    thin = (slice(None, None, step), slice(None, None, step))
    if step == 2:
        left = 0.25 * (left[::2, ::2] + left[1::2, ::2] + left[::2, 1::2] + left[1::2, 1::2])
    filtered = smooth(left, fwhm / step).astype(np.float64)
    pixels = 4.0 * np.pi * (fwhm * FWHM_TO_SIGMA) ** 2
    usual = measure_sky(filtered, bad[thin], box // step, prior=np.zeros_like(filtered)).rms
    found = np.abs(filtered) > FAINT * np.maximum(rms[thin] / np.sqrt(pixels), usual)
    return np.asarray(found.repeat(step, axis=0).repeat(step, axis=1))


def filtered_peaks(
    filtered: npt.NDArray[np.floating], threshold: FloatArray
) -> tuple[IntArray, IntArray]:
    """Find the local maxima of a filtered frame above a threshold.

    Returns
    -------
    iy, ix : ndarray of int
        Brightest first; the outermost pixels do not count.
    """
    nx = filtered.shape[1]
    above = filtered > threshold
    above[[0, -1], :] = False
    above[:, [0, -1]] = False
    at = np.flatnonzero(above)
    flat = filtered.ravel()
    value = flat[at]
    top = np.ones(len(at), dtype=bool)
    for oy, ox in NEIGHBOURS:
        # of two equal neighbours the first counts
        other = flat[at + oy * nx + ox]
        top &= (value > other) if (oy, ox) < (0, 0) else (value >= other)
    at = at[top]
    at = at[np.argsort(-flat[at], kind="stable")]
    return np.divmod(at, nx)[0].astype(np.int64), np.mod(at, nx).astype(np.int64)


def sharp_pixels(data: FloatArray, rms: FloatArray, bad: BoolArray, contrast: float) -> BoolArray:
    """Mark pixels that stand out more sharply than any star can: cosmic rays and hot pixels.

    Parameters
    ----------
    data, rms : ndarray
        Frame without sky, and noise of a pixel.
    bad : ndarray of bool
    contrast : float
        Light one pixel off the centre of a star over that in its centre, the smallest possible.
    """
    ny, nx = data.shape
    found, near = np.zeros_like(bad), np.zeros(bad.size, dtype=bool)
    at = np.flatnonzero((data > 6.0 * rms) & ~bad)
    iy, ix = np.divmod(at, nx)
    inner = (iy > 0) & (iy < ny - 1) & (ix > 0) & (ix < nx - 1)
    at = at[inner]
    flat, noise, flag = data.ravel(), rms.ravel(), found.ravel()
    masked = bad.ravel()
    steps = np.array([1, nx, nx + 1, nx - 1])
    for _ in range(3):
        sharp = np.zeros(len(at), dtype=bool)
        for step in steps:
            share = contrast if step in (1, nx) else contrast**2
            mean = 0.5 * (
                np.where(flag[at - step], 0.0, flat[at - step])
                + np.where(flag[at + step], 0.0, flat[at + step])
            )
            # most pixels are blunt: the rest is worked out for few
            some = np.flatnonzero(mean < 0.7 * share * flat[at])
            here, beside, value = at[some], mean[some], flat[at[some]]
            error = np.sqrt(
                noise[here] ** 2 * (share**2 + 0.5)
                + share**2 * value
                + 0.5 * np.maximum(beside, 0.0)
            )
            lost = masked[here - step] | masked[here + step]
            sharp[some] |= (share * value - beside > 5.0 * error) & ~lost
        new = at[sharp & ~flag[at]]
        if len(new) == 0:
            break
        flag[new] = True
        # only what is beside these looks different now
        near[new[:, None] + np.concatenate([steps, -steps])] = True
        at = at[near[at]]
        near[at] = False
    return found


def bootstrap_fwhm(
    data: FloatArray, rms: FloatArray, bad: BoolArray, saturation: FloatArray | float
) -> float:
    """Guess the FWHM from the half-maximum width of the brightest sources; nan when there is none.

    Parameters
    ----------
    data, rms : ndarray
        Frame without sky, and noise of a pixel.
    saturation : float or ndarray
        Level, above the sky, from which a peak is not trusted.
    """
    light = smooth(np.where(bad, 0.0, data), 2.0)
    iy, ix = filtered_peaks(light, 5.0 * rms)
    level = np.broadcast_to(np.asarray(saturation), data.shape)[iy, ix]
    keep = (light[iy, ix] < 0.8 * level) & ~bad[iy, ix]
    iy, ix = iy[keep][:300], ix[keep][:300]
    if len(iy) == 0:
        return float("nan")
    reach = 24
    flat = np.pad(light, reach + 1).ravel()
    lost = np.pad(bad, reach + 1, constant_values=True).ravel()
    stride = data.shape[1] + 2 * (reach + 1)
    at = (iy + reach + 1) * stride + ix + reach + 1
    half = 0.5 * flat[at]
    rays = []
    for oy, ox in NEIGHBOURS:
        line = at[:, None] + np.arange(reach + 1)[None, :] * (oy * stride + ox)
        value, masked = flat[line], lost[line]
        below = value < half[:, None]
        first = np.where(below.any(axis=1), below.argmax(axis=1), reach).clip(1, reach)
        row = np.arange(len(at))
        upper, lower = value[row, first - 1], value[row, first]
        part = (upper - half) / np.maximum(upper - lower, 1e-9)
        length = (first - 1 + part.clip(0.0, 1.0)) * np.hypot(oy, ox)
        spoiled = masked[row, first] | masked[row, first - 1] | ~below.any(axis=1)
        rays.append(np.where(spoiled, np.nan, length))
    lengths = np.array(rays)
    enough = np.isfinite(lengths).sum(axis=0) >= 5
    if not enough.any():
        return float("nan")
    width = 2.0 * np.nanmedian(lengths[:, enough], axis=0)
    spread = np.nanmax(lengths[:, enough], axis=0) / np.nanmin(lengths[:, enough], axis=0)
    # less the filter, the pixel, and what they do to a Moffat's wings
    own = 0.95 * np.sqrt(np.maximum(width**2 - 2.0**2 - 2.0, 1.2))
    round_ = spread < 2.0
    if round_.sum() >= 3:
        own = own[round_]
    return float(_densest(own[:100]))


def _densest(values: FloatArray) -> float:
    """Return the broadest width that many share.

    Cosmic rays are narrow, and may outnumber the stars; blends and galaxies are broad, but no two
    of them alike.
    """
    log = np.sort(np.log(values))
    count = np.searchsorted(log, log + SAME) - np.searchsorted(log, log - SAME)
    often = count >= max(min(3, count.max()), OFTEN * count.max())
    peak = often & (count >= np.array([count[np.abs(log - one) < SAME].max() for one in log]))
    centre = log[peak].max()
    return float(np.exp(np.median(log[np.abs(log - centre) < SAME])))
