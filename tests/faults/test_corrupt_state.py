"""State that is missing, torn or nonsense: rebuilt, with nothing lost and nothing doubled."""

import random
import shutil
from pathlib import Path

import pytest
from live_night import Live

from conftest import land, night_rows, rows
from pipnick_watch.records.publishing import PREFIX
from pipnick_watch.watch.workers import WorkerPool


def spoil_log(log: Path, how: str) -> None:
    """Spoil the night log."""
    content = log.read_bytes()
    head, first, rest = content.split(b"\n", 2)
    if how == "night log torn":
        log.write_bytes(content[:-40])
    elif how == "night log gone":
        log.unlink()
    else:
        log.write_bytes(head + b"\n" + first[: len(first) // 2] + b"\x00\xff\n" + rest)


def spoil_csv(merged: Path, how: str) -> None:
    """Spoil an object's CSV."""
    content = merged.read_bytes()
    if how == "csv torn":
        merged.write_bytes(content[:-30])
    elif how == "csv doubled":
        merged.write_bytes(content + content.partition(b"\n")[2])
    else:
        merged.unlink()


def spoil(maindir: Path, how: str) -> None:
    """Spoil what a night has recorded."""
    photometric = maindir / "photometric"
    catalogue = photometric / "unconsolidated" / "SIM-A_V" / "d1001_photsrcs.csv"
    if how.startswith("night log"):
        spoil_log(photometric / "frames.csv", how)
    elif how.startswith("csv"):
        spoil_csv(photometric / "unconsolidated" / "SIM-A.csv", how)
    elif how == "state folder gone":
        shutil.rmtree(photometric / ".pipnick-watch")
    elif how == "state is garbage":
        for path in (photometric / ".pipnick-watch").iterdir():
            path.write_bytes(b"\0{[garbage")
    elif how == "catalogue gone":
        catalogue.unlink()
    elif how == "catalogue garbage":
        catalogue.write_bytes(b"\x7fELF")
    elif how == "everything gone":
        shutil.rmtree(photometric)
    else:
        for folder in (maindir, photometric, catalogue.parent):
            (folder / f"{PREFIX}1-2-3.tmp").write_bytes(b"left behind")
        (maindir / "reduced" / ".pw-cookie-99999").touch()


@pytest.mark.parametrize(
    "how",
    ["state folder gone", "state is garbage", "night log torn", "night log gone",
     "night log garbage in the middle", "csv torn", "csv doubled", "csv gone", "catalogue gone",
     "catalogue garbage", "temporary files", "everything gone"],
)  # fmt: skip
def test_spoiled_state_is_put_right_at_the_next_start(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool, how: str,
    undisturbed: dict[str, list[tuple[str, ...]]],
) -> None:  # fmt: skip
    """After a restart the rows are an undisturbed run's, whatever had been spoiled."""
    for frame, content in frames.items():
        land(maindir, frame, content)
    with Live(maindir, pool) as live:
        live.until_done(*frames)
        live.until_quiet()
    spoil(maindir, how)
    with Live(maindir, pool) as live:
        live.until_quiet()
        live.until_done(*frames)
    found = night_rows(maindir)
    assert found == undisturbed
    assert not list(maindir.rglob(PREFIX + "*"))
    assert not list(maindir.rglob(".pw-cookie-*"))


@pytest.mark.parametrize("seed", range(6))
def test_bytes_lost_at_random(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool, seed: int,
    undisturbed: dict[str, list[tuple[str, ...]]],
) -> None:  # fmt: skip
    """Files cut at random places, several at once: the same."""
    chance = random.Random(seed)
    for frame, content in frames.items():
        land(maindir, frame, content)
    with Live(maindir, pool) as live:
        live.until_done(*frames)
        live.until_quiet()
    files = sorted((maindir / "photometric").rglob("*.csv"))
    for path in chance.sample(files, 3):
        content = path.read_bytes()
        path.write_bytes(content[: chance.randrange(len(content))])
    with Live(maindir, pool) as live:
        live.until_quiet()
        live.until_done(*frames)
    assert night_rows(maindir) == undisturbed


def test_spoiled_while_it_runs(frames: dict[str, bytes], maindir: Path, pool: WorkerPool) -> None:
    """The object's CSV is cut and the state folder removed under a running daemon: it goes on.

    Outcome: the next frame of the object makes its CSV whole again.
    """
    first, second, third, _ = frames
    with Live(maindir, pool, rescan_s=1.0) as live:
        for frame in (first, second):
            land(maindir, frame, frames[frame])
        live.until_done(first, second)
        merged = maindir / "photometric" / "unconsolidated" / "SIM-A.csv"
        merged.write_bytes(merged.read_bytes()[:-30])
        shutil.rmtree(maindir / "photometric" / ".pipnick-watch")
        land(maindir, third, frames[third])
        live.until_done(third)
        assert {row["frame"] for row in rows(merged)} == {first, second, third}
