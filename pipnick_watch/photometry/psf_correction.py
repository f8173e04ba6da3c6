"""How does a star's light differ from a Moffat? A polynomial over the unit disk."""

import numpy as np
import numpy.typing as npt

__all__ = [
    "FREE_TERMS", "TERMS", "correction_gradient", "correction_terms", "correction_value",
]  # fmt: skip

FloatArray = npt.NDArray[np.float64]

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


def correction_value(c: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    """Sum the correction's terms at (u, v)."""
    # Horner in u, then in v; the order of c is that of TERMS
    out = c[6] * u
    out += c[7] * v
    out += c[2]
    out *= u
    inner = c[8] * v
    inner += c[3]
    inner *= v
    inner += c[0]
    out += inner
    out *= u
    inner = c[9] * v
    inner += c[4]
    inner *= v
    inner += c[1]
    inner *= v
    out += inner
    out *= u
    inner = c[10] * v
    inner += c[5]
    inner *= v
    inner -= c[0]
    inner *= v
    inner *= v
    out += inner
    return np.asarray(out)


def correction_gradient(
    c: FloatArray, u: FloatArray, v: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Differentiate the correction by u and by v."""
    by_u = u * (2.0 * c[0] + v * (2.0 * c[3] + 2.0 * c[8] * v) + u * (
        3.0 * c[2] + 3.0 * c[7] * v + 4.0 * c[6] * u
    ))  # fmt: skip
    by_u += v * (c[1] + v * (c[4] + c[9] * v))
    by_v = v * (-2.0 * c[0] + u * (2.0 * c[4] + 2.0 * c[8] * u) + v * (
        3.0 * c[5] + 3.0 * c[9] * u + 4.0 * c[10] * v
    ))  # fmt: skip
    by_v += u * (c[1] + u * (c[3] + c[7] * u))
    return by_u, by_v


def correction_terms(u: FloatArray, v: FloatArray) -> FloatArray:
    """Evaluate each of the correction's terms at (u, v): shape (11, …)."""
    u2, v2 = u * u, v * v
    uv = u * v
    return np.stack(
        [u2 - v2, uv, u2 * u, u2 * v, u * v2, v2 * v, u2 * u2, u2 * uv, u2 * v2, uv * v2, v2 * v2]
    )  # fmt: skip
