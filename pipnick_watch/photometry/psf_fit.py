"""Which PSF do the frame's own bright, isolated stars show."""

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.drift import drift_basis
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.psf_parameters import OWN, Layout, advance, limited
from pipnick_watch.photometry.psf_slopes import slopes
from pipnick_watch.photometry.stamps import pieces

__all__ = ["PsfStars", "fit_psf"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

SKY_PRIOR = 0.05  # of a pixel's noise
UNLIKE = 3e-4  # how much the squared mismatch differs from star to star
GOOD_MATCH = 0.01  # relative error of the model below which it is not worth fitting
WORST = 0.2  # mismatch from which the PSF is called a fallback
OUTLIER = 6.0  # standard deviations from which a pixel does not count
TRUSTED_SNR = 500.0  # stars differ among themselves: one that is brighter tells no more than this
LEAST_GAIN = 3e-4  # of the cost: a step that gains less is the last one


@dataclass(frozen=True, kw_only=True, eq=False)
class PsfStars:
    """Stamps of the stars that show the PSF.

    Attributes
    ----------
    data, variance : ndarray, shape (n, m)
        Light without sky and neighbours, and its variance (``inf`` where masked).
    px, py : ndarray, shape (n, m)
        Coordinates of the stamps' pixels.
    x, y, flux : ndarray, shape (n,)
        First guesses.
    rms : ndarray, shape (n,)
        Noise of a sky pixel.
    """

    data: FloatArray
    variance: FloatArray
    px: FloatArray
    py: FloatArray
    x: FloatArray
    y: FloatArray
    flux: FloatArray
    rms: FloatArray

    def keep(self, some: slice) -> "PsfStars":
        """Select stars."""
        return PsfStars(**{one.name: getattr(self, one.name)[some] for one in fields(self)})


def fit_psf(
    stars: PsfStars, start: Psf, *, elliptical: bool, corrected: bool, rounds: int = 12
) -> tuple[Psf, BoolArray]:
    """Fit one drifting PSF to all stars at once.

    The stars' own positions, fluxes and skies are eliminated from the normal equations, so that
    the shared parameters cost a small dense solve a round.  Each coefficient has a prior that
    holds it where the stars do not show it.

    Parameters
    ----------
    stars : PsfStars
    start : Psf
        First guess.
    elliptical : bool
        Whether the Moffat has two axes.
    corrected : bool
        Whether the correction is fitted as well.
    rounds : int
        Most steps.

    Returns
    -------
    psf : Psf
    used : ndarray of bool, shape (n,)
        Stars that were kept.
    """
    layout = Layout(elliptical=elliptical, corrected=corrected)
    prior = layout.prior(layout.pack(start))
    n = len(stars.x)
    own = np.column_stack([stars.flux, stars.x, stars.y, np.zeros(n)])
    used = np.ones(n, dtype=bool)
    psf, best = start, _linearise(stars, start, layout, own, start.mismatch, clip=False)
    trust = 1.0 / (1.0 + stars.flux**2 * best.matrix[:, 0, 0] / TRUSTED_SNR**2)
    counts = used * trust
    trial, damping = best, 1e-2
    for turn in range(rounds):
        if turn and trial.cost(counts) > best.cost(counts) * (1.0 + 1e-9):
            # that step made it worse: go back, and take a shorter one
            trial, damping = best, damping * 30.0
        else:
            gained = best.cost(counts) - trial.cost(counts)
            best, damping = trial, max(damping * 0.1, 1e-8)
            if turn in (2, 4) and used.sum() > 4:
                used = _like_the_others(best, stars.variance)
                counts = used * trust
            if turn > 3 and gained < LEAST_GAIN * best.cost(counts):
                break
        step, own_step = _solve(best, layout, prior, counts, damping)
        psf = layout.unpack(best.psf, layout.pack(best.psf) + step)
        own = advance(best.own, own_step)
        mismatch = _mismatch(best, stars.variance, used)
        trial = _linearise(stars, psf, layout, own, mismatch, clip=turn > 0)
    if trial.cost(counts) <= best.cost(counts):
        best = trial
    mismatch = _mismatch(best, stars.variance, used)
    # what is so unlike its own stars was not made from stars
    n_stars = int(used.sum()) if mismatch < WORST else 0
    return replace(best.psf, n_stars=n_stars, mismatch=mismatch), used


@dataclass(frozen=True, kw_only=True, eq=False)
class _Linear:
    """The stars' residuals and normal equations at one point.

    Attributes
    ----------
    psf : Psf
    own : ndarray, shape (n, 4)
        Flux, x, y and sky of each star.
    light, residual, weight : ndarray, shape (n, m)
    matrix, vector : ndarray, shapes (n, p, p) and (n, p)
    costs : ndarray, shape (n,)
        Clipped chi-square of each star.
    """

    psf: Psf
    own: FloatArray
    light: FloatArray
    residual: FloatArray
    weight: FloatArray
    matrix: FloatArray
    vector: FloatArray
    costs: FloatArray

    def cost(self, counts: FloatArray) -> float:
        """Clipped chi-square, each star's as much as it counts."""
        return float(self.costs @ counts)


def _linearise(
    stars: PsfStars, psf: Psf, layout: Layout, own: FloatArray, mismatch: float, *, clip: bool
) -> _Linear:
    """Evaluate all stars and their derivatives, a few stars at a time: they stay in the cache."""
    n, m = stars.data.shape
    some = pieces(n, 4 * m)
    parts = [
        _linearise_some(stars.keep(piece), psf, layout, own[piece], mismatch, clip=clip)
        for piece in some
    ]
    names = ("light", "residual", "weight", "matrix", "vector", "costs")
    whole = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return _Linear(psf=psf, own=own, **whole)


def _linearise_some(
    stars: PsfStars, psf: Psf, layout: Layout, own: FloatArray, mismatch: float, *, clip: bool
) -> _Linear:
    single, columns = slopes(stars.px, stars.py, psf, layout, own)
    light = single.astype(np.float64)
    model = own[:, 0, None] * light
    residual = stars.data - model - own[:, 3, None]
    weight = 1.0 / (stars.variance + (GOOD_MATCH * model) ** 2 + 1e-12)
    limit = OUTLIER**2 * (1.0 + (3.0 * mismatch * model) ** 2 * weight)
    squares = residual**2 * weight
    if clip:
        weight *= squares < limit
        squares = np.minimum(squares, limit)
    weighted = columns * weight.astype(np.float32)[:, None, :]
    matrix = (weighted @ columns.swapaxes(1, 2)).astype(np.float64)
    vector = (weighted @ residual.astype(np.float32)[:, :, None])[:, :, 0].astype(np.float64)
    loose = 1.0 / (SKY_PRIOR * stars.rms) ** 2
    matrix[:, 3, 3] += loose
    vector[:, 3] -= loose * own[:, 3]
    return _Linear(
        psf=psf, own=own, light=light, residual=residual, weight=weight, matrix=matrix,
        vector=vector, costs=squares.sum(axis=1),
    )  # fmt: skip


def _solve(
    linear: _Linear, layout: Layout, prior: tuple[FloatArray, FloatArray], counts: FloatArray,
    damping: float,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """Return the step of the shared parameters, and of each star's own (n, 4)."""
    centre, tight = prior
    matrix, vector = linear.matrix.copy(), linear.vector
    diagonal = np.arange(OWN)
    matrix[:, diagonal, diagonal] = matrix[:, diagonal, diagonal] * (1.0 + damping) + 1e-12
    inverse = np.linalg.inv(matrix[:, :OWN, :OWN])
    cross = matrix[:, :OWN, OWN:]
    pull = inverse @ cross
    reduced = matrix[:, OWN:, OWN:] - cross.swapaxes(1, 2) @ pull
    gradient = vector[:, OWN:] - np.einsum("nia,ni->na", pull, vector[:, :OWN])
    expand = layout.expand(drift_basis(linear.own[:, 1], linear.own[:, 2], linear.psf.shape))
    part = expand.swapaxes(1, 2) * counts[:, None, None]
    left = (part @ reduced @ expand).sum(axis=0)
    right = (part @ gradient[:, :, None]).sum(axis=0)[:, 0]
    corner = np.diag_indices(len(right))
    left[corner] = left[corner] * (1.0 + damping) + tight
    right += tight * (centre - layout.pack(linear.psf))
    step = limited(np.linalg.solve(left, right))
    seen = np.einsum("nap,p->na", expand, step)
    own_step = (inverse @ vector[:, :OWN, None])[:, :, 0] - np.einsum("nia,na->ni", pull, seen)
    return step, own_step


def _like_the_others(linear: _Linear, variance: FloatArray) -> BoolArray:
    """Say which stars fit no worse than the others."""
    model = linear.own[:, 0, None] * linear.light
    good = np.isfinite(variance)
    everyone = np.ones(len(model), dtype=bool)
    mismatch = _mismatch(linear, variance, everyone)
    kept = linear.weight > 0
    expected = np.where(kept, variance + (mismatch * model) ** 2, 1.0)
    squares = np.where(kept, linear.residual**2 / expected, 0.0)
    chi = np.sqrt(squares.sum(axis=1) / np.maximum(kept.sum(axis=1), 1))
    # a star that lost a good part of its light to clipping does not look like the others
    lost = 1.0 - (kept * model).sum(axis=1) / np.maximum((good * model).sum(axis=1), 1e-12)
    middle = float(np.median(chi))
    spread = 1.4826 * float(np.median(np.abs(chi - middle)))
    return np.asarray((chi < middle + 4.0 * spread + 0.2) & (lost < 0.1))


def _mismatch(linear: _Linear, variance: FloatArray, used: BoolArray) -> float:
    """Typical residual beyond the noise, relative to the model, where the model is bright."""
    good = np.isfinite(variance)
    noise = np.where(good, variance, 0.0)
    share = linear.light**2 * good
    excess = np.where(good, linear.residual**2 - noise, 0.0)
    total = np.maximum((share * linear.light**2).sum(axis=1) * linear.own[:, 0] ** 2, 1e-30)
    relative = (excess * share).sum(axis=1) / total
    error = np.sqrt(2.0 * ((noise * share) ** 2).sum(axis=1)) / total
    weight = used / (error**2 + UNLIKE**2) if used.any() else 1.0 / (error**2 + UNLIKE**2)
    # the better half: blends and companions are not the PSF's fault
    order = np.argsort(relative, kind="stable")
    below = np.cumsum(weight[order])
    square = float(relative[order][np.searchsorted(below, 0.4 * below[-1])])
    return float(np.sqrt(max(square, 0.0)).clip(1e-4, 0.3))
