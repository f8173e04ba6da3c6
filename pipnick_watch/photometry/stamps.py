"""Where are the pixels around each source? Windows of one shape, as indices into a padded frame."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["CHUNK", "Canvas", "Window", "by_distance", "disk", "offsets", "pieces", "ring"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Value = TypeVar("Value", bound=np.generic)

CHUNK = 1 << 16  # pixels worked on at once, so that they stay in the processor's cache


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """Offsets (ox, oy) of a window's pixels from its central one, shape (m,)."""

    ox: IntArray
    oy: IntArray

    def __len__(self) -> int:
        """Count the pixels."""
        return len(self.ox)

    @property
    def reach(self) -> int:
        """Largest offset along an axis."""
        return int(max(np.abs(self.ox).max(), np.abs(self.oy).max()))


def ring(inner: float, outer: float) -> Window:
    """Make a window of the pixels farther than ``inner`` and up to ``outer`` from the centre."""
    reach = int(np.ceil(outer))
    oy, ox = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    squared = ox**2 + oy**2
    inside = squared <= max(outer, 0.0) ** 2
    if inner >= 0.0:
        inside &= squared > inner**2
    return Window(ox=ox[inside].astype(np.int64), oy=oy[inside].astype(np.int64))


def disk(radius: float) -> Window:
    """Make a round window; pixels in the order of the frame's rows."""
    return ring(-1.0, radius)


def by_distance(window: Window) -> Window:
    """Sort a window's pixels by their distance from its centre."""
    order = np.lexsort((window.ox, window.oy, window.ox**2 + window.oy**2))
    return Window(ox=window.ox[order], oy=window.oy[order])


def offsets(
    window: Window, x: FloatArray, y: FloatArray
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Shift a window by x, y (n,): shapes (n, m), in single precision.

    Good to a millionth of a pixel, where nothing is known to better than a thousandth.
    """
    return (
        window.ox.astype(np.float32)[None, :] + x.astype(np.float32)[:, None],
        window.oy.astype(np.float32)[None, :] + y.astype(np.float32)[:, None],
    )


def pieces(n: int, m: int, most: int = CHUNK) -> Iterator[slice]:
    """Cut n sources of m pixels into pieces that fit the cache."""
    step = max(1, most // max(m, 1))
    for first in range(0, n, step):
        yield slice(first, min(first + step, n))


@dataclass(frozen=True, kw_only=True, eq=False)
class Canvas:
    """How frames of one shape are padded, so that no window leaves them.

    Attributes
    ----------
    shape : tuple of int
        (ny, nx) of the frame.
    margin : int
        Pixels added on every side.
    """

    shape: tuple[int, int]
    margin: int

    def pad(self, values: npt.NDArray[Value]) -> npt.NDArray[Value]:
        """Pad a frame with zeros and flatten it."""
        ny, nx = self.shape
        m = self.margin
        out = np.empty((ny + 2 * m, nx + 2 * m), dtype=values.dtype)
        out[:m] = out[m + ny :] = 0
        out[m : m + ny, :m] = out[m : m + ny, m + nx :] = 0
        out[m : m + ny, m : m + nx] = values
        return out.ravel()

    def crop(self, flat: npt.NDArray[Value]) -> npt.NDArray[Value]:
        """Undo :meth:`pad`; the result is a view."""
        ny, nx = self.shape
        m = self.margin
        return flat.reshape(ny + 2 * m, nx + 2 * m)[m : m + ny, m : m + nx]

    @property
    def size(self) -> int:
        """Number of padded pixels."""
        return (self.shape[0] + 2 * self.margin) * (self.shape[1] + 2 * self.margin)

    @cached_property
    def blank(self) -> FloatArray:
        """A padded plane of zeros to work on: who writes to it clears it again."""
        return np.zeros(self.size)

    def indices(self, ix: IntArray, iy: IntArray, window: Window) -> IntArray:
        """Index the padded pixels of windows centred on ix, iy: shape (n, m).

        Centres outside the frame are taken at its edge.
        """
        stride = self.shape[1] + 2 * self.margin
        ix, iy = self.nearest(ix, iy)
        centre = (iy + self.margin) * stride + ix + self.margin
        return np.asarray(centre[:, None] + (window.oy * stride + window.ox)[None, :])

    def nearest(self, ix: IntArray, iy: IntArray) -> tuple[IntArray, IntArray]:
        """Move pixels outside the frame to its edge."""
        ny, nx = self.shape
        return ix.clip(0, nx - 1), iy.clip(0, ny - 1)

    def at(self, ix: IntArray, iy: IntArray) -> IntArray:
        """Index the padded pixels ix, iy: shape (n,)."""
        return self.indices(ix, iy, Window(ox=np.zeros(1, np.int64), oy=np.zeros(1, np.int64)))[
            :, 0
        ]
