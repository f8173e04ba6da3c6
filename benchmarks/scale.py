"""What does a frame cost in a long night, and on a Dask cluster? Tables.

    python benchmarks/scale.py                   # the night: 10, 1000 and 10,000 frames recorded
    python benchmarks/scale.py --latency         # a daemon: from a complete frame to durable rows
    python benchmarks/scale.py --dask            # one and two workers on loopback, and the overhead
    python benchmarks/scale.py --memory          # the client's memory with many queued frames

Everything lies in a temporary folder, below ``--folder`` where one is given: fsync is what the disk
makes of it. The machine should have nothing else to do.
"""

import argparse
import contextlib
import io
import math
import os
import random
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from pipnick_watch.columns import CATALOGUE  # noqa: E402  (after the environment is set)
from pipnick_watch.records import FrameResult, Records  # noqa: E402
from pipnick_watch.records.cells import line  # noqa: E402
from pipnick_watch.settings import Settings  # noqa: E402
from pipnick_watch.simulate import FieldSettings, Optics, Pointing, frame_bytes, simulate_field  # noqa: E402
from pipnick_watch.watch.night import Night  # noqa: E402
from pipnick_watch.watch.status_words import tell  # noqa: E402

BIN = Path(sys.executable).parent
SIZES = (10, 1000, 10_000)
STARS = 100
OBJECTS = 20


def result_of(number: int, path: Path | None) -> FrameResult:
    """Make up what a frame with so many stars came to."""
    name = f"SIM-{number % OBJECTS}"
    frame = f"{name}_V/d{number}_red.fits"
    values = {"frame": frame, "object": name, "filter": "V", "flux_psf": 12345.67, "snr": 99.0}
    catalogue = "".join(line({**values, "id": star}, CATALOGUE) for star in range(STARS))
    facts: dict[str, float | int | str] = {
        "sha256": f"{number:064x}", "settings": Settings().fingerprint(), "n_sources": STARS,
    }  # fmt: skip
    if path is not None:
        state = path.stat()
        facts |= {"size": state.st_size, "mtime_ns": state.st_mtime_ns}
    return FrameResult(
        frame=frame, object=name, filter="V", status="done", facts=facts, catalogue=catalogue
    )


def small_frame() -> bytes:
    """Make a frame that takes little room; many of its kind are recorded and none measured."""
    return frame_bytes(simulate_field(FieldSettings(optics=Optics(shape=(80, 80)), n_stars=0), 1))


def seconds(do: Callable[[], object], repeats: int = 5) -> float:
    """Time a call: the best of some."""
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        do()
        taken.append(time.perf_counter() - started)
    return min(taken)


class NoWorkers(Executor):
    """Measures nothing: here all is measured already."""

    def submit(self, fn: Callable[..., object], /, *args: object, **kwargs: object) -> Future:  # type: ignore[type-arg]
        """Refuse."""
        raise AssertionError("nothing is to be measured")


def begun_night(folder: Path, name: str = "night") -> Records:
    """Make a MAINDIR in which nothing has landed."""
    maindir = folder / name
    (maindir / "reduced").mkdir(parents=True)
    records = Records(maindir)
    records.recover()
    return records


def fill(records: Records, done: int, size: int, content: bytes) -> None:
    """Let frames land and be recorded, made up, until there are ``size`` of them."""
    maindir = records.layout.maindir
    while done < size:
        block = []
        for number in range(done, min(size, done + 500)):
            path = maindir / "reduced" / result_of(number, None).frame
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            block.append((result_of(number, path), None))
        records.publish_many(block)
        done += len(block)


def land(records: Records, number: int, content: bytes) -> FrameResult:
    """Let one more frame land, and make up what it came to."""
    path = records.layout.reduced / result_of(number, None).frame
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return result_of(number, path)


