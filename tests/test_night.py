"""Frames on their way, whatever order their measurements end in and whatever a scan is at."""

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recorded_nights import check, result_of

from conftest import land, rows, statuses
from pipnick_watch.settings import PlotSettings, Settings
from pipnick_watch.watch import sweep
from pipnick_watch.watch.jobs import Job, Outcome
from pipnick_watch.watch.night import Night

PLAIN, BETTER = "X_V/d1.fits", "X_V/d1_red.fits"


class Later(Executor):
    """Promises results, and makes them up when it is told to."""

    def __init__(self) -> None:
        self.jobs: dict[str, tuple[Job, Future[Any]]] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Take a job."""
        future: Future[Any] = Future()
        self.jobs[args[0].name] = args[0], future
        return future

    def end(self, frame: str) -> None:
        """Be done with a frame."""
        job, future = self.jobs.pop(frame)
        about = job.path.stat()
        content = hashlib.sha256(job.path.read_bytes()).hexdigest()
        made = result_of(frame, content, settings=job.settings.fingerprint())
        facts = {**made.facts, "size": about.st_size, "mtime_ns": about.st_mtime_ns, "sky": 1.0}
        future.set_result(Outcome(kind="result", result=replace(made, facts=facts)))


@pytest.fixture
def pool() -> Later:
    return Later()


@pytest.fixture
def night(maindir: Path, pool: Later) -> Night:
    settings = Settings(plots=PlotSettings(final=False, inters=False, overview=False))
    night = Night(maindir, settings, pool, 4, wake=lambda: None)
    night.begin()
    night.rescan()
    return night


def come(night: Night, frame: str, content: bytes) -> None:
    """Let a frame land, and its event come."""
    land(night.layout.maindir, frame, content)
    night.hint(frame, time.monotonic(), settles=True)


def steps(night: Night, number: int = 5) -> None:
    for _ in range(number):
        night.step()


def until(night: Night, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, night.candidates
        night.step()
        time.sleep(0.01)


def listed(night: Night) -> set[str]:
    """List the frames whose lines the object's CSV holds."""
    return {row["frame"] for row in rows(night.layout.object_csv("X"))}


def test_the_file_that_counts_may_be_measured_first(
    frames: dict[str, bytes], night: Night, pool: Later
) -> None:
    """A file beside which a better one has come meanwhile is left out, however late it ends."""
    plain, better, *_ = frames.values()
    come(night, PLAIN, plain)
    steps(night)
    come(night, BETTER, better)
    steps(night)
    pool.end(BETTER)
    steps(night)
    pool.end(PLAIN)
    steps(night)
    assert statuses(night.layout.maindir) == {PLAIN: "excluded", BETTER: "done"}
    assert listed(night) == {BETTER}
    night.rescan()
    steps(night)
    assert not pool.jobs
    check(night.layout.maindir)


def test_a_better_file_that_comes_during_a_scan(
    frames: dict[str, bytes], night: Night, pool: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the scan has found by then does not bring the other file back."""
    monkeypatch.setattr(sweep, "SLICE", 1)
    plain, better, *_ = frames.values()
    come(night, PLAIN, plain)
    steps(night)
    pool.end(PLAIN)
    steps(night)
    for pause in (1, 3, 4, 5):
        scan = night.look_through()
        for _ in range(pause):
            next(scan, None)
        come(night, BETTER, better)
        steps(night)
        pool.end(BETTER)
        steps(night)
        for _ in scan:
            steps(night, 1)
        steps(night)
        assert listed(night) == {BETTER}, pause
        assert not pool.jobs
        (night.layout.reduced / BETTER).unlink()
        night.rescan()
        until(night, lambda: PLAIN in pool.jobs)  # the other file counts again
        pool.end(PLAIN)
        steps(night)
        assert listed(night) == {PLAIN}


def test_a_file_that_does_not_count_but_is_done_is_put_right_by_a_scan(
    frames: dict[str, bytes], night: Night, pool: Later
) -> None:
    """Another program may have measured it: the one that counts takes its place again."""
    plain, better, *_ = frames.values()
    come(night, BETTER, better)
    steps(night)
    pool.end(BETTER)
    steps(night)
    about = land(night.layout.maindir, PLAIN, plain).stat()
    made = result_of(PLAIN, "plain", settings=night.claims.fingerprint)
    facts = {**made.facts, "size": about.st_size, "mtime_ns": about.st_mtime_ns}
    night.records.publish(replace(made, facts=facts))
    assert listed(night) == {PLAIN}
    night.rescan()
    until(night, lambda: BETTER in pool.jobs)
    pool.end(BETTER)
    until(night, lambda: night.idle)
    assert listed(night) == {BETTER}
    assert statuses(night.layout.maindir) == {PLAIN: "excluded", BETTER: "done"}
    check(night.layout.maindir)
