"""Which place of one list is next to which of another."""

import math

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

__all__ = ["mutual", "nearest"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def mutual(tree: cKDTree, x: FloatArray, y: FloatArray, reach: float) -> tuple[IntArray, IntArray]:
    """Pair each place with its nearest star, where it is that star's nearest too."""
    away, index = nearest(tree, np.stack([x, y], axis=1), reach)
    mine = np.flatnonzero(np.isfinite(away))
    # the nearest of those that claim one star
    mine = mine[np.argsort(away[mine], kind="stable")]
    _, first = np.unique(index[mine], return_index=True)
    mine = np.sort(mine[first])
    return mine, index[mine]


def nearest(
    tree: cKDTree, places: FloatArray, reach: float = math.inf
) -> tuple[FloatArray, IntArray]:
    """Give the distance and the number of the nearest member of a tree; inf beyond ``reach``."""
    away, index = tree.query(places, distance_upper_bound=reach)
    return np.asarray(away, dtype=np.float64), np.asarray(index, dtype=np.int64)
