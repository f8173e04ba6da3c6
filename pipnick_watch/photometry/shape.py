"""Is a source a star, sharper than one, broader, or two in one."""

import math

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.sources import Scene, Sources
from pipnick_watch.photometry.stamps import disk, offsets, pieces

__all__ = ["measure_shapes"]

FloatArray = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]

STEP_FWHM = 0.35
SYSTEMATIC = 0.02  # of the light: what the PSF may miss without telling of a shape


def measure_shapes(
    scene: Scene, psf: Psf, sources: Sources, model: FloatArray, some: npt.NDArray[np.int64]
) -> Sources:
    """Fit the second moments of some sources beside their places and fluxes, the others held.

    Parameters
    ----------
    model : ndarray
        All sources, padded and flat; zeros before any was fitted.

    Returns
    -------
    Sources
        With ``major`` and ``minor``, the excess of the second moments along and across, in units
        of what a pair of equal stars 0.7 FWHM apart has: 0 for a star, negative for what is
        sharper; and ``shape_err``, the standard error of ``major``.
    """
    n = len(some)
    window = disk(1.25 * psf.fwhm + 0.5)
    h = STEP_FWHM * psf.fwhm
    out = np.zeros((3, n))
    for piece in pieces(n, 6 * len(window)):
        one = sources.keep(some[piece])
        ix, iy = one.pixel
        index = scene.canvas.indices(ix, iy, window)
        dx, dy = offsets(window, ix - one.x, iy - one.y)

        def light(sx: float, sy: float) -> Single:
            return psf.evaluate(dx - sx, dy - sy, one.x, one.y)  # noqa: B023

        centre, by_x, by_y = psf.evaluate_with_gradient(dx, dy, one.x, one.y)
        along_x = 0.5 * (light(h, 0.0) + light(-h, 0.0)) - centre
        along_y = 0.5 * (light(0.0, h) + light(0.0, -h)) - centre
        d = h * math.sqrt(0.5)
        across = 0.5 * (light(d, d) + light(-d, -d) - light(d, -d) - light(-d, d))
        columns = np.stack([along_x, along_y, across, centre, by_x, by_y], axis=1)
        columns *= one.flux.astype(np.float32)[:, None, None]
        total = model.take(index)
        residual = scene.data.take(index) - total
        own = columns[:, 3]
        noise = scene.sky_variance.take(index) + np.maximum(total, 0.0) + 1e-12
        noise += (SYSTEMATIC * own) ** 2
        root = scene.good.take(index) / np.sqrt(noise)
        columns *= root.astype(np.float32)[:, None, :]
        residual *= root
        matrix = (columns @ columns.swapaxes(1, 2)).astype(np.float64)
        vector = (columns @ residual.astype(np.float32)[:, :, None])[:, :, 0]
        diagonal = np.arange(6)
        matrix[:, diagonal, diagonal] = matrix[:, diagonal, diagonal] * (1.0 + 1e-6) + 1e-9
        inverse = np.linalg.inv(matrix)
        xx, yy, xy = (np.einsum("nk,nk->n", inverse[:, k], vector) for k in range(3))
        mean, half = 0.5 * (xx + yy), np.hypot(0.5 * (xx - yy), 0.5 * xy)
        error = np.sqrt(0.5 * (inverse[:, 0, 0] + inverse[:, 1, 1]))
        out[:, piece] = mean + half, mean - half, error
    return sources.put(some, major=out[0], minor=out[1], shape_err=out[2])
