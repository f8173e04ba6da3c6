"""Which stars show the frame's PSF, and what do their stamps hold?"""

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.groups import neighbour_pairs
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.psf_fit import PsfStars
from pipnick_watch.photometry.sources import Scene, Sources
from pipnick_watch.photometry.stamps import disk

__all__ = ["choose_psf_stars", "cut_psf_stars"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MOST = 60
STAMP_FWHM = 2.5
LEAST_SNR = 20.0


def choose_psf_stars(
    scene: Scene, psf: Psf, sources: Sources, *, crowding: float, suspect: npt.NDArray[np.bool_]
) -> IntArray:
    """Choose bright, isolated, unsaturated stars whose core is whole, brightest first.

    Parameters
    ----------
    crowding : float
        Most light that neighbours may have within the stamp, as a share of the star's own:
        small as long as they are not subtracted.
    suspect : ndarray of bool, shape (n,)
        Sources that are no single stars.
    """
    n = len(sources)
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    canvas, flux = scene.canvas, sources.flux
    ix, iy = sources.pixel
    core = canvas.indices(ix, iy, disk(1.0 * psf.fwhm))
    whole = scene.good[core].all(axis=1)
    body = canvas.indices(ix, iy, disk(STAMP_FWHM * psf.fwhm))
    whole &= scene.good[body].mean(axis=1) > 0.7
    noise = np.sqrt(scene.sky_variance[canvas.at(ix, iy)])
    snr = flux * psf.peak(sources.x, sources.y) / np.maximum(noise, 1e-12) * psf.fwhm * 0.75
    pairs = neighbour_pairs(sources.x, sources.y, 1.5 * STAMP_FWHM * psf.fwhm)
    apart = np.hypot(*(
        one[pairs[:, 0]] - one[pairs[:, 1]] for one in (sources.x, sources.y)
    )) / psf.fwhm  # fmt: skip
    # light of a neighbour that reaches into the star's core
    reach = np.minimum(1.0, (1.0 + apart**2) ** -1.5 * 4.0)
    rival = np.zeros(n)
    np.add.at(rival, pairs[:, 0], flux[pairs[:, 1]] * reach)
    np.add.at(rival, pairs[:, 1], flux[pairs[:, 0]] * reach)
    fit = whole & ~sources.saturated & ~suspect & (snr > LEAST_SNR)
    order = np.argsort(-flux, kind="stable")
    chosen = order[(fit & (rival < crowding * flux))[order]]
    if len(chosen) < 3:
        # a crowded frame: the least disturbed of the bright ones
        bright = order[fit[order]][:40]
        chosen = bright[np.argsort((rival / flux)[bright], kind="stable")][:10]
        chosen = chosen[(rival / flux)[chosen] < 3.0 * crowding + 0.5]
    return chosen[:MOST]


def cut_psf_stars(
    scene: Scene, psf: Psf, sources: Sources, chosen: IntArray, model: FloatArray | None
) -> PsfStars:
    """Cut the stamps of the chosen stars, the others subtracted where a model of them is known."""
    canvas = scene.canvas
    window = disk(STAMP_FWHM * psf.fwhm + 1.0)
    one = sources.keep(chosen)
    ix, iy = one.pixel
    index = canvas.indices(ix, iy, window)
    px = (window.ox[None, :] + ix[:, None]).astype(np.float64)
    py = (window.oy[None, :] + iy[:, None]).astype(np.float64)
    own = one.flux[:, None] * psf.evaluate(px - one.x[:, None], py - one.y[:, None], one.x, one.y)
    data = scene.data[index]
    total = own
    if model is not None:
        data = data - (model[index] - own)
        total = np.maximum(model[index], own)
    quiet = scene.sky_variance[index]
    variance = np.where(scene.good[index] > 0, quiet + np.maximum(total, 0.0), np.inf)
    return PsfStars(
        data=data, variance=variance, px=px, py=py, x=one.x, y=one.y, flux=one.flux,
        rms=np.sqrt(np.median(quiet, axis=1)) + 1e-12,
    )  # fmt: skip
