"""How certain is each fitted source? Local blocks of the inverse of the normal matrix.

A source's covariance is that of itself with the sources whose windows it shares most of; those
farther away change it by less than a thousandth.  The whole matrix is never inverted.
"""

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_array

from pipnick_watch.photometry.groups import neighbour_pairs

__all__ = ["errors_of", "group_flux_errors"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MOST = 8  # neighbours that a source's block takes in


def errors_of(
    matrix: csc_array, x: FloatArray, y: FloatArray, flux: FloatArray, reach: float
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
    out = np.zeros((3, n))
    members = _neighbours(x, y, reach)
    sizes = np.array([len(one) for one in members])
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        for first in range(0, len(rows), 2000):
            some = rows[first : first + 2000]
            block = np.array([members[i] for i in some])
            index = (3 * block[:, :, None] + np.arange(3)[None, None, :]).reshape(len(some), -1)
            covariance = _inverse(_dense(matrix, index))
            out[:, some] = np.sqrt(np.maximum(covariance[:, range(3), range(3)], 0.0)).T
    positive = np.maximum(flux, 1e-12)
    return out[1] / positive, out[2] / positive, out[0]


def group_flux_errors(matrix: csc_array, groups: list[IntArray]) -> FloatArray:
    """Return the standard error of the summed flux of each group, shape (n_groups,)."""
    out = np.zeros(len(groups))
    for k, members in enumerate(groups):
        index = (3 * members[:, None] + np.arange(3)[None, :]).reshape(1, -1)
        covariance = _inverse(_dense(matrix, index))[0][::3, ::3]
        out[k] = float(np.sqrt(max(float(covariance.sum()), 0.0)))
    return out


def _neighbours(x: FloatArray, y: FloatArray, reach: float) -> list[list[int]]:
    """List each source, itself first, with its nearest neighbours."""
    members: list[list[int]] = [[i] for i in range(len(x))]
    pairs = neighbour_pairs(x, y, reach)
    distance = np.hypot(x[pairs[:, 0]] - x[pairs[:, 1]], y[pairs[:, 0]] - y[pairs[:, 1]])
    for i, j in pairs[np.argsort(distance, kind="stable")]:
        if len(members[i]) <= MOST:
            members[i].append(int(j))
        if len(members[j]) <= MOST:
            members[j].append(int(i))
    return members


def _dense(matrix: csc_array, index: IntArray) -> FloatArray:
    """Pick the dense blocks of the rows and columns ``index`` (k, p): shape (k, p, p)."""
    k, p = index.shape
    rows = np.repeat(index, p, axis=1).ravel()
    columns = np.tile(index, (1, p)).ravel()
    return np.asarray(matrix[rows, columns]).reshape(k, p, p)


def _inverse(block: FloatArray) -> FloatArray:
    """Invert positive matrices whose diagonals differ by orders of magnitude."""
    p = block.shape[1]
    diagonal = block[:, range(p), range(p)]
    scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = block * scale[:, :, None] * scale[:, None, :]
    scaled[:, range(p), range(p)] += 1e-9 + (diagonal <= 0)
    return np.asarray(np.linalg.inv(scaled) * scale[:, :, None] * scale[:, None, :])
