"""Is a file whole, and what does it say it is: on whole, short and hostile files."""

import contextlib
import gzip
import os
import socket
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from pipnick_watch.camera import Camera, Keywords
from pipnick_watch.errors import FrameError, FrameNotReadyError
from pipnick_watch.outline import MAX_SIZE, outline

CAMERA = Camera()


def card(keyword: str, value: object) -> bytes:
    return f"{keyword:8}= {value!s:>20}".ljust(80).encode("latin-1")


def header(*cards: bytes, end: bool = True) -> bytes:
    text = b"".join(cards) + (b"END".ljust(80) if end else b"")
    return text + b" " * (-len(text) % 2880)


def primary(*cards: bytes, bitpix: object = 16, axes: tuple[object, ...] = (20, 10)) -> bytes:
    lengths = [card(f"NAXIS{number}", axis) for number, axis in enumerate(axes, start=1)]
    return header(
        card("SIMPLE", "T"), card("BITPIX", bitpix), card("NAXIS", len(axes)), *lengths, *cards
    )


def write(folder: Path, content: bytes) -> Path:
    path = folder / "d1.fits"
    path.write_bytes(content)
    return path


GOOD = primary(card("OBJECT", "'M 13'"), card("FILTNAM", "'V'")) + bytes(2880)


def nickel(path: Path, **more: object) -> Path:
    """Write a frame as the reduction does: image, MASK, UNCERT."""
    head = fits.Header({"OBJECT": "NGC_4147", "FILTNAM": "V", "EXPTIME": 60, **more})
    data = np.full((40, 30), 100.0)
    fits.HDUList(
        [
            fits.PrimaryHDU(data, head),
            fits.ImageHDU(np.zeros((40, 30), np.uint8), name="MASK"),
            fits.ImageHDU(data, name="UNCERT"),
        ]
    ).writeto(path)
    return path


def test_whole_frame(tmp_path: Path) -> None:
    """A whole frame is complete, and its size, names and parts are as written."""
    path = nickel(tmp_path / "d1.fits")
    sketch = outline(path, CAMERA)
    assert sketch.complete
    assert (sketch.size, sketch.expected_size) == (path.stat().st_size,) * 2
    assert (sketch.mtime_ns, sketch.ino) == (path.stat().st_mtime_ns, path.stat().st_ino)
    assert (sketch.object, sketch.filter, sketch.has_checksum) == ("NGC_4147", "V", False)
    assert [part.name for part in sketch.parts] == ["", "MASK", "UNCERT"]
    assert sketch.image == 0
    assert sketch.first(CAMERA.keywords.exptime) == "60"


def test_every_length(tmp_path: Path) -> None:
    """A frame cut anywhere is never complete, unless it ends exactly where a part ends."""
    content = nickel(tmp_path / "whole.fits").read_bytes()
    ends = {part.stop for part in outline(tmp_path / "whole.fits", CAMERA).parts}
    for length in sorted({*range(0, len(content), 997), *ends, *(end - 1 for end in ends)}):
        sketch = outline(write(tmp_path, content[:length]), CAMERA)
        assert sketch.complete == (length in ends), length
        assert sketch.reason.startswith("incomplete") or sketch.complete
        assert sketch.complete or sketch.expected_size >= length


def test_short_reason(tmp_path: Path) -> None:
    """A short file says how much of how much is there."""
    content = primary(axes=(400, 450)) + bytes(178_000)
    sketch = outline(write(tmp_path, content), CAMERA)
    assert sketch.reason == "incomplete: 180 of 362 kB"
    assert sketch.object == "UNKNOWN"
    missing_one = outline(write(tmp_path, GOOD[:-1]), CAMERA)
    assert missing_one.reason == "incomplete: 5759 of 5760 bytes"


def test_prepared_place(tmp_path: Path) -> None:
    """A header that is cut short by zeros, as in a preallocated file, is short and not broken."""
    content = header(card("SIMPLE", "T"), card("BITPIX", 16), end=False)[:1600].rstrip()
    content = content.ljust(1600) + bytes(9_000_000)
    assert outline(write(tmp_path, content), CAMERA).reason.startswith("incomplete")


