"""Which sources share light, and how does one's fit depend on another's? The normal equations.

Each source has three parameters and a window of pixels. A block of 3 × 3 belongs to each source,
and one to each pair of sources whose windows share pixels; the rest of the matrix is zero.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_array

from pipnick_watch.photometry.groups import neighbour_pairs
from pipnick_watch.photometry.stamps import Window

__all__ = ["Normal", "Pairs", "find_pairs", "make_normal"]

FloatArray = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Pairs of sources whose windows share pixels.

    Attributes
    ----------
    one, other : ndarray of int, shape (p,)
        Numbers of the sources, ``one < other``, ordered.
    shared : ndarray of int, shape (p, m)
        Where in the other's window each pixel of the one's is; m where it is not.
    """

    one: IntArray
    other: IntArray
    shared: IntArray

    def among(self, active: IntArray, n: int) -> "Pairs":
        """Keep the pairs of some of n sources, numbered as those are."""
        if len(active) == n:
            return self
        number = np.full(n, -1, dtype=np.int64)
        number[active] = np.arange(len(active))
        one, other = number[self.one], number[self.other]
        both = np.flatnonzero((one >= 0) & (other >= 0))
        return Pairs(one=one[both], other=other[both], shared=self.shared[both])

    def beside(self, some: BoolArray) -> BoolArray:
        """Say which sources are among some, or share pixels with one of them."""
        near = some.copy()
        near[self.one[some[self.other]]] = True
        near[self.other[some[self.one]]] = True
        return near


def find_pairs(ix: IntArray, iy: IntArray, window: Window) -> Pairs:
    """Pair windows centred on the pixels ix, iy (n,)."""
    m, reach = len(window), window.reach
    x, y = ix.astype(np.float64), iy.astype(np.float64)
    pairs = neighbour_pairs(x, y, 2.0 * np.sqrt((window.ox**2 + window.oy**2).max()) + 1e-6)
    apart = np.maximum(*(np.abs(one[pairs[:, 0]] - one[pairs[:, 1]]) for one in (ix, iy)))
    one, other = pairs[apart <= 2 * reach].T
    # a map of the window, wide enough for any other that touches it
    side = 6 * reach + 1
    number = np.full(side * side, m, dtype=np.int64)
    place = (window.oy + 3 * reach) * side + window.ox + 3 * reach
    number[place] = np.arange(m)
    away = (iy[other] - iy[one]) * side + ix[other] - ix[one]
    return Pairs(one=one, other=other, shared=number[place[None, :] - away[:, None]])


@dataclass(frozen=True, kw_only=True, eq=False)
class Normal:
    """Normal equations of n sources: a symmetric matrix, and a vector.

    Attributes
    ----------
    own : ndarray, shape (n, 3, 3)
        Each source with itself.
    cross : ndarray, shape (p, 3, 3)
        The one of each pair with the other.
    one, other : ndarray of int, shape (p,)
    vector : ndarray, shape (n, 3)
    """

    own: FloatArray
    cross: FloatArray
    one: IntArray
    other: IntArray
    vector: FloatArray

    def scaled(self, scale: FloatArray) -> "Normal":
        """Multiply rows and columns by a factor for each parameter, shape (n, 3)."""
        left, right = scale[:, :, None], scale[:, None, :]
        return Normal(
            own=self.own * left * right, cross=self.cross * left[self.one] * right[self.other],
            one=self.one, other=self.other, vector=self.vector * scale,
        )  # fmt: skip

    def dense(self) -> FloatArray:
        """Write the matrix out, shape (3n, 3n)."""
        n = len(self.own)
        out = np.zeros((n, n, 3, 3))
        everyone = np.arange(n)
        out[everyone, everyone] = self.own
        out[self.one, self.other] = self.cross
        out[self.other, self.one] = self.cross.swapaxes(1, 2)
        return out.swapaxes(1, 2).reshape(3 * n, 3 * n)

    def sparse(self) -> csc_array:
        """Write the matrix out, shape (3n, 3n)."""
        n = len(self.own)
        everyone = np.arange(n)
        row = np.concatenate([everyone, self.one, self.other])
        column = np.concatenate([everyone, self.other, self.one])
        values = np.concatenate([self.own, self.cross, self.cross.swapaxes(1, 2)])
        order = np.argsort(column * n + row)
        row, column, values = row[order], column[order], values[order]
        # of a column of blocks, each of its three columns of numbers goes through all its blocks
        count = np.bincount(column, minlength=n)
        start = np.cumsum(count) - count
        rank = np.arange(len(row)) - start[column]
        step = np.arange(3)
        place = (
            (9 * start[column] + 3 * rank)[:, None, None]
            + (3 * count[column])[:, None, None] * step
            + step[:, None]
        )
        data = np.empty(9 * len(row))
        data[place] = values
        indices = np.empty(9 * len(row), dtype=np.int32)
        indices[place] = (3 * row[:, None] + step)[:, :, None]
        first = (9 * start[:, None] + 3 * count[:, None] * step).ravel()
        pointer = np.append(first, 9 * len(row)).astype(np.int32)
        return csc_array((data, indices, pointer), shape=(3 * n, 3 * n))


def make_normal(columns: Floats, pairs: Pairs) -> Normal:
    """Multiply the sources' columns with each other.

    Parameters
    ----------
    columns : ndarray, shape (n, m + 1, 4)
        Over the noise, in each pixel of the windows: the light's three derivatives, and what the
        fit has left. The last pixel is zero.
    pairs : Pairs
    """
    n, rows, _ = columns.shape
    own = (columns.swapaxes(1, 2) @ columns).astype(np.float64)
    one = columns.take(pairs.one, axis=0)[:, : rows - 1]
    other = columns.reshape(n * rows, 4).take(pairs.other[:, None] * rows + pairs.shared, axis=0)
    cross = (one.swapaxes(1, 2) @ other).astype(np.float64)
    return Normal(
        own=own[:, :3, :3], cross=cross[:, :3, :3], one=pairs.one, other=pairs.other,
        vector=own[:, :3, 3],
    )  # fmt: skip
