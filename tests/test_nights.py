"""Nights that follow each other under one daemon: taken up, laid to rest, and cheap to keep."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import command, land, night_rows, statuses, wait_for
from pipnick_watch.watch.status import read_status

RUN = """
import logging, sys
from pathlib import Path
from pipnick_watch import logs
from pipnick_watch.settings import load_settings
from pipnick_watch.watch.nights import run_nights
logs.start_logging(logging.INFO, None)
flags = {"plots": {"final": False}}
def settings_of(maindir):
    file = maindir / "pipnick-watch.toml"
    return load_settings(file if file.exists() else None, flags)
sys.exit(run_nights(sys.argv[1], settings_of, rest_s=float(sys.argv[2]), workers=2))
"""
"""The daemon with nights that come to rest in seconds instead of a quarter of an hour."""

CLOCK_HZ = os.sysconf("SC_CLK_TCK")


@dataclass
class Running:
    """A daemon for all nights of a folder."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def said(self) -> str:
        """Give all that it has said."""
        return self.log.read_text(encoding="utf-8")

    def family(self) -> list[int]:
        """Give the PIDs of it and all that it has started."""
        listed = subprocess.run(
            ["pgrep", "-g", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in listed.stdout.split()]

    def cpu_s(self) -> float:
        """Count the processor time of it and all that it has started."""
        total = 0
        for pid in self.family():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / CLOCK_HZ

    def memory_kb(self) -> int:
        """Give its own resident memory."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1])

    def n_files(self) -> int:
        """Count its open files."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@contextmanager
def running(data: Path, rest_s: float = 900.0) -> Iterator[Running]:
    """Run the daemon on all nights below a folder, and end it as systemd does."""
    log = data.parent / f"nights-{time.monotonic_ns()}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, f"{data}/*/", str(rest_s)],
            stdout=file, stderr=file, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    one = Running(process, log)
    try:
        wait_for(lambda: "watching the nights" in one.said(), "its first line")
        yield one
        process.terminate()
        assert process.wait(timeout=20) == 0
        wait_for(lambda: not one.family(), "the end of all its processes", 10)
        assert "Traceback" not in one.said()
    except BaseException:
        process.kill()
        process.wait()
        print(one.said())  # noqa: T201  (pytest shows it with the failure)
        raise


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Give a folder in which nights appear."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def all_done(night: Path, n_frames: int) -> bool:
    """Tell whether so many frames are done."""
    return list(statuses(night).values()).count("done") == n_frames


def test_nights_are_followed_as_they_come(
    data: Path, frames: dict[str, bytes], undisturbed: dict[str, list[tuple[str, ...]]]
) -> None:
    """A night that is there and one that appears have the rows of undisturbed runs."""
    first, second = data / "2024-05-13", data / "2024-05-14"
    for frame, content in frames.items():
        land(first, frame, content)
    old = data / "2024-01-01"
    land(old, next(iter(frames)), next(iter(frames.values())))
    past = time.time() - 10 * 86400
    for folder in [*(old / "reduced").iterdir(), old / "reduced", old]:
        os.utime(folder, (past, past))
    (data / "calibrations").mkdir()
    with running(data) as daemon:
        for frame, content in frames.items():
            land(second, frame, content)
        wait_for(lambda: all_done(first, 4) and all_done(second, 4), "all frames of both nights")
        assert "2024-05-13: SIM-A_V/d1001_red.fits: SIM-A V, " in daemon.said()
        assert command("pipnick-watch", second, "--status").returncode == 0
        assert command("pipnick-watch", first).returncode == 75
        told = command("pipnick-watch", "--nights", f"{data}/*/", "--status")
        assert told.returncode == 0
        assert told.stdout.count("watching: PID") == 2
        log = (second / "photometric" / "pipnick_watch.log").read_text()
        assert "2024-05-14: SIM-A_V/d1001_red.fits: SIM-A V, " in log
        assert "2024-05-13: " not in log
    assert night_rows(first) == night_rows(second) == undisturbed
    # Nothing is written where no night is, nor where it is over for long.
    assert not (old / "photometric").exists()
    assert not list((data / "calibrations").iterdir())
    assert read_status(second)["state"] == "stopped"
    assert command("pipnick-watch", "--nights", f"{data}/*/", "--status").returncode == 1


def test_a_quiet_night_rests_and_wakes(data: Path, frames: dict[str, bytes]) -> None:
    """A night before the newest gives up its lock and its watch, and wakes with a frame."""
    first, second = data / "2024-05-13", data / "2024-05-14"
    names = list(frames)
    land(first, names[0], frames[names[0]])
    with running(data, rest_s=1.0) as daemon:
        wait_for(lambda: all_done(first, 1), "the first night's frame")
        land(second, names[0], frames[names[0]])
        wait_for(lambda: all_done(second, 1), "the second night's frame")
        wait_for(lambda: read_status(first)["state"] == "resting", "the first night's rest")
        assert command("pipnick-watch", first, "--status").returncode == 0
        assert read_status(second)["state"] == "watching"
        assert command("pipnick-watch", first, "--once").returncode == 0
        land(first, names[1], frames[names[1]])
        wait_for(lambda: all_done(first, 2), "the late frame of the first night")
        assert daemon.process.poll() is None


def test_a_night_of_another_daemon_is_skipped_and_taken_over(
    data: Path, frames: dict[str, bytes]
) -> None:
    """It is said once, the others go on, and the night is taken when the other one ends."""
    from conftest import Daemon

    first, second = data / "2024-05-13", data / "2024-05-14"
    frame, content = next(iter(frames.items()))
    for night in (first, second):
        (night / "reduced").mkdir(parents=True)
    with Daemon(first) as other, running(data) as daemon:
        wait_for(lambda: "not followed" in daemon.said(), "its word about the held night")
        land(second, frame, content)
        wait_for(lambda: all_done(second, 1), "the frame of the other night")
        assert daemon.said().count("not followed") == 1
        assert f"PID {other.process.pid}" in daemon.said()
        other.stop()
        land(first, frame, content)
        wait_for(lambda: f"following {first}" in daemon.said(), "its taking over")
        wait_for(lambda: all_done(first, 1), "the frame of the night that was held")


def test_bad_settings_of_one_night_harm_no_other(data: Path, frames: dict[str, bytes]) -> None:
    """The night is skipped with one line until its file is mended."""
    first, second = data / "2024-05-13", data / "2024-05-14"
    frame, content = next(iter(frames.items()))
    for night in (first, second):
        land(night, frame, content)
    (first / "pipnick-watch.toml").write_text("[photometry]\nthreshold = 5\n")
    with running(data) as daemon:
        wait_for(lambda: all_done(second, 1), "the good night's frame")
        assert daemon.said().count("unknown key 'threshold'") == 1
        (first / "pipnick-watch.toml").unlink()
        wait_for(lambda: all_done(first, 1), "the mended night's frame")


def load(daemon: Running) -> float:
    """Give the share of a core that the daemon and its workers use in a few seconds."""
    before, started = daemon.cpu_s(), time.monotonic()
    time.sleep(4.0)
    return (daemon.cpu_s() - before) / (time.monotonic() - started)


def fortnight(data: Path, frames: dict[str, bytes], n_nights: int, n_frames: int) -> None:
    """Play nights one after the other, and hold what the daemon needs against its start."""
    contents = list(frames.items())
    memory, files = [], []
    with running(data, rest_s=2.0) as daemon:
        for number in range(n_nights):
            night = data / f"2024-05-{number + 1:02d}"
            for count in range(n_frames):
                frame, content = contents[count % len(contents)]
                name = f"{Path(frame).parent}/d{2000 + count}_red.fits"
                # Each is another frame: its padding differs.
                land(night, name, content[:-8] + f"{count:08d}".encode())
            wait_for(
                lambda night=night: all_done(night, n_frames), f"all of {night}", 60 + n_frames
            )
            memory.append(daemon.memory_kb())
            files.append(daemon.n_files())
        resting = [data / f"2024-05-{number + 1:02d}" for number in range(n_nights - 1)]
        wait_for(
            lambda: all(read_status(night)["state"] == "resting" for night in resting),
            "the rest of all nights but the last",
        )
        # The last light curves and the page come behind the rows.
        loads: list[float] = []
        wait_for(
            lambda: loads.append(load(daemon)) or loads[-1] < 0.01,  # type: ignore[func-returns-value]
            "less than 1 % of a core when idle", 120,
        )  # fmt: skip
        print(f"memory {memory} kB, files {files}, idle {loads[-1]:.2%} of a core")  # noqa: T201
        left = daemon.n_files()
    # One night more that is followed costs its watches; those that rest cost nothing.
    assert left <= files[0] + 2
    warm = memory[min(len(memory) - 1, 3)]
    assert memory[-1] < 1.05 * warm
    for night in sorted(data.iterdir()):
        log = (night / "photometric" / "frames.csv").read_text()
        assert log.count(",done,") == n_frames


def test_a_short_fortnight(data: Path, frames: dict[str, bytes]) -> None:
    """Two nights of fifty frames are measured, and nothing of them is left in the daemon."""
    fortnight(data, frames, 2, 50)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_fortnight(data: Path, frames: dict[str, bytes]) -> None:
    """Twenty nights of two hundred frames: memory stays flat, no file stays open."""
    fortnight(data, frames, 20, 200)