def test_what_follows(tmp_path: Path) -> None:
    """What follows the last part and is no extension is left alone."""
    sketch = outline(write(tmp_path, GOOD + b"\n" * 5000), CAMERA)
    assert sketch.complete
    assert sketch.expected_size == len(GOOD)


@pytest.mark.parametrize("compression", ["RICE_1", "GZIP_1"])
def test_compressed(tmp_path: Path, compression: str) -> None:
    """The image of a tile-compressed frame and its names are found in the extension."""
    path = tmp_path / "d1.fits.fz"
    head = fits.Header({"OBJECT": "M 92", "FILTER": "R"})
    image = fits.CompImageHDU(np.ones((50, 60), np.int16), head, compression_type=compression)
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    sketch = outline(path, CAMERA)
    assert sketch.complete
    assert (sketch.object, sketch.filter, sketch.image) == ("M92", "R", 1)
    assert sketch.parts[1].axes == (60, 50)


def test_image_in_extension(tmp_path: Path) -> None:
    """An image in an extension takes from the primary header what its own does not say."""
    path = tmp_path / "d1.fits"
    top = fits.PrimaryHDU(header=fits.Header({"OBJECT": "from the top", "FILTER": "B"}))
    image = fits.ImageHDU(np.ones((5, 6)), fits.Header({"FILTER": "I", "OBJECT": ""}), name="SCI")
    other = fits.ImageHDU(np.ones((5, 6)), name="WEIGHT")
    fits.HDUList([top, image, other]).writeto(path)
    sketch = outline(path, CAMERA)
    assert (sketch.object, sketch.filter, sketch.image) == ("FROMTHETOP", "I", 1)


def test_keywords_of_the_profile(tmp_path: Path) -> None:
    """Keywords are the profile's: the first that is present and not blank, long ones too."""
    keywords = Keywords(object=("HIERARCH ESO OBS NAME", "TARGET"), filter=("FILTNAM", "FILTER"))
    long = b"HIERARCH ESO OBS NAME = 'WASP-12 b' / target".ljust(80)
    blank, other = card("FILTNAM", "'    '"), card("FILTER", "'r''' / Sloan")
    path = write(tmp_path, primary(long, blank, other) + bytes(2880))
    sketch = outline(path, Camera(keywords=keywords))
    assert (sketch.object, sketch.filter) == ("WASP-12B", "R_")


def test_odd_names(tmp_path: Path) -> None:
    """Whatever OBJECT holds, only a clean name comes out."""
    names = {
        b"'../../x'": "_.._X",
        b"'/etc/x'": "_ETC_X",
        b"'a\x00b\x1b[31m\n|'": "A_B__31M_",
        b"'=cmd|x'": "_CMD_X",
        b"'\xff\xfe'": "__",
        b"13": "13",
        b"'a long string that goes on \xe9 &'": "ALONGSTRINGTHATGOESON_FURTHER",
        b"''": "UNKNOWN",
    }
    for value, name in names.items():
        raw = (b"OBJECT  = " + value).ljust(80)
        further = b"CONTINUE  'further' / and a comment".ljust(80)
        path = write(tmp_path, primary(raw, further) + bytes(2880))
        assert outline(path, CAMERA).object == name, value


def test_endless_name(tmp_path: Path) -> None:
    """A string continued over thousands of cards costs little and is cut to 64 letters."""
    more = [b"CONTINUE  'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx&'".ljust(80)] * 20_000
    path = write(tmp_path, primary(card("OBJECT", "'x&'"), *more) + bytes(2880))
    assert outline(path, CAMERA).object == "X" * 64


