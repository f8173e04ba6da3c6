"""What are the magnitudes of the comparison stars, and how clear was each frame.

The model is m_ij = M_j + z_i, solved for all stars and frames at once by weighted least squares
(Honeycutt 1992, PASP 104, 435), each star weighted by its own constancy (Broeg et al. 2005, AN
326, 134). No sum over a set of stars that changes is ever taken.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Ensemble", "column_medians", "crossed", "left_over", "robust_scatter", "solve_ensemble"]

FloatArray = npt.NDArray[np.float64]

ROUNDS = 6
HUBER = 3.0
ONE_THREAD = 2**17
"""Products in a matrix product for which no BLAS starts threads."""

SETTLED = 1e-6
"""Magnitudes: when no star and no frame changes by more, the weights are revised no further."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ensemble:
    """The solution.

    Attributes
    ----------
    magnitudes : ndarray, shape (n_stars,)
        M_j; all comparison stars together have magnitude 0.
    offsets, offset_errs : ndarray, shape (n_frames,)
        z_i and its standard error; nan where no comparison star was measured.
    weights : ndarray, shape (n_frames, n_stars)
        In units of 1/mag²; 0 where a star was not measured.
    excess : ndarray, shape (n_stars,)
        Variance of each star beyond its errors, mag².
    """

    magnitudes: FloatArray
    offsets: FloatArray
    offset_errs: FloatArray
    weights: FloatArray
    excess: FloatArray


def solve_ensemble(mag: FloatArray, variance: FloatArray, rounds: int = ROUNDS) -> Ensemble:
    """Solve for the comparison stars.

    Parameters
    ----------
    mag, variance : ndarray, shape (n_frames, n_stars)
        Instrumental magnitudes and their variance; nan where a star was not measured.
    rounds : int
        How often the weights are revised.
    """
    n_frames, n_stars = mag.shape
    if n_stars == 0:
        unknown = np.full(n_frames, np.nan)
        return Ensemble(magnitudes=np.empty(0), offsets=unknown, offset_errs=unknown,
                        weights=np.empty(mag.shape), excess=np.empty(0))  # fmt: skip
    known = np.isfinite(mag) & np.isfinite(variance) & (variance > 0)
    m = np.where(known, mag, 0.0)
    excess = np.zeros(n_stars)
    doubt = np.ones_like(m)
    variance = np.where(known, variance, np.nan)
    plain, typical = np.where(known, variance, 1.0), np.nan_to_num(column_medians(variance))
    before = np.full(n_stars + n_frames, np.inf)
    for _ in range(rounds):
        weights = np.where(known, doubt / (plain + excess), 0.0)
        stars, offsets = _solve(m, weights)
        now = np.concatenate([stars, offsets])
        if np.abs(now - before).max() < SETTLED:
            break
        before = now
        left = np.where(known, m - stars - offsets[:, None], np.nan)
        excess = np.maximum(robust_scatter(left) ** 2 - typical, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            doubt = np.fmin(1.0, HUBER * np.sqrt(plain + excess) / np.abs(left))
    total = weights.sum(axis=1)
    together = -2.5 * np.log10(np.sum(10 ** (-0.4 * stars)))
    with np.errstate(divide="ignore"):
        errors = np.where(total > 0, 1.0 / np.sqrt(total), np.nan)
    return Ensemble(
        magnitudes=stars - together, offsets=np.where(total > 0, offsets + together, np.nan),
        offset_errs=errors, weights=weights, excess=excess,
    )  # fmt: skip


def _solve(m: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Eliminate the frames and solve for the stars.

    Parameters
    ----------
    m : ndarray, shape (..., n_frames, n_stars)
        May be many, of the same weights.
    weights : ndarray, shape (n_frames, n_stars)

    Returns
    -------
    stars : ndarray, shape (..., n_stars)
    offsets : ndarray, shape (..., n_frames)
    """
    per_star, per_frame = weights.sum(axis=0), weights.sum(axis=1)
    share = weights / np.where(per_frame > 0, per_frame, 1.0)[:, None]
    mean = (share * m).sum(axis=-1)
    matrix = np.diag(per_star) - crossed(weights, share)
    right = (weights * (m - mean[..., None])).sum(axis=-2)
    # a constant may be added to all stars: the solution with the smallest norm is taken, about a
    # first guess so that stars which no frame links keep their own brightness
    guess = (weights * m).sum(axis=-2) / np.where(per_star > 0, per_star, 1.0)
    scale = np.sqrt(np.where(per_star > 0, per_star, 1.0))
    scaled = matrix / scale[:, None] / scale[None, :]
    rest = ((right - guess @ matrix) / scale).T
    if _linked(weights > 0):  # only one constant is free
        free = scale / np.sqrt((scale**2).sum())
        step = np.linalg.solve(scaled + np.outer(free, free), rest)
    else:
        step = np.linalg.lstsq(scaled, rest, rcond=1e-10)[0]
    stars = guess + step.T / scale
    offsets = mean - (share * stars[..., None, :]).sum(axis=-1)
    return np.asarray(stars), np.asarray(offsets)


def crossed(a: FloatArray, b: FloatArray) -> FloatArray:
    """Give ``a.T @ b``, slice by slice.

    A BLAS works on slices so small in one thread: more would cost more than they save here, and
    may round anew.

    Parameters
    ----------
    a, b : ndarray, shape (n, n_a) and (n, n_b)
    """
    n = len(a)
    step = max(ONE_THREAD // (a.shape[1] * b.shape[1]), 1)
    whole = n // step * step
    parts = [one[:whole].reshape(-1, step, one.shape[1]) for one in (a, b)]
    first = np.matmul(parts[0].transpose(0, 2, 1), parts[1]).sum(axis=0)
    return np.asarray(first + a[whole:].T @ b[whole:])


def _linked(seen: npt.NDArray[np.bool_]) -> bool:
    """Tell whether frames that have stars in common, one after the other, lead to every star."""
    stars = seen[np.argmax(seen.sum(axis=1))] if len(seen) else np.zeros(seen.shape[1], dtype=bool)
    while not stars.all():
        more = seen[(seen & stars).any(axis=1)].any(axis=0)
        if (more == stars).all():
            return False
        stars = more
    return True


def left_over(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Give the part of values that no sum of star and frame explains, by weighted least squares.

    Parameters
    ----------
    values : ndarray, shape (n, n_frames, n_stars)
    weights : ndarray, shape (n_frames, n_stars)
    """
    stars, offsets = _solve(values, weights)
    return values - stars[:, None, :] - offsets[:, :, None]


def column_medians(values: FloatArray) -> FloatArray:
    """Give the median of each column without its nan; nan where nothing is left."""
    if len(values) == 0:
        return np.full(values.shape[1], np.nan)
    ordered = np.sort(values, axis=0)  # nan come last
    n = np.isfinite(values).sum(axis=0)
    column = np.arange(values.shape[1])
    low = ordered[np.maximum(n - 1, 0) // 2, column]
    high = ordered[np.minimum(n // 2, len(values) - 1), column]
    return np.where(n > 0, (low + high) / 2, np.nan)


def robust_scatter(values: FloatArray) -> FloatArray:
    """Give the standard deviation of each column from its median deviation; 0 without values."""
    middle = column_medians(values)
    return np.nan_to_num(1.4826 * column_medians(np.abs(values - middle)))
