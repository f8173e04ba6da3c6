"""From matched frames to light curves: one object and filter, all together."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipnick_watch.lightcurves.comparison import clean_points, magnitudes, plain_flux
from pipnick_watch.lightcurves.cube import Cube, fill_cube
from pipnick_watch.lightcurves.curves import Curves, Recipe, make_curves
from pipnick_watch.lightcurves.ensemble import column_medians, robust_scatter, solve_ensemble
from pipnick_watch.lightcurves.flags import CurveFlag
from pipnick_watch.lightcurves.forced import ForcedFlux
from pipnick_watch.lightcurves.observer import CLOUD, transparency_of
from pipnick_watch.lightcurves.registration import Registration
from pipnick_watch.lightcurves.sensitivity import flatten
from pipnick_watch.lightcurves.target import Aim
from pipnick_watch.photometry.flags import Flag
from pipnick_watch.settings import Settings

__all__ = ["Assembly", "assemble"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

Measure = Callable[[str, float, float], ForcedFlux | None]
"""Measures a place (x, y, pixels) of a frame, by name."""

SAME_STAR = 1e-6
TOO_BRIGHT = 1.5
"""Times the threshold: what is so bright and was not detected is more than a star."""

_POINT_FLAGS = {
    CurveFlag.SATURATED: (Flag.SATURATED,),
    CurveFlag.BLENDED: (Flag.BLENDED,),
    CurveFlag.NEAR_EDGE: (Flag.NEAR_EDGE,),
    CurveFlag.MASKED: (Flag.MASKED, Flag.APERTURE_MASKED),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Assembly:
    """All that is known of one object and filter; stars and frames as in the cube.

    Attributes
    ----------
    done : Registration
    cube : Cube
    recipe : Recipe
    curves : Curves
    flags : ndarray of int, shape (n_frames, n_stars)
        Of the light curves.
    target, check : int or None
        Places of the stars in the cube.
    aim : Aim
    transparency, transparency_err : ndarray, shape (n_frames,)
    """

    done: Registration
    cube: Cube
    recipe: Recipe
    curves: Curves
    flags: IntArray
    target: int | None
    check: int | None
    aim: Aim
    transparency: FloatArray
    transparency_err: FloatArray

    @property
    def n_variable(self) -> int:
        """How many stars are flagged as variable."""
        return int(((self.flags & int(CurveFlag.VARIABLE)) != 0).any(axis=0).sum())


def assemble(done: Registration, aim: Aim, settings: Settings, measure: Measure) -> Assembly:
    """Make the light curves of all stars of an object.

    Parameters
    ----------
    done : Registration
    aim : Aim
        Where the target is.
    settings : Settings
    measure : callable
        For the frames in which the target was not detected.
    """
    camera = settings.camera
    wanted = _star_at(done, aim)
    unseen = aim.place is not None and len(wanted) == 0
    cube = fill_cube(done, wanted, blank=unseen)
    target = None
    if aim.place is not None:
        target = int(np.flatnonzero(cube.stars == (-1 if unseen else wanted[0]))[0])
    fwhm = _median(np.array([done.frames[k].fwhm for k in cube.rows]))
    forced = np.zeros(cube.flags.shape, dtype=bool)
    if target is not None:
        most = TOO_BRIGHT * settings.photometry.thresh
        forced[:, target] = _force(done, cube, target, aim, measure, most)
    aimed = np.array([] if target is None else [target], dtype=np.int64)
    limit = camera.saturation * camera.gain
    cube = flatten(cube, limit, aimed, plain_flux(fwhm))
    recipe, curves = make_curves(cube, camera, target, fwhm)
    check = _check_star(cube, recipe, curves, target)
    loss, loss_err = _transparency(cube, recipe, settings)

    flags = np.zeros(cube.flags.shape, dtype=np.int64)
    if target is not None:
        kind = CurveFlag.TARGET if aim.kind == "target" else CurveFlag.CANDIDATE
        flags[:, target] |= int(kind)
    if check is not None:
        flags[:, check] |= int(CurveFlag.CHECK)
    flags[:, curves.variable] |= int(CurveFlag.VARIABLE)
    flags[loss > CLOUD] |= int(CurveFlag.CLOUDED)
    flags[curves.n_comparisons < 3] |= int(CurveFlag.FEW_COMPARISONS)
    flags[forced] |= int(CurveFlag.FORCED)
    for flag, causes in _POINT_FLAGS.items():
        flags[cube.has(*causes)] |= int(flag)
    flags[cube.odd > 0] |= int(CurveFlag.SPOILED)
    flags[cube.peak > limit] |= int(CurveFlag.SATURATED)
    return Assembly(
        done=done, cube=cube, recipe=recipe, curves=curves, flags=flags, target=target,
        check=check, aim=aim, transparency=loss, transparency_err=loss_err,
    )  # fmt: skip


def _star_at(done: Registration, aim: Aim) -> IntArray:
    """Give the registration's star at the target's place, if there is one."""
    if aim.place is None:
        return np.empty(0, dtype=np.int64)
    x, y = done.places
    away = np.hypot(x - aim.place[0], y - aim.place[1])
    if len(away) and away.min() < SAME_STAR:
        return np.array([int(np.argmin(away))])
    return np.empty(0, dtype=np.int64)


def _force(
    done: Registration, cube: Cube, target: int, aim: Aim, measure: Measure, most: float
) -> npt.NDArray[np.bool_]:
    """Measure the target where it was not detected; tell in which frames.

    A place that is bright enough for a detection, and yet was none, has a hot pixel, a cosmic ray
    or a bleeding neighbour in it: what was measured there is no flux of the target.
    """
    assert aim.place is not None
    forced = np.zeros(len(cube.rows), dtype=bool)
    for i, k in enumerate(cube.rows):
        if np.isfinite(cube.x[i, target]):
            continue
        mapping = done.mappings[k]
        assert mapping is not None
        x, y = mapping.back(*aim.place)
        found = measure(done.frames[k].frame, x, y)
        if found is None:
            continue
        forced[i] = True
        cube.x[i, target], cube.y[i, target] = x, y
        cube.peak[i, target], cube.bkg_rms[i, target] = found.peak, found.bkg_rms
        if not found.above < most:
            cube.flags[i, target] |= int(Flag.MASKED)
            continue
        cube.flux[i, target, 1:] = found.flux
        # what the PSF would give: an aperture, scaled as the frame's stars are
        ratio = cube.flux[i, :, 0] / cube.flux[i, :, 3]
        scale = _median(ratio)
        cube.flux[i, target, 0] = found.flux[2] * scale
        noise = math.sqrt(max(found.flux[2], 0.0) + math.pi * 25.0 * found.bkg_rms**2)
        cube.flux_err[i, target] = noise * scale
    return forced


def _check_star(cube: Cube, recipe: Recipe, curves: Curves, target: int | None) -> int | None:
    """Choose the comparison star that is most like the target and is seen in most frames."""
    stars = recipe.comparisons
    if len(stars) < 2:
        return None
    missing = np.mean(~np.isfinite(curves.mag[:, stars]), axis=0)
    if target is None:
        rank = column_medians(curves.mag_err[:, stars])
    else:
        level = column_medians(curves.mag)
        rank = np.abs(level[stars] - level[target])
    if not np.isfinite(rank).any():
        return None
    return int(stars[int(np.nanargmin(rank + 5.0 * missing))])


def _transparency(cube: Cube, recipe: Recipe, settings: Settings) -> tuple[FloatArray, FloatArray]:
    """Compare all of the comparison stars' light, so that a bad focus is no cloud."""
    stars = recipe.comparisons
    clean = clean_points(cube, settings.camera.saturation * settings.camera.gain)[:, stars]
    mag, error = magnitudes(cube, 0, stars)
    mag, variance = np.where(clean, mag, np.nan), error**2 + 0.003**2
    total = solve_ensemble(mag, variance)
    left = mag - total.magnitudes - total.offsets[:, None]
    spread = robust_scatter(left.T) / np.sqrt(np.maximum((total.weights > 0).sum(axis=1), 1))
    error_of = np.fmax(total.offset_errs, spread)
    return transparency_of(total.offsets, error_of, cube.airmass)


def _median(values: Sequence[float] | FloatArray) -> float:
    known = np.asarray(values)[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan
