"""Where labels go."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipnick_watch.pictures.labels import place_labels

FIELD = (600.0, 600.0)


def place(places, chosen=None, size=(40.0, 12.0)):
    places = np.asarray(places, float).reshape(-1, 2)
    chosen = np.arange(len(places)) if chosen is None else np.asarray(chosen)
    sizes = np.tile(size, (len(chosen), 1))
    return place_labels(chosen, sizes, places, np.full(len(places), 7.0), FIELD)


def test_a_lone_label_stands_right_beside_its_mark():
    """It is to the right, level, and touches nothing."""
    centres, distant = place([(300.0, 300.0)])
    assert centres[0, 1] == 300.0
    assert 307.0 < centres[0, 0] - 20.0 < 312.0
    assert not distant[0]


def test_labels_of_well_separated_stars_touch_nothing():
    """Neither another label nor any mark is covered where there is room for all."""
    rng = np.random.default_rng(5)
    grid = np.stack(np.meshgrid(np.arange(40, 600, 75.0), np.arange(30, 600, 60.0)), -1)
    places = grid.reshape(-1, 2) + rng.uniform(-8, 8, (grid.size // 2, 2))
    centres, _ = place(places)
    apart = np.abs(centres[:, None] - centres[None])
    overlap = (apart < (40.0, 12.0)).all(axis=2)
    assert not overlap[~np.eye(len(places), dtype=bool)].any()
    gap = np.clip(np.abs(centres[:, None] - places[None]) - (20.0, 6.0), 0.0, None)
    assert (np.hypot(gap[..., 0], gap[..., 1]) > 5.0).all()


def test_two_stars_at_one_place_have_labels_apart():
    """The second label gives way to the first."""
    centres, _ = place([(300.0, 300.0), (301.0, 300.0)])
    apart = np.abs(centres[0] - centres[1])
    assert apart[0] >= 40.0 or apart[1] >= 12.0


def test_no_label_is_no_trouble():
    """Nothing chosen, nothing placed."""
    centres, distant = place([(300.0, 300.0)], chosen=np.empty(0, int), size=(40.0, 12.0))
    assert centres.shape == (0, 2)
    assert distant.shape == (0,)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.floats(-50, 650), st.floats(-50, 650)), min_size=1, max_size=40),
)
def test_labels_stay_in_the_field(places):
    """However the stars lie, no label leaves the field."""
    centres, _ = place(places)
    assert (centres >= np.array([20.0, 6.0]) - 1e-9).all()
    assert (centres <= np.array(FIELD) - [20.0, 6.0] + 1e-9).all()
