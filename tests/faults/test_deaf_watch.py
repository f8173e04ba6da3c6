"""Events that never come: overflows, silent file systems, exhausted limits, watches that died."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_night import Live

from conftest import BIN, Daemon, land, night_rows, statuses, wait_for
from pipnick_watch.watch import night
from pipnick_watch.watch.workers import WorkerPool

N_NAMES = 9000


def run(*words: str | Path) -> None:
    """Run a command; the test is skipped where the machine does not allow it."""
    ran = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip(f"{' '.join(map(str, words))}: {ran.stderr.strip()}")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Give a function that mounts something, undone at the end."""
    points: list[Path] = []

    def mount(point: Path, *words: str | Path) -> None:
        run("mount", *words, point)
        points.append(point)

    yield mount
    for point in reversed(points):
        subprocess.run(["umount", "-l", str(point)], check=False, capture_output=True)


def test_nine_thousand_names_while_the_daemon_is_stopped(
    frames: dict[str, bytes], maindir: Path, undisturbed: dict[str, list[tuple[str, ...]]]
) -> None:
    """SIGSTOP, 9000 names, SIGCONT: the kernel's queue overflows, and no complete frame is missed.

    Outcome: the complete ones, written last, are measured; the empty ones wait; the loop lives.
    """
    with Daemon(maindir, "--rescan-s", "600") as daemon:
        first = next(iter(frames))
        land(maindir, first, frames[first])
        daemon.wait_done(first)
        folder = maindir / "reduced" / "many_V"
        folder.mkdir()
        time.sleep(1.0)
        daemon.process.send_signal(signal.SIGSTOP)
        for number in range(N_NAMES):
            os.close(os.open(folder / f"e{number}.fits", os.O_WRONLY | os.O_CREAT, 0o644))
        for frame, content in frames.items():
            land(maindir, frame, content)
        daemon.process.send_signal(signal.SIGCONT)
        daemon.wait_done(*frames, seconds=60)
        assert "events were lost" in daemon.said()
        shutil.rmtree(folder)
        assert daemon.stop() == 0
    assert night_rows(maindir) == undisturbed


def test_writes_that_make_no_event(
    frames: dict[str, bytes], tmp_path: Path, pool: WorkerPool, mounted: Callable[..., None]
) -> None:
    """Frames put into the lower layer of an overlay are measured within two rescans."""
    lower, upper, work, maindir = (tmp_path / name for name in ("l", "u", "w", "night"))
    for folder in (lower / "reduced", upper, work, maindir):
        folder.mkdir(parents=True)
    mounted(maindir, "-t", "overlay", "overlay", "-o",
            f"lowerdir={lower},upperdir={upper},workdir={work}")  # fmt: skip
    frame, content = next(iter(frames.items()))
    with Live(maindir, pool, rescan_s=2.0) as live:
        assert "overlay" in live.following.watch.deaf
        live.run(0.5)
        land(lower, frame, content)
        live.until_done(frame, seconds=8)
        assert "overlay" in live.following.status.why


