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
    # the sky under a large aperture is not known to better than this
    blur = sums.area[0][whole] * 0.01 * scene.rms / stars.flux
    error = np.sqrt(error**2 + blur**2 + STAR_ERROR**2 + (0.02 * rivals[chosen] / stars.flux) ** 2)
    kept = np.ones(len(off), dtype=bool)
    mean = 0.0
    for _ in range(5):
        weight = kept / error**2
        mean = float((weight * off).sum() / (weight.sum() + MODEL_ERROR**-2))
        kept = np.abs(off - np.median(off[kept])) < 3.5 * error
        if not kept.any():
            return plain
    weight = kept / error**2
    doubt = 1.0 / np.sqrt(weight.sum() + MODEL_ERROR**-2)
    good = kept & (error < 0.03)
    return ApertureCorrection(
        factor=float(np.median(share[kept])) + mean, error=float(doubt), n_stars=int(good.sum())
    )


def psf_share(scene: Scene, psf: Psf, radius: float) -> float:
    """Share of the PSF's light within a radius, at the frame's centre, for unit fitted flux."""
    x, y = psf.centre
    one = new_sources(x, y, np.ones(1), 1)
    nothing = np.zeros(scene.canvas.size)
    return float(sum_apertures(scene, psf, one, nothing, (radius,)).model[0, 0])
