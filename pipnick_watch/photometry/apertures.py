"""How much light lies within a radius of each source."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.sources import Scene, Sources
from pipnick_watch.photometry.stamps import by_distance, disk, pieces

__all__ = ["EDGE", "ApertureSums", "overlap", "sum_apertures"]

FloatArray = npt.NDArray[np.float64]

STRAIGHT = 3.0  # pixels: a circle of this radius is nearly straight across a pixel
EDGE = 1.5  # pixels: farther than this from the circle a pixel is wholly inside or outside


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
    if radius < STRAIGHT:
        # too strongly bent: look at quarters of pixels
        quarters = [
            overlap(2.0 * dx + sx, 2.0 * dy + sy, 2.0 * radius)
            for sx in (-0.5, 0.5)
            for sy in (-0.5, 0.5)
        ]
        return np.asarray(sum(quarters) / 4.0)
    ux, uy = np.abs(dx), np.abs(dy)
    distance = np.sqrt(ux * ux + uy * uy) + 1e-12
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
    return np.asarray(share)


def sum_apertures(
    scene: Scene,
    psf: Psf,
    sources: Sources,
    model: FloatArray,
    radii: tuple[float, ...],
    centres: tuple[FloatArray, FloatArray] | None = None,
) -> ApertureSums:
    """Sum the light within ``radii`` (pixels) of each source.

    Parameters
    ----------
    model : ndarray
        All sources, padded and flat.
    centres : tuple of ndarray, each of shape (n,)
        Centres of the apertures, x and y; by default the places of the PSF's origin.
    """
    x, y = (sources.x, sources.y) if centres is None else centres
    n, canvas = len(sources), scene.canvas
    edge = EDGE + np.hypot(sources.x - x, sources.y - y).max(initial=0.0)
    out = np.zeros((6, len(radii), n))
    window = by_distance(disk(min(max(radii) + edge, canvas.margin - 1.0)))
    away = np.hypot(window.ox, window.oy)
    for piece in pieces(n, 2 * len(window)):
        one = sources.keep(piece)
        ix, iy = one.pixel
        index = canvas.indices(ix, iy, window)
        dx = window.ox[None, :] + (ix - one.x)[:, None]
        dy = window.oy[None, :] + (iy - one.y)[:, None]
        own = psf.evaluate(dx, dy, one.x, one.y) * one.flux[:, None]
        good, total = scene.good[index], model[index]
        residual = (scene.data[index] - total) * good
        noise = scene.sky_variance[index] + np.maximum(total, 0.0)
        planes = np.stack([residual + own, residual + total, own, own * good, noise])
        for k, radius in enumerate(radii):
            # whole pixels up to the first, parts of them up to the second
            first, last = np.searchsorted(away, [radius - edge, radius + edge])
            share = overlap(
                dx[:, first:last] + (one.x - x[piece])[:, None],
                dy[:, first:last] + (one.y - y[piece])[:, None],
                radius,
            )
            sums = planes[:, :, :first].sum(axis=2)
            sums += np.einsum("pnm,nm->pn", planes[:, :, first:last], share)
            out[:5, k, piece] = sums
            out[5, k, piece] = first + share.sum(axis=1)
    return ApertureSums(
        alone=out[0], everything=out[1], model=out[2],
        lost=1.0 - out[3] / np.where(out[2] > 0, out[2], 1.0), variance=out[4], area=out[5],
    )  # fmt: skip
