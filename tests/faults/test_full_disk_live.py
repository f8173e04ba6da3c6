"""A disk that is full, read-only or failing under a followed night."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_night import Live

from conftest import command, land, night_rows, statuses
from pipnick_watch.records import publishing
from pipnick_watch.records.publishing import PREFIX
from pipnick_watch.watch import outbox
from pipnick_watch.watch.workers import WorkerPool


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a MAINDIR on a file system of 14 MB."""
    folder = tmp_path / "night"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=14m", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    (folder / "reduced").mkdir()
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, left: int = 0) -> Path:
    """Fill the disk to the brim, but for so many bytes."""
    about = os.statvfs(folder)
    ballast = folder / "ballast"
    ballast.write_bytes(b"\0" * max(0, about.f_bavail * about.f_frsize - left))
    return ballast


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a disk that refuses asked again soon."""
    monkeypatch.setattr(outbox, "RETRY_S", (0.3,))


@pytest.mark.parametrize("left", [0, 4096, 20480])
def test_a_full_disk_is_waited_for(
    frames: dict[str, bytes], small_disk: Path, pool: WorkerPool, left: int, impatient: None,
    undisturbed: dict[str, list[tuple[str, ...]]],
) -> None:  # fmt: skip
    """ENOSPC at whatever write comes first: the night lives, and with room again all is done.

    Outcome: nothing half-written, no try charged, the status says why, rows as undisturbed.
    """
    first, *rest = frames
    with Live(small_disk, pool, rescan_s=1.0) as live:
        land(small_disk, first, frames[first])
        live.until_done(first)
        before = night_rows(small_disk)
        for frame in rest:
            land(small_disk, frame, frames[frame])
        ballast = fill(small_disk, left)
        live.until(lambda: bool(live.night.outbox.trouble), "word of the full disk")
        live.run(1.5)
        assert "No space left" in " ".join(live.following.status.troubles)
        assert not list(small_disk.rglob(PREFIX + "*"))
        assert all(one.tries == 0 for one in live.night.candidates.values())
        now = night_rows(small_disk)
        assert before["unconsolidated/SIM-A.csv"] == [
            row for row in now["unconsolidated/SIM-A.csv"] if first in row
        ]
        ballast.unlink()
        live.until_done(*frames)
        assert live.night.outbox.trouble == ""
    assert night_rows(small_disk) == undisturbed


def test_a_disk_that_is_full_from_the_start(
    frames: dict[str, bytes], small_disk: Path, pool: WorkerPool, impatient: None
) -> None:
    """The night cannot even begin: it waits, and begins by itself when there is room."""
    for frame, content in frames.items():
        land(small_disk, frame, content)
    ballast = fill(small_disk)
    with Live(small_disk, pool) as live:
        live.run(2.0)
        assert statuses(small_disk) == {}
        ballast.unlink()
        live.until_done(*frames)


def test_a_read_only_disk_is_waited_for(
    frames: dict[str, bytes], small_disk: Path, pool: WorkerPool, impatient: None
) -> None:
    """EROFS, as after an error of the disk: waited for; --once says it in one line."""
    for frame, content in frames.items():
        land(small_disk, frame, content)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    ran = command("pipnick-watch", small_disk, "--once", "--no-plots")
    assert ran.returncode not in (0, 130)
    assert "Read-only" in ran.stderr
    assert "Traceback" not in ran.stderr
    with Live(small_disk, pool) as live:
        live.run(1.5)
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        live.until_done(*frames)


@pytest.mark.parametrize("code", [errno.EIO, errno.EDQUOT, errno.ENOSPC])
def test_an_fsync_that_fails(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool, code: int, impatient: None,
    undisturbed: dict[str, list[tuple[str, ...]]], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Every third fsync fails: what failed is done again, and the rows are undisturbed."""
    calls = 0
    real = os.fsync

    def sometimes(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise OSError(code, os.strerror(code))
        real(descriptor)

    with Live(maindir, pool, rescan_s=1.0) as live:
        monkeypatch.setattr(publishing.os, "fsync", sometimes)
        for frame, content in frames.items():
            land(maindir, frame, content)
        live.run(4.0)
        monkeypatch.undo()
        monkeypatch.setattr(outbox, "RETRY_S", (0.3,))
        live.until_done(*frames)
        live.until_quiet()
    assert calls > 6
    assert night_rows(maindir) == undisturbed


def test_one_path_that_refuses_holds_up_no_other_frame(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder where one object's CSV should be: its frame waits and is named, the rest is done."""
    monkeypatch.setattr(outbox, "RETRY_S", (0.3,))
    *others, odd = frames
    blocked = maindir / "photometric" / "unconsolidated" / "SIMB.csv" / "in the way"
    blocked.mkdir(parents=True)
    with Live(maindir, pool, rescan_s=1.0) as live:
        land(maindir, odd, frames[odd])
        live.until(lambda: odd in live.night.outbox.aside, "word of the frame's trouble")
        for frame in others:
            land(maindir, frame, frames[frame])
        live.until_done(*others)
        assert odd not in statuses(maindir)
        blocked.rmdir()
        blocked.parent.rmdir()
        live.until_done(odd)
