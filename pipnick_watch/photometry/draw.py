"""How much light do the sources put on each pixel."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.sources import Sources
from pipnick_watch.photometry.stamps import Canvas, Window, disk, pieces, ring

__all__ = ["draw_cores", "draw_wings"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FAINTEST = 0.05  # of a sky pixel's noise: where a source is no longer drawn
STEP = 1.25  # ratio of the radii that wings are drawn to
FARTHEST_FWHM = 9.0


def draw_cores(
    flat: FloatArray, canvas: Canvas, psf: Psf, sources: Sources, radius: float, sign: float = 1.0
) -> None:
    """Add the sources' light up to ``radius`` around their central pixels, in place.

    Parameters
    ----------
    flat : ndarray
        Padded and flat; changed.
    sign : float
        -1 takes the light off again.
    """
    _draw((flat,), canvas, psf, sources, [(np.arange(len(sources)), disk(radius))], sign)


def draw_wings(
    flats: Sequence[FloatArray], canvas: Canvas, psf: Psf, sources: Sources, radius: float,
    rms: float, sign: float = 1.0,
) -> None:  # fmt: skip
    """Add what is beyond ``radius``, each as far out as it matters against the noise ``rms``.

    Parameters
    ----------
    flats : sequence of ndarray
        Padded and flat; all are changed by the same light.
    """
    if len(sources) == 0:
        return
    peak = sources.flux * psf.peak(sources.x, sources.y)
    ratio = np.maximum(peak / (FAINTEST * rms), 1.0)
    reach = psf.alpha * np.sqrt(np.maximum(ratio ** (1.0 / psf.beta) - 1.0, 0.0))
    reach = np.minimum(reach, min(FARTHEST_FWHM * psf.fwhm, canvas.margin - 1.0))
    size = np.ceil(np.log(np.maximum(reach / radius, 1.0)) / np.log(STEP)).astype(np.int64)
    parts = [
        (np.flatnonzero(size == k), ring(radius, min(radius * STEP**k, canvas.margin - 1.0)))
        for k in np.unique(size[size > 0])
    ]
    _draw(flats, canvas, psf, sources, parts, sign)


def _draw(
    flats: Sequence[FloatArray], canvas: Canvas, psf: Psf, sources: Sources,
    parts: list[tuple[IntArray, Window]], sign: float,
) -> None:  # fmt: skip
    """Draw members of the sources in their windows."""
    for members, window in parts:
        # from row to row: what is near in the frame is near in memory
        members = members[np.argsort(sources.y[members], kind="stable")]
        for piece in pieces(len(members), len(window)):
            rows = members[piece]
            x, y = sources.x[rows], sources.y[rows]
            ix, iy = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
            light = psf.evaluate(
                window.ox[None, :] + (ix - x)[:, None], window.oy[None, :] + (iy - y)[:, None], x, y
            )
            light *= sign * sources.flux[rows, None]
            index = canvas.indices(ix, iy, window).ravel()
            for flat in flats:
                np.add.at(flat, index, light.ravel())
