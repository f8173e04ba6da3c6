"""Broken and hostile frames and headers: bounded, named, and no hindrance to the good ones."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from live_night import Live

from conftest import BIN, Daemon, land, rows, statuses
from pipnick_watch.watch.workers import WorkerPool

OBJECTS = [
    "../../x", "/etc/x", "=cmd|' /C calc'!A0", "$\\frac{$", "x" * 68, "a|b", "-13_1234", "@SUM(1)",
    "", ".hidden", "tab\there", "semi;colon,comma", '"quoted"', "nan", "#13",
]  # fmt: skip


def header(*cards: str) -> bytes:
    """Write header blocks from cards."""
    text = "".join(f"{card:<80}" for card in (*cards, "END"))
    return text.encode("latin-1").ljust(-(-len(text) // 2880) * 2880)


def impossible() -> dict[str, bytes]:
    """Make files that no frame is: each must be failed, and none may cost much."""
    start = ("SIMPLE  =                    T", "BITPIX  =                   16")

    def image(*cards: str) -> bytes:
        return header(*start, *cards).ljust(2880 * 20, b"\0")

    import gzip

    bomb = gzip.compress(b"\0" * 2**24)
    many = header(*start, "NAXIS   =                    0")
    extension = header(
        "XTENSION= 'IMAGE   '", "BITPIX  =                    8", "NAXIS   =                    0",
        "PCOUNT  =                    0", "GCOUNT  =                    1",
    )  # fmt: skip
    flat = fits.PrimaryHDU(np.zeros((30, 30), ">f4"))
    cube = fits.PrimaryHDU(np.zeros((4, 30, 30), ">f4"))
    for hdu in (flat, cube):
        hdu.header["OBJECT"] = "bad"
    flat.data[:] = np.nan
    found = {
        "text": b"no FITS file at all\n" * 400,
        "bytes": bytes(range(256)) * 100,
        "huge": image("NAXIS   = 2", "NAXIS1  =           2000000000", "NAXIS2  = 2000000000"),
        "many_axes": image("NAXIS   =                  999"),
        "negative": image("NAXIS   =                    2", "NAXIS1  = -5", "NAXIS2  = -5"),
        "words": image("NAXIS   = 'two'", "NAXIS1  = 'wide'"),
        "bitpix": header("SIMPLE  =                    T", "BITPIX  =                    7",
                         "NAXIS   =                    0").ljust(2880 * 3, b"\0"),
        "scaled": image("NAXIS   =                    2", "NAXIS1  =                   50",
                        "NAXIS2  =                   50", "BSCALE  = 'lots'"),
        "no_end": b"SIMPLE  =                    T".ljust(80) + b"COMMENT".ljust(80) * 40_000,
        "bomb": bomb,
        "many_hdus": many + extension * 30_000,
        "nan": b"",
        "cube": b"",
    }  # fmt: skip
    for name, hdu in (("nan", flat), ("cube", cube)):
        import io

        buffer = io.BytesIO()
        hdu.writeto(buffer)
        found[name] = buffer.getvalue()
    return found


@pytest.fixture
def outside(maindir: Path) -> Iterator[None]:
    """Watch that nothing appears beside MAINDIR but the daemon's log."""
    before = {"/etc": set(os.listdir("/etc"))}
    yield
    assert set(os.listdir("/etc")) == before["/etc"]
    assert {path.name for path in maindir.parent.iterdir() if path.suffix != ".log"} == {"night"}


def test_a_corpus_of_impossible_files(
    frames: dict[str, bytes], maindir: Path, outside: None
) -> None:
    """Huge, negative and absurd axes, bombs, FIFOs, links: failed with a reason, or ignored.

    Outcome: the good frames are done first of all, every bad one is failed soon, the short ones
    wait, no worker dies and none grows beyond its limit.
    """
    bad = impossible()
    reduced = maindir / "reduced"
    (reduced / "bad_V").mkdir()
    sparse = reduced / "bad_V" / "sparse.fits"
    with sparse.open("wb") as file:
        file.write(header("SIMPLE  =                    T", "BITPIX  =                   16",
                          "NAXIS   =                    2", "NAXIS1  =              1000000",
                          "NAXIS2  =              1000000"))  # fmt: skip
        file.truncate(2 * 10**12)
    os.mkfifo(reduced / "bad_V" / "pipe.fits")
    (reduced / "bad_V" / "out.fits").symlink_to("/etc/hostname")
    (reduced / "bad_V" / "folder.fits").mkdir()
    for name, content in bad.items():
        land(maindir, f"bad_V/{name}.fits", content)
    with Daemon(maindir, "--short-timeout-s", "2") as daemon:
        for frame, content in frames.items():
            land(maindir, frame, content)
        started = time.monotonic()
        daemon.wait_done(*frames)
        assert time.monotonic() - started < 30
        daemon.wait_done(*(f"bad_V/{name}.fits" for name in bad), status="failed", seconds=30)
        daemon.wait_done("bad_V/sparse.fits", status="failed")
        said = daemon.said()
        assert "its worker died" not in said
        assert "try 1 of" not in said
        for name in ("pipe", "out", "folder"):
            assert f"bad_V/{name}.fits: ignored" in said
        assert daemon.stop() == 0
    known = {row["frame"]: row for row in rows(maindir / "photometric" / "frames.csv")}
    assert all(known[f"bad_V/{name}.fits"]["reason"] not in ("", "nan") for name in bad)
    assert not any("bad_V/pipe" in frame or "bad_V/out" in frame for frame in known)


