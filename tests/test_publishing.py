"""How bytes reach the disk so that no reader ever sees half of them."""

import os
import resource
import stat

import pytest

from pipnick_watch.records.publishing import (
    PREFIX,
    append_durably,
    make_folder,
    sweep,
    write_whole,
)


def test_file_is_replaced_whole_and_keeps_its_mode(tmp_path):
    """A reader that has the old file open keeps it; the new one has its mode."""
    path = tmp_path / "a.csv"
    assert write_whole(path, b"old") == 3
    path.chmod(0o640)
    with path.open("rb") as reader:
        assert write_whole(path, iter([b"ne", b"w one"])) == 7
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_failure_in_the_middle_leaves_the_old_file(tmp_path):
    """When the content ends in an error, the old file stands and no temporary file is left."""
    path = tmp_path / "a.csv"
    write_whole(path, b"old")

    def breaks():
        yield b"new"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_whole(path, breaks())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_append_is_cut_back_when_there_is_no_room(tmp_path):
    """An append that fits only in part leaves the file as it was."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"x" * 100)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    child = os.fork()
    if child == 0:
        try:
            import signal

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (120, hard))
            append_durably(path, b"y" * 50)
        except OSError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert path.read_bytes() == b"x" * 100
    assert append_durably(path, b"y" * 50) == 150


def test_append_needs_the_file_and_follows_no_link(tmp_path):
    """Appending makes no file, and writes through no link."""
    with pytest.raises(FileNotFoundError):
        append_durably(tmp_path / "a.csv", b"y")
    (tmp_path / "target").touch()
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(OSError, match="symbolic"):
        append_durably(tmp_path / "link", b"y")


def test_folders_are_made_below_a_root_that_is_there(tmp_path):
    """Folders are made, but never the root: it may be a disk that is not mounted."""
    make_folder(tmp_path / "a" / "b", tmp_path)
    make_folder(tmp_path / "a" / "b", tmp_path)
    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(FileNotFoundError):
        make_folder(tmp_path / "night" / "a", tmp_path / "night")


def test_sweep_follows_no_link_and_takes_nothing_else(tmp_path):
    """Only our own temporary files go, and none outside the folder."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    for folder in (outside, inside / "deep"):
        folder.mkdir(parents=True)
        (folder / f"{PREFIX}1.tmp").touch()
    (inside / "link").symlink_to(outside)
    (inside / f"{PREFIX}link").symlink_to(outside / f"{PREFIX}1.tmp")
    (inside / ".hidden").touch()
    assert sweep(inside, deep=False) == []
    assert sweep(inside, deep=True) == [inside / "deep" / f"{PREFIX}1.tmp"]
    assert (outside / f"{PREFIX}1.tmp").exists()
    assert sweep(tmp_path / "nowhere", deep=True) == []
