"""Where everything of a MAINDIR lies, and what a frame and its catalogue are called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipnick_watch.errors import UsageError
from pipnick_watch.records.layout import (
    Layout,
    frame_identity,
    frame_stem,
    is_frame_name,
    plain_stem,
    same_frames,
)


@pytest.mark.parametrize(
    ("name", "stem"),
    [("d1047_red.fits", "d1047"), ("d1047.FITS", "d1047"), ("d1_b_red.fits.fz", "d1_b"),
     ("d1.fit", "d1"), ("d1.fts", "d1"), ("_red.fits", "_red"), ("d1.2.fits", "d1.2"),
     ("d1_red_red.fits", "d1_red"), ("d1_RED.fits", "d1_RED")],
)  # fmt: skip
def test_stem_is_the_name_without_suffix_and_red(name, stem):
    """The suffix goes, in any case, and one trailing _red; nothing else."""
    assert is_frame_name(name)
    assert frame_stem(name) == stem


@pytest.mark.parametrize(
    "name", ["d1.txt", ".d1.fits", ".fits", "d1.fits.tmp", "d1.fits.lock", "fits", "d1.fits.gz"]
)
def test_other_files_are_no_frames(name):
    """Hidden, temporary and foreign names are no frames."""
    assert not is_frame_name(name)


def test_of_several_files_of_one_frame_the_first_counts():
    """The order is _red.fits .fits .fit .fts .fits.fz, within one folder and stem."""
    order = ["a/d1_red.fits", "a/d1.fits", "a/d1.FIT", "a/d1.fts", "a/d1_red.fits.fz"]
    assert same_frames(reversed(order)) == dict.fromkeys(order[1:], order[0])
    assert same_frames(order[2:]) == dict.fromkeys(order[3:], order[2])
    assert same_frames(["a/d1.fits", "b/d1.fits", "d1.fits", "a/d2.fits"]) == {}
    assert len({frame_identity(frame) for frame in order}) == 1


def test_stem_has_the_folder_unless_it_is_the_frames_own():
    """A frame elsewhere than in reduced/ or its own folder has its folder in its stem."""
    assert plain_stem("X_V/d1_red.fits", "X", "V") == "d1"
    assert plain_stem("d1_red.fits", "X", "V") == "d1"
    assert plain_stem("X_V/d1_red.fits", "X", "B") == "X_V__d1"
    assert plain_stem("a/b/d1_red.fits", "X", "V") == "a__b__d1"


@given(st.text(min_size=1, max_size=300), st.text(max_size=80), st.text(max_size=80))
def test_no_path_leaves_maindir(tmp_path_factory, frame, name, band):
    """Whatever a frame, an object or a filter is called, its files lie below MAINDIR."""
    layout = Layout(tmp_path_factory.getbasetemp())
    frame = frame.replace("\0", "") + "/d.fits"
    stem = plain_stem(frame, name, band)
    assert "/" not in stem
    assert len(stem.encode()) <= 180
    for path in (
        layout.object_csv(name),
        layout.catalogue(name, band, stem),
        layout.catalogue(name, band, stem, "consolidated"),
        layout.plot(name, band, f"{stem}_sources.png"),
        layout.solution("d.fits", name, band),
    ):
        assert ".." not in path.parts
        assert path.is_relative_to(layout.maindir)
        assert len(path.name.encode()) <= 255
        assert path.name.isprintable()


@pytest.mark.parametrize("frame", ["../x.fits", "/etc/x.fits", "a/../../x.fits", "", "a\0.fits"])
def test_frames_outside_reduced_are_refused(tmp_path, frame):
    """A name that would leave reduced/ is a mistake, and says so."""
    with pytest.raises(UsageError, match="below reduced/"):
        Layout(tmp_path).frame_path(frame)
    with pytest.raises(UsageError, match="not below"):
        Layout(tmp_path).frame_name(tmp_path / "elsewhere" / "d1.fits")
    assert Layout(tmp_path).frame_name(tmp_path / "reduced/a/d1.fits") == "a/d1.fits"
