"""Which sources are new? Peaks of the frame, then of what the known ones leave."""

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from pipnick_watch.photometry.detection import fill_masked, filtered_peaks
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.saturation import SaturatedCores
from pipnick_watch.photometry.smoothing import smooth
from pipnick_watch.photometry.sources import Sources, new_sources
from pipnick_watch.photometry.stamps import disk

__all__ = ["find_first", "find_more"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

KERNEL = 0.6  # FWHM of the filter over that of the PSF: nearly as deep, and it parts pairs
MARGIN = 0.8  # of the threshold: the fit decides
HALO_FWHM = 4.0  # how far from a star its halo is looked for
MUCH_BRIGHTER = 50.0  # than what may be a part of its halo
RING = 32  # places around a star
ROUND = 2.0  # how far a halo outshines its own unevenness
GLARE = 1.5  # FWHM beyond a saturated core where peaks are not believed


def filter_response(psf: Psf) -> tuple[float, float]:
    """Return what a star's peak becomes in the filtered frame, and its light in that pixel."""
    window = disk(2.0 * psf.fwhm + 2.0)
    light = psf.evaluate(
        window.ox[None, :].astype(np.float64), window.oy[None, :].astype(np.float64), *psf.centre
    )[0]
    kernel = np.exp(-4.0 * np.log(2.0) * (window.ox**2 + window.oy**2) / (KERNEL * psf.fwhm) ** 2)
    peak = float(psf.peak(*psf.centre)[0])
    return float((kernel * light).sum() / kernel.sum() / peak), peak


def find_first(
    light: FloatArray, bad: BoolArray, rms: FloatArray, psf: Psf, thresh: float,
    cores: SaturatedCores,
) -> Sources:  # fmt: skip
    """Find the sources of a frame without sky; saturated cores give one each."""
    share, peak = filter_response(psf)
    whole = fill_masked(light, bad, psf.fwhm)
    filtered = smooth(whole, KERNEL * psf.fwhm)
    iy, ix = filtered_peaks(filtered, MARGIN * thresh * share * rms)
    clear = away_from(ix, iy, cores.x, cores.y, cores.radius + GLARE * psf.fwhm)
    iy, ix = iy[clear], ix[clear]
    x, y = refine(filtered, ix, iy)
    flux = filtered[iy, ix].astype(np.float64) / share / peak
    first = new_sources(x, y, flux, 1)
    if len(cores.x) == 0:
        return first
    cy, cx = np.rint(cores.y).astype(int), np.rint(cores.x).astype(int)
    level = np.maximum(light[cy, cx], 10.0 * thresh * rms[cy, cx])
    # the light at the rim of the core tells more than its clipped top
    flux = level / peak * (1.0 + (cores.radius / psf.fwhm) ** 2)
    more = new_sources(cores.x, cores.y, flux, 1, cores.radius)
    return first.join(more)


def find_more(
    residual: FloatArray, model: FloatArray, bad: BoolArray, rms: FloatArray, psf: Psf,
    thresh: float, iteration: int, origin: tuple[int, int], known: Sources, doubt: float,
) -> Sources:  # fmt: skip
    """Find sources in what the known ones leave.

    Parameters
    ----------
    residual, model : ndarray, shape (ny, nx)
        Frame without sky and known sources, and those sources; or a part of it.
    origin : tuple of int
        x and y of that part's first pixel.
    doubt : float
        Share of the subtracted light that the PSF's own faults may leave in one place.
    """
    share, peak = filter_response(psf)
    filtered = smooth(np.where(bad, 0.0, residual), KERNEL * psf.fwhm)
    iy, ix = filtered_peaks(filtered, MARGIN * thresh * share * rms)
    full = known.saturated
    clear = away_from(
        ix + origin[0], iy + origin[1], known.x[full], known.y[full],
        known.core[full] + GLARE * psf.fwhm,
    )  # fmt: skip
    iy, ix = iy[clear], ix[clear]
    clear = filtered[iy, ix] > doubt * _smoothed_at(model, ix, iy, KERNEL * psf.fwhm)
    iy, ix = iy[clear], ix[clear]
    beyond = filtered[iy, ix] - halo_at(filtered, ix, iy, known, origin, psf.fwhm, share * peak)
    clear = beyond > MARGIN * thresh * share * rms[iy, ix]
    iy, ix = iy[clear], ix[clear]
    x, y = refine(filtered, ix, iy)
    flux = filtered[iy, ix].astype(np.float64) / share / peak
    return new_sources(x + origin[0], y + origin[1], flux, iteration)


def halo_at(
    filtered: npt.NDArray[np.floating], ix: npt.NDArray[np.int64], iy: npt.NDArray[np.int64],
    known: Sources, origin: tuple[int, int], fwhm: float, response: float,
) -> FloatArray:  # fmt: skip
    """Return the light that all of a ring around a much brighter star has left, at some pixels.

    What the PSF's wings miss is as bright all around the star; a companion is in one place.

    Parameters
    ----------
    origin : tuple of int
        x and y of the filtered part's first pixel.
    response : float
        Peak of a filtered star of flux 1.
    """
    halo = np.zeros(len(ix))
    if len(ix) == 0 or len(known) == 0:
        return halo
    ny, nx = filtered.shape
    stars = np.column_stack([known.x - origin[0], known.y - origin[1]])
    within = cKDTree(stars).query_ball_point(np.column_stack([ix, iy]), HALO_FWHM * fwhm)
    around = [np.asarray(one, dtype=np.int64) for one in within]
    star = np.array([one[known.flux[one].argmax()] if len(one) else -1 for one in around])
    here = filtered[iy, ix]
    bright = np.flatnonzero((star >= 0) & (known.flux[star] * response >= MUCH_BRIGHTER * here))
    if len(bright) == 0:
        return halo
    x, y = stars[star[bright]].T
    away = np.hypot(x - ix[bright], y - iy[bright])
    angle = np.arange(RING) * (2.0 * np.pi / RING)
    column = np.rint(x[:, None] + away[:, None] * np.cos(angle)).astype(np.int64)
    row = np.rint(y[:, None] + away[:, None] * np.sin(angle)).astype(np.int64)
    inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
    ring = filtered[row.clip(0, ny - 1), column.clip(0, nx - 1)].astype(np.float64)
    ring[~inside] = np.nan
    level = np.nanmedian(ring, axis=1)
    # a halo is round; where other stars shine in the ring is uneven
    uneven = np.nanmedian(np.abs(ring - level[:, None]), axis=1)
    halo[bright] = np.where(level > ROUND * uneven, level, 0.0)
    return halo


def _smoothed_at(
    image: FloatArray, ix: npt.NDArray[np.int64], iy: npt.NDArray[np.int64], fwhm: float
) -> FloatArray:
    """Convolve with a Gaussian of this FWHM, at some pixels only."""
    window = disk(1.5 * fwhm)
    ny, nx = image.shape
    weight = np.exp(-4.0 * np.log(2.0) * (window.ox**2 + window.oy**2) / fwhm**2)
    y = (iy[:, None] + window.oy).clip(0, ny - 1)
    x = (ix[:, None] + window.ox).clip(0, nx - 1)
    return np.asarray(image[y, x] @ (weight / weight.sum()))


def refine(
    filtered: npt.NDArray[np.floating], ix: npt.NDArray[np.int64], iy: npt.NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    """Place each peak within its pixel by a parabola."""
    out = []
    for one, (sy, sx) in ((ix, (0, 1)), (iy, (1, 0))):
        here = filtered[iy, ix].astype(np.float64)
        up = filtered[iy + sy, ix + sx].astype(np.float64)
        down = filtered[iy - sy, ix - sx].astype(np.float64)
        bend = np.maximum(2.0 * here - up - down, 1e-12)
        out.append(one + (0.5 * (up - down) / bend).clip(-0.5, 0.5))
    return out[0], out[1]


def away_from(
    ix: npt.NDArray[np.int64], iy: npt.NDArray[np.int64], x: FloatArray, y: FloatArray,
    radius: FloatArray,
) -> BoolArray:  # fmt: skip
    """Say which pixels are outside all circles."""
    clear = np.ones(len(ix), dtype=bool)
    for cx, cy, r in zip(x, y, radius, strict=True):
        clear &= np.hypot(ix - cx, iy - cy) > r
    return clear
