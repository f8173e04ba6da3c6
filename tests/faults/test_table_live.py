"""The file table under a human's and a foreign program's hands, while a night is followed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from astropy.table import Table
from live_night import Live

from conftest import land, rows, statuses
from pipnick_watch.watch.workers import WorkerPool

MERGED = "photometric/unconsolidated/SIM-A.csv"


def listed(maindir: Path) -> set[str]:
    """List the frames in the object's CSV."""
    return {row["frame"] for row in rows(maindir / MERGED)}


def comment(text: str, word: str) -> str:
    """Put a ``#`` in front of the rows with this word."""
    return "".join("#" + line if word in line else line for line in text.splitlines(keepends=True))


def upstream(path: Path, text: str) -> None:
    """Write the table anew as the astrometry does: comments are lost, and the last row too."""
    table = Table.read(text.splitlines(), format="ascii.fixed_width")
    table[:-1].write(path, format="ascii.fixed_width", overwrite=True)


EDITS: dict[str, Callable[[Path, str], object]] = {
    "comment": lambda path, text: path.write_text(comment(text, "d1001")),
    "comment by rename": lambda path, text: (
        path.with_name("t~").write_text(comment(text, "d1001")),
        path.with_name("t~").replace(path),
    ),
    "a human's words": lambda path, text: path.write_text(
        "# clouds from here on\n\n" + text + "# a last word\n"
    ),
    "byte order mark": lambda path, text: path.write_bytes(b"\xef\xbb\xbf" + text.encode()),
    "CRLF": lambda path, text: path.write_bytes(text.replace("\n", "\r\n").encode()),
    "no newline at the end": lambda path, text: path.write_text(text.rstrip("\n")),
    "torn last row": lambda path, text: path.write_text(text[:-30]),
    "stale copy": lambda path, text: path.write_text("".join(text.splitlines(keepends=True)[:-1])),
    "upstream's rewrite": upstream,
    "removed": lambda path, text: path.unlink(),
}


@pytest.mark.parametrize("how", EDITS)
def test_an_edit_is_respected_and_the_next_frame_gets_its_row(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool, how: str
) -> None:
    """Whatever was done to the table, a human's lines survive, and every frame has its row.

    Outcome: only a ``#`` excludes; no path is cut; the next frame's row is added.
    """
    first, second, third, last = frames
    table = maindir / "astrometry_files.tbl"
    with Live(maindir, pool, rescan_s=1.0) as live:
        for frame in (first, second, third):
            land(maindir, frame, frames[frame])
        live.until_done(first, second, third)
        live.until(lambda: table.exists() and third in table.read_text(), "the table's rows")
        EDITS[how](table, table.read_text())
        kept = [line for line in table.read_text().splitlines() if "#" in line] \
            if table.exists() else []  # fmt: skip
        if how.startswith("comment"):
            live.until(lambda: listed(maindir) == {second, third}, "the frame's leaving", 8)
        else:
            live.run(1.5)
        long = f"{Path(last).parent}/d1004_with_a_very_long_name_for_a_table_red.fits"
        land(maindir, long, frames[last])
        live.until_done(long)
        live.until(lambda: table.exists() and long in table.read_text(), "the new row", 8)
        live.until(
            lambda: all(name in table.read_text() for name in (first, second, third)),
            "the rows that were lost",
            8,
        )
        live.until_quiet()
        wanted = {second, third} if how.startswith("comment") else {first, second, third}
        assert listed(maindir) == wanted
        after = table.read_text().splitlines()
        squeezed = {"".join(line.split()) for line in after}
        assert all("".join(line.split()) in squeezed for line in kept)
        # astropy takes a byte order mark for a column's beginning; that is the editor's doing
        text = table.read_text(encoding="utf-8-sig")
        paths = set(Table.read(text.splitlines(), format="ascii.fixed_width")["paths"])
        assert {str(maindir / "reduced" / name) for name in (*wanted, long)} <= paths


def test_a_frame_commented_out_while_it_is_measured_is_not_published(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool
) -> None:
    """Its rows never reach the object's CSV; uncommented, they come."""
    first, second = list(frames)[:2]
    table = maindir / "astrometry_files.tbl"
    lock = maindir / "reduced" / f"{first}.lock"
    with Live(maindir, pool) as live:
        import fcntl

        lock.parent.mkdir(parents=True)
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for frame in (first, second):
                land(maindir, frame, frames[frame])
            live.until_done(second)
            live.until(lambda: table.exists() and first in table.read_text(), "the locked row")
            text = table.read_text()
            table.write_text(comment(text, "d1001"))
            live.run(1.5)
        live.until_done(first, status="excluded")
        live.run(0.5)
        assert listed(maindir) == {second}
        table.write_text(text)
        live.until(lambda: listed(maindir) == {first, second}, "the frame's coming back", 8)


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"<<<<<<< ours\n| names |\n"])
def test_an_unreadable_table_is_left_alone(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool, content: bytes
) -> None:
    """Empty, binary or in the middle of a merge: named, not overwritten, frames go on."""
    first, second = list(frames)[:2]
    table = maindir / "astrometry_files.tbl"
    with Live(maindir, pool) as live:
        land(maindir, first, frames[first])
        live.until_done(first)
        live.until_quiet()
        good = table.read_bytes()
        table.write_bytes(content)
        land(maindir, second, frames[second])
        live.until_done(second)
        live.run(2.0)
        assert table.read_bytes() == content
        assert any("astrometry_files.tbl" in line for line in live.following.status.troubles)
        assert set(statuses(maindir).values()) == {"done"}
        table.write_bytes(good)
        live.until(lambda: second in table.read_text(), "the row that was held back", 8)
        assert os.stat(table).st_size > len(good)
