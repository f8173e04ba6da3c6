"""Which numbers are fitted to show the PSF? Their layout, their priors, and how far a step goes.

Shared by all stars: the drift of the FWHM (its logarithm) and of the shape, the inverse of the
exponent, and the correction. Of each star: flux, x, y and sky.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.drift import DRIFT_TERMS
from pipnick_watch.photometry.psf import USUAL_BETA, Psf
from pipnick_watch.photometry.psf_correction import FREE_TERMS

__all__ = ["OWN", "Layout", "advance", "limited", "width"]

FloatArray = npt.NDArray[np.float64]

OWN = 4  # parameters of each star: flux, x, y, sky
LONGEST = 0.3  # step of a shared parameter
# standard deviations expected of the coefficients, before the stars are looked at
DRIFT_PRIOR = np.array([10.0, 0.03, 0.03, 0.03, 0.02, 0.02])
WIDENING = 0.03  # of the logarithm of the width, at the edge: optics are best near their axis
SHAPE_PRIOR = np.array([10.0, 0.02, 0.02, 0.02, 0.02, 0.02])
CORRECTION_PRIOR = 0.15
INVERSE_PRIOR = 0.17  # of 1 / beta
INVERSE_PRIOR_CORRECTED = 0.03
INVERSE_RANGE = (1.0 / 30.0, 1.0 / 1.2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
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
        theta[0] += width(psf.beta)[0]
        return theta

    def unpack(self, psf: Psf, theta: FloatArray) -> Psf:
        """Put the shared parameters back."""
        parts = theta[: DRIFT_TERMS * self.fields].reshape(self.fields, DRIFT_TERMS)
        free = theta[DRIFT_TERMS * self.fields + 1 :]
        correction = free @ FREE_TERMS[self.terms] if self.corrected else psf.correction
        shape = {"g1": parts[1], "g2": parts[2]} if self.elliptical else {}
        beta = float(1.0 / theta[DRIFT_TERMS * self.fields].clip(*INVERSE_RANGE))
        log_alpha = parts[0].copy()
        log_alpha[0] -= width(beta)[0]
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


def width(beta: float) -> tuple[float, float]:
    """Logarithm of a Moffat's half width over its radius, and its slope by 1 / beta."""
    power = 2.0 ** (1.0 / beta)
    return 0.5 * float(np.log(power - 1.0)), 0.5 * float(np.log(2.0)) * power / (power - 1.0)


def limited(step: FloatArray) -> FloatArray:
    """Limit a step of the shared parameters."""
    return step.clip(-LONGEST, LONGEST)


def advance(own: FloatArray, step: FloatArray) -> FloatArray:
    """Take a step in the stars' own parameters."""
    moved = own + step
    moved[:, 0] = np.maximum(moved[:, 0], 0.2 * own[:, 0])
    moved[:, 1:3] = own[:, 1:3] + step[:, 1:3].clip(-1.0, 1.0)
    return moved
