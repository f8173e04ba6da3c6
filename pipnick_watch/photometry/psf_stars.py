"""Which stars show the frame's PSF, and what do their stamps hold."""

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.groups import neighbour_pairs
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.psf_fit import PsfStars
from pipnick_watch.photometry.sources import Scene, Sources
from pipnick_watch.photometry.stamps import Window, disk, ring

__all__ = ["alike", "choose_psf_stars", "cut_psf_stars"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

MOST = 50
CORE_FWHM = 2.0  # every pixel up to here,
WINGS_FWHM = 4.0  # and a few of those up to here, once the neighbours are known
LEAST_SNR = 20.0
BROADER = 0.3  # excess of the second moments that a drifting PSF may have,
BROADER_AT_FIRST = 0.5  # and with faint neighbours that are not known yet
NARROW = 0.25  # share of the light that stars have at least, before blends are parted
SHAPE_ERROR = 0.05  # and how well they are known at best
ROUGH = 4.0  # pixels of FWHM from which a first look needs every second pixel only
FINE = 5.5  # and any look


def choose_psf_stars(scene: Scene, psf: Psf, sources: Sources, *, crowding: float) -> IntArray:
    """Choose bright, isolated, unsaturated stars whose core is whole, brightest first.

    Parameters
    ----------
    crowding : float
        Most light that neighbours may have within the stamp, as a share of the star's own:
        small as long as they are not subtracted.
    """
    n = len(sources)
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    canvas, flux = scene.canvas, sources.flux
    ix, iy = sources.pixel
    core = canvas.indices(ix, iy, disk(1.0 * psf.fwhm))
    whole = scene.good[core].all(axis=1)
    body = canvas.indices(ix, iy, disk(CORE_FWHM * psf.fwhm))
    whole &= scene.good[body].mean(axis=1) > 0.7
    noise = np.sqrt(scene.sky_variance[canvas.at(ix, iy)])
    snr = flux * psf.peak(sources.x, sources.y) / np.maximum(noise, 1e-12) * psf.fwhm * 0.75
    pairs = neighbour_pairs(sources.x, sources.y, 2.0 * CORE_FWHM * psf.fwhm)
    apart = np.hypot(*(
        one[pairs[:, 0]] - one[pairs[:, 1]] for one in (sources.x, sources.y)
    )) / psf.fwhm  # fmt: skip
    # light of a neighbour that reaches into the star's core
    reach = np.minimum(1.0, (1.0 + apart**2) ** -1.5 * 4.0)
    rival = np.zeros(n)
    np.add.at(rival, pairs[:, 0], flux[pairs[:, 1]] * reach)
    np.add.at(rival, pairs[:, 1], flux[pairs[:, 0]] * reach)
    fit = whole & ~sources.saturated & (snr > LEAST_SNR)
    order = np.argsort(-flux, kind="stable")
    chosen = order[(fit & (rival < crowding * flux))[order]]
    if len(chosen) < 3:
        # a crowded frame: the least disturbed of the bright ones
        bright = order[fit[order]][:40]
        chosen = bright[np.argsort((rival / flux)[bright], kind="stable")][:10]
        chosen = chosen[(rival / flux)[chosen] < 3.0 * crowding + 0.5]
    return np.asarray(chosen[:MOST])


def alike(sources: Sources, *, first: bool = False) -> BoolArray:
    """Say which are no broader than the stars usually are: blends and galaxies are not the PSF.

    Parameters
    ----------
    sources : Sources
        With their shapes measured.
    first : bool
        Whether their neighbours are not known yet.
    """
    allowed, share = (BROADER_AT_FIRST, NARROW) if first else (BROADER, 0.5)
    keep = np.ones(len(sources), dtype=bool)
    error = np.hypot(sources.shape_err, SHAPE_ERROR)
    for excess in (sources.major, sources.minor):
        order = np.argsort(excess, kind="stable")
        below = np.cumsum(error[order] ** -2.0)
        usual = excess[order][np.searchsorted(below, share * below[-1])] if len(order) else 0.0
        keep &= excess < usual + allowed + 3.0 * error
    return keep


def cut_psf_stars(
    scene: Scene, psf: Psf, sources: Sources, chosen: IntArray, model: FloatArray | None
) -> PsfStars:
    """Cut the stamps of the chosen stars, the others subtracted where a model of them is known."""
    canvas = scene.canvas
    window = _window(psf.fwhm, wings=model is not None)
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


def _window(fwhm: float, *, wings: bool) -> Window:
    """Make the stamps' window: the core, and some of the pixels of the wings.

    Of a core that is sampled more finely than its shape needs, every second pixel is enough.
    """
    core = disk(CORE_FWHM * fwhm + 1.0)
    if fwhm > (FINE if wings else ROUGH):
        odd = (core.ox + core.oy) % 2 == 0
        core = Window(ox=core.ox[odd], oy=core.oy[odd])
    if not wings:
        return core
    outer = ring(CORE_FWHM * fwhm + 1.0, WINGS_FWHM * fwhm + 1.0)
    step = 3 if fwhm > 8.0 else 2
    some = (outer.ox % step == 0) & (outer.oy % step == 0)
    return Window(
        ox=np.concatenate([core.ox, outer.ox[some]]), oy=np.concatenate([core.oy, outer.oy[some]])
    )
