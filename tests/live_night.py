"""A MAINDIR followed inside the test's own process: real files, events, locks and workers."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import night_rows, statuses
from pipnick_watch.settings import PlotSettings, Settings, WatchSettings
from pipnick_watch.watch.following import Following
from pipnick_watch.watch.workers import WorkerPool


class Live:
    """What the daemon's loop does, a turn at a time, until something holds."""

    def __init__(self, maindir: Path, pool: WorkerPool, **watch: object) -> None:
        self.maindir = maindir
        self.wake = threading.Event()
        settings = Settings(watch=WatchSettings(**watch), plots=NO_PLOTS)  # type: ignore[arg-type]
        self.following = Following(maindir, settings, pool, self.wake.set)
        self.night = self.following.night

    def __enter__(self) -> "Live":
        self.following.begin()
        self.turn()
        return self

    def __exit__(self, *_: object) -> None:
        self.following.finish(0.0)

    def turn(self, longest: float = 0.05) -> None:
        """Come round once."""
        self.wake.clear()
        pause = self.following.turn()
        self.wake.wait(min(pause, longest))

    def until(self, holds: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
        """Come round until something holds, or fail and say what did not come."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                known = {name: one.reason for name, one in self.night.candidates.items()}
                outbox = self.night.outbox
                pytest.fail(
                    f"in {seconds:g} s this did not come: {what}; waiting: {known}; "
                    f"unpublished: {len(outbox)} {outbox.trouble} {outbox.aside}"
                )
            self.turn()

    def run(self, seconds: float) -> None:
        """Come round for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn()

    def until_done(self, *frames: str, status: str = "done", seconds: float = 40.0) -> None:
        """Come round until these frames are recorded."""
        self.until(
            lambda: all(statuses(self.maindir).get(frame) == status for frame in frames),
            f"{frames} {status}",
            seconds,
        )

    def until_quiet(self) -> None:
        """Come round until nothing is left to do."""
        self.until(lambda: self.night.idle, "an end of the work")

    def reason(self, frame: str) -> str:
        """Say what a frame waits for; nothing when it does not."""
        one = self.night.candidates.get(frame)
        return "" if one is None else one.reason

    def rows(self) -> dict[str, list[tuple[str, ...]]]:
        """Give what must be the same of two runs."""
        return night_rows(self.maindir)


NO_PLOTS = PlotSettings(final=False, inters=False)


def children(group: int) -> list[int]:
    """List the processes of a session but its leader."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != group:
            try:
                if os.getsid(int(folder.name)) == group:
                    found.append(int(folder.name))
            except ProcessLookupError:
                continue
    return found
