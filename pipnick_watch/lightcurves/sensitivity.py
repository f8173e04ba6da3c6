"""How does the sensitivity change over the field, as stars that wander over it show.

Frames without a flat field, or with one that is slightly wrong, make every star's light curve
follow its way over the detector. All stars together tell the shape: a smooth surface is fitted to
what the ensemble leaves over, and another that comes and goes with the seeing. What a star's own
magnitude or a frame's zero-point could explain just as well is left to them.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from pipnick_watch.lightcurves.comparison import LEAST_SNR, clean_points, magnitudes
from pipnick_watch.lightcurves.cube import SEEING_TERMS, Cube, field_terms, thinned
from pipnick_watch.lightcurves.ensemble import (
    column_medians,
    crossed,
    left_over,
    solve_ensemble,
)
from pipnick_watch.lightcurves.noise import MAGNITUDE
from pipnick_watch.lightcurves.starlist import FLUXES

__all__ = ["flatten"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

WANDER = 15.0
"""Pixels that the stars must have moved for the surface to show."""

LEAST_STARS = 8
LEAST_FRAMES = 12
SHARE_SEEN = 0.15
"""Share of the frames that must show a star well: those at the edges are seen for a while only."""

MOST_STARS, MOST_FRAMES = 80, 150
"""What a surface needs; a long night and a rich field tell no more."""

CELLS = 6
"""The field is looked at in so many by so many cells, so that its corners have a say."""

SIGNIFICANT = 6.0
"""F ratio from which the surface is believed: each term must earn so many times its noise."""

POINTS_PER_TERM = 10

SHOWN = 5e-4
"""Share of a surface's variance that stars and frames could not explain: below it is not seen."""

ROUNDS = 3


def flatten(cube: Cube, saturation: float, barred: IntArray, base: int) -> Cube:
    """Give the cube with its ``bent`` filled, where the stars show some.

    Each choice of flux has its own: a narrow aperture also loses light where the PSF is broad.

    Parameters
    ----------
    cube : Cube
    saturation : float
        Electrons.
    barred : ndarray of int
        Stars that must not be looked at: the target.
    base : int
        The flux that tells which stars are well seen, a place in ``FLUXES``.
    """
    if len(cube.rows) < LEAST_FRAMES or not _wandered(cube):
        return cube
    some, every = thinned(cube, MOST_FRAMES)
    clean = clean_points(some, saturation)
    stars = _witnesses(some, clean, barred, base)
    if len(stars) < LEAST_STARS:
        return cube
    good = clean[:, stars]
    raw = np.stack([magnitudes(some, choice, stars)[0] for choice in range(len(FLUXES))])
    often = np.isfinite(raw).sum(axis=(1, 2)) > 0.9 * np.isfinite(raw[base]).sum()
    good &= np.isfinite(raw[often]).all(axis=0)
    raw = np.where(good, raw, 0.0)
    variance = magnitudes(some, base, stars)[1] ** 2
    terms = field_terms(cube, stars, every)
    if good.sum() - sum(good.shape) < POINTS_PER_TERM * len(terms):
        terms[-SEEING_TERMS:] = 0.0  # too few points to tell
    bends = np.zeros((len(FLUXES), len(terms)))
    for _ in range(ROUNDS):
        flat = raw[base] - np.einsum("t,tij->ij", bends[base], terms)
        ensemble = solve_ensemble(np.where(good, flat, np.nan), variance, rounds=3)
        weights = np.where(good, ensemble.weights, 0.0)
        found = _fit(raw[often], terms, weights)
        if not found.any():
            return cube
        bends[often] = found
    # a flux that many stars lack has what the nearest one has
    for choice in np.flatnonzero(~often):
        nearest = np.flatnonzero(often)[np.argmin(np.abs(np.flatnonzero(often) - choice))]
        bends[choice] = bends[nearest]
    # frame by frame: a BLAS starts no threads for so little
    return dataclasses.replace(cube, bent=np.moveaxis(field_terms(cube), 0, -1) @ bends.T)


