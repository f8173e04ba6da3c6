"""How much light lies within a radius of each source?"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.fit import Scene, Sources
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.stamps import disk, pieces

__all__ = ["ApertureSums", "overlap", "sum_apertures"]

FloatArray = npt.NDArray[np.float64]

MOST_LOST = 0.1  # of the source's light in masked pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class ApertureSums:
    """Sums within radii, each of shape (n_radii, n).

    Attributes
    ----------
    alone : ndarray
        Light without sky and neighbours, masked pixels filled from the model.
    everything : ndarray
        Light without sky, neighbours included.
    model : ndarray
        The source's own model.
    lost : ndarray
        Share of the source's light that is in masked pixels.
    variance : ndarray
        Of ``everything``.
    area : ndarray
        Pixels.
    """

    alone: FloatArray
    everything: FloatArray
    model: FloatArray
    lost: FloatArray
    variance: FloatArray
    area: FloatArray


def overlap(dx: FloatArray, dy: FloatArray, radius: float) -> FloatArray:
    """Share of the pixels at dx, dy from the centre that lies within ``radius``.

    Within a pixel the circle is taken as straight: good to some parts in 10,000 of the area.
    """
    ux, uy = np.abs(dx), np.abs(dy)
    distance = np.hypot(ux, uy) + 1e-12
    long = np.maximum(ux, uy) / distance
    short = np.minimum(ux, uy) / distance
    # the edge at t from the pixel's centre; the circle bends away from the straight line
    t = (radius - 1.0 / (24.0 * radius)) - distance
    depth = np.abs(t)
    corner = ((0.5 * (long + short) - depth).clip(0.0, None)) ** 2
    corner /= np.maximum(2.0 * long * short, 1e-12)
    share = np.where(t > 0, 1.0 - corner, corner)
    straight = depth < 0.5 * (long - short)
    share[straight] = 0.5 + t[straight] / long[straight]
    return share


def sum_apertures(
    scene: Scene, psf: Psf, sources: Sources, model: FloatArray, radii: tuple[float, ...]
) -> ApertureSums:
    """Sum the light within ``radii`` (pixels) of each source.

    Parameters
    ----------
    model : ndarray
        All sources, padded and flat.
    """
    n, canvas = len(sources), scene.canvas
    out = np.zeros((6, len(radii), n))
    for k, radius in enumerate(radii):
        window = disk(min(radius + 1.3, canvas.margin - 1.0))
        for piece in pieces(n, 4 * len(window)):
            one = sources.keep(piece)
            ix, iy = one.pixel
            index = canvas.indices(ix, iy, window)
            dx = window.ox[None, :] + (ix - one.x)[:, None]
            dy = window.oy[None, :] + (iy - one.y)[:, None]
            share = overlap(dx, dy, radius)
            own = psf.evaluate(dx, dy, one.x, one.y) * one.flux[:, None]
            own *= share
            good = scene.good[index]
            total = model[index]
            residual = (scene.data[index] - total) * good * share
            out[2, k, piece] = own.sum(axis=1)
            out[0, k, piece] = residual.sum(axis=1) + out[2, k, piece]
            out[1, k, piece] = residual.sum(axis=1) + (total * share).sum(axis=1)
            out[3, k, piece] = 1.0 - (own * good).sum(axis=1) / out[2, k, piece]
            noise = scene.sky_variance[index] + np.maximum(total, 0.0)
            out[4, k, piece] = (noise * share).sum(axis=1)
            out[5, k, piece] = share.sum(axis=1)
    return ApertureSums(
        alone=out[0], everything=out[1], model=out[2], lost=out[3], variance=out[4], area=out[5]
    )
