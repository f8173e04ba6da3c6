"""Which fitted sources are none? Too faint, on top of another, or what the PSF's faults explain."""

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.groups import neighbour_pairs
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.sources import Scene, Sources
from pipnick_watch.photometry.stamps import disk

__all__ = ["apart", "believable", "light_of_others"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

CLOSEST = 0.55  # FWHM: two sources nearer than this are one
TOO_SHARP = -0.45
LATER_DOUBT = 0.3  # least peak of a source found later, as a share of the others' light there
GLARE_FWHM = 4.0
GLARE_DOUBT = 0.5
LEAST_CORE = 0.35  # share of the core's pixels that must be good


def believable(
    scene: Scene, psf: Psf, sources: Sources, rms: FloatArray, thresh: float
) -> BoolArray:  # fmt: skip
    """Say which sources to keep.

    Parameters
    ----------
    rms : ndarray, shape (ny, nx)
        Noise of a sky pixel.
    thresh : float
        Least peak in units of ``rms``.
    """
    ny, nx = scene.canvas.shape
    ix, iy = sources.pixel
    inside = (ix >= 0) & (iy >= 0) & (ix < nx) & (iy < ny)
    noise = rms[iy.clip(0, ny - 1), ix.clip(0, nx - 1)]
    peak = sources.flux * psf.peak(sources.x, sources.y)
    keep = inside & ((peak >= thresh * noise) | sources.saturated)
    later = sources.iteration > 1
    if later.any():
        others = light_of_others(psf, sources)
        keep &= ~later | (peak > LATER_DOUBT * others)
    # a cosmic ray is sharper than the PSF
    sharp = (sources.minor < TOO_SHARP) & (sources.minor < -4.0 * sources.shape_err)
    keep &= ~sharp | sources.saturated
    # the wings of a saturated star are not known well enough to show faint stars or broad ones
    full = np.flatnonzero(sources.saturated)
    for x, y, core in zip(sources.x[full], sources.y[full], sources.core[full], strict=True):
        near = np.hypot(sources.x - x, sources.y - y) < core + GLARE_FWHM * psf.fwhm
        broad = sources.minor > 0.4 + 3.0 * sources.shape_err
        faint = peak < GLARE_DOUBT * light_of_others(psf, sources)
        keep &= ~near | sources.saturated | ~(broad | faint)
    # nothing is known of a source whose core is masked
    core = scene.canvas.indices(ix, iy, disk(max(0.6 * psf.fwhm, 1.0)))
    keep &= (scene.good[core].mean(axis=1) > LEAST_CORE) | sources.saturated
    return np.asarray(keep & apart(psf, sources))


def apart(psf: Psf, sources: Sources) -> BoolArray:
    """Keep the brighter of two sources that are too close to be two."""
    keep = np.ones(len(sources), dtype=bool)
    pairs = neighbour_pairs(sources.x, sources.y, CLOSEST * psf.fwhm)
    rank = np.where(sources.saturated, np.inf, sources.flux)
    fainter = np.where(rank[pairs[:, 0]] < rank[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
    keep[fainter] = False
    return keep


def light_of_others(psf: Psf, sources: Sources) -> FloatArray:
    """Light per pixel of all other sources at each source's centre."""
    pairs = neighbour_pairs(sources.x, sources.y, 4.0 * psf.fwhm)
    one = np.concatenate([pairs[:, 0], pairs[:, 1]])
    other = np.concatenate([pairs[:, 1], pairs[:, 0]])
    light = sources.flux[other] * psf.evaluate(
        (sources.x[one] - sources.x[other])[:, None], (sources.y[one] - sources.y[other])[:, None],
        sources.x[other], sources.y[other],
    )[:, 0]  # fmt: skip
    return np.bincount(one, weights=light, minlength=len(sources)).astype(np.float64, copy=False)