FAILED = {
    "text": (b"this is a log file, not a frame\n" * 200, "not FITS"),
    "binary": (bytes(range(256)) * 40, "not FITS"),
    "zeros": (bytes(40_000), "not FITS"),
    "gzipped": (gzip.compress(GOOD), "gunzip"),
    "not standard": (GOOD.replace(b"   T", b"   F", 1), "SIMPLE"),
    "wide": (primary(axes=(2_000_000_000, 2)), "too large"),
    "vast": (primary(axes=(2_000_000, 2_000_000)), "too large"),
    "999 axes": (header(card("SIMPLE", "T"), card("BITPIX", 8), card("NAXIS", 999)), "NAXIS1"),
    "1000 axes": (header(card("SIMPLE", "T"), card("BITPIX", 8), card("NAXIS", 1000)), "NAXIS"),
    "-1 axes": (header(card("SIMPLE", "T"), card("BITPIX", 8), card("NAXIS", -1)), "NAXIS"),
    "negative axis": (primary(axes=(-20, 10)), "NAXIS1 = -20"),
    "axis in words": (primary(axes=("'many'", 10)), "NAXIS1 is not a whole number"),
    "half an axis": (primary(axes=(20.5, 10)), "NAXIS1 is not a whole number"),
    "endless number": (primary(axes=("9" * 60, 10)), "NAXIS1 is not a whole number"),
    "7 bits": (primary(bitpix=7), "BITPIX = 7"),
    "no bits": (header(card("SIMPLE", "T"), card("NAXIS", 0)), "BITPIX is missing"),
    "cube": (primary(axes=(20, 10, 3)) + bytes(2880), "20 × 10 × 3"),
    "line": (primary(axes=(20,)) + bytes(2880), "not one 2-D image"),
    "nothing": (primary(axes=()), "no images"),
    "groups": (primary(card("GROUPS", "T"), axes=(0, 10)) + bytes(2880), "random groups"),
    "no end": (GOOD[:80] + b"A" * 9_000_000, "no END"),
    "30,000 parts": (
        primary(axes=())
        + header(card("XTENSION", "'IMAGE'"), card("BITPIX", 8), card("NAXIS", 0)) * 30_000,
        "extensions",
    ),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", FAILED)
def test_failed_at_once(tmp_path: Path, kind: str) -> None:
    """What more bytes cannot mend is refused at once, in little memory, with one line of reason."""
    content, reason = FAILED[kind]
    path = write(tmp_path, content)
    tracemalloc.start()
    try:
        with pytest.raises(FrameError, match=reason) as caught:
            outline(path, CAMERA)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 120


def test_negative_group_counts(tmp_path: Path) -> None:
    """Negative counts in an extension cannot make a part end before it begins."""
    counts = card("PCOUNT", -99999), card("GCOUNT", 1)
    start = card("XTENSION", "'IMAGE'"), card("BITPIX", 8), card("NAXIS", 0)
    with pytest.raises(FrameError, match="PCOUNT"):
        outline(write(tmp_path, GOOD + header(*start, *counts)), CAMERA)


def test_sparse(tmp_path: Path) -> None:
    """A file of two terabytes of nothing is refused unread."""
    path = write(tmp_path, GOOD)
    os.truncate(path, 2 * 10**12)
    with pytest.raises(FrameError, match="too large"):
        outline(path, CAMERA)
    os.truncate(path, MAX_SIZE)
    assert outline(path, CAMERA).complete


def test_not_a_file(tmp_path: Path) -> None:
    """A link, a FIFO, a socket and a folder are refused without following or waiting."""
    good = write(tmp_path, GOOD)
    link, fifo, folder = tmp_path / "l.fits", tmp_path / "f.fits", tmp_path / "d.fits"
    link.symlink_to(good)
    os.mkfifo(fifo)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(tmp_path):
        server.bind("s.fits")
    for path in (link, fifo, folder, tmp_path / "s.fits"):
        with pytest.raises(FrameError, match="not a regular file"):
            outline(path, CAMERA)


def test_gone(tmp_path: Path) -> None:
    """A file that is gone may come back: it is not ready, not failed."""
    with pytest.raises(FrameNotReadyError, match="No such file"):
        outline(tmp_path / "d1.fits", CAMERA)


def test_random_bytes(tmp_path: Path) -> None:
    """A header with bytes changed at random gives an outline or a FrameError, nothing else."""
    good = bytearray(nickel(tmp_path / "whole.fits").read_bytes())
    rng = np.random.default_rng()
    for _ in range(300):
        broken = good.copy()
        for place in rng.integers(0, 1200, rng.integers(1, 6)):
            broken[place] = rng.integers(0, 256)
        path = write(tmp_path, bytes(broken))
        try:
            sketch = outline(path, CAMERA)
        except FrameError as error:
            assert str(error).isprintable()
        else:
            assert sketch.complete or sketch.reason.isprintable()
