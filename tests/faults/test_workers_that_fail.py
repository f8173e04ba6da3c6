"""Workers that die, hang, or raise what no pool can carry."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest
from live_night import Live

from conftest import land, night_rows, rows
from pipnick_watch.watch import crew, jobs
from pipnick_watch.watch.jobs import Job, Outcome, TaskError
from pipnick_watch.watch.workers import WorkerPool

REAL_MEASURE = jobs.measure


class UnpicklableError(Exception):
    """Cannot be unpickled: its ``__init__`` wants two arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def poisoned_measure(job: Job) -> Outcome:
    """Measure a frame, unless its name says how the worker is to fail."""
    if "sigbus" in job.name:
        os.kill(os.getpid(), signal.SIGBUS)
    if "unpicklable" in job.name:
        raise UnpicklableError("a", "b")
    if "memory" in job.name:
        return np.empty(2**40)  # type: ignore[return-value]
    return REAL_MEASURE(job)


def wrapped_error(_: Job) -> None:
    """Fail as a task that was given to a worker in the proper way."""
    with jobs._as_text():
        raise UnpicklableError("one", "two")


def workers() -> list[int]:
    """List the PIDs of the pool's workers."""
    return [child.pid for child in multiprocessing.active_children() if child.pid]


def hit_busy_workers(live: Live, pool: WorkerPool, frame: str, number: int, times: int) -> None:
    """Send a signal to the worker as soon as it is busy with a frame, so many times."""
    for count in range(times):
        live.until(
            lambda: frame in live.night.measuring and pool._slots[0].warm.done(),
            f"try {count + 1}",
        )
        one = live.night.candidates[frame]
        # its own only: one of another pool would stay stopped for ever
        slot = pool._slots[0]
        assert slot is not None
        assert slot.process is not None
        # on a slow machine the limit may have come first: that is a try as well
        with contextlib.suppress(ProcessLookupError):
            os.kill(slot.process.pid, number)
        live.until(
            lambda one=one, tries=one.tries: (
                one.tries > tries or frame not in live.night.candidates
            ),
            "the end of the try",
        )


@pytest.fixture
def one_worker() -> Callable[[], WorkerPool]:
    with WorkerPool(1) as pool:
        pool.submit(os.getpid).result(30)
        yield pool
        pool.shutdown(wait=False, cancel_futures=True)


def test_a_killed_worker_is_replaced(
    frames: dict[str, bytes], maindir: Path, one_worker: WorkerPool,
    undisturbed: dict[str, list[tuple[str, ...]]],
) -> None:  # fmt: skip
    """SIGKILL of a busy worker, twice: its frame is tried again, the rows are --once's."""
    with Live(maindir, one_worker) as live:
        for frame, content in frames.items():
            land(maindir, frame, content)
        hit_busy_workers(live, one_worker, next(iter(frames)), signal.SIGKILL, 2)
        live.until_done(*frames)
    assert night_rows(maindir) == undisturbed