@pytest.mark.parametrize("limit", ["max_inotify_watches", "max_inotify_instances"])
def test_exhausted_limits_end_in_scanning(
    frames: dict[str, bytes], maindir: Path, limit: str
) -> None:
    """With five watches, or no inotify at all, the daemon says so and scans."""
    for number in range(8):
        (maindir / "reduced" / f"folder{number}_V").mkdir()
    value = 5 if "watches" in limit else 0
    inner = f"echo {value} > /proc/sys/user/{limit} && exec " + " ".join(
        [str(BIN / "pipnick-watch"), str(maindir), "--rescan-s", "1", "--no-plots"]
    )
    space = ("unshare", "--user", "--map-root-user", "sh", "-c")
    run(*space, f"echo {value} > /proc/sys/user/{limit}")
    log = maindir.parent / "log"
    with log.open("wb") as file, subprocess.Popen(
        [*space, inner],
        stdout=file, stderr=file, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            wait_for(lambda: "inotify limit is reached" in log.read_text(), "word of the limit")
            for frame, content in frames.items():
                land(maindir, frame, content)
            done = dict.fromkeys(frames, "done")
            wait_for(lambda: statuses(maindir) == done, f"the frames: {log.read_text()}")
            assert log.read_text().count("inotify limit") == 1
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def test_a_limit_reached_later_is_noticed(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders that get no watch after the start: counted, said, and scanned."""
    from pipnick_watch.watch import events

    with Live(maindir, pool, rescan_s=0.5) as live:
        assert live.following.watch.deaf == ""
        monkeypatch.setattr(events, "_count_watches", lambda: 1)
        for frame, content in frames.items():
            land(maindir, frame, content)
        live.until(lambda: live.following.watch.deaf == events.AT_LIMIT, "word of the limit")
        live.until_done(*frames)


@pytest.mark.parametrize("how", ["recreated", "renamed away", "covered", "dead thread"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_watch_that_died_is_renewed(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool, how: str,
    mounted: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """reduced/ recreated, renamed, mounted over, a thread ended by an error: it goes on.

    Outcome: what was recorded stays, and frames are heard again: the second one does not wait for
    a scan.
    """
    first, second, third = list(frames)[:3]
    reduced = maindir / "reduced"
    with Live(maindir, pool, rescan_s=1.5) as live:
        land(maindir, first, frames[first])
        live.until_done(first)
        if how == "recreated":
            shutil.rmtree(reduced)
            live.run(0.3)
            reduced.mkdir()
        elif how == "renamed away":
            reduced.rename(maindir / "old")
            reduced.mkdir()
        elif how == "covered":
            mounted(reduced, "-t", "tmpfs", "tmpfs")
        else:
            handler = live.following.watch._handler
            monkeypatch.setattr(handler, "on_any_event", lambda _: 1 / 0)
            (reduced / "nothing.txt").touch()
            live.run(0.2)
            monkeypatch.undo()
        land(maindir, second, frames[second])
        live.until_done(second)
        live.until_quiet()
        assert live.following.watch.deaf == ""
        assert live.following.watch.trouble(live.night.sweep.n_folders) == ""
        live.following._next_scan = time.monotonic() + 600
        (reduced / ".incoming").write_bytes(frames[third])
        (reduced / third).parent.mkdir(exist_ok=True)
        (reduced / ".incoming").rename(reduced / third)
        live.until_done(third, seconds=10)
        assert statuses(maindir)[first] == "done"
        rows = live.rows()["unconsolidated/SIM-A.csv"]
        assert {cell for row in rows for cell in row if cell == first}


def test_an_unmounted_night_is_waited_for(
    frames: dict[str, bytes], tmp_path: Path, pool: WorkerPool, mounted: Callable[..., None]
) -> None:
    """MAINDIR's disk goes and comes back: nothing is written beside it, nothing is lost."""
    image, maindir = tmp_path / "disk.img", tmp_path / "night"
    maindir.mkdir()
    with image.open("wb") as file:
        file.truncate(40 * 2**20)
    run("mkfs.ext4", "-q", image)
    mounted(maindir, "-o", "loop", image)
    first, second = list(frames)[:2]
    land(maindir, first, frames[first])
    with Live(maindir, pool, rescan_s=0.5) as live:
        live.until_done(first)
        before = live.rows()
        run("umount", "-l", maindir)
        live.until(lambda: bool(live.following._missing), "word that it is gone")
        live.run(2.5)
        assert list(maindir.iterdir()) == []
        run("mount", "-o", "loop", image, maindir)
        live.until(lambda: not live.following._missing, "its return")
        assert live.rows() == before
        land(maindir, second, frames[second])
        live.until_done(first, second)
        assert live.following.watch.deaf == ""


def test_scanning_costs_no_event(frames: dict[str, bytes], maindir: Path, pool: WorkerPool) -> None:
    """With --polling no watch is made, and frames are measured all the same."""
    with Live(maindir, pool, rescan_s=0.5, polling=True) as live:
        for frame, content in frames.items():
            land(maindir, frame, content)
        live.until_done(*frames)
        assert live.following.watch._observer is None


def test_hidden_folders_and_odd_names_are_no_frames(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool
) -> None:
    """An event of a path that the scan would not list is no frame either."""
    content = next(iter(frames.values()))
    (maindir / "reduced" / "seen_V").mkdir()
    with Live(maindir, pool) as live:
        for name in (".hidden/d1.fits", "d2.fits/d3.fits", "seen_V/a|b.fits", "seen_V/a\nb.fits"):
            land(maindir, name, content)
        os.symlink("/etc/hostname", maindir / "reduced" / "seen_V" / "link.fits")
        os.mkfifo(maindir / "reduced" / "seen_V" / "pipe.fits")
        land(maindir, "seen_V/good.fits", content)
        live.until_done("seen_V/good.fits")
        live.run(1.5)
        assert set(statuses(maindir)) == {"seen_V/good.fits"}
        assert not live.night.candidates


def test_a_frame_that_lands_during_a_scan_does_not_wait_for_its_end(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events are served between the slices of a scan; what it finds besides is measured too."""
    monkeypatch.setattr(night, "SLICE_S", 0.0)
    first, second = list(frames)[:2]
    for number in range(1500):
        (maindir / "reduced" / f"empty{number}").mkdir()
    with Live(maindir, pool, rescan_s=600.0) as live:
        land(maindir, second, frames[second])
        live.following.watch.take()  # its events are lost
        live.following._next_scan = 0.0
        live.turn()
        land(maindir, first, frames[first])
        while first not in statuses(maindir):
            assert live.night.does_slowly("scan")
            live.turn()
            time.sleep(0.005)
        monkeypatch.undo()
        live.until(lambda: not live.night.does_slowly("scan"), "the end of the scan")
        live.until_done(first, second)