def night_table(folder: Path) -> None:
    """Fill a night, and time at each size what is done for it again and again.

    Each append is timed beside one to a night of ten frames: the disk has its moods.
    """
    content = small_frame()
    records, small = begun_night(folder), begun_night(folder, "small")
    maindir = records.layout.maindir
    fill(small, 0, SIZES[0], content)
    print(
        "frames recorded  append ms  ratio  open+rescan s  rescan s  status ms  --once, untouched s"
    )
    done = 0
    for size in SIZES:
        fill(records, done, size, content)
        done = max(done, size)
        os.sync()
        appended: dict[Records, list[float]] = {records: [], small: []}
        for number in range(done, done + 80):
            for night_records, taken in appended.items():
                result = land(night_records, number, content)
                started = time.perf_counter()
                night_records.publish(result)
                taken.append(1e3 * (time.perf_counter() - started))
        done += 80
        append_ms, beside_ms = (statistics.median(taken) for taken in appended.values())

        def opened() -> Night:
            night = Night(maindir, Settings(), NoWorkers(), 2, wake=lambda: None)
            night.begin()
            night.rescan()
            return night

        once = [BIN / "pipnick-watch", maindir, "--once", "--no-plots", "--verbosity", "2"]
        subprocess.run(once, check=True)  # the file table gets its rows
        night = opened()
        with contextlib.redirect_stdout(io.StringIO()):
            told = seconds(lambda: tell(maindir, as_json=True))
        print(
            f"{size:15d}  {append_ms:9.2f}  {append_ms / beside_ms:5.2f}  "
            f"{seconds(opened, 2):13.3f}  {seconds(night.rescan):8.3f}  {1e3 * told:9.2f}  "
            f"{seconds(lambda once=once: subprocess.run(once, check=True), 2):19.2f}",
            flush=True,
        )


def latency_table(folder: Path, n_recorded: int, n_frames: int, n_stars: int) -> None:
    """Let frames land one by one beside a daemon, in a night with many others.

    None queues: each comes when the one before has its rows, after a pause of its own.
    """
    chance = random.Random(1)  # noqa: S311  (pauses, no secrets)
    records = begun_night(folder)
    maindir = records.layout.maindir
    fill(records, 0, n_recorded, small_frame())
    for entry in records.entries().values():
        picture = f"{records.stem(entry.frame, entry.object, entry.filter)}_sources.png"
        path = records.layout.plot(entry.object, entry.filter, picture)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()  # there is nothing to draw but of the frames that come
    subprocess.run([BIN / "pipnick-watch", maindir, "--once", "--verbosity", "2"], check=True)
    daemon = subprocess.Popen([BIN / "pipnick-watch", maindir, "--verbosity", "1"])
    try:
        time.sleep(15.0)
        for number in range(n_frames):
            name = f"SIM-{chance.randrange(OBJECTS)}"
            field = simulate_field(
                FieldSettings(optics=Optics(), n_stars=n_stars), number,
                Pointing(object=name, number=100_000 + number),
            )  # fmt: skip
            time.sleep(chance.uniform(0.2, 1.2))
            frame = f"{name}_V/d{100_000 + number}_red.fits"
            path = maindir / "reduced" / frame
            fresh = path.with_name(f".{path.name}.part")
            fresh.write_bytes(frame_bytes(field))
            fresh.replace(path)
            while records.entry(frame) is None:
                time.sleep(0.01)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
    facts = [entry.facts for entry in records.entries().values()]
    measured = [one for one in facts if math.isfinite(one["measure_s"] or math.nan)]
    beyond = sorted(1e3 * (one["latency_s"] - one["measure_s"]) for one in measured)
    whole = statistics.median(1e3 * one["latency_s"] for one in measured)
    cuts = statistics.quantiles(beyond, n=20)
    print("frames recorded  landed  latency ms  beyond measuring ms: median, p95, most")
    print(
        f"{n_recorded:15d}  {len(measured):6d}  {whole:10.0f}  "
        f"{statistics.median(beyond):27.1f}  {cuts[-1]:.1f}  {beyond[-1]:.1f}"
    )


def make_nights(folder: Path, n_nights: int, n_frames: int, n_stars: int) -> list[Path]:
    """Simulate nights of full-size frames."""
    maindirs = []
    for night in range(n_nights):
        maindirs.append(folder / f"night{night}")
        for number in range(n_frames):
            field = simulate_field(
                FieldSettings(optics=Optics(), n_stars=n_stars),
                100 * night + number,
                Pointing(object=f"SIM-{number % 3}", number=1000 + number),
            )
            path = maindirs[-1] / "reduced" / f"SIM-{number % 3}_V" / f"d{1000 + number}_red.fits"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(frame_bytes(field))
    return maindirs


