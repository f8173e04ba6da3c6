"""How far the work on many nights has come, and when it will be done, as far as that is known."""

import os
import time
from collections import deque
from pathlib import Path

from pipnick_watch import __version__
from pipnick_watch.records import Layout
from pipnick_watch.records.layout import is_frame_name

__all__ = ["Forecast", "count_frames"]

SPAN_S = 600.0
"""The pace is that of so many seconds: what was slower or faster before does not count."""

SURE_FRAMES, SURE_S = 10, 5.0
"""No time is named before so many frames and seconds."""


def count_frames(maindir: Path, fingerprint: str) -> int:
    """Count the frames of a night that are still to be measured, quickly and nearly right.

    Names are compared, not contents: a frame that was reduced again is not seen.

    Parameters
    ----------
    maindir : Path
    fingerprint : str
        Of the settings.
    """
    layout = Layout(maindir)
    n_files = sum(
        sum(map(is_frame_name, files)) for _, _, files in os.walk(layout.reduced, onerror=None)
    )
    known = set()
    current = f",{fingerprint},".encode()
    version = f",{__version__},".encode()
    try:
        with layout.frames_csv.open("rb") as file:
            for line in file:
                frame = line.partition(b",")[0]
                if version in line and (current in line or b",excluded," in line):
                    known.add(frame)
                else:
                    known.discard(frame)
    except OSError:
        return n_files
    return max(0, n_files - len(known))


class Forecast:
    """The frames that are left, and the pace.

    Attributes
    ----------
    n_left, n_done : int
        Frames.
    """

    def __init__(self, n_left: int) -> None:
        self.n_left = n_left
        self.n_done = 0
        self._seen = deque([(time.monotonic(), 0)])

    def note(self, n_done: int, n_left: int) -> None:
        """Take the count of now."""
        now = time.monotonic()
        self.n_done, self.n_left = n_done, n_left
        if now - self._seen[-1][0] >= 1.0:
            self._seen.append((now, n_done))
        while len(self._seen) > 2 and now - self._seen[1][0] > SPAN_S:
            self._seen.popleft()

    @property
    def pace(self) -> float:
        """Frames in a second, of late; 0 while too few are done to tell."""
        since, before = self._seen[0]
        seconds, frames = time.monotonic() - since, self.n_done - before
        return frames / seconds if frames >= SURE_FRAMES and seconds >= SURE_S else 0.0

    def __str__(self) -> str:
        counts = f"{self.n_done} frames done, {self.n_left} left"
        if not self.n_left:
            return counts
        pace = self.pace
        if not pace:
            return f"{counts}, too early to say how long"
        return f"{counts}, {pace:.2g} a second, about {_spoken(self.n_left / pace)} left"


def _spoken(seconds: float) -> str:
    """Say a time with no more digits than an estimate has."""
    for size, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return (
                f"{seconds / size:.0f} {name}"
                if seconds >= 10 * size
                else (f"{seconds / size:.1f} {name}")
            )
    return f"{max(1.0, seconds):.0f} s"
