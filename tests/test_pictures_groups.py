"""The sheets of groups."""

import pickle

import numpy as np
import pytest
from matplotlib.text import Text
from picture_cases import make_case

from pipnick_watch.pictures.group_sheets import ACROSS, DOWN, draw_groups, group_sheets
from pipnick_watch.pictures.groups import prepare_groups
from pipnick_watch.pictures.png import write_png
from pipnick_watch.settings import Settings


def texts_of(figure):
    return [one.get_text() for one in figure.findobj(Text)]


def test_every_group_is_cut_out_with_its_members():
    """A stamp for each group of two; the single sources have none."""
    frame, measurement = make_case(n_sources=10, n_pairs=3)
    stamps = prepare_groups(frame, measurement, Settings()).stamps
    table = measurement.catalogue
    grouped = table[table["group_size"] > 1]
    assert [one.group_id for one in stamps] == sorted(set(grouped["group_id"]))
    for one in stamps:
        members = grouped[grouped["group_id"] == one.group_id]
        assert sorted(one.ids) == sorted(members["id"])
        assert (np.diff(one.flux) <= 0).all()


def test_a_stamp_is_the_frame_there():
    """Its pixels are the frame's less the sky, and the model's, at the place that it names."""
    frame, measurement = make_case(n_sources=4, n_pairs=1)
    (stamp,) = prepare_groups(frame, measurement, Settings()).stamps
    high, wide = stamp.data.shape
    window = np.s_[stamp.y0 : stamp.y0 + high, stamp.x0 : stamp.x0 + wide]
    assert np.allclose(stamp.data, frame.data[window] - measurement.background[window], atol=0.01)
    assert np.allclose(stamp.model, measurement.model[window], atol=0.01)


def test_a_group_at_the_corner_is_cut_at_the_edge(tmp_path):
    """Members outside of the frame do not stop the sheets."""
    frame, measurement = make_case(n_sources=4, n_pairs=2)
    for name in ("x_fit", "y_fit"):
        measurement.catalogue[name][0:2] = [-1.5, 2.0]
        measurement.catalogue[name][2:4] = [239.0, 241.0]
    for number, figure in enumerate(group_sheets(frame, measurement, Settings())):
        write_png(figure, tmp_path / f"{number}.png")


@pytest.mark.parametrize(("n_pairs", "sheets"), [(0, 0), (1, 1), (12, 1), (13, 2), (25, 3)])
def test_a_long_list_goes_over_several_sheets(n_pairs, sheets):
    """Twelve groups a sheet, after the overview; each sheet says which it is."""
    assert ACROSS * DOWN == 12
    figures = group_sheets(*make_case(n_sources=2 * n_pairs + 1, n_pairs=n_pairs), Settings())
    assert len(figures) == 1 + sheets
    for number, figure in enumerate(figures[1:], start=1):
        assert any(f"sheet {number} of {sheets}" in text for text in texts_of(figure))


def test_members_are_marked_with_number_and_flux():
    """Each member's number and flux stand in the sheet, and every group has its caption."""
    frame, measurement = make_case(n_sources=5, n_pairs=2)
    figures = group_sheets(frame, measurement, Settings())
    texts = texts_of(figures[1])
    for stamp in prepare_groups(frame, measurement, Settings()).stamps:
        assert any(text.startswith(f"group {stamp.group_id}: 2 sources") for text in texts)
        for number in stamp.ids:
            assert str(number) in texts


def test_a_frame_without_groups_says_so():
    """The overview alone is drawn, with a line that says why."""
    (figure,) = group_sheets(*make_case(), Settings())
    assert any("No groups" in text for text in texts_of(figure))


def test_a_frame_without_sources_says_so():
    """An empty frame has an overview too."""
    (figure,) = group_sheets(*make_case(n_sources=0, with_psf=False), Settings())
    assert any("No source above" in text for text in texts_of(figure))


def test_a_group_of_many_is_listed_in_short():
    """A caption of a large group says how many members it leaves out."""
    frame, measurement = make_case(n_sources=30)
    measurement.catalogue["group_id"] = 1
    measurement.catalogue["group_size"] = 30
    _, sheet = group_sheets(frame, measurement, Settings())
    (caption,) = [text for text in texts_of(sheet) if text.startswith("group 1: 30 sources")]
    assert caption.split("+")[-1].isdigit()


def test_sheets_can_be_drawn_elsewhere():
    """What was prepared survives the way to another process."""
    prepared = prepare_groups(*make_case(n_sources=9, n_pairs=4), Settings())
    arrived = pickle.loads(pickle.dumps(prepared))  # noqa: S301
    assert len(list(draw_groups(arrived))) == 2


def test_hostile_names_are_only_text(tmp_path):
    """A frame's name is never read as mathematics."""
    case = make_case(n_sources=4, n_pairs=1, name=r"$\frac{$/\udce9.fits", object="$^$")
    for number, figure in enumerate(group_sheets(*case, Settings())):
        write_png(figure, tmp_path / f"{number}.png")
