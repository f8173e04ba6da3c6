"""A frame late in a long night costs what an early one costs, from its event to its rows."""

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from failpoints import CALLS, Failpoints, die
from recorded_nights import result_of

from conftest import land, statuses
from pipnick_watch.settings import PlotSettings, Settings
from pipnick_watch.simulate import FieldSettings, Optics, frame_bytes, simulate_field
from pipnick_watch.watch.jobs import Job, Outcome
from pipnick_watch.watch.night import Night

ALL_CALLS = (*CALLS, "stat", "lstat", "fstat", "scandir", "listdir", "access", "read", "pread")
STILL = Settings(plots=PlotSettings(final=False, inters=False, overview=False))


class Instant(Executor):
    """Measures nothing and answers at once, so that only the night's own work is counted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Make up what came of a frame."""
        (job,) = args
        assert isinstance(job, Job)
        about = job.path.stat()
        made = result_of(job.name, job.name, name="SIM-A", settings=job.settings.fingerprint())
        facts = {**made.facts, "size": about.st_size, "mtime_ns": about.st_mtime_ns, "sky": 1.0}
        future: Future[Any] = Future()
        future.set_result(Outcome(kind="result", result=replace(made, facts=facts)))
        return future


def bytes_moved() -> int:
    """Count the bytes that this process has read and written."""
    known = dict(one.split(": ") for one in Path("/proc/self/io").read_text().splitlines())
    return int(known["rchar"]) + int(known["wchar"])


def test_the_thousandth_frame_costs_what_the_tenth_cost(
    maindir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Event, look, rows and the table's row take as many calls and bytes, with all recorded."""
    field = simulate_field(FieldSettings(optics=Optics(shape=(80, 80)), n_stars=0), 1)
    content = frame_bytes(field)
    land(maindir, "SIM-A_V/d10000_red.fits", content)
    calls = Failpoints(0, die, ALL_CALLS)
    night = Night(maindir, STILL, Instant(), 2, wake=lambda: None)
    night.begin()
    night.rescan()
    costs = []
    for number in range(1000):
        frame = f"SIM-A_V/d{10_001 + number}_red.fits"
        land(maindir, frame, content)
        counted = number in (*range(10, 20), *range(990, 1000))
        if counted:
            until_written(night)
            calls.install(monkeypatch)
            before = calls.count, bytes_moved()
        night.hint(frame, time.monotonic(), settles=True)
        while night.n_left:
            night.step()
        if counted:
            until_written(night)
            costs.append((calls.count - before[0], bytes_moved() - before[1]))
            monkeypatch.undo()
    assert len(statuses(maindir)) == 1001
    early, late = sorted(costs[:10])[5], sorted(costs[10:])[5]
    assert late[0] <= early[0] + 2, costs
    assert late[1] <= early[1] + 500, costs


def until_written(night: Night) -> None:
    """Step until the file table has its rows too."""
    while not night.idle:
        night.step()