def test_hostile_object_names(maindir: Path, pool: WorkerPool, outside: None) -> None:
    """Whatever OBJECT and FILTNAM say, all files stay inside, and CSV and table stay readable.

    No cell of a CSV begins with a sign of a formula, and no control character reaches a log line.
    """
    import io

    from astropy.table import Table

    from pipnick_watch.simulate import FieldSettings, Optics, Pointing, simulate_field
    from pipnick_watch.simulate import frame_bytes as to_bytes

    field = FieldSettings(optics=Optics(shape=(120, 130), fwhm=4.0), n_stars=5, faintest=14.5)
    plain = to_bytes(simulate_field(field, 5, Pointing(object="PLAIN", filter="V")))
    names = []
    for number, name in enumerate(OBJECTS):
        with fits.open(io.BytesIO(plain)) as hdus:
            printable = name.replace("\t", " ")
            hdus[0].header["OBJECT"] = printable
            hdus[0].header["FILTNAM"] = printable[:10] or "V"
            buffer = io.BytesIO()
            hdus.writeto(buffer)
        content = buffer.getvalue()
        if "\t" in name:
            content = content.replace(b"'tab here", b"'tab\x1bhere", 1)
        names.append(f"odd/d{number}.fits")
        land(maindir, names[-1], content)
    with Live(maindir, pool) as live:
        live.until_done(*names)
        live.until_quiet()
    for path in (maindir / "photometric").rglob("*.csv"):
        text = path.read_text()
        assert "\x1b" not in text
        for row in rows(path):
            for name in ("object", "filter", "reason", "frame"):
                assert not row.get(name, "x").startswith(("=", "+", "@", "\t", "-"))
    table = Table.read(maindir / "astrometry_files.tbl", format="ascii.fixed_width")
    assert len(table) == len(OBJECTS)
    assert sorted(table["paths"]) == sorted(str(maindir / "reduced" / name) for name in names)
    assert set(statuses(maindir).values()) == {"done"}
    for path in (maindir / "photometric").rglob("*"):
        assert path.resolve().is_relative_to(maindir.resolve())


WORDS = {
    "nul": b"a\0b",
    "newline": b"a\nb\r,c",
    "ansi": b"\x1b[31mred\x1b]0;title\x07",
    "c1": b"\x9b2J\x85x",
    "html": b"<script>alert(1)</script>",
    "quotes": b'"><img src=x>&amp;',
}
"""What OBJECT and the other words of a header say here."""


def worded(content: bytes, **words: bytes) -> bytes:
    """Write these bytes as the texts of cards, whatever a header may hold."""
    for keyword, word in words.items():
        start = content.index(keyword.ljust(8).encode() + b"= ")
        card = keyword.ljust(8).encode() + b"= '" + word.ljust(8) + b"'"
        content = content[:start] + card.ljust(80) + content[start + 80 :]
    return content


def controls(text: bytes) -> set[str]:
    """Find the control characters but newlines."""
    found = set(text.decode(errors="surrogateescape"))
    return {char for char in found if not char.isprintable() and char != "\n"}


def test_control_characters_and_markup_in_headers_and_names(
    frames: dict[str, bytes], maindir: Path, outside: None
) -> None:
    """NUL, newline, escapes and HTML are inert in console, log, CSVs, table, status and page.

    Outcome: every frame is done and its picture drawn; one whose BUNIT is odd is failed, and its
    reason is one line too; a name that no terminal can show is ignored with a log line.
    """
    content = next(iter(frames.values()))
    names = {}
    for name, word in WORDS.items():
        names[f"odd_V/{name}_red.fits"] = worded(content, OBJECT=word, FILTNAM=word[:8])
    names["<b onclick='alert(2)'>_V/$x^{$&lt;_red.fits"] = content
    for frame, bytes_ in names.items():
        land(maindir, frame, bytes_)
    land(maindir, "odd_V/unit_red.fits", worded(content, BUNIT=b"adu\x1b[2J\n<b>"))
    for odd in (b"d\xff.fits", b"d\x1b[2J.fits", b"d\n.fits"):
        Path(os.fsdecode(bytes(maindir) + b"/reduced/odd_V/" + odd)).write_bytes(content)
    once = subprocess.run(
        [BIN / "pipnick-watch", maindir, "--once"], capture_output=True, timeout=100, check=False
    )
    assert once.returncode == 1, once.stderr
    status = subprocess.run(
        [BIN / "pipnick-watch", maindir, "--status"], capture_output=True, timeout=100, check=False
    )
    assert b"Traceback" not in once.stderr + status.stderr
    assert once.stderr.count(b"ignored") == 3
    photometric = maindir / "photometric"
    texts = {
        path: path.read_bytes()
        for path in [maindir / "astrometry_files.tbl", *photometric.rglob("*")]
        if path.suffix in (".csv", ".log", ".tbl", ".html", ".json")
    }
    assert {path.suffix for path in texts} >= {".csv", ".log", ".tbl", ".html"}
    for what, text in {**texts, "console": once.stderr, "status": status.stdout}.items():
        assert not controls(text), (what, controls(text))
    page = (photometric / "index.html").read_text()
    assert "<script>alert" not in page
    assert "<b onclick" not in page
    assert "<img src=x>" not in page
    known = {row["frame"]: row for row in rows(photometric / "frames.csv")}
    assert all(known[frame]["status"] == "done" for frame in names)
    assert known["odd_V/unit_red.fits"]["status"] == "failed"
    assert len(list((photometric / "plots").rglob("*_sources.png"))) == len(names)
