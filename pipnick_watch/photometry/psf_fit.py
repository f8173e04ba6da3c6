"""Which Moffat do the frame's own bright, isolated stars show?"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.psf import (
    DRIFT_TERMS,
    Psf,
    drift_basis,
    integration_nodes,
    quadratic_form,
)

__all__ = ["PsfStars", "fallback_psf", "fit_psf"]

FloatArray = npt.NDArray[np.float64]

DRIFT_PRIOR = np.array([10.0, 0.04, 0.04, 0.06, 0.03, 0.03])
SHAPE_PRIOR = np.array([10.0, 0.03, 0.03, 0.03, 0.03, 0.03])
BETA_RANGE = (1.3, 12.0)
BETA_USUAL, BETA_SPREAD = 3.0, 1.5
ROUNDS = 15


@dataclass(frozen=True, kw_only=True, eq=False)
class PsfStars:
    """Stamps of the stars that show the PSF.

    Attributes
    ----------
    data, variance : ndarray, shape (n, m)
        Light without sky and neighbours, and its variance (``inf`` where masked).
    ox, oy : ndarray, shape (n, m)
        Pixel coordinates of the stamps' pixels.
    x, y, flux : ndarray, shape (n,)
        First guesses.
    """

    data: FloatArray
    variance: FloatArray
    px: FloatArray
    py: FloatArray
    x: FloatArray
    y: FloatArray
    flux: FloatArray


def fallback_psf(fwhm: float, shape: tuple[int, int]) -> Psf:
    """Make a circular Moffat of a usual exponent, for frames whose stars do not show theirs."""
    zero = np.zeros(DRIFT_TERMS)
    log_alpha = zero.copy()
    log_alpha[0] = np.log(fwhm / (2.0 * np.sqrt(2.0 ** (1.0 / BETA_USUAL) - 1.0)))
    return Psf(
        log_alpha=log_alpha, beta=BETA_USUAL, g1=zero, g2=zero.copy(), shape=shape, mismatch=0.05
    )


def fit_psf(stars: PsfStars, start: Psf, *, elliptical: bool) -> tuple[Psf, npt.NDArray[np.bool_]]:
    """Fit one drifting Moffat to all stars at once.

    The stars' own positions, fluxes and skies are eliminated from the normal equations, so that
    the shared parameters cost a small dense solve a round.  Coefficients of the drift have a
    prior that keeps them at zero where the stars do not show them.

    Returns
    -------
    psf : Psf
    used : ndarray of bool, shape (n,)
        Stars that were kept.
    """
    n = len(stars.x)
    x, y, flux = stars.x.copy(), stars.y.copy(), stars.flux.copy()
    sky = np.zeros(n)
    la, g1, g2 = start.log_alpha.copy(), start.g1.copy(), start.g2.copy()
    beta = start.beta
    n_shape = 2 if elliptical else 0
    n_shared = DRIFT_TERMS * (1 + n_shape) + 1
    prior = np.concatenate(
        [1.0 / DRIFT_PRIOR**2, *[1.0 / SHAPE_PRIOR**2] * n_shape, [1.0 / BETA_SPREAD**2]]
    )
    used = np.ones(n, dtype=bool)
    nodes = integration_nodes(start.fwhm)
    damping = 1e-3
    mismatch = 0.02
    chi = np.ones(n)
    for turn in range(ROUNDS):
        basis = drift_basis(x, y, start.shape)
        local = np.stack([basis @ la, basis @ g1, basis @ g2])
        light, d = _derivatives(stars, x, y, local, beta, nodes, elliptical)
        model = flux[:, None] * light
        residual = stars.data - model - sky[:, None]
        variance = stars.variance + (mismatch * model) ** 2 + 1e-12
        weight = 1.0 / variance
        outlier = residual**2 * weight > (8.0 if turn < 3 else 5.0) ** 2
        weight[outlier & (turn > 0)] = 0.0
        count = np.maximum((weight > 0).sum(axis=1), 1)
        chi = np.sqrt((residual**2 * weight).sum(axis=1) / count)
        shared = np.concatenate([d[3:]]) * flux[None, :, None]
        columns = np.concatenate(
            [light[None], flux[None, :, None] * d[1:3], np.ones_like(light)[None], shared]
        )
        weighted = columns * weight[None]
        matrix = np.einsum("ink,jnk->nij", weighted, columns, optimize=True)
        vector = np.einsum("ink,nk->ni", weighted, residual, optimize=True)
        # the sky is nearly known: it only takes up what the map misses
        matrix[:, 3, 3] += count / np.median(stars.variance[np.isfinite(stars.variance)]) * 0.5
        vector[:, 3] -= sky * count / np.median(stars.variance[np.isfinite(stars.variance)]) * 0.5
        matrix[:, range(4), range(4)] *= 1.0 + damping
        matrix[:, range(4), range(4)] += 1e-12
        own = matrix[:, :4, :4]
        cross = matrix[:, :4, 4:]
        inverse = np.linalg.inv(own)
        reduced = matrix[:, 4:, 4:] - np.einsum("nia,nij,njb->nab", cross, inverse, cross)
        gradient = vector[:, 4:] - np.einsum("nia,nij,nj->na", cross, inverse, vector[:, :4])
        # expand each star's local width and shape into the field's coefficients
        expand = np.zeros((n, 2 + n_shape, n_shared))
        for k in range(1 + n_shape):
            expand[:, k, k * DRIFT_TERMS : (k + 1) * DRIFT_TERMS] = basis
        expand[:, 1 + n_shape, -1] = 1.0
        keep = used.astype(float)
        left = np.einsum("n,nap,nab,nbq->pq", keep, expand, reduced, expand, optimize=True)
        right = np.einsum("n,nap,na->p", keep, expand, gradient)
        theta = np.concatenate([la, *([g1, g2] if elliptical else []), [beta]])
        target = np.zeros(n_shared)
        target[0], target[-1] = theta[0], BETA_USUAL
        left[range(n_shared), range(n_shared)] += prior
        right += prior * (target - theta)
        step = np.linalg.solve(left, right)
        step = step.clip(-0.3, 0.3)
        step[-1] = float(step[-1].clip(-0.7, 0.7))
        own_step = np.einsum(
            "nij,nj->ni", inverse, vector[:, :4] - np.einsum("nia,nap,p->ni", cross, expand, step)
        )
        la = la + step[:DRIFT_TERMS]
        if elliptical:
            g1 = g1 + step[DRIFT_TERMS : 2 * DRIFT_TERMS]
            g2 = g2 + step[2 * DRIFT_TERMS : 3 * DRIFT_TERMS]
        beta = float(np.clip(beta + step[-1], *BETA_RANGE))
        flux = np.maximum(flux + own_step[:, 0], 0.1 * flux)
        x = x + own_step[:, 1].clip(-1.0, 1.0)
        y = y + own_step[:, 2].clip(-1.0, 1.0)
        sky = sky + own_step[:, 3]
        damping = max(damping * 0.3, 1e-9)
        if turn in (3, 6, 9) and used.sum() > 4:
            used = _keep(chi, used)
        if turn > 9 and np.abs(step).max() < 1e-4:
            break
    psf = Psf(
        log_alpha=la, beta=beta, g1=g1, g2=g2, shape=start.shape,
        n_stars=int(used.sum()), mismatch=_mismatch(residual, light, flux, variance, used),
    )  # fmt: skip
    return psf, used


def _keep(chi: FloatArray, used: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Drop the stars that fit far worse than the others."""
    centre = float(np.median(chi[used]))
    spread = 1.4826 * float(np.median(np.abs(chi[used] - centre)))
    return np.asarray(chi < centre + 4.0 * spread + 0.3 * centre)


