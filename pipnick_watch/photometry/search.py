"""Which sources are new? Peaks of the frame, then of what the known ones leave."""

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.detection import fill_masked, filtered_peaks, smooth
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.saturation import SaturatedCores
from pipnick_watch.photometry.sources import Sources, new_sources
from pipnick_watch.photometry.stamps import disk

__all__ = ["find_first", "find_more"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

KERNEL = 0.6  # FWHM of the filter over that of the PSF: nearly as deep, and it parts pairs
MARGIN = 0.8  # of the threshold: the fit decides
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
    left = residual.copy()
    left[bad] = 0.0
    filtered = smooth(left, KERNEL * psf.fwhm)
    iy, ix = filtered_peaks(filtered, MARGIN * thresh * share * rms)
    full = known.saturated
    clear = away_from(
        ix + origin[0], iy + origin[1], known.x[full], known.y[full],
        known.core[full] + GLARE * psf.fwhm,
    )  # fmt: skip
    iy, ix = iy[clear], ix[clear]
    clear = filtered[iy, ix] > doubt * _smoothed_at(model, ix, iy, KERNEL * psf.fwhm)
    iy, ix = iy[clear], ix[clear]
    x, y = refine(filtered, ix, iy)
    flux = filtered[iy, ix].astype(np.float64) / share / peak
    return new_sources(x + origin[0], y + origin[1], flux, iteration)


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
