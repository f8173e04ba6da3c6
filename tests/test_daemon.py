"""The daemon as an observer meets it: real processes, files, locks and signals."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from conftest import Daemon, command, land, night_rows, rows, statuses, wait_for


def test_every_way_of_landing_gives_the_same_rows(
    frames: dict[str, bytes], maindir: Path, undisturbed: dict[str, list[tuple[str, ...]]]
) -> None:
    """A slow write, a rename, a copy into a new folder and a held lock give --once's rows."""
    slow, renamed, copied, locked = frames
    with Daemon(maindir) as daemon:
        wait_for(lambda: (maindir / "photometric").is_dir(), "the daemon's first scan")
        path = maindir / "reduced" / slow
        path.parent.mkdir()
        content = frames[slow]
        with path.open("wb") as file:
            for start in range(0, len(content), len(content) // 12):
                file.write(content[start : start + len(content) // 12])
                file.flush()
                time.sleep(0.15)
        hidden = maindir / "reduced" / Path(renamed).parent / ".incoming.part"
        hidden.parent.mkdir(exist_ok=True)
        hidden.write_bytes(frames[renamed])
        hidden.rename(maindir / "reduced" / renamed)
        land(maindir, copied, frames[copied])
        daemon.wait_done(slow, renamed, copied)

        lock = maindir / "reduced" / f"{locked}.lock"
        lock.parent.mkdir(exist_ok=True)
        with subprocess.Popen(["flock", str(lock), "sleep", "6"]):
            wait_for(lock.exists, "the lock file")
            time.sleep(0.2)
            land(maindir, locked, frames[locked])
            land(maindir, "other_V/d9_red.fits", frames[copied])
            daemon.wait_done("other_V/d9_red.fits", seconds=5)
            assert locked not in statuses(maindir)
        daemon.wait_done(locked)
        assert daemon.stop() == 0
    shutil.rmtree(maindir / "reduced" / "other_V")
    found, wanted = night_rows(maindir), undisturbed
    assert found["unconsolidated/SIM-A.csv"] != []
    # The frame that was measured meanwhile is not in the undisturbed night.
    for name in wanted:
        kept = [row for row in found[name] if not any("other_V" in cell for cell in row)]
        assert kept == wanted[name]


def test_kill_in_the_middle_of_a_frame_loses_and_doubles_nothing(
    frames: dict[str, bytes], maindir: Path, undisturbed: dict[str, list[tuple[str, ...]]]
) -> None:
    """After kill -9 while a frame is measured, a restart gives the rows of an undisturbed run."""
    for pause in (0.0, 0.15, 0.4):
        with Daemon(maindir) as daemon:
            for frame, content in frames.items():
                land(maindir, frame, content)
            time.sleep(1.0 + pause)
            daemon.kill()
    with Daemon(maindir) as daemon:
        daemon.wait_done(*frames)
        assert daemon.stop() == 0
    assert night_rows(maindir) == undisturbed
    assert not list(maindir.rglob(".pw-*"))


def test_a_second_daemon_is_refused(maindir: Path) -> None:
    """It exits with 75 and says who holds the MAINDIR; --once beside a daemon is welcome."""
    with Daemon(maindir) as daemon:
        second = command("pipnick-watch", maindir)
        assert second.returncode == 75
        assert f"PID {daemon.process.pid}" in second.stderr
        assert command("pipnick-watch", maindir, "--once").returncode == 0


def test_the_daemon_waits_for_its_folder(frames: dict[str, bytes], tmp_path: Path) -> None:
    """Without reduced/ it says that it waits, and goes on when the folder comes."""
    maindir = tmp_path / "night"
    maindir.mkdir()
    frame, content = next(iter(frames.items()))
    with Daemon(maindir) as daemon:
        wait_for(lambda: "waiting for it" in daemon.said(), "word that reduced/ is missing")
        land(maindir, frame, content)
        daemon.wait_done(frame)


def test_sigterm_and_ctrl_c_end_it_cleanly(frames: dict[str, bytes], maindir: Path) -> None:
    """Both end the daemon with code 0, soon, in mid-frame too, and leave no process behind."""
    for number in (signal.SIGTERM, signal.SIGINT):
        with Daemon(maindir) as daemon:
            for frame, content in frames.items():
                land(maindir, frame, content)
            time.sleep(0.7)
            started = time.monotonic()
            daemon.process.send_signal(number)
            assert daemon.process.wait(timeout=20) == 0
            assert time.monotonic() - started < 10
            assert "Traceback" not in daemon.said()
            group = daemon.process.pid
            wait_for(lambda group=group: not _alive(group), "the end of its workers", 10)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_end_with_a_killed_daemon(maindir: Path) -> None:
    """Kill -9 of the daemon leaves no worker behind."""
    with Daemon(maindir) as daemon:
        wait_for(lambda: (maindir / "photometric").is_dir(), "the daemon's first scan")
        time.sleep(1.5)
        daemon.kill()
        wait_for(lambda: not _alive(daemon.process.pid), "the end of its workers", 30)


def test_a_dead_worker_costs_nothing(frames: dict[str, bytes], maindir: Path) -> None:
    """A worker that is killed is replaced, and the next frame is measured."""
    first, second = list(frames)[:2]
    with Daemon(maindir, "--workers", "1") as daemon:
        land(maindir, first, frames[first])
        daemon.wait_done(first)
        killed = subprocess.run(
            ["pkill", "-KILL", "-g", str(daemon.process.pid), "-f", "forkserver"], check=False
        )
        assert killed.returncode in (0, 1)
        land(maindir, second, frames[second])
        daemon.wait_done(second)


def test_a_commented_frame_leaves_the_csv_and_comes_back(
    frames: dict[str, bytes], maindir: Path
) -> None:
    """An edit of the file table takes effect within seconds, and nothing is measured again."""
    first, second = list(frames)[:2]
    table = maindir / "astrometry_files.tbl"
    merged = maindir / "photometric" / "unconsolidated" / "SIM-A.csv"

    def listed() -> set[str]:
        return {row["frame"] for row in rows(merged)}

    with Daemon(maindir) as daemon:
        for frame in (first, second):
            land(maindir, frame, frames[frame])
        daemon.wait_done(first, second)
        wait_for(lambda: table.exists() and second in table.read_text(), "the table's rows")
        before = sorted(map(str, rows(merged)))
        text = table.read_text()
        lines = [("#" + line if first in line else line) for line in text.splitlines()]
        table.write_text("\n".join(lines) + "\n")
        wait_for(lambda: listed() == {second}, "the commented frame's leaving", 8)
        assert (maindir / "photometric/unconsolidated/SIM-A_V/d1001_photsrcs.csv").exists()
        table.write_text(text)
        wait_for(lambda: listed() == {first, second}, "the frame's coming back", 8)
        assert sorted(map(str, rows(merged))) == before
        measured = [
            row for row in rows(maindir / "photometric/frames.csv") if row["frame"] == first
        ]
        assert len({row["measure_s"] for row in measured}) == 1


def test_a_replaced_frame_is_measured_again(frames: dict[str, bytes], maindir: Path) -> None:
    """A newer reduction under the same name replaces the frame's rows."""
    first, second = list(frames)[:2]
    with Daemon(maindir) as daemon:
        land(maindir, first, frames[first])
        daemon.wait_done(first)
        merged = maindir / "photometric" / "unconsolidated" / "SIM-A.csv"
        before = rows(merged)
        fresh = maindir / "reduced" / Path(first).parent / ".new"
        fresh.write_bytes(frames[second])
        fresh.replace(maindir / "reduced" / first)
        wait_for(lambda: rows(merged) != before, "the new rows")
        assert {row["frame"] for row in rows(merged)} == {first}
