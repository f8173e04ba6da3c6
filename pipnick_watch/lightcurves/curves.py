"""How bright was each star in each frame, against the comparison stars."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

from pipnick_watch.camera import Camera
from pipnick_watch.columns import RADII
from pipnick_watch.lightcurves.comparison import (
    LEAST_STARS,
    choose_comparisons,
    choose_flux,
    clean_points,
    magnitudes,
)
from pipnick_watch.lightcurves.cube import Cube
from pipnick_watch.lightcurves.ensemble import (
    Ensemble,
    column_medians,
    robust_scatter,
    solve_ensemble,
)
from pipnick_watch.lightcurves.noise import ErrorModel, calibrate_errors, scintillation

__all__ = ["FALSE_ALARM", "Curves", "Recipe", "make_curves"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

FALSE_ALARM = 1e-3
"""Probability that a constant star is flagged as variable."""

LEAST_POINTS = 8
LEAST_SHARE = 0.3
"""Share of the frames that must show a star to tell of the errors, and to be judged by them: what
comes and goes at the edge stands where sky, PSF and sensitivity are least known."""

LEAST_PULLS = 6
CLIP = 3.5
SPILL = 0.3
"""Share of the neighbours' light at a star that may come or go: with the seeing, or with the side
on which their wings are heavier, when the telescope flips."""

ROUNDS = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Recipe:
    """What a light curve is made with.

    Attributes
    ----------
    choice : int
        Place of the flux in ``FLUXES``.
    comparisons : ndarray of int
        Stars of the cube.
    variable : ndarray of int
    """

    choice: int
    comparisons: IntArray
    variable: IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """The light curves.

    Attributes
    ----------
    mag, mag_err : ndarray, shape (n_frames, n_stars)
        Against all comparison stars together, which have magnitude 0.
    ensemble : Ensemble
        Of the comparison stars alone.
    n_comparisons : ndarray of int, shape (n_frames,)
        How many were measured well.
    variable : ndarray of bool, shape (n_stars,)
    model : ErrorModel
    """

    mag: FloatArray
    mag_err: FloatArray
    ensemble: Ensemble
    n_comparisons: IntArray
    variable: BoolArray
    model: ErrorModel


def make_curves(
    cube: Cube, camera: Camera, target: int | None, fwhm: float
) -> tuple[Recipe, Curves]:
    """Choose comparison stars and flux, and make the light curves of all stars.

    Stars that turn out to vary are thrown out, round by round.
    """
    clean = clean_points(cube, camera.saturation * camera.gain)
    aim = np.array([] if target is None else [target], dtype=np.int64)
    barred = aim
    choice = choose_flux(cube, clean, np.empty(0, dtype=np.int64), target, fwhm)
    light = choice, *magnitudes(cube, choice)
    judges, _ = choose_comparisons(*light[1:], clean, barred)
    stars = judges
    choice = choose_flux(cube, clean, judges, target, fwhm)
    variable = np.empty(0, dtype=np.int64)
    for number in range(ROUNDS):
        again = number == 0 and choice == light[0]  # then the stars are the same as well
        if choice != light[0]:
            light = choice, *magnitudes(cube, choice)
        if not again:
            stars, _ = choose_comparisons(*light[1:], clean, barred)
        recipe = Recipe(choice=choice, comparisons=stars, variable=variable)
        curves = _apply(cube, camera, recipe, light[1:], clean)
        found = np.flatnonzero(curves.variable)
        if set(found) <= set(variable):
            break
        variable = np.union1d(variable, found)
        rest = np.setdiff1d(stars, variable)
        if len(rest) < LEAST_STARS:
            break
        barred = np.union1d(aim, variable)
        if not np.array_equal(rest, judges):
            judges = rest
            choice = choose_flux(cube, clean, judges, target, fwhm)
    return dataclasses.replace(recipe, variable=variable), curves


def _apply(
    cube: Cube, camera: Camera, recipe: Recipe, light: tuple[FloatArray, FloatArray],
    clean: BoolArray,
) -> Curves:  # fmt: skip
    """Make the light curves of all stars, given the recipe's magnitudes and formal errors.

    A comparison star is measured against the others: it would hide in its own shadow.
    """
    (mag, formal), stars = light, recipe.comparisons
    twinkle = scintillation(camera, cube.exptime, cube.airmass)[:, None]
    variance = formal**2 + twinkle**2
    good = clean[:, stars]
    ensemble = solve_ensemble(np.where(good, mag[:, stars], np.nan), variance[:, stars])
    offset, offset_var = _against(ensemble, mag, stars)
    out = mag - offset
    constant = _judged(out, clean)
    model = calibrate_errors(*_scatters(out, variance, offset_var, constant))
    total = model.variance(variance) + offset_var * model.scale**2
    total *= _frame_excess(out[:, stars], total[:, stars], good)[:, None] ** 2
    error = np.sqrt(total + cube.odd**2)
    return Curves(
        mag=out, mag_err=error, ensemble=ensemble, n_comparisons=(ensemble.weights > 0).sum(axis=1),
        variable=_variable(out, np.hypot(error, _spilled(cube, recipe.choice)), constant),
        model=model,
    )  # fmt: skip


def _spilled(cube: Cube, choice: int) -> FloatArray:
    """Give the magnitudes by which the neighbours' light may change a star, shape (n_stars,)."""
    area = cube.psf_area if choice == 0 else math.pi * RADII[choice - 1] ** 2
    # where no width is known no light of neighbours is either
    return SPILL * np.nan_to_num(cube.crowding * area)


