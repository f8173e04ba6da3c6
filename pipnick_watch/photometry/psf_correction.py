"""How does a star's light differ from a Moffat? A polynomial over the unit disk."""

import numpy as np
import numpy.typing as npt

__all__ = [
    "FREE_TERMS", "TERMS", "correction_gradient", "correction_terms", "correction_value",
]  # fmt: skip

FloatArray = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]

TERMS = (
    (2, 0), (1, 1), (3, 0), (2, 1), (1, 2), (0, 3), (4, 0), (3, 1), (2, 2), (1, 3), (0, 4),
)  # fmt: skip
"""Powers of the correction's terms. (2, 0) stands for the difference of the squares; their sum
is the Moffat's own width; terms of first degree would be a shift."""

FREE_TERMS = np.zeros((11, len(TERMS)))
"""Combinations of the terms that are fitted, each of one symmetry; the last one is round."""
FREE_TERMS[range(6), range(6)] = 1.0
FREE_TERMS[6, [6, 10]] = 1.0, -1.0
FREE_TERMS[7, [7, 9]] = 1.0
FREE_TERMS[8, [6, 8, 10]] = 1.0, -6.0, 1.0
FREE_TERMS[9, [7, 9]] = 1.0, -1.0
FREE_TERMS[10, [6, 8, 10]] = 1.0, 2.0, 1.0


def correction_value(coefficients: FloatArray, u: Floats, v: Floats) -> Floats:
    """Sum the correction's terms at (u, v), in their precision.

    Parameters
    ----------
    coefficients : ndarray, shape (11,)
        Of ``TERMS``.
    u, v : ndarray
        Places in the unit disk, of one shape.
    """
    # Horner in u, then in v, in place; plain numbers leave single precision as it is
    c = coefficients.tolist()
    out = u * c[6]
    inner = v * c[7]
    out += inner
    out += c[2]
    out *= u
    np.multiply(v, c[8], out=inner)
    inner += c[3]
    inner *= v
    inner += c[0]
    out += inner
    out *= u
    np.multiply(v, c[9], out=inner)
    inner += c[4]
    inner *= v
    inner += c[1]
    inner *= v
    out += inner
    out *= u
    np.multiply(v, c[10], out=inner)
    inner += c[5]
    inner *= v
    inner -= c[0]
    inner *= v
    inner *= v
    out += inner
    return np.asarray(out)


def correction_gradient(coefficients: FloatArray, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Differentiate the correction by u and by v, in their precision."""
    c = coefficients.tolist()
    by_u = u * (4.0 * c[6])
    inner = v * (3.0 * c[7])
    by_u += inner
    by_u += 3.0 * c[2]
    by_u *= u
    np.multiply(v, 2.0 * c[8], out=inner)
    inner += 2.0 * c[3]
    inner *= v
    by_u += inner
    by_u += 2.0 * c[0]
    by_u *= u
    np.multiply(v, c[9], out=inner)
    inner += c[4]
    inner *= v
    inner += c[1]
    inner *= v
    by_u += inner
    by_v = v * (4.0 * c[10])
    np.multiply(u, 3.0 * c[9], out=inner)
    by_v += inner
    by_v += 3.0 * c[5]
    by_v *= v
    np.multiply(u, 2.0 * c[8], out=inner)
    inner += 2.0 * c[4]
    inner *= u
    by_v += inner
    by_v -= 2.0 * c[0]
    by_v *= v
    np.multiply(u, c[7], out=inner)
    inner += c[3]
    inner *= u
    inner += c[1]
    inner *= u
    by_v += inner
    return np.asarray(by_u), np.asarray(by_v)


def correction_terms(u: Floats, v: Floats) -> Floats:
    """Evaluate each of the correction's terms at (u, v): shape (11, …)."""
    u2, v2 = u * u, v * v
    uv = u * v
    return np.stack(
        [u2 - v2, uv, u2 * u, u2 * v, u * v2, v2 * v, u2 * u2, u2 * uv, u2 * v2, uv * v2, v2 * v2]
    )  # fmt: skip