@contextlib.contextmanager
def dask_cluster(folder: Path, n_workers: int) -> Iterator[str]:
    """Start a scheduler and workers of one thread, as a user does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    started = []

    def start(log: str, *arguments: str) -> None:
        with (folder / log).open("wb") as out:
            command = [str(BIN / "dask"), *arguments, "--no-dashboard"]
            started.append(
                subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
            )

    try:
        start("scheduler.log", "scheduler", "--host", "127.0.0.1", "--port", str(port))
        for number in range(n_workers):
            local = str(folder / f"local{number}")
            start(f"worker{number}.log", "worker", address, "--nthreads", "1",
                  "--local-directory", local)  # fmt: skip
        logs = [folder / f"worker{number}.log" for number in range(n_workers)]
        while not all(b"Registered to" in log.read_bytes() for log in logs):
            time.sleep(0.1)
        yield address
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def dask_table(folder: Path, n_frames: int, n_stars: int) -> None:
    """Measure the same frames by one and by two workers of a cluster; then empty tasks."""
    from pipnick_watch.watch import jobs
    from pipnick_watch.watch.cluster import Cluster
    from pipnick_watch.watch.jobs import Job

    maindir = make_nights(folder, 1, n_frames, n_stars)[0]
    frames = sorted((maindir / "reduced").glob("*/*.fits"))
    jobs_to_do = [
        Job(path=path, name=f"{path.parent.name}/{path.name}", settings=Settings())
        for path in frames
    ]
    print("workers  frames a second  ratio  in the workers ms  overhead of an empty task ms")
    first = 0.0
    for n_workers in (1, 2):
        with dask_cluster(folder, n_workers) as address, Cluster(address) as pool:
            for one in [pool.submit(jobs.warm_up) for _ in range(2 * n_workers)]:
                one.result()
            started = time.perf_counter()
            done = [pool.submit(jobs.measure, job) for job in jobs_to_do]
            outcomes = [one.result() for one in done]
            pace = len(done) / (time.perf_counter() - started)
            started = time.perf_counter()
            for one in [pool.submit(os.getpid) for _ in range(300)]:
                one.result()
            overhead = n_workers * (time.perf_counter() - started) / 300
        measured = [float(one.result.facts["measure_s"]) for one in outcomes if one.result]
        first = first or pace
        print(
            f"{n_workers:7d}  {pace:15.2f}  {pace / first:5.2f}  "
            f"{1e3 * statistics.mean(measured):17.1f}  {1e3 * overhead:28.1f}",
            flush=True,
        )


class Slow(Executor):
    """Never comes to an end with anything: all frames stay queued."""

    def submit(self, fn: Callable[..., object], /, *args: object, **kwargs: object) -> Future:  # type: ignore[type-arg]
        """Take a task that never ends."""
        return Future()


def memory_table(folder: Path, sizes: tuple[int, ...]) -> None:
    """Queue frames, each size in a process of its own, and say what the process came to."""
    content = small_frame()
    print("frames queued  memory MB")
    for size in sizes:
        maindir = folder / f"queue{size}"
        (maindir / "reduced" / "SIM_V").mkdir(parents=True)
        for number in range(size):
            (maindir / "reduced" / "SIM_V" / f"d{number}_red.fits").write_bytes(content)
        child = os.fork()
        if not child:
            night = Night(maindir, Settings(), Slow(), 4, wake=threading.Event().set, once=True)
            night.begin()
            night.rescan()
            end = time.monotonic() + 3.0 + size / 500
            while time.monotonic() < end:
                night.step()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{size:13d}  {peak:9.1f}", flush=True)
            os._exit(0)
        os.waitpid(child, 0)


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--dask", action="store_true", help="one and two workers on loopback")
    parser.add_argument("--latency", action="store_true", help="from a complete frame to its rows")
    parser.add_argument("--recorded", type=int, default=10_000, help="with --latency: how many")
    parser.add_argument("--memory", action="store_true", help="the client's memory")
    parser.add_argument("--frames", type=int, help="how many land or are measured (120, 60)")
    parser.add_argument("--stars", type=int, default=90, help="on each of them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        if options.dask:
            dask_table(Path(name), options.frames or 60, options.stars)
        elif options.latency:
            latency_table(Path(name), options.recorded, options.frames or 120, options.stars)
        elif options.memory:
            memory_table(Path(name), (100, 1000, 10_000))
        else:
            night_table(Path(name))


if __name__ == "__main__":
    main()
