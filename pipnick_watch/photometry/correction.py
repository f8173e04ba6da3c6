"""How does a fitted flux become the light within ``ref_radius``."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.apertures import sum_apertures
from pipnick_watch.photometry.groups import neighbour_pairs
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.sources import Scene, Sources, new_sources

__all__ = ["ApertureCorrection", "measure_correction"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MOST = 60
LEAST_SNR = 30.0
LEAST_STARS = 3
MODEL_ERROR = 0.01  # how far the model's own wings may be trusted
STAR_ERROR = 0.004  # what one star may differ from another
SKY_ERROR = 0.03  # of a pixel's noise: how well the sky under all apertures is known
GOOD_STAR = 0.03  # error up to which a star counts as one of ``LEAST_STARS``
CLIPPINGS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class ApertureCorrection:
    """Factor from the fitted flux to the light within ``ref_radius``, its error, its stars."""

    factor: float
    error: float
    n_stars: int

    @property
    def measured(self) -> bool:
        """Whether enough stars gave it."""
        return self.n_stars >= LEAST_STARS


def measure_correction(
    scene: Scene, psf: Psf, sources: Sources, model: FloatArray, flux_err: FloatArray,
    ref_radius: float, suspect: BoolArray,
) -> ApertureCorrection:  # fmt: skip
    """Measure the correction on bright stars, their neighbours subtracted.

    The model's own wings are the first guess; the stars say by how much it is wrong.  A star
    counts by its signal-to-noise within the whole aperture, and less where neighbours shine in.
    """
    n = len(sources)
    centre = psf_share(scene, psf, ref_radius)
    plain = ApertureCorrection(factor=centre, error=MODEL_ERROR * centre, n_stars=0)
    if n == 0:
        return plain
    pairs = neighbour_pairs(sources.x, sources.y, 1.3 * ref_radius)
    rivals = np.zeros(n)
    np.add.at(rivals, pairs[:, 0], sources.flux[pairs[:, 1]])
    np.add.at(rivals, pairs[:, 1], sources.flux[pairs[:, 0]])
    fit = ~sources.saturated & ~suspect & (sources.flux > LEAST_SNR * flux_err)
    merit = sources.flux / np.hypot(flux_err, 0.03 * rivals)
    order = np.argsort(-merit, kind="stable")
    chosen = order[fit[order]][:MOST]
    if len(chosen) == 0:
        return plain
    stars = sources.keep(chosen)
    sums = sum_apertures(scene, psf, stars, model, (ref_radius,))
    whole = sums.lost[0] < 0.03
    if not whole.any():
        return plain
    stars, chosen = stars.keep(whole), chosen[whole]
    share = sums.model[0][whole] / stars.flux
    off = (sums.alone[0] - sums.model[0])[whole] / stars.flux
    error = np.sqrt(sums.variance[0][whole]) / stars.flux
    error = np.sqrt(error**2 + STAR_ERROR**2 + (0.02 * rivals[chosen] / stars.flux) ** 2)
    lever = sums.area[0][whole] / stars.flux
    excess, doubt, kept = _common_excess(off, error, lever, scene.rms)
    good = kept & (error < GOOD_STAR)
    factor = float(np.average(share[kept], weights=error[kept] ** -2.0)) + excess
    return ApertureCorrection(factor=factor, error=doubt, n_stars=int(good.sum()))


def _common_excess(
    off: FloatArray, error: FloatArray, lever: FloatArray, rms: float
) -> tuple[float, float, BoolArray]:
    """Fit what all stars have beyond the model, beside an error of the sky that they share.

    Parameters
    ----------
    off, error : ndarray, shape (n,)
        Light beyond the model within the aperture, as a share of the flux, and its error.
    lever : ndarray, shape (n,)
        What an error of the sky by 1 electron per pixel does to ``off``.
    rms : float
        Noise of a sky pixel.

    Returns
    -------
    excess, error : float
    kept : ndarray of bool, shape (n,)
        Stars that were not clipped.
    """
    kept = np.ones(len(off), dtype=bool)
    design = np.column_stack([np.ones(len(off)), lever])
    prior = np.diag([MODEL_ERROR**-2.0, (SKY_ERROR * rms) ** -2.0])
    total = error
    for _ in range(CLIPPINGS):
        weight = kept / total**2
        covariance = np.linalg.inv((design.T * weight) @ design + prior)
        excess, sky = covariance @ (design.T @ (weight * off))
        rest = np.abs(off - excess - sky * lever)
        # stars below the threshold shine into some apertures: the fainter the star, the worse
        light = (1.4826 * np.median((rest / lever)[kept])) ** 2 - np.median(
            (error / lever)[kept]
        ) ** 2
        total = np.hypot(error, np.sqrt(max(float(light), 0.0)) * lever)
        new = rest < 3.5 * np.hypot(total, 1.4826 * np.median(rest[kept]) / 2.0)
        if not new.any():
            break
        kept = new
    return float(excess), float(np.sqrt(covariance[0, 0])), kept


def psf_share(scene: Scene, psf: Psf, radius: float) -> float:
    """Share of the PSF's light within a radius, at the frame's centre, for unit fitted flux."""
    x, y = psf.centre
    one = new_sources(x, y, np.ones(1), 1)
    nothing = np.zeros(scene.canvas.size)
    return float(sum_apertures(scene, psf, one, nothing, (radius,)).model[0, 0])
