"""Which PSF do the frame's own bright, isolated stars show."""

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.psf import (
    DRIFT_TERMS,
    FREE_TERMS,
    USUAL_BETA,
    Psf,
    correction_gradient,
    correction_terms,
    drift_basis,
    integration_nodes,
    quadratic_form,
)
from pipnick_watch.photometry.stamps import pieces

__all__ = ["PsfStars", "fit_psf"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# standard deviations expected of the coefficients, before the stars are looked at
DRIFT_PRIOR = np.array([10.0, 0.03, 0.03, 0.03, 0.02, 0.02])
WIDENING = 0.03  # of the logarithm of the width, at the edge: optics are best near their axis
SHAPE_PRIOR = np.array([10.0, 0.02, 0.02, 0.02, 0.02, 0.02])
CORRECTION_PRIOR = 0.15
INVERSE_PRIOR = 0.17  # of 1 / beta
INVERSE_PRIOR_CORRECTED = 0.03
INVERSE_RANGE = (1.0 / 30.0, 1.0 / 1.2)
SKY_PRIOR = 0.05  # of a pixel's noise
UNLIKE = 3e-4  # how much the squared mismatch differs from star to star
GOOD_MATCH = 0.01  # relative error of the model below which it is not worth fitting
WORST = 0.2  # mismatch from which the PSF is called a fallback
OUTLIER = 6.0  # standard deviations from which a pixel does not count
TRUSTED_SNR = 500.0  # stars differ among themselves: one that is brighter tells no more than this
LONGEST = 0.3  # step of a shared parameter
LEAST_GAIN = 3e-4  # of the cost: a step that gains less is the last one
OWN = 4  # parameters of each star: flux, x, y, sky


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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layout:
    """Where each shared parameter is: drift of the width, shape, exponent, correction."""

    elliptical: bool
    corrected: bool

    @property
    def fields(self) -> int:
        """Number of parameters that drift."""
        return 3 if self.elliptical else 1

    @property
    def terms(self) -> list[int]:
        """Rows of FREE_TERMS that are fitted: an elliptical Moffat has the first two."""
        if not self.corrected:
            return []
        return list(range(2 if self.elliptical else 0, len(FREE_TERMS)))

    @property
    def local(self) -> int:
        """Number of shared parameters as one star sees them."""
        return self.fields + 1 + len(self.terms)

    def expand(self, basis: FloatArray) -> FloatArray:
        """Map the shared parameters to what each star sees: shape (n, local, shared)."""
        n = len(basis)
        rest = 1 + len(self.terms)
        out = np.zeros((n, self.local, DRIFT_TERMS * self.fields + rest))
        for k in range(self.fields):
            out[:, k, k * DRIFT_TERMS : (k + 1) * DRIFT_TERMS] = basis
        for k in range(rest):
            out[:, self.fields + k, self.fields * DRIFT_TERMS + k] = 1.0
        return out

    def pack(self, psf: Psf) -> FloatArray:
        """Gather the shared parameters."""
        drift = [psf.log_alpha, psf.g1, psf.g2][: self.fields]
        free = np.linalg.lstsq(FREE_TERMS.T, psf.correction, rcond=None)[0]
        theta = np.concatenate([*drift, [1.0 / psf.beta], free[self.terms]])
        theta[0] += _width(psf.beta)[0]
        return theta

    def unpack(self, psf: Psf, theta: FloatArray) -> Psf:
        """Put the shared parameters back."""
        parts = theta[: DRIFT_TERMS * self.fields].reshape(self.fields, DRIFT_TERMS)
        free = theta[DRIFT_TERMS * self.fields + 1 :]
        correction = free @ FREE_TERMS[self.terms] if self.corrected else psf.correction
        shape = {"g1": parts[1], "g2": parts[2]} if self.elliptical else {}
        beta = float(1.0 / theta[DRIFT_TERMS * self.fields].clip(*INVERSE_RANGE))
        log_alpha = parts[0].copy()
        log_alpha[0] -= _width(beta)[0]
        return replace(psf, log_alpha=log_alpha, beta=beta, correction=correction, **shape)

    def prior(self, start: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return what is expected of the shared parameters, and the inverse variances."""
        spread = np.concatenate(
            [DRIFT_PRIOR, *[SHAPE_PRIOR] * (self.fields - 1), [INVERSE_PRIOR],
             np.full(len(self.terms), CORRECTION_PRIOR)]
        )  # fmt: skip
        centre = np.zeros(len(spread))
        centre[0] = start[0]
        centre[3] = WIDENING
        exponent = self.fields * DRIFT_TERMS
        centre[exponent] = 1.0 / USUAL_BETA
        if self.corrected:
            # the round term of the correction does nearly the same
            centre[exponent], spread[exponent] = start[exponent], INVERSE_PRIOR_CORRECTED
        return centre, 1.0 / spread**2


def _width(beta: float) -> tuple[float, float]:
    """Logarithm of a Moffat's half width over its radius, and its slope by 1 / beta."""
    power = 2.0 ** (1.0 / beta)
    return 0.5 * float(np.log(power - 1.0)), 0.5 * float(np.log(2.0)) * power / (power - 1.0)


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
    layout = _Layout(elliptical=elliptical, corrected=corrected)
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
        own = _advance(best.own, own_step)
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
    stars: PsfStars, psf: Psf, layout: _Layout, own: FloatArray, mismatch: float, *, clip: bool
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
    stars: PsfStars, psf: Psf, layout: _Layout, own: FloatArray, mismatch: float, *, clip: bool
) -> _Linear:
    light, columns = _columns(stars, psf, layout, own)
    model = own[:, 0, None] * light
    residual = stars.data - model - own[:, 3, None]
    weight = 1.0 / (stars.variance + (GOOD_MATCH * model) ** 2 + 1e-12)
    limit = OUTLIER**2 * (1.0 + (3.0 * mismatch * model) ** 2 * weight)
    squares = residual**2 * weight
    if clip:
        weight *= squares < limit
        squares = np.minimum(squares, limit)
    weighted = columns * weight[:, None, :]
    matrix = weighted @ columns.swapaxes(1, 2)
    vector = np.einsum("nkm,nm->nk", weighted, residual)
    loose = 1.0 / (SKY_PRIOR * stars.rms) ** 2
    matrix[:, 3, 3] += loose
    vector[:, 3] -= loose * own[:, 3]
    return _Linear(
        psf=psf, own=own, light=light, residual=residual, weight=weight, matrix=matrix,
        vector=vector, costs=squares.sum(axis=1),
    )  # fmt: skip


def _solve(
    linear: _Linear, layout: _Layout, prior: tuple[FloatArray, FloatArray], counts: FloatArray,
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
    step = np.linalg.solve(left, right).clip(-LONGEST, LONGEST)
    seen = np.einsum("nap,p->na", expand, step)
    own_step = (inverse @ vector[:, :OWN, None])[:, :, 0] - np.einsum("nia,na->ni", pull, seen)
    return step, own_step


def _advance(own: FloatArray, step: FloatArray) -> FloatArray:
    """Take a step in the stars' own parameters."""
    moved = own + step
    moved[:, 0] = np.maximum(moved[:, 0], 0.2 * own[:, 0])
    moved[:, 1:3] = own[:, 1:3] + step[:, 1:3].clip(-1.0, 1.0)
    return moved


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


def _columns(
    stars: PsfStars, psf: Psf, layout: _Layout, own: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the light (n, m), and its derivatives by all parameters (n, 4 + local, m)."""
    flux, x, y = own[:, 0, None, None], own[:, 1], own[:, 2]
    basis = drift_basis(x, y, psf.shape)
    local = np.stack([basis @ psf.log_alpha, basis @ psf.g1, basis @ psf.g2])
    form = quadratic_form(*local)
    a, b, c = (one[:, None] for one in form)
    slopes = _shape_slopes(local) if layout.elliptical else []
    dx, dy = stars.px - x[:, None], stars.py - y[:, None]
    n, m = dx.shape
    out = np.zeros((n, OWN + layout.local, m))
    nodes = integration_nodes(psf.moffat_fwhm)
    beta = psf.beta
    root = np.sqrt(a * c - b * b)
    for sx, sy, node_weight in nodes:
        ux, uy = dx + sx, dy + sy
        ax, ay = a * ux + b * uy, b * ux + c * uy
        q = ax * ux + ay * uy
        inverse = 1.0 / (1.0 + q)
        bare = node_weight * (beta - 1.0) / np.pi * root * inverse**beta
        if len(nodes) == 1:
            bend = 4.0 * beta * (beta + 1.0) * (ax * ax + ay * ay) * inverse
            bare *= 1.0 + (bend - 2.0 * beta * (a + c)) * inverse / 24.0
        scale = np.sqrt(inverse * root)
        value = bare
        if layout.corrected or psf.correction.any():
            u, v = ux * scale, uy * scale
            terms = correction_terms(u, v)
            value = bare * (1.0 + (psf.correction @ terms.reshape(len(terms), -1)).reshape(n, m))
            gu, gv = correction_gradient(psf.correction, u, v)
            out[:, OWN] -= bare * (u * gu + v * gv) * inverse
            radial = (ux * gu + uy * gv) * inverse
            out[:, 1] -= bare * scale * (gu - radial * ax)
            out[:, 2] -= bare * scale * (gv - radial * ay)
        slope = 2.0 * beta * value * inverse
        out[:, 0] += value
        out[:, 1] += slope * ax
        out[:, 2] += slope * ay
        k = OWN
        out[:, k] += slope * q - 2.0 * value
        for da, db, dc in slopes:
            k += 1
            out[:, k] -= 0.5 * slope * (da * ux * ux + 2.0 * db * ux * uy + dc * uy * uy)
        out[:, k + 1] += value * (1.0 / (beta - 1.0) + np.log(inverse))
        if layout.terms:
            free = (FREE_TERMS[layout.terms] @ terms.reshape(len(terms), -1)).reshape(-1, n, m)
            free *= bare
            out[:, k + 2 :] += free.swapaxes(0, 1)
    out[:, k + 1] = -(beta**2) * out[:, k + 1] - _width(beta)[1] * out[:, OWN]
    light = out[:, 0].copy()
    out[:, 1:3] *= flux
    out[:, 3] = 1.0
    out[:, OWN:] *= flux
    return light, out


def _shape_slopes(local: FloatArray) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
    """Differentiate the quadratic form by g1 and by g2."""
    slopes = []
    for k in (1, 2):
        up, down = local.copy(), local.copy()
        up[k] += 1e-4
        down[k] -= 1e-4
        pairs = zip(quadratic_form(*up), quadratic_form(*down), strict=True)
        da, db, dc = ((high[:, None] - low[:, None]) / 2e-4 for high, low in pairs)
        slopes.append((da, db, dc))
    return slopes
