"""How does a place in one frame become the place in another, given stars seen in both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

__all__ = ["Mapping2D", "back_through", "fit_mapping", "turned"]

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

    @cached_property
    def corner(self) -> tuple[float, float]:
        """Where the pixel 0, 0 is mapped to."""
        x, y = self(np.zeros(1), np.zeros(1))
        return float(x[0]), float(y[0])

    @property
    def turn(self) -> float:
        """Angle of the turn, degrees from +x towards +y."""
        (ux, uy), (vx, vy) = self.terms[1], self.terms[2]
        return math.degrees(math.atan2(uy - vx, ux + vy))

    def back(self, x: float, y: float) -> tuple[float, float]:
        """Find the place that is mapped to x, y."""
        places = back_through([self], x, y)[0].tolist()
        return places[0], places[1]


def back_through(mappings: Sequence[Mapping2D], x: float, y: float) -> FloatArray:
    """Find the places that mappings bring to x, y; shape (n_mappings, 2)."""
    terms = np.stack([one.terms for one in mappings]) / _POWERS
    origin = np.array([one.origin for one in mappings])
    c, u_term, v_term, uu, uv, vv = np.moveaxis(terms, 1, 0)
    size = u_term[:, 0] * v_term[:, 1] - u_term[:, 1] * v_term[:, 0]
    u, v = np.zeros((2, len(mappings)))
    open_ones = np.ones(len(mappings), dtype=bool)
    for _ in range(20):
        a, b = u[:, None], v[:, None]
        off_x, off_y = (
            np.array([x, y]) - c - u_term * a - v_term * b - uu * (a * a) - uv * (a * b)
            - vv * (b * b)
        ).T  # fmt: skip
        step_u = (v_term[:, 1] * off_x - v_term[:, 0] * off_y) / size
        step_v = (u_term[:, 0] * off_y - u_term[:, 1] * off_x) / size
        u, v = np.where(open_ones, u + step_u, u), np.where(open_ones, v + step_v, v)
        open_ones &= np.abs(step_u) + np.abs(step_v) >= 1e-6
        if not open_ones.any():
            break
    return origin + np.stack([u, v], axis=-1)


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
