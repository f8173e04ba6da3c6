"""How does a place in one frame become the place in another, given stars seen in both."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Mapping2D", "fit_mapping", "turned"]

FloatArray = npt.NDArray[np.float64]

AFFINE_STARS = 8
BENT_STARS = 30
UNIT = 500.0  # pixels: keeps the terms of the second order as large as the others


@dataclass(frozen=True, kw_only=True, eq=False)
class Mapping2D:
    """A turn and a shift, with slight shear and bending where enough stars show them.

    Attributes
    ----------
    terms : ndarray, shape (6, 2)
        Factors of 1, u, v, u², uv, v²; u and v are pixels from ``origin`` over ``UNIT``.
    origin : tuple of float
    """

    terms: FloatArray
    origin: tuple[float, float]

    def __call__(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Map places; pixels in, pixels out."""
        design = _design(np.asarray(x, float), np.asarray(y, float), self.origin, 6)
        out = design @ self.terms
        return out[..., 0], out[..., 1]

    @property
    def turn(self) -> float:
        """Angle of the turn, degrees from +x towards +y."""
        (ux, uy), (vx, vy) = self.terms[1], self.terms[2]
        return math.degrees(math.atan2(uy - vx, ux + vy))

    def back(self, x: float, y: float) -> tuple[float, float]:
        """Find the place that is mapped to x, y."""
        (cx, cy), (ux, uy), (vx, vy), *bent = (self.terms / _POWERS).tolist()
        size = ux * vy - uy * vx
        u = v = 0.0
        for _ in range(20):
            off_x = x - cx - ux * u - vx * v
            off_y = y - cy - uy * u - vy * v
            for (bx, by), term in zip(bent, (u * u, u * v, v * v), strict=True):
                off_x, off_y = off_x - bx * term, off_y - by * term
            step_u, step_v = (vy * off_x - vx * off_y) / size, (ux * off_y - uy * off_x) / size
            u, v = u + step_u, v + step_v
            if abs(step_u) + abs(step_v) < 1e-6:
                break
        return self.origin[0] + u, self.origin[1] + v


_POWERS = np.array([1.0, UNIT, UNIT, UNIT**2, UNIT**2, UNIT**2])[:, None]


def _design(x: FloatArray, y: FloatArray, origin: tuple[float, float], n_terms: int) -> FloatArray:
    u, v = (x - origin[0]) / UNIT, (y - origin[1]) / UNIT
    return np.stack([np.ones_like(u), u, v, u * u, u * v, v * v][:n_terms], axis=-1)


def turned(degrees: float, x: float, y: float) -> Mapping2D:
    """Make a turn about pixel 0, 0 that is followed by a shift of x, y pixels."""
    c, s = math.cos(math.radians(degrees)) * UNIT, math.sin(math.radians(degrees)) * UNIT
    terms = np.zeros((6, 2))
    terms[:3] = [[x, y], [c, s], [-s, c]]
    return Mapping2D(terms=terms, origin=(0.0, 0.0))


def fit_mapping(
    x: FloatArray, y: FloatArray, to_x: FloatArray, to_y: FloatArray, n_free: int = BENT_STARS
) -> Mapping2D:
    """Fit a mapping by least squares: the more stars, the more terms.

    Parameters
    ----------
    x, y, to_x, to_y : ndarray, shape (n,)
        Pixels; two stars at least.
    n_free : int
        Count as so many stars at most when terms are chosen.
    """
    n = min(len(x), n_free)
    origin = (float(x.mean()), float(y.mean()))
    goal = np.stack([to_x, to_y], axis=-1)
    terms = np.zeros((6, 2))
    if n >= AFFINE_STARS:
        n_terms = 6 if n >= BENT_STARS else 3
        design = _design(x, y, origin, n_terms)
        terms[:n_terms] = np.linalg.lstsq(design, goal, rcond=None)[0]
        return Mapping2D(terms=terms, origin=origin)
    # a turn without a change of scale (Umeyama 1991): one camera took both frames
    mean = goal.mean(axis=0)
    here = (x - origin[0]) + 1j * (y - origin[1])
    there = (to_x - mean[0]) + 1j * (to_y - mean[1])
    cross = complex((np.conj(here) * there).sum())
    unit = UNIT * (cross / abs(cross) if cross != 0 else 1.0)
    terms[:3] = [mean, [unit.real, unit.imag], [-unit.imag, unit.real]]
    return Mapping2D(terms=terms, origin=origin)
