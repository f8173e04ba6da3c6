"""Friends of friends."""

import numpy as np

from pipnick_watch.photometry.groups import friends_of_friends, neighbour_pairs


def test_chains_are_one_group() -> None:
    """Points linked by short steps are one group; numbers follow the first member."""
    x = np.array([50.0, 0.0, 1.5, 3.0, 51.0])
    group, size = friends_of_friends(x, np.zeros(5), 2.0)
    assert list(group) == [1, 2, 2, 2, 1]
    assert list(size) == [2, 3, 3, 3, 2]


def test_none_and_one() -> None:
    """No point gives no group, one point a group of one."""
    none = np.zeros(0)
    assert len(friends_of_friends(none, none, 2.0)[0]) == 0
    assert list(friends_of_friends(np.ones(1), np.ones(1), 2.0)[1]) == [1]
    assert neighbour_pairs(none, none, 1.0).shape == (0, 2)
