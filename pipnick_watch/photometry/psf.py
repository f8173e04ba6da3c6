"""What does one star look like at a place of the frame? A Moffat that drifts over the field."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["DRIFT_TERMS", "Psf", "drift_basis", "fwhm_of", "integration_nodes", "moffat"]

FloatArray = npt.NDArray[np.float64]

DRIFT_TERMS = 6
INTEGRATE_BELOW = 2.5  # pixels of FWHM


@dataclass(frozen=True, kw_only=True, eq=False)
class Psf:
    """The frame's PSF, of unit flux.

    Attributes
    ----------
    log_alpha : ndarray, shape (6,)
        Logarithm of the Moffat's radius (geometric mean of its axes, pixels): coefficients of
        :func:`drift_basis`.
    beta : float
        The Moffat's exponent.
    g1, g2 : ndarray, shape (6,)
        Shape: half the logarithm of the axes' ratio is ``hypot(g1, g2)``, along
        ``atan2(g2, g1) / 2``. All zero for a circular one.
    shape : tuple of int
        (ny, nx) of the frame.
    n_stars : int
        Stars it was made from; 0 for a fallback.
    mismatch : float
        What it cannot describe, as a fraction of the flux.
    """

    log_alpha: FloatArray
    beta: float
    g1: FloatArray
    g2: FloatArray
    shape: tuple[int, int]
    n_stars: int = 0
    mismatch: float = 0.0

    @property
    def fwhm(self) -> float:
        """Geometric mean of the axes at the frame's centre, pixels."""
        return fwhm_of(float(np.exp(self.log_alpha[0])), self.beta)

    @property
    def ellipticity(self) -> float:
        """1 - minor / major axis at the frame's centre."""
        return float(1.0 - np.exp(-2.0 * np.hypot(self.g1[0], self.g2[0])))

    @property
    def pa(self) -> float:
        """Angle of the major axis at the centre, degrees, 0 along +x towards +y, in [0, 180)."""
        return float(np.degrees(0.5 * np.arctan2(self.g2[0], self.g1[0])) % 180.0)

    @property
    def integrated(self) -> bool:
        """Whether it has to be integrated over the pixels."""
        return self.fwhm < INTEGRATE_BELOW

    def form(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Quadratic form (a, b, c) of the Moffat at the places x, y: shapes (n,)."""
        basis = drift_basis(x, y, self.shape)
        return quadratic_form(basis @ self.log_alpha, basis @ self.g1, basis @ self.g2)

    def evaluate(self, dx: FloatArray, dy: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
        """Light per pixel at the offsets dx, dy (n, m) from stars at x, y (n,), shape (n, m)."""
        a, b, c = self.form(x, y)
        total = np.zeros(np.broadcast_shapes(dx.shape, dy.shape))
        for sx, sy, weight in integration_nodes(self.fwhm):
            total += weight * moffat(dx + sx, dy + sy, a, b, c, self.beta)
        return total

    def evaluate_with_gradient(
        self, dx: FloatArray, dy: FloatArray, x: FloatArray, y: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the light and its derivatives with respect to the star's x and y."""
        a, b, c = (one[:, None] for one in self.form(x, y))
        shape = np.broadcast_shapes(dx.shape, dy.shape)
        light, by_x, by_y = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        norm = (self.beta - 1.0) / np.pi * np.sqrt(a * c - b * b)
        for sx, sy, weight in integration_nodes(self.fwhm):
            ux, uy = dx + sx, dy + sy
            ax, ay = a * ux + b * uy, b * ux + c * uy
            inverse = 1.0 / (1.0 + ax * ux + ay * uy)
            value = (weight * norm) * inverse**self.beta
            light += value
            value *= 2.0 * self.beta * inverse
            by_x += value * ax
            by_y += value * ay
        return light, by_x, by_y

    def peak(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Light in the pixel that a star at x, y is centred on, shape (n,)."""
        zero = np.zeros((len(x), 1))
        return self.evaluate(zero, zero, x, y)[:, 0]


def fwhm_of(alpha: float, beta: float) -> float:
    """Full width at half maximum of a Moffat."""
    return float(2.0 * alpha * np.sqrt(2.0 ** (1.0 / beta) - 1.0))


def drift_basis(x: FloatArray, y: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Second-degree polynomial over the field, each coordinate from -1 to 1: shape (n, 6)."""
    ny, nx = shape
    half = max(max(ny, nx) / 2.0, 1.0)
    u, v = (x - (nx - 1) / 2.0) / half, (y - (ny - 1) / 2.0) / half
    return np.column_stack([np.ones_like(u), u, v, u * u + v * v, u * u - v * v, u * v])


def quadratic_form(
    log_alpha: FloatArray, g1: FloatArray, g2: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Turn radius and shape into the form a dx² + 2 b dx dy + c dy², of determinant α⁻⁴."""
    g = np.hypot(g1, g2)
    scale = np.exp(-2.0 * log_alpha)
    # sinh(2g)/g stays finite at g = 0
    stretch = np.where(g > 1e-8, np.sinh(2.0 * g) / np.maximum(g, 1e-8), 2.0)
    cosh = np.cosh(2.0 * g)
    return scale * (cosh - stretch * g1), -scale * stretch * g2, scale * (cosh + stretch * g1)


def moffat(
    dx: FloatArray, dy: FloatArray, a: FloatArray, b: FloatArray, c: FloatArray, beta: float
) -> FloatArray:
    """Moffat of unit flux at the offsets dx, dy (n, m), with the forms a, b, c (n,)."""
    a, b, c = a[:, None], b[:, None], c[:, None]
    norm = (beta - 1.0) / np.pi * np.sqrt(a * c - b * b)
    return np.asarray(norm * (1.0 + a * dx * dx + 2.0 * b * dx * dy + c * dy * dy) ** -beta)


def integration_nodes(fwhm: float) -> list[tuple[float, float, float]]:
    """Offsets and weights, within a pixel, over which a PSF of this FWHM is to be averaged."""
    if fwhm >= INTEGRATE_BELOW:
        return [(0.0, 0.0, 1.0)]
    node, weight = np.polynomial.legendre.leggauss(3 if fwhm > 1.7 else 5)
    return [
        (float(node[i]) / 2.0, float(node[j]) / 2.0, float(weight[i] * weight[j]) / 4.0)
        for i in range(len(node))
        for j in range(len(node))
    ]
