"""Which sources belong together? Friends of friends."""

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

__all__ = ["friends_of_friends", "neighbour_pairs"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def neighbour_pairs(x: FloatArray, y: FloatArray, distance: float) -> IntArray:
    """List the pairs (i < j) of points closer than ``distance``, shape (n_pairs, 2), ordered."""
    if len(x) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    pairs = cKDTree(np.column_stack([x, y])).query_pairs(distance, output_type="ndarray")
    pairs = pairs.astype(np.int64)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def friends_of_friends(x: FloatArray, y: FloatArray, distance: float) -> tuple[IntArray, IntArray]:
    """Group points that are linked by steps shorter than ``distance``.

    Returns
    -------
    group_id : ndarray of int, shape (n,)
        From 1, in the order of the first member.
    group_size : ndarray of int, shape (n,)
        Number of members of each one's group.
    """
    n = len(x)
    if n == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    pairs = neighbour_pairs(x, y, distance)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, label = connected_components(graph, directed=False)
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(1, len(first) + 1)
    group = rank[inverse]
    return group, np.bincount(group)[group].astype(np.int64)
