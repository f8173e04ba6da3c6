"""One MAINDIR as the daemon follows it: what stops its progress is seen."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from conftest import land
from pipnick_watch.settings import load_settings
from pipnick_watch.watch import following
from pipnick_watch.watch.following import Following
from pipnick_watch.watch.workers import Pool


class Lazy(Pool):
    """Takes a task and never does it."""

    n_workers = 1

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Promise it."""
        return Future()

    def kill_late(self, limit_s: float) -> None:
        """Kill nobody: it is the killing that fails here."""

    def never_started(self, future: "Future[Any]") -> bool:
        """Deny it."""
        return False


def follow(maindir: Path) -> Following:
    """Follow a night with workers that never answer."""
    settings = load_settings(None, {"watch": {"polling": True, "rescan_s": 0.2}})
    one = Following(maindir, settings, Lazy(), threading.Event().set)
    one.begin()
    return one


def turns(one: Following, holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Give it its turns until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, one.status
        one.turn()
        time.sleep(0.05)


def test_workers_that_take_nothing_are_noticed(
    maindir: Path, frames: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When frames are ready and none is taken for long, no sign of life is due, and it is told."""
    monkeypatch.setattr(following, "STALLED_S", 1.0)
    one = follow(maindir)
    for frame, content in frames.items():
        land(maindir, frame, content)
    turns(one, lambda: bool(one.stalled()))
    assert one.stalled().startswith("frames are ready, and none was taken for ")
    turns(one, lambda: bool(one.status.troubles))
    assert one.status.troubles[0].startswith("frames are ready, and none was taken for ")


def test_a_loop_that_does_not_come_round_is_noticed(
    maindir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is not looked through in time is no progress."""
    one = follow(maindir)
    one.turn()
    assert one.stalled() == ""
    late = time.monotonic() + 70
    monkeypatch.setattr(time, "monotonic", lambda: late)
    assert "was not looked through" in one.stalled()


def test_a_missing_folder_is_waited_for_and_is_no_stall(maindir: Path) -> None:
    """Without reduced/ it stands, says what it waits for, and goes on when it is there."""
    (maindir / "reduced").rename(maindir / "away")
    one = follow(maindir)
    assert one.stands
    turns(one, lambda: one.status.state == "waiting for reduced/")
    assert one.stalled() == ""
    (maindir / "away").rename(maindir / "reduced")
    turns(one, lambda: one.status.state == "watching")
