"""How does the sensitivity change over the field, as stars that wander over it show.

Frames without a flat field, or with one that is slightly wrong, make every star's light curve
follow its way over the detector. All stars together tell the shape: a smooth surface is fitted to
what the ensemble leaves over. What a star's own magnitude or a frame's zero-point could explain
just as well is left to them.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from pipnick_watch.lightcurves.comparison import choose_comparisons, clean_points, magnitudes
from pipnick_watch.lightcurves.cube import Cube, field_terms
from pipnick_watch.lightcurves.ensemble import separate
from pipnick_watch.lightcurves.starlist import FLUXES

__all__ = ["flatten"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

WANDER = 15.0
"""Pixels that the stars must have moved for the surface to show."""

LEAST_STARS = 8
LEAST_FRAMES = 12
SIGNIFICANT = 6.0
"""F ratio from which the surface is believed: each term must earn so many times its noise."""

ROUNDS = 2


def flatten(cube: Cube, saturation: float, barred: IntArray, base: int) -> Cube:
    """Give the cube with its ``bends`` filled, where the stars show some.

    Each choice of flux has its own: a narrow aperture also loses light where the PSF is broad.

    Parameters
    ----------
    cube : Cube
    saturation : float
        Electrons.
    barred : ndarray of int
        Stars that must not be looked at: the target.
    base : int
        The flux that the comparison stars are chosen by, a place in ``FLUXES``.
    """
    if len(cube.rows) < LEAST_FRAMES or not _wandered(cube):
        return cube
    clean = clean_points(cube, saturation)
    for _ in range(ROUNDS):
        mag, error = magnitudes(cube, base)
        stars, ensemble = choose_comparisons(mag, error, clean, barred)
        if len(stars) < LEAST_STARS:
            return cube
        terms = field_terms(cube)[:, :, stars]
        plain = dataclasses.replace(cube, bends=None)
        bends = np.zeros((len(FLUXES), len(terms)))
        shown: dict[bytes, FloatArray] = {}
        for choice in range(len(FLUXES)):
            m = np.where(clean, magnitudes(plain, choice)[0], np.nan)[:, stars]
            weights = np.where(np.isfinite(m), ensemble.weights, 0.0)
            key = (weights > 0).tobytes()
            if key not in shown:
                shown[key] = np.stack([one - separate(one, weights) for one in terms])
            m = np.nan_to_num(m)
            bends[choice] = _fit(m - separate(m, weights), weights, shown[key])
        if not bends.any():
            return plain
        cube = dataclasses.replace(cube, bends=bends)
    return cube


def _wandered(cube: Cube) -> bool:
    """Tell whether the typical star has moved far enough."""
    known = np.isfinite(cube.x).sum(axis=0) >= 0.5 * len(cube.rows)
    if not known.any():
        return False
    reach = [np.nanmax(axis[:, known], axis=0) - np.nanmin(axis[:, known], axis=0)
             for axis in (cube.x, cube.y)]  # fmt: skip
    return bool(np.median(np.hypot(*reach)) > WANDER)


def _fit(left: FloatArray, weights: FloatArray, shown: FloatArray) -> FloatArray:
    """Fit the surfaces to what is left over; zeros when they explain no more than noise would."""
    roots = np.sqrt(weights)
    design = (shown * roots).reshape(len(shown), -1)
    goal = (left * roots).ravel()
    # by the normal equations in einsum: no threads, and the same bytes every time
    normal = np.einsum("in,jn->ij", design, design)
    scale = np.sqrt(np.maximum(np.diag(normal), 1e-30))
    right = np.einsum("in,n->i", design, goal) / scale
    solution = np.linalg.lstsq(normal / np.outer(scale, scale), right, rcond=1e-6)
    factors, rank = solution[0] / scale, int(solution[2])
    after = goal - np.einsum("in,i->n", design, factors)
    free = int((weights > 0).sum()) - rank - sum(left.shape)
    if rank == 0 or free < 10 * rank:
        return np.zeros(len(shown))
    gained = float((goal**2).sum() - (after**2).sum()) / rank
    believed = gained > SIGNIFICANT * float((after**2).sum()) / free
    return np.asarray(factors if believed else np.zeros(len(shown)))
