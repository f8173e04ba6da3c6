"""The normal equations, block by block."""

import numpy as np

from pipnick_watch.photometry.normal import Pairs, find_pairs, make_normal
from pipnick_watch.photometry.stamps import Window, disk

IX = np.array([20, 25, 21, 60, 29, 45])
IY = np.array([20, 22, 29, 60, 27, 20])


def equations() -> tuple[np.ndarray, np.ndarray, Window, Pairs]:
    """Give six windows, some of which overlap, random columns."""
    window = disk(5.3)
    columns = np.random.default_rng(1).normal(size=(6, len(window) + 1, 4))
    columns[:, -1] = 0.0
    # the Jacobian, written out
    whole = np.zeros((18, 80, 80))
    for k in range(6):
        for part in range(3):
            whole[3 * k + part, IY[k] + window.oy, IX[k] + window.ox] = columns[k, :-1, part]
    return columns, whole.reshape(18, -1), window, find_pairs(IX, IY, window)


def test_matrix_is_that_of_the_whole_jacobian() -> None:
    """Dense and sparse, the matrix is the product of the Jacobian with itself."""
    columns, jacobian, _, pairs = equations()
    normal = make_normal(columns, pairs)
    np.testing.assert_allclose(normal.dense(), jacobian @ jacobian.T, atol=1e-12)
    np.testing.assert_allclose(normal.sparse().toarray(), normal.dense(), atol=0)
    sparse = normal.sparse()
    assert sparse.has_sorted_indices
    own = (columns[:, :-1, :3] * columns[:, :-1, 3:]).sum(axis=1)
    np.testing.assert_allclose(normal.vector, own, atol=1e-12)


def test_some_of_the_sources() -> None:
    """The matrix of some sources is a part of that of all."""
    columns, _, _, pairs = equations()
    some = np.array([0, 2, 4])
    part = make_normal(columns[some], pairs.among(some, 6)).dense()
    rows = (3 * some[:, None] + np.arange(3)).ravel()
    np.testing.assert_allclose(part, make_normal(columns, pairs).dense()[np.ix_(rows, rows)])


def test_who_is_beside_whom() -> None:
    """Those that share pixels are neighbours, and nobody else."""
    _, jacobian, _, pairs = equations()
    seen = (jacobian != 0).reshape(6, 3, -1).any(axis=1)
    for k in range(6):
        expected = (seen & seen[k]).any(axis=1)
        np.testing.assert_array_equal(pairs.beside(np.arange(6) == k), expected)