def _against(ensemble: Ensemble, mag: FloatArray, stars: IntArray) -> tuple[FloatArray, FloatArray]:
    """Give each star's zero-point in each frame, its own share taken out, and its variance."""
    n_stars = mag.shape[1]
    weight = np.zeros(mag.shape)
    weight[:, stars] = ensemble.weights
    own = np.zeros(n_stars)
    own[stars] = ensemble.magnitudes
    total = ensemble.weights.sum(axis=1)[:, None]
    rest = total - weight
    alone = rest <= 1e-9 * total
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = np.where(weight > 0, weight * (mag - own - ensemble.offsets[:, None]), 0.0)
        offset = ensemble.offsets[:, None] - np.where(alone, 0.0, pull / rest)
        variance = np.where(alone, 0.0, 1.0 / rest)
    return np.asarray(offset), np.asarray(variance)


def _judged(mag: FloatArray, clean: BoolArray) -> FloatArray:
    """Keep the points that say something about constancy; the others are nan."""
    return np.where(clean, mag, np.nan)


def _scatters(
    mag: FloatArray, variance: FloatArray, offset_var: FloatArray, judged: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Give formal error and scatter of the stars that were measured often enough."""
    known = np.isfinite(judged)
    often = known.sum(axis=0) >= max(LEAST_POINTS, LEAST_SHARE * len(mag))
    formal = np.where(known, variance + offset_var, np.nan)[:, often]
    points = known[:, often].sum(axis=0)
    scatter = robust_scatter(judged[:, often]) * np.sqrt(points / np.maximum(points - 1, 1))
    typical = np.sqrt(column_medians(formal))
    return np.asarray(typical), np.asarray(scatter)


def _frame_excess(mag: FloatArray, variance: FloatArray, good: BoolArray) -> FloatArray:
    """Give the factor by which a frame's comparison stars scatter more than they should."""
    if len(mag) < LEAST_POINTS:
        return np.ones(len(mag))
    with np.errstate(invalid="ignore"):
        points = np.where(good, mag, np.nan)
        pulls = np.abs((points - column_medians(points)) / np.sqrt(variance)).T
    n = np.isfinite(pulls).sum(axis=0)
    factor = 1.4826 * column_medians(pulls)
    with np.errstate(invalid="ignore"):
        # more than the chance scatter of a median of so few
        beyond = (n >= LEAST_PULLS) & (factor > 1 + 3.5 / np.sqrt(2 * np.maximum(n, 1)))
    return np.where(beyond, factor, 1.0)


def _variable(mag: FloatArray, error: FloatArray, judged: FloatArray) -> BoolArray:
    """Find the stars that vary beyond their errors, at the false-alarm rate ``FALSE_ALARM``.

    Single wild points are held to 3.5 sigma: a cosmic ray makes no variable. The yardstick is the
    scatter of the typical star.
    """
    out = np.zeros(mag.shape[1], dtype=bool)
    known = np.isfinite(judged) & np.isfinite(error)
    n = known.sum(axis=0)
    often = np.flatnonzero(n >= max(LEAST_POINTS, LEAST_SHARE * len(mag)))
    if len(often) < LEAST_STARS:
        return out
    points, sigma = np.where(known, judged, np.nan)[:, often], error[:, often]
    pulls = (points - column_medians(points)) / sigma
    with np.errstate(divide="ignore"):
        weight = np.where(known[:, often], np.fmin(1.0, CLIP / np.abs(pulls)) / sigma**2, 0.0)
    level = (weight * np.nan_to_num(points)).sum(axis=0) / weight.sum(axis=0)
    pulls = (points - level) / sigma
    squares = np.nansum(np.minimum(pulls**2, CLIP**2), axis=0)
    reduced = squares / (n[often] - 1)
    yardstick = max(float(np.median(reduced)), 1.0)
    chance = chdtrc(n[often] - 1, squares / yardstick)
    # errors are known to so much from star to star, however many points there are
    root = np.sqrt(reduced / yardstick)
    spread = 1.4826 * float(np.median(np.abs(root - np.median(root))))
    limit = 1.0 + 3.3 * max(spread, 0.03)
    out[often] = (chance < FALSE_ALARM) & (root > limit)
    return out
