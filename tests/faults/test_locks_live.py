"""Locks on frames: held, stuck, leaked, left behind, unlinked; each delays its own frame only."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_night import Live

from conftest import land, statuses, wait_for
from pipnick_watch.watch.workers import WorkerPool


@pytest.fixture
def held(maindir: Path, frames: dict[str, bytes]) -> Iterator[tuple[str, Path, subprocess.Popen]]:
    """Give a frame, its lock file, and the process that holds the lock."""
    frame = next(iter(frames))
    lock = maindir / "reduced" / f"{frame}.lock"
    lock.parent.mkdir(parents=True)
    holder = subprocess.Popen(["flock", "-o", str(lock), "sleep", "100"], start_new_session=True)
    probe = ["flock", "-n", str(lock), "true"]
    wait_for(
        lambda: lock.exists() and subprocess.run(probe, check=False).returncode != 0, "the lock"
    )
    yield frame, lock, holder
    os.killpg(holder.pid, signal.SIGKILL)
    holder.wait()


@pytest.mark.parametrize("how", ["killed", "stopped then killed", "lock removed", "lock replaced"])
def test_a_lock_delays_its_own_frame_until_it_is_free(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool, how: str,
    held: tuple[str, Path, subprocess.Popen],
) -> None:  # fmt: skip
    """The frame waits, its holder named; the others are done; a free lock is noticed at once.

    A lock file that was unlinked, or replaced by a free one, is no lock.
    """
    frame, lock, holder = held
    others = list(frames)[1:]
    with Live(maindir, pool, lock_timeout_s=1.0) as live:
        for name, content in frames.items():
            land(maindir, name, content)
        live.until_done(*others)
        live.run(1.0)
        assert frame not in statuses(maindir)
        assert live.reason(frame) == f"locked by PID {holder.pid}"
        live.until(lambda: live.night.candidates[frame].stuck, "word that the lock is stuck", 5)
        live.run(1.1)
        assert any("stuck" in line for line in live.following.status.troubles)
        if how == "stopped then killed":
            os.kill(holder.pid, signal.SIGSTOP)
            live.run(0.5)
            assert frame not in statuses(maindir)
        if how == "lock removed":
            lock.unlink()
        elif how == "lock replaced":
            lock.with_suffix(".new").touch()
            lock.with_suffix(".new").replace(lock)
        else:
            holder.kill()
        started = time.monotonic()
        live.until_done(frame)
        assert time.monotonic() - started < 5


def test_a_lock_that_a_child_inherited_is_still_held(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool
) -> None:
    """flock(1) was killed and its child lives on with the lock: the frame waits for the child."""
    frame, content = next(iter(frames.items()))
    lock = maindir / "reduced" / f"{frame}.lock"
    lock.parent.mkdir(parents=True)
    holder = subprocess.Popen(["flock", str(lock), "sleep", "100"], start_new_session=True)
    try:
        probe = ["flock", "-n", str(lock), "true"]
        wait_for(
            lambda: lock.exists() and subprocess.run(probe, check=False).returncode != 0, "the lock"
        )
        with Live(maindir, pool) as live:
            land(maindir, frame, content)
            live.until(lambda: "locked" in live.reason(frame), "the lock's being seen")
            holder.kill()
            holder.wait()
            live.run(1.0)
            assert frame not in statuses(maindir)
            os.killpg(holder.pid, signal.SIGKILL)
            live.until_done(frame)
    finally:
        with_pid = ["pkill", "-KILL", "-s", str(holder.pid)]
        subprocess.run(with_pid, check=False)


@pytest.mark.parametrize("what", ["empty", "a marker", "a link", "a folder"])
def test_lock_files_that_nobody_holds(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool, what: str
) -> None:
    """A lock file left behind, or with another host's name in it, is free; odd things are named.

    A link or a folder in its place may hide a lock: the frame waits and says so.
    """
    frame, content = next(iter(frames.items()))
    lock = maindir / "reduced" / f"{frame}.lock"
    lock.parent.mkdir(parents=True)
    if what == "a link":
        lock.symlink_to("/etc/hostname")
    elif what == "a folder":
        lock.mkdir()
    else:
        lock.write_text("" if what == "empty" else "1234 other-host\n")
    with Live(maindir, pool) as live:
        land(maindir, frame, content)
        if what.startswith("a ") and what != "a marker":
            live.until(lambda: "lock" in live.reason(frame), "word of the odd lock")
            live.run(0.5)
            assert frame not in statuses(maindir)
            lock.unlink() if what == "a link" else lock.rmdir()
        live.until_done(frame)


def test_a_frame_written_under_its_lock_is_read_after_it(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool
) -> None:
    """A writer that holds the lock may rewrite the frame in place: only the last state counts."""
    import fcntl

    frame, other = list(frames)[:2]
    lock = maindir / "reduced" / f"{frame}.lock"
    lock.parent.mkdir(parents=True)
    with Live(maindir, pool, rescan_s=0.5) as live:
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            path = land(maindir, frame, frames[other])
            live.run(1.5)
            with path.open("r+b") as target:
                target.write(frames[frame])
            live.run(0.5)
            assert frame not in statuses(maindir)
        live.until_done(frame)
        live.run(1.2)
        log = (maindir / "photometric" / "frames.csv").read_text().splitlines()
        assert len(log) == 2
