"""What lies under ``reduced/``."""

import os
from pathlib import Path

import pytest

from conftest import land
from pipnick_watch.watch.scan import can_be_a_frame, scan, see


def test_only_regular_files_with_a_frame_name_are_listed(maindir: Path) -> None:
    """Links, FIFOs, folders and names that no table can hold are ignored with a reason."""
    reduced = maindir / "reduced"
    good = ["X_V/d1_red.fits", "d2.FIT", "X_V/deep/d3.fts", "X_V/d4.fits.fz"]
    for name in (*good, ".hidden/d5.fits", "X_V/.d6.fits", "X_V/notes.txt", "X_V/a|b.fits"):
        land(maindir, name, b"x")
    (reduced / "X_V" / "folder.fits").mkdir()
    (reduced / "X_V" / "link.fits").symlink_to("/etc/hostname")
    (reduced / "elsewhere").symlink_to("/etc")
    os.mkfifo(reduced / "X_V" / "pipe.fits")
    found = scan(reduced)
    assert list(found.frames) == sorted(good)
    assert found.ignored["X_V/folder.fits"] == "a folder"
    assert found.ignored["X_V/link.fits"] == "a link"
    assert found.ignored["X_V/pipe.fits"] == "not a regular file"
    assert found.n_folders == 3
    assert all(can_be_a_frame(name) for name in good)
    assert not can_be_a_frame("X_V/notes.txt")


@pytest.mark.parametrize(
    "name", [".hidden/d5.fits", "X_V/.d6.fits", "X_V/a|b.fits", "d7.fits/d8.fits", "X_V/a\x1b.fits"]
)
def test_an_event_names_no_frame_that_the_scan_would_not_list(maindir: Path, name: str) -> None:
    """Scan and events agree about names, or live and batch would differ."""
    land(maindir, name, b"x")
    assert not scan(maindir / "reduced").frames
    assert not can_be_a_frame(name)


def test_a_look_at_nothing_is_nothing(maindir: Path) -> None:
    """A missing reduced/ is an error, never an empty night; a missing file is None."""
    assert see(maindir / "reduced" / "d1.fits") is None
    (maindir / "reduced").rmdir()
    with pytest.raises(FileNotFoundError):
        scan(maindir / "reduced")
