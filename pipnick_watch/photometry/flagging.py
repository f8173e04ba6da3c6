"""Which flags does each source carry."""

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.flags import Flag
from pipnick_watch.photometry.groups import neighbour_pairs
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.sources import Scene, Sources
from pipnick_watch.photometry.stamps import disk

__all__ = ["blended", "flag_sources"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

BLENDED_FWHM = 2.0
BLENDED_SHARE = 0.1
EXTENDED = 0.5  # excess of the second moments, along and across together
SURELY_EXTENDED = 6.0  # standard errors of it
VERY_EXTENDED = 0.5  # excess across alone
CROWD_FWHM = 4.0
NEAR_EDGE_FWHM = 1.0


def blended(psf: Psf, sources: Sources, parent: IntArray | None = None) -> BoolArray:
    """Say which have another within 2 FWHM that has more than a tenth of their flux.

    Those with the same ``parent`` (n,), parts of one body, are not another to each other.
    """
    out = np.zeros(len(sources), dtype=bool)
    pairs = neighbour_pairs(sources.x, sources.y, BLENDED_FWHM * psf.fwhm)
    if parent is not None:
        pairs = pairs[parent[pairs[:, 0]] != parent[pairs[:, 1]]]
    for one, other in ((0, 1), (1, 0)):
        rival = sources.flux[pairs[:, other]] > BLENDED_SHARE * sources.flux[pairs[:, one]]
        out[pairs[rival, one]] = True
    return out


def flag_sources(
    scene: Scene, psf: Psf, sources: Sources, masked: BoolArray, npixfit: IntArray,
    window_pixels: int, lost: BoolArray, border: int, parent: IntArray, *,
    corrected: bool,
) -> IntArray:  # fmt: skip
    """Gather the flags.

    Parameters
    ----------
    masked : ndarray of bool, shape (ny, nx)
        Pixels that were left out.
    npixfit : ndarray of int, shape (n,)
        Pixels each was fitted on, of ``window_pixels``.
    lost : ndarray of bool, shape (n,)
        Sources of which an aperture is nan.
    border : int
        Pixels ignored along each edge.
    parent : ndarray of int, shape (n,)
        Which source stands for each: parts of a galaxy have one for all.
    corrected : bool
        Whether enough stars gave the aperture correction.
    """
    n = len(sources)
    ny, nx = scene.canvas.shape
    flags = np.zeros(n, dtype=np.int64)
    edge = border + NEAR_EDGE_FWHM * psf.fwhm
    x, y = sources.x, sources.y
    near_edge = (x < edge) | (y < edge) | (x > nx - 1 - edge) | (y > ny - 1 - edge)
    outside = (x < -0.5) | (y < -0.5) | (x > nx - 0.5) | (y > ny - 0.5)
    ix, iy = sources.pixel
    core = disk(max(psf.fwhm, 1.5))
    row = (iy[:, None] + core.oy).clip(0, ny - 1)
    column = (ix[:, None] + core.ox).clip(0, nx - 1)
    shared = np.bincount(parent, minlength=n)[parent] > 1
    for flag, which in (
        (Flag.N_PIXELS_FIT_PARTIAL, (npixfit < window_pixels) & ~sources.saturated),
        (Flag.OUTSIDE_BOUNDS, outside),
        (Flag.NO_CONVERGENCE, ~sources.converged),
        (Flag.NEAR_BOUND, sources.near_bound),
        (Flag.SATURATED, sources.saturated),
        (Flag.NEAR_EDGE, near_edge),
        (Flag.MASKED, masked[row, column].any(axis=1)),
        (Flag.BLENDED, blended(psf, sources, parent)),
        (Flag.UNDERSAMPLED, np.full(n, psf.integrated)),
        (Flag.NO_APCOR, np.full(n, not corrected)),
        (Flag.PSF_FALLBACK, np.full(n, psf.n_stars == 0)),
        (Flag.EXTENDED, (_broad(psf, sources) | shared) & ~sources.saturated),
        (Flag.APERTURE_MASKED, lost),
    ):
        flags[which] |= int(flag)
    return flags


def _broad(psf: Psf, sources: Sources) -> BoolArray:
    """Say which are broader than the PSF: beyond doubt if alone, and very much so in a crowd.

    Where others are near, faint ones that nobody lists broaden a star as well.
    """
    near = neighbour_pairs(sources.x, sources.y, CROWD_FWHM * psf.fwhm)
    alone = np.ones(len(sources), dtype=bool)
    alone[near] = False
    excess = sources.major + sources.minor.clip(0.0, None)
    sure = (excess > EXTENDED) & (excess > SURELY_EXTENDED * sources.shape_err)
    return np.asarray((alone & sure) | (sources.minor > VERY_EXTENDED))
