"""How do the PSF's width and shape change over the field? A polynomial of second degree."""

import numpy as np
import numpy.typing as npt

__all__ = ["DRIFT_TERMS", "drift_basis", "quadratic_form"]

FloatArray = npt.NDArray[np.float64]

DRIFT_TERMS = 6


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