def _mismatch(
    residual: FloatArray, light: FloatArray, flux: FloatArray, variance: FloatArray,
    used: npt.NDArray[np.bool_],
) -> float:  # fmt: skip
    """Typical flux that is misplaced, beyond the noise, as a fraction of the flux."""
    good = np.isfinite(variance)
    noise = np.where(good, variance, 0.0)
    excess = np.where(good, residual**2 - noise, 0.0)
    share = (excess * light).sum(axis=1) / np.maximum((light**3).sum(axis=1), 1e-30) / flux**2
    return float(np.sqrt(max(float(np.median(share[used])), 0.0))) if used.any() else 0.05


def _derivatives(
    stars: PsfStars, x: FloatArray, y: FloatArray, local: FloatArray, beta: float,
    nodes: list[tuple[float, float, float]], elliptical: bool,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """Return the light (n, m) and its derivatives by x, y, log_alpha, (g1, g2,) beta."""
    dx, dy = stars.px - x[:, None], stars.py - y[:, None]
    a, b, c = (one[:, None] for one in quadratic_form(*local))
    root = np.sqrt(a * c - b * b)
    norm = (beta - 1.0) / np.pi * root
    slopes = []
    if elliptical:
        for k in (1, 2):
            up, down = local.copy(), local.copy()
            up[k] += 1e-4
            down[k] -= 1e-4
            pair = zip(quadratic_form(*up), quadratic_form(*down), strict=True)
            slopes.append([(one[:, None] - two[:, None]) / 2e-4 for one, two in pair])
    out = np.zeros((4 + len(slopes) + 1, *dx.shape))
    for sx, sy, w in nodes:
        ux, uy = dx + sx, dy + sy
        ax, ay = a * ux + b * uy, b * ux + c * uy
        q = ax * ux + ay * uy
        log = np.log1p(q)
        value = w * norm * np.exp(-beta * log)
        inner = 2.0 * beta * value / (1.0 + q)
        out[0] += value
        out[1] += inner * ax
        out[2] += inner * ay
        out[3] += inner * q - 2.0 * value
        for k, (da, db, dc) in enumerate(slopes):
            out[4 + k] -= 0.5 * inner * (da * ux * ux + 2.0 * db * ux * uy + dc * uy * uy)
        out[-1] += value * (1.0 / (beta - 1.0) - log)
    return out[0], out
