"""A small simulated night, the installed commands, and what a MAINDIR's rows are."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipnick_watch.simulate import FieldSettings, Optics, Pointing, frame_bytes, simulate_field
from pipnick_watch.watch.workers import WorkerPool

REPOSITORY = Path(__file__).parents[1]
NIGHTS = REPOSITORY.parent / "shared" / "nights" / "2024-05-13" / "reduced"
BIN = Path(sys.executable).parent

PASSING = {
    "wait_s",
    "measure_s",
    "latency_s",
    "mtime_ns",
    "recorded_at",
    "csv_bytes",
    "consol_bytes",
}
"""Columns of frames.csv that differ from run to run."""


def command(*arguments: str | Path, timeout: float = 100.0) -> subprocess.CompletedProcess[str]:
    """Run one of the installed commands to its end."""
    name, *rest = map(str, arguments)
    return subprocess.run(
        [str(BIN / name), *rest], capture_output=True, text=True, timeout=timeout, check=False
    )


def rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV's rows."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def night_rows(maindir: Path) -> dict[str, list[tuple[str, ...]]]:
    """Give all that must be the same of two runs: each CSV's rows, sorted, without timings."""
    photometric = maindir / "photometric"
    found = {}
    for path in sorted(photometric.glob("*consolidated/**/*.csv")):
        found[str(path.relative_to(photometric))] = sorted(tuple(r.values()) for r in rows(path))
    last = {row["frame"]: row for row in rows(photometric / "frames.csv")}
    found["frames.csv"] = sorted(
        tuple(value for name, value in row.items() if name not in PASSING) for row in last.values()
    )
    return found


def statuses(maindir: Path) -> dict[str, str]:
    """Give the last status of each frame; empty before there is a night log."""
    path = maindir / "photometric" / "frames.csv"
    return {row["frame"]: row["status"] for row in rows(path)} if path.exists() else {}


def wait_for(holds: Callable[[], bool], what: str, seconds: float = 40.0) -> None:
    """Wait until something holds, or fail and say what did not come."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"in {seconds:g} s this did not come: {what}")
        time.sleep(0.02)


class Daemon:
    """A real ``pipnick-watch`` process; its console lines are in ``log``."""

    def __init__(self, maindir: Path, *flags: str) -> None:
        self.maindir = maindir
        self.flags = flags
        self.log = maindir.parent / f"{maindir.name}-{time.monotonic_ns()}.log"

    def __enter__(self) -> "Daemon":
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(BIN / "pipnick-watch"), str(self.maindir), *self.flags],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        wait_for(lambda: "watching" in self.said() or self.ended, "the daemon's first line")
        return self

    def __exit__(self, *_: object) -> None:
        if not self.ended:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.process.poll() is not None

    def said(self) -> str:
        """Give all its console lines so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> int:
        """End it as systemd does, and give its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def kill(self) -> None:
        """Pull the plug."""
        self.process.kill()
        self.process.wait()

    def wait_done(self, *frames: str, status: str = "done", seconds: float = 60.0) -> None:
        """Wait until these frames are recorded."""

        def recorded() -> bool:
            if self.ended:
                pytest.fail(f"the daemon ended by itself:\n{self.said()}")
            known = statuses(self.maindir)
            return all(known.get(frame) == status for frame in frames)

        wait_for(recorded, f"{frames} {status}; the daemon said:\n{self.said()}", seconds)


@pytest.fixture(scope="session")
def frames() -> dict[str, bytes]:
    """Four small frames of two objects, by their paths below reduced/."""
    optics = Optics(shape=(200, 220), fwhm=4.5)
    field = FieldSettings(optics=optics, n_stars=12, faintest=15.0)
    made = {}
    for number, (name, band) in enumerate(
        [("SIM-A", "V"), ("SIM-A", "V"), ("SIM-A", "B"), ("SIM B", "V")], start=1
    ):
        pointing = Pointing(object=name, filter=band, number=1000 + number)
        frame = simulate_field(field, number, pointing)
        path = f"{name.replace(' ', '')}_{band}/d{1000 + number}_red.fits"
        made[path] = frame_bytes(frame)
    return made


@pytest.fixture
def maindir(tmp_path: Path) -> Path:
    """Give a MAINDIR in which nothing has landed yet."""
    folder = tmp_path / "night"
    (folder / "reduced").mkdir(parents=True)
    return folder


def land(maindir: Path, frame: str, content: bytes) -> Path:
    """Write a frame at once under its own name."""
    path = maindir / "reduced" / frame
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture(scope="session")
def undisturbed(
    frames: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[tuple[str, ...]]]:
    """Give the rows of an undisturbed ``--once`` over the four frames."""
    folder = tmp_path_factory.mktemp("undisturbed") / "night"
    for frame, content in frames.items():
        land(folder, frame, content)
    ran = command("pipnick-watch", folder, "--once")
    assert ran.returncode == 0, ran.stderr
    found = night_rows(folder)
    shutil.rmtree(folder)
    return found


@pytest.fixture(scope="session")
def real_frames(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Give the three real frames, unpacked, where they lie beside the repository."""
    import gzip

    if not NIGHTS.is_dir():
        pytest.skip(f"no real frames at {NIGHTS}")
    folder = tmp_path_factory.mktemp("real")
    unpacked = {}
    for packed in sorted(NIGHTS.glob("*/*.fits.gz")):
        path = folder / packed.parent.name / packed.stem
        path.parent.mkdir()
        path.write_bytes(gzip.decompress(packed.read_bytes()))
        unpacked[f"{path.parent.name}/{path.name}"] = path
    yield unpacked
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def pool() -> Iterator[WorkerPool]:
    """Give two warm workers that all tests may use, one after the other."""
    with WorkerPool(2) as workers:
        workers.warm_up()
        yield workers
