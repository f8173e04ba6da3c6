"""Which stars are compared with, and which flux is the light curve made of."""

import numpy as np
import numpy.typing as npt

from pipnick_watch.columns import RADII
from pipnick_watch.lightcurves.cube import Cube, flux_errors, thinned
from pipnick_watch.lightcurves.ensemble import (
    Ensemble,
    column_medians,
    robust_scatter,
    solve_ensemble,
)
from pipnick_watch.lightcurves.noise import MAGNITUDE
from pipnick_watch.lightcurves.starlist import FLUXES
from pipnick_watch.photometry.flags import Flag

__all__ = [
    "LEAST_STARS",
    "choose_comparisons",
    "choose_flux",
    "clean_points",
    "magnitudes",
    "plain_flux",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

MOST_STARS = 50
LEAST_STARS = 3
COVERAGE = (0.8, 0.6, 0.3, 0.0)
"""Share of the frames in which a comparison star is measured well; relaxed until there are some."""

LEAST_SNR = 15.0
NOISY = 2.5
"""A star whose scatter is so many times what the others of its kind have is not compared with."""

LEAST_FRAMES, MOST_FRAMES = 6, 200
LIKE = 0.75
"""Magnitudes: how far stars of like brightness differ from the target."""

LEAST_LIKE = 5
ABOUT_AS_GOOD = 1.03
"""The narrowest flux whose scatter is the least, so nearly: wide ones see more neighbours."""


def magnitudes(
    cube: Cube, choice: int, stars: IntArray | slice = slice(None)
) -> tuple[FloatArray, FloatArray]:
    """Give the instrumental magnitudes of one choice of flux, and their formal errors."""
    flux, error = cube.flux[:, stars, choice], flux_errors(cube, choice, stars)
    exptime = np.where(cube.exptime > 0, cube.exptime, 1.0)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        positive = np.where(flux > 0, flux, np.nan)
        mag = -2.5 * np.log10(positive / exptime)
        mag_err = MAGNITUDE * error / positive
    if cube.bent is not None:
        mag -= cube.bent[:, stars, choice]
    return mag, mag_err


def clean_points(cube: Cube, saturation: float) -> BoolArray:
    """Tell which points may count for a comparison star."""
    spoiled = cube.has(
        Flag.SATURATED, Flag.NEAR_EDGE, Flag.MASKED, Flag.BLENDED, Flag.EXTENDED,
        Flag.OUTSIDE_BOUNDS, Flag.NEGATIVE_FLUX, Flag.N_PIXELS_FIT_PARTIAL,
    )  # fmt: skip
    spoiled |= cube.odd > 0
    return np.asarray(np.isfinite(cube.flux[:, :, 0]) & ~spoiled & ~(cube.peak > saturation))


def choose_comparisons(
    mag: FloatArray, error: FloatArray, clean: BoolArray, barred: IntArray
) -> tuple[IntArray, Ensemble]:
    """Choose the comparison stars, and solve for them.

    Parameters
    ----------
    mag, error : ndarray, shape (n_frames, n_stars)
    clean : ndarray of bool
        Points that may count.
    barred : ndarray of int
        Stars that must not be compared with: the target, and those that vary.

    Returns
    -------
    stars : ndarray of int
    ensemble : Ensemble
        Its columns are these stars.
    """
    n_frames = max(len(mag), 1)
    snr_limit = MAGNITUDE / LEAST_SNR
    usable = clean & (error < snr_limit)
    coverage = usable.sum(axis=0) / n_frames
    allowed = np.ones(mag.shape[1], dtype=bool)
    allowed[barred] = False
    stars = np.empty(0, dtype=np.int64)
    for least in COVERAGE:
        stars = np.flatnonzero(allowed & (coverage >= least) & (coverage > 0))
        if len(stars) >= LEAST_STARS:
            break
    typical = column_medians(np.where(usable, error, np.nan)[:, stars])
    order = np.argsort(typical / np.sqrt(coverage[stars]), kind="stable")
    stars = np.sort(stars[order[:MOST_STARS]])
    while True:
        m = np.where(usable[:, stars], mag[:, stars], np.nan)
        variance = error[:, stars] ** 2
        ensemble = solve_ensemble(m, variance, rounds=3)
        if len(stars) <= LEAST_STARS or len(mag) < LEAST_FRAMES:
            return stars, ensemble
        noisy = _noisy(m, variance, ensemble)
        if not noisy.any() or (~noisy).sum() < LEAST_STARS:
            return stars, ensemble
        stars = stars[~noisy]


def _noisy(m: FloatArray, variance: FloatArray, ensemble: Ensemble) -> BoolArray:
    """Find the stars that scatter much more than the others do, their errors considered."""
    left = m - ensemble.magnitudes - ensemble.offsets[:, None]
    typical = np.sqrt(column_medians(variance))
    scatter = robust_scatter(left)
    # a floor that all stars share is no fault of one
    floor = np.sqrt(max(float(np.median(scatter**2 - typical**2)), 0.0))
    ratio = scatter / np.hypot(typical, floor)
    return np.asarray(ratio > NOISY * max(float(np.median(ratio)), 1.0))


def plain_flux(fwhm: float) -> int:
    """Give the flux that is taken while nothing speaks for another: a radius of 1.5 FWHM."""
    return 1 + int(np.argmin(np.abs(np.array(RADII) - 1.5 * fwhm))) if fwhm > 0 else 0


def choose_flux(
    cube: Cube, clean: BoolArray, comparisons: IntArray, target: int | None, fwhm: float
) -> int:
    """Choose the flux whose comparison stars scatter least, stars as bright as the target counting.

    The target's own scatter is not looked at: a transit would count as noise.

    Parameters
    ----------
    cube : Cube
    clean : ndarray of bool
    comparisons : ndarray of int
    target : int or None
    fwhm : float
        Of the typical frame, pixels.

    Returns
    -------
    int
        Place in ``FLUXES``.
    """
    fallback = plain_flux(fwhm)
    if len(cube.rows) < LEAST_FRAMES or len(comparisons) < LEAST_STARS:
        return fallback
    cube, every = thinned(cube, MOST_FRAMES)
    clean = clean[every]
    like = _alike(cube, comparisons, target, fallback)
    scores = np.full(len(FLUXES), np.inf)
    good = clean[:, comparisons]
    for choice in range(len(FLUXES)):
        mag, error = magnitudes(cube, choice, comparisons)
        m = np.where(good, mag, np.nan)
        enough = np.isfinite(m).sum(axis=0) >= 0.5 * good.sum(axis=0)
        if not enough.all():
            continue
        ensemble = solve_ensemble(m, error**2, rounds=2)
        left = m - ensemble.magnitudes - ensemble.offsets[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            own = ensemble.weights * ensemble.offset_errs[:, None] ** 2
            left = left / np.sqrt(np.maximum(1.0 - own, 0.05))
        scatter = robust_scatter(left)[like]
        scores[choice] = float(np.median(scatter)) if (scatter > 0).any() else np.inf
    if not np.isfinite(scores).any():
        return fallback
    return int(np.flatnonzero(scores <= ABOUT_AS_GOOD * scores.min())[0])


def _alike(cube: Cube, comparisons: IntArray, target: int | None, choice: int) -> IntArray:
    """Give the places, in ``comparisons``, of stars about as bright as the target."""
    if target is None:
        return np.arange(len(comparisons))
    typical = column_medians(cube.flux[:, :, choice])
    flux, aim = typical[comparisons], typical[target]
    with np.errstate(divide="ignore", invalid="ignore"):
        away = np.abs(2.5 * np.log10(flux / aim))
    away = np.where(np.isfinite(away), away, np.inf)
    order = np.argsort(away, kind="stable")
    return np.sort(order[: max(int((away < LIKE).sum()), min(LEAST_LIKE, len(order)))])
