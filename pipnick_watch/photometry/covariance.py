"""How certain is each fitted source? Local blocks of the inverse of the normal matrix.

A source's covariance is that of itself with the sources it shares most light with; those farther
away change it by less than a hundredth.  The whole matrix is never inverted.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import bsr_array, csr_array

from pipnick_watch.photometry.groups import neighbour_pairs

__all__ = ["errors_of", "group_flux_errors"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MOST = 7  # neighbours that a source's block takes in
AT_ONCE = 1000


class _Blocks:
    """The 3 × 3 blocks of a normal matrix, to be looked up."""

    def __init__(self, matrix: csr_array) -> None:
        blocks = bsr_array(matrix, blocksize=(3, 3))
        blocks.sort_indices()
        n = blocks.indptr.shape[0] - 1
        self.n = n
        row = np.repeat(np.arange(n, dtype=np.int64), np.diff(blocks.indptr))
        self.keys = row * n + blocks.indices
        self.values = np.concatenate([blocks.data, np.zeros((1, 3, 3))])

    def dense(self, members: IntArray) -> FloatArray:
        """Assemble the dense matrices of lists of sources (k, p): shape (k, 3p, 3p)."""
        k, p = members.shape
        wanted = members[:, :, None] * self.n + members[:, None, :]
        at = np.searchsorted(self.keys, wanted)
        there = at < len(self.keys)
        hit = there & (self.keys[np.where(there, at, 0)] == wanted)
        picked = self.values[np.where(hit, at, len(self.keys))]
        return picked.transpose(0, 1, 3, 2, 4).reshape(k, 3 * p, 3 * p)


def errors_of(
    matrix: csr_array, x: FloatArray, y: FloatArray, flux: FloatArray, reach: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the standard errors of x, y and flux, each of shape (n,).

    Parameters
    ----------
    matrix : sparse array, shape (3n, 3n)
        JᵀWJ for (flux, x × flux, y × flux) of each source.
    x, y, flux : ndarray, shape (n,)
    reach : float
        Distance, pixels, up to which two sources disturb each other.
    """
    n = len(x)
    out = np.zeros((n, 3))
    if n == 0:
        return out[:, 1], out[:, 2], out[:, 0]
    blocks = _Blocks(matrix)
    members = _neighbours(x, y, reach)
    size = (members >= 0).sum(axis=1)
    for p in np.unique(size):
        rows = np.flatnonzero(size == p)
        for first in range(0, len(rows), AT_ONCE):
            some = rows[first : first + AT_ONCE]
            covariance = _inverse(blocks.dense(members[some, :p]))
            own = np.arange(3)
            out[some] = np.sqrt(np.maximum(covariance[:, own, own], 0.0))
    positive = np.maximum(flux, 1e-12)
    return out[:, 1] / positive, out[:, 2] / positive, out[:, 0]


def group_flux_errors(matrix: csr_array, groups: Sequence[IntArray]) -> FloatArray:
    """Return the standard error of the summed flux of each group of sources; 0 for an empty one."""
    out = np.zeros(len(groups))
    blocks = _Blocks(matrix)
    size = np.array([len(one) for one in groups], dtype=np.int64)
    for p in np.unique(size[size > 0]):
        rows = np.flatnonzero(size == p)
        for first in range(0, len(rows), AT_ONCE):
            some = rows[first : first + AT_ONCE]
            covariance = _inverse(blocks.dense(np.array([groups[k] for k in some])))
            total = covariance[:, ::3, ::3].sum(axis=(1, 2))
            out[some] = np.sqrt(np.maximum(total, 0.0))
    return out


def _neighbours(x: FloatArray, y: FloatArray, reach: float) -> IntArray:
    """List each source, itself first, with its nearest neighbours; -1 where there are fewer."""
    n = len(x)
    members = np.full((n, MOST + 1), -1, dtype=np.int64)
    members[:, 0] = np.arange(n)
    pairs = neighbour_pairs(x, y, reach)
    one = np.concatenate([pairs[:, 0], pairs[:, 1]])
    other = np.concatenate([pairs[:, 1], pairs[:, 0]])
    order = np.lexsort((other, np.hypot(x[one] - x[other], y[one] - y[other]), one))
    one, other = one[order], other[order]
    start = np.searchsorted(one, np.arange(n))
    rank = np.arange(len(one)) - start[one] + 1
    few = rank <= MOST
    members[one[few], rank[few]] = other[few]
    return members


def _inverse(block: FloatArray) -> FloatArray:
    """Invert positive matrices whose diagonals differ by orders of magnitude."""
    p = np.arange(block.shape[1])
    diagonal = block[:, p, p]
    scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = block * scale[:, :, None] * scale[:, None, :]
    scaled[:, p, p] += 1e-9 + (diagonal <= 0)
    return np.asarray(np.linalg.inv(scaled) * scale[:, :, None] * scale[:, None, :])
