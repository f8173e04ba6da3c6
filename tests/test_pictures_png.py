"""How a picture lands on disk."""

import fcntl
import os
import signal
import stat
import struct
import subprocess
import sys
import zlib

import pytest
from picture_cases import make_case

from pipnick_watch.pictures.group_sheets import group_sheets
from pipnick_watch.pictures.picture import prepare_picture
from pipnick_watch.pictures.png import write_png
from pipnick_watch.pictures.sources import draw_sources
from pipnick_watch.pictures.theme import HEIGHT, SHARPNESS, WIDTH, add_text, new_figure
from pipnick_watch.records.publishing import sweep
from pipnick_watch.settings import Settings


def chunks(content):
    """Give name and data of each chunk of a PNG, its checksums verified."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    found, place = [], 8
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        name, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        (check,) = struct.unpack(">I", content[place + 8 + length : place + 12 + length])
        assert zlib.crc32(name + data) == check
        found.append((name, data))
        place += 12 + length
    return found


def source_figure():
    return draw_sources(prepare_picture(*make_case(), Settings()))


def test_the_file_is_a_whole_png(tmp_path):
    """It begins and ends as a PNG does, all checksums are right, and the size is the theme's."""
    write_png(source_figure(), tmp_path / "a.png")
    found = chunks((tmp_path / "a.png").read_bytes())
    assert [found[0][0], found[-1][0]] == [b"IHDR", b"IEND"]
    size = struct.unpack(">II", found[0][1][:8])
    assert size == (int(WIDTH * SHARPNESS), int(HEIGHT * SHARPNESS))


def test_the_same_input_gives_the_same_bytes(tmp_path):
    """Nothing of when or where it was drawn is in the file."""
    for number in (1, 2):
        write_png(source_figure(), tmp_path / f"{number}.png")
        write_png(
            group_sheets(*make_case(n_sources=6, n_pairs=2), Settings())[1],
            tmp_path / f"sheet{number}.png",
        )
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    assert (tmp_path / "sheet1.png").read_bytes() == (tmp_path / "sheet2.png").read_bytes()
    names = {name for name, _ in chunks((tmp_path / "1.png").read_bytes())}
    assert b"tIME" not in names


def test_drawing_twice_from_one_figure_is_the_same(tmp_path):
    """Writing does not change the figure."""
    figure = source_figure()
    write_png(figure, tmp_path / "1.png")
    write_png(figure, tmp_path / "2.png")
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


def test_the_folder_is_made_and_nothing_else_is_left(tmp_path):
    """Only the picture is in the folder afterwards, readable as any new file."""
    path = tmp_path / "plots" / "X_V" / "d1_sources.png"
    write_png(new_figure(), path)
    assert list(path.parent.iterdir()) == [path]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_missing_maindir_is_not_made(tmp_path):
    """A disk that is not mounted gets no folders in its place."""
    with pytest.raises(FileNotFoundError):
        write_png(new_figure(), tmp_path / "night" / "photometric" / "plots" / "X_V" / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_living_writer_is_not_swept_away(tmp_path):
    """What a killed process leaves is swept by records; what is being written is not."""
    stop = "import fcntl, os, signal; fcntl.flock = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"
    script = (
        "from pathlib import Path\n"
        "from pipnick_watch.pictures.png import write_png\n"
        "from pipnick_watch.pictures.theme import new_figure\n"
        f"{stop}\n"
        f"write_png(new_figure(), Path({str(tmp_path / 'a.png')!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    with left.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert sweep(tmp_path, deep=False) == []
    assert sweep(tmp_path, deep=False) == [left]


def test_a_picture_is_replaced(tmp_path):
    """The new picture stands where the old one was."""
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    write_png(new_figure(), path)
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_a_failed_write_leaves_the_old_picture(tmp_path):
    """What cannot be put in place leaves nothing behind and harms nothing."""
    target = tmp_path / "a.png"
    target.mkdir()
    (target / "keep").touch()
    with pytest.raises(OSError, match=r"a\.png"):
        write_png(new_figure(), target)
    assert list(tmp_path.iterdir()) == [target]


def test_a_long_file_name_still_fits(tmp_path):
    """A name as long as the file system allows has its temporary file all the same."""
    path = tmp_path / ("x" * 251 + ".png")
    write_png(new_figure(), path)
    assert path.exists()


def test_text_is_never_mathematics(tmp_path):
    """Dollar signs, braces and backslashes are drawn as they are."""
    figure = new_figure()
    add_text(figure, 10.0, 10.0, r"$\frac{$ $x^2$ \textbf{")
    write_png(figure, tmp_path / "a.png")
