"""How does the PSF look beside the stars it was made from."""

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.measurement import PsfView
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.psf_stars import alike, choose_psf_stars
from pipnick_watch.photometry.sources import Scene, Sources
from pipnick_watch.photometry.stamps import disk

__all__ = ["view_psf"]

FloatArray = npt.NDArray[np.float64]

MOST = 25
REACH_FWHM = 2.5
LEAST_IN_BIN = 3


def view_psf(scene: Scene, psf: Psf, sources: Sources, model: FloatArray) -> PsfView | None:
    """Stack the brightest PSF stars, recentred and scaled to flux 1, and compare with the model.

    Returns
    -------
    PsfView or None
        None when no star showed the PSF.
    """
    chosen = choose_psf_stars(scene, psf, sources, crowding=0.5)
    chosen = chosen[alike(sources.keep(chosen))][:MOST]
    if psf.n_stars == 0 or len(chosen) == 0:
        return None
    reach = max(3, int(np.ceil(REACH_FWHM * psf.fwhm)))
    window = disk(np.sqrt(2.0) * (reach + 1.0))
    square = (np.abs(window.ox) <= reach) & (np.abs(window.oy) <= reach)
    ox, oy = window.ox[square], window.oy[square]
    stars = sources.keep(chosen)
    ix, iy = stars.pixel
    index = scene.canvas.indices(ix, iy, window)[:, square]
    dx, dy = ox[None, :] + (ix - stars.x)[:, None], oy[None, :] + (iy - stars.y)[:, None]
    x, y = psf.centre
    # each star as it would be at the frame's centre: off the axis the PSF may be wider
    own = psf.evaluate(dx, dy, x.repeat(len(chosen)), y.repeat(len(chosen)))
    good = scene.good[index] > 0
    weight = good * stars.flux[:, None]
    # what the model leaves of each star is smooth on the scale of a pixel, the star is not
    left = (scene.data[index] - model[index]) / stars.flux[:, None]
    residual = (left * weight).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-12)
    side = 2 * reach + 1
    ideal = psf.evaluate(ox[None, :].astype(float), oy[None, :].astype(float), x, y)[0]
    radius, profile, error = _profile(np.hypot(dx, dy), own + left, good, float(reach))
    fine = np.linspace(0.0, float(reach), 101)
    angle = np.arange(8) * (np.pi / 4.0)
    rays = psf.evaluate(
        (fine[:, None] * np.cos(angle)).ravel()[None, :],
        (fine[:, None] * np.sin(angle)).ravel()[None, :],
        x, y,
    )[0]  # fmt: skip
    return PsfView(
        data=(ideal + residual).reshape(side, side), model=ideal.reshape(side, side),
        residual=residual.reshape(side, side), radius=radius, profile=profile, profile_err=error,
        model_radius=fine, model_profile=rays.reshape(len(fine), 8).mean(axis=1), fwhm=psf.fwhm,
    )  # fmt: skip


def _profile(
    distance: FloatArray, light: FloatArray, good: npt.NDArray[np.bool_], reach: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return radius, mean light and its error in rings half a pixel wide."""
    ring = (distance[good] / 0.5).astype(np.int64)
    values, places = light[good], distance[good]
    some = ring < int(reach / 0.5)
    ring, values, places = ring[some], values[some], places[some]
    count = np.bincount(ring)
    full = count >= LEAST_IN_BIN
    safe = np.maximum(count, 1)
    mean = np.bincount(ring, weights=values) / safe
    where = np.bincount(ring, weights=places) / safe
    spread = np.sqrt(np.maximum(np.bincount(ring, weights=values**2) / safe - mean**2, 0.0))
    return where[full], mean[full], (spread / np.sqrt(safe))[full]