def test_a_frame_that_kills_its_worker_is_failed_until_it_changes(
    frames: dict[str, bytes], maindir: Path, one_worker: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGBUS, an unpicklable error and too much memory: three tries, then failed with a reason.

    Outcome: the good frame beside them is done; a poison frame is not tried again by a rescan or
    a second daemon, but is when its content changes.
    """
    monkeypatch.setattr(jobs, "measure", poisoned_measure)
    good, content = next(iter(frames.items()))
    bad = [f"P/{word}.fits" for word in ("sigbus", "unpicklable", "memory")]
    with Live(maindir, one_worker, rescan_s=0.5) as live:
        for frame in (*bad, good):
            land(maindir, frame, content)
        live.until_done(good)
        live.until_done(*bad, status="failed", seconds=60)
        monkeypatch.setattr(jobs, "measure", REAL_MEASURE)
        live.run(2.0)
    with Live(maindir, one_worker, rescan_s=0.5) as live:
        live.run(1.5)
        last = {row["frame"]: row for row in rows(maindir / "photometric" / "frames.csv")}
        for frame in bad:
            assert last[frame]["status"] == "failed"
            assert "(3 tries)" in last[frame]["reason"]
        assert "its worker died" in last[bad[0]]["reason"]
        land(maindir, bad[0], list(frames.values())[1])
        live.until_done(bad[0])


def test_a_hung_worker_is_killed(
    frames: dict[str, bytes], maindir: Path, one_worker: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker stopped by SIGSTOP is killed at its limit; after three such tries it is failed.

    Outcome: the other frame is measured; the reason names the limit.
    """
    monkeypatch.setattr(crew, "MEASURE_LIMIT_S", 1.0)
    hung, other = list(frames)[:2]
    with Live(maindir, one_worker) as live:
        land(maindir, hung, frames[hung])
        hit_busy_workers(live, one_worker, hung, signal.SIGSTOP, 3)
        land(maindir, other, frames[other])
        live.until_done(hung, status="failed")
        # a healthy frame may take as long as it does on this machine
        monkeypatch.undo()
        live.until_done(other)
    last = {row["frame"]: row for row in rows(maindir / "photometric" / "frames.csv")}
    assert last[hung]["reason"] == "not measured in 1 s (3 tries)"


def test_workers_that_cannot_start_charge_nobody(
    frames: dict[str, bytes], maindir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that die before they are warm: the daemon says so, waits, and goes on by itself."""
    frame, content = next(iter(frames.items()))
    monkeypatch.setattr(jobs, "warm_up", os.abort)
    with WorkerPool(1) as pool, Live(maindir, pool) as live:
        pool.warm_up()
        land(maindir, frame, content)
        live.until(lambda: "no worker can be started" in live.night.outbox.trouble, "the trouble")
        live.run(3.0)
        assert live.night.candidates[frame].tries == 0
        monkeypatch.undo()
        live.until_done(frame)


def test_the_server_of_workers_is_killed_while_one_starts() -> None:
    """Another server is started, and the worker from that one."""
    with WorkerPool(1) as first:
        first.submit(os.getpid).result(60)
        server = forkserver._forkserver._forkserver_pid
        os.kill(server, signal.SIGSTOP)
        end = threading.Timer(0.5, os.kill, (server, signal.SIGKILL))
        end.start()
        with WorkerPool(1) as second:
            assert second.submit(os.getpid).result(60) > 0
        end.join()
        assert forkserver._forkserver._forkserver_pid != server
        assert first.submit(os.getpid).result(60) > 0


def test_workers_are_started_when_they_are_needed() -> None:
    """A pool without a task has no process; one task after the other has one."""
    before = set(workers())
    with WorkerPool(3) as pool:
        assert set(workers()) == before
        pids = {pool.submit(os.getpid).result(30) for _ in range(3)}
        assert set(workers()) - before == pids
        assert len(pids) == 1


def test_workers_that_rest_give_their_memory_back() -> None:
    """Of those that have rested two stay, new ones; with work for all there are all again."""
    before = set(workers())
    with WorkerPool(3) as pool:
        pool.warm_up()
        first = {one.result(30) for one in [pool.submit(os.getpid) for _ in range(3)]}
        pool.refresh(60.0)
        assert set(workers()) - before == first
        pool.refresh(0.0)
        end = time.monotonic() + 20
        while set(workers()) & first:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert len(set(workers()) - before) == 2
        again = [pool.submit(time.sleep, 0.5) for _ in range(3)]
        assert len(set(workers()) - before) == 3
        for one in again:
            one.result(30)


def test_errors_travel_as_text(one_worker: WorkerPool) -> None:
    """A task's error arrives as one line, whatever its type, and the worker lives on."""
    before = one_worker.submit(os.getpid).result(30)
    with pytest.raises(TaskError, match="UnpicklableError: onetwo"):
        one_worker.submit(wrapped_error, None).result(30)
    assert one_worker.submit(os.getpid).result(30) == before


def test_a_hung_start_is_killed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that hangs while it warms up is killed at the limit like any other."""
    monkeypatch.setattr(jobs, "warm_up", signal.pause)
    with WorkerPool(1) as pool:
        pool.warm_up()
        monkeypatch.undo()
        future = pool.submit(os.getpid)
        time.sleep(0.3)
        pool.kill_late(0.1)
        assert future.exception(30) is not None
        assert pool.never_started(future)
        assert pool.submit(os.getpid).result(30) != os.getpid()
