"""A small archive with known frames, and a Dask cluster as a user starts it."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from conftest import BIN, night_rows, wait_for
from pipnick_watch.simulate import FieldSettings, Optics, Pointing, frame_bytes, simulate_field


def make_archive(folder: Path, n_nights: int, n_frames: int, *, size: int = 150) -> list[Path]:
    """Simulate nights of two objects; gives their MAINDIRs."""
    field = FieldSettings(optics=Optics(shape=(size, size), fwhm=4.0), n_stars=6, faintest=14.0)
    maindirs = []
    for night in range(n_nights):
        maindirs.append(folder / f"night{night}")
        for number in range(n_frames):
            name = "SIM-A" if number % 3 else "SIM-B"
            frame = simulate_field(
                field, 1000 * night + number, Pointing(object=name, number=1000 + number)
            )
            path = maindirs[-1] / "reduced" / f"{name}_V" / f"d{1000 + number}_red.fits"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(frame_bytes(frame))
    return maindirs


def archive_rows(maindirs: list[Path]) -> dict[str, dict[str, list[tuple[str, ...]]]]:
    """Give the rows of each night that must be the same whoever measured them."""
    return {maindir.name: night_rows(maindir) for maindir in maindirs}


def n_recorded(maindirs: list[Path]) -> int:
    """Count the rows of all night logs."""
    logs = [maindir / "photometric" / "frames.csv" for maindir in maindirs]
    return sum(log.read_bytes().count(b"\n") - 1 for log in logs if log.exists())


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Cluster:
    """A scheduler and workers, each a command of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.workers: list[subprocess.Popen[bytes]] = []

    def _start(self, log: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as out:
            return subprocess.Popen(
                [str(BIN / "dask"), *arguments, "--no-dashboard"],
                stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True,
                cwd=self.folder,
            )  # fmt: skip

    def start_scheduler(self) -> None:
        """Start ``dask scheduler``."""
        self.scheduler = self._start(
            "scheduler.log", "scheduler", "--host", "127.0.0.1", "--port", str(self.port)
        )

    def start_worker(self, *flags: str) -> subprocess.Popen[bytes]:
        """Start ``dask worker`` with one thread."""
        number = len(self.workers)
        local = self.folder / f"local{number}"
        self.workers.append(
            self._start(
                f"worker{number}.log", "worker", self.address, "--nthreads", "1",
                "--local-directory", str(local), *flags,
            )
        )  # fmt: skip
        return self.workers[-1]

    def wait_ready(self) -> None:
        """Wait until every worker that was started is registered."""
        for number in range(len(self.workers)):
            log = self.folder / f"worker{number}.log"
            wait_for(
                lambda log=log: b"Registered to" in log.read_bytes(), f"worker {number}'s register"
            )


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a command with all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def running_cluster(folder: Path, n_workers: int = 2) -> Iterator[Cluster]:
    """Start a cluster, and end it with all its processes."""
    cluster = Cluster(folder)
    cluster.start_scheduler()
    try:
        for _ in range(n_workers):
            cluster.start_worker()
        cluster.wait_ready()
        yield cluster
    finally:
        for process in (*cluster.workers, cluster.scheduler):
            end(process)


def start_client(pattern: str, *flags: str, log: Path) -> subprocess.Popen[bytes]:
    """Start ``pipnick-watch --nights PATTERN --once`` in the background."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [str(BIN / "pipnick-watch"), "--nights", pattern, "--once", "--no-plots", *flags],
            stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip


def wait_recorded(maindirs: list[Path], at_least: int) -> None:
    """Wait until so many frames are recorded."""
    wait_for(lambda: n_recorded(maindirs) >= at_least, f"{at_least} recorded frames", 60.0)