def _wandered(cube: Cube) -> bool:
    """Tell whether the typical star has moved far enough."""
    known = np.isfinite(cube.x).sum(axis=0) >= 0.5 * len(cube.rows)
    if not known.any():
        return False
    reach = [np.nanmax(axis[:, known], axis=0) - np.nanmin(axis[:, known], axis=0)
             for axis in (cube.x, cube.y)]  # fmt: skip
    return bool(np.median(np.hypot(*reach)) > WANDER)


def _witnesses(cube: Cube, clean: BoolArray, barred: IntArray, base: int) -> IntArray:
    """Choose the stars that tell of the surface: all over the field, the best seen ones first."""
    error = np.where(clean, magnitudes(cube, base)[1], np.nan)
    with np.errstate(invalid="ignore"):
        n = (error < MAGNITUDE / LEAST_SNR).sum(axis=0)
    n[barred] = 0
    stars = np.flatnonzero(n >= max(LEAST_FRAMES / 2, SHARE_SEEN * len(cube.rows)))
    stars = stars[np.argsort(column_medians(error[:, stars]) / np.sqrt(n[stars]), kind="stable")]
    if len(stars) <= MOST_STARS:
        return np.sort(stars)
    cell = np.zeros(len(stars), dtype=np.int64)
    for axis in (cube.x, cube.y):
        middle = column_medians(axis[:, stars])
        share = (middle - middle.min()) / max(float(np.ptp(middle)), 1.0)
        cell = cell * CELLS + np.minimum((share * CELLS).astype(np.int64), CELLS - 1)
    rank = np.array([int((cell[:k] == one).sum()) for k, one in enumerate(cell)])
    return np.sort(stars[np.argsort(rank, kind="stable")[:MOST_STARS]])


def _fit(raw: FloatArray, terms: FloatArray, weights: FloatArray) -> FloatArray:
    """Fit the surfaces to what star and frame leave over.

    Parameters
    ----------
    raw : ndarray, shape (n, n_frames, n_stars)
    terms : ndarray, shape (n_terms, n_frames, n_stars)
    weights : ndarray, shape (n_frames, n_stars)

    Returns
    -------
    ndarray, shape (n, n_terms)
        Zeros where they explain no more than noise would.
    """
    root = np.sqrt(weights).ravel()
    seen = root > 0
    root = root[seen]
    both = left_over(np.concatenate([terms, raw]), weights)
    both = both.reshape(len(both), -1)[:, seen] * root
    design, goal = both[: len(terms)], both[len(terms) :]
    plain = terms.reshape(len(terms), -1)[:, seen]
    plain = (plain - np.average(plain, axis=1, weights=root**2)[:, None]) * root
    # What is hardly seen must not be guessed at: a slope of the sensitivity along the drift looks
    # like a change of all magnitudes. Surfaces are sorted by the share of them that shows.
    gram = crossed(plain.T, plain.T)
    gram += np.diag(1e-9 * np.diag(gram) + 1e-30)
    inverse = np.linalg.inv(np.linalg.cholesky(gram))
    share, modes = np.linalg.eigh(inverse @ crossed(design.T, design.T) @ inverse.T)
    seen_well = share > SHOWN
    share, modes = share[seen_well], (modes.T @ inverse)[seen_well]
    strength = crossed(goal.T, design.T) @ modes.T
    explained = (strength**2 / share).sum(axis=1)
    after = (goal**2).sum(axis=1) - explained
    rank = len(modes)
    free = int(seen.sum()) - rank - sum(weights.shape)
    if rank == 0 or free < POINTS_PER_TERM * rank:
        return np.zeros((len(raw), len(terms)))
    believed = explained / rank > SIGNIFICANT * after / free
    return np.where(believed[:, None], strength / share @ modes, 0.0)
