"""Which astrometric solutions came after their frames were measured, and what becomes of them.

The catalogue is filled at once; the object's CSV, which is remade for it, at most once a minute.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipnick_watch.errors import RecordsError
from pipnick_watch.records import Entry, Records
from pipnick_watch.settings import Settings
from pipnick_watch.watch import jobs
from pipnick_watch.watch.jobs import Placed, PlaceJob
from pipnick_watch.watch.slices import Task

__all__ = ["Solutions"]

logger = logging.getLogger(__name__)

FLUSH_S = 60.0
"""Objects' CSVs are remade at most this often."""

STEADY_S = 1.0
"""A solution that was written to less long ago may be half there."""

SURE_S = 60.0
"""A frame's row that is younger than its solution by so much was made with it."""

AGAIN_S = 60.0
"""A frame that was locked when its solution came, or a full disk, is tried again."""

SLICE = 50
"""Files, or frames, that are looked at in one go."""

ENDING = "_astro.fits"

Stamp = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class _Task:
    frame: str
    solution: Path
    stamp: Stamp


class Solutions:
    """The late solutions of one MAINDIR.

    Parameters
    ----------
    records : Records
    settings : Settings
    pool : Executor
        Who turns pixels into positions.
    wake : callable
        Called, from another thread, when a frame is placed.
    """

    def __init__(
        self, records: Records, settings: Settings, pool: Executor, wake: Callable[[], None]
    ) -> None:
        self.records = records
        self.layout = records.layout
        self.settings = settings
        self._pool = pool
        self._wake = wake
        self._settled: dict[str, Stamp] = {}
        self._tasks: deque[_Task] = deque()
        self._placing: dict[Future[Placed], _Task] = {}
        self._placed: deque[tuple[_Task, Placed]] = deque()
        self._refused: set[tuple[str, str]] = set()
        self._looked_at: object = None
        self._unflushed = False
        self._flushed_at = float("-inf")
        self._look_at = float("inf")
        self._again_at = float("inf")

    @property
    def busy(self) -> bool:
        """Whether solutions are still to be used."""
        waiting = self._tasks or self._placing or self._placed
        return bool(waiting) or self._look_at < float("inf")

    @property
    def n_placing(self) -> int:
        """How many workers place frames."""
        return len(self._placing)

    @property
    def due(self) -> float:
        """Monotonic time at which :meth:`step` has something to do."""
        flush = self._flushed_at + FLUSH_S if self._unflushed else float("inf")
        return min(self._look_at, flush)

    def refuse(self, frame: str, reason: str) -> None:
        """Say, once, why a frame's solution is not used."""
        if (frame, reason) not in self._refused:
            self._refused.add((frame, reason))
            logger.warning("%s: no positions on the sky: %s", frame, reason)

    def expect(self) -> None:
        """Note that a solution has come or changed."""
        self._look_at = min(self._look_at, time.monotonic() + STEADY_S)

    @property
    def expected(self) -> bool:
        """Whether it is time to look for solutions."""
        return time.monotonic() >= self._look_at

    def look(self) -> Task:
        """Look, in slices, for solutions that are new or whose frame was measured meanwhile."""
        self._look_at = float("inf")
        waiting = {}
        size = _size(self.layout.frames_csv)
        for number, (path, stamp) in enumerate(self._listed(), start=1):
            if self._settled.get(path) != stamp:
                waiting[path] = stamp
            if number % SLICE == 0:
                yield
        state = (waiting, size)
        now = time.monotonic()
        if not waiting or (state == self._looked_at and now < self._again_at):
            return
        self._again_at = float("inf")
        there = [*self._tasks, *self._placing.values(), *(task for task, _ in self._placed)]
        queued = {(one.frame, one.stamp) for one in there}
        young = False
        for number, entry in enumerate(self.records.entries().values(), start=1):
            if number % SLICE == 0:
                yield
            path = str(self.layout.solution(entry.frame, entry.object, entry.filter))
            if entry.status != "done" or path not in waiting:
                continue
            stamp = waiting[path]
            if self._settled.get(path) == stamp or (entry.frame, stamp) in queued:
                continue
            if abs(time.time() - stamp[2] / 1e9) < STEADY_S:
                young = True
            elif _made_with(entry, stamp):
                self._settled[path] = stamp
            else:
                self._tasks.append(_Task(frame=entry.frame, solution=Path(path), stamp=stamp))
        if young:
            self.expect()
        else:
            self._looked_at = state

    def _listed(self) -> Iterator[tuple[str, Stamp]]:
        """List the files that may be solutions, and what changes with them."""
        for folder in _entries(self.layout.solutions):
            if folder.is_dir(follow_symlinks=False):
                for file in _entries(Path(folder.path)):
                    if file.name.endswith(ENDING) and not file.name.startswith("."):
                        try:
                            about = file.stat()
                        except OSError:
                            continue  # it vanished meanwhile
                        yield file.path, (about.st_size, about.st_mtime_ns, about.st_ctime_ns)

    def start_one(self) -> bool:
        """Give one frame to a worker; False when there is none."""
        while self._tasks:
            task = self._tasks.popleft()
            entry = self.records.entry(task.frame)
            catalogue = self.records.catalogue(task.frame)
            if entry is None or entry.status != "done" or catalogue is None:
                continue
            job = PlaceJob(
                path=self.layout.reduced / task.frame,
                name=task.frame,
                settings=self.settings,
                solution=task.solution,
                size=entry.size,
                mtime_ns=entry.mtime_ns,
                catalogue=catalogue,
                consolidated=self.records.catalogue(task.frame, "consolidated"),
            )
            future = self._pool.submit(jobs.place, job)
            self._placing[future] = task
            future.add_done_callback(lambda _: self._wake())
            return True
        return False

    def step(self) -> None:
        """Publish what the workers have placed, and remake objects' CSVs when it is time."""
        for future in [future for future in self._placing if future.done()]:
            self._take(self._placing.pop(future), future)
        self._publish()
        now = time.monotonic()
        if self._unflushed and not self.busy and now - self._flushed_at >= FLUSH_S:
            self._flushed_at = now
            self.flush()

    def flush(self) -> None:
        """Have the objects' CSVs follow the catalogues now.

        Raises
        ------
        OSError, RecordsError
            As :meth:`Records.publish`.
        """
        self.records.flush_solutions()
        self._unflushed, self._flushed_at = False, time.monotonic()

    def _take(self, task: _Task, future: Future[Placed]) -> None:
        error = future.exception()
        if error is not None:
            # a solution that kills its worker would kill the next one too
            self._settled[str(task.solution)] = task.stamp
            self.refuse(task.frame, f"the solution cannot be used: {error}")
            return
        placed = future.result()
        if placed.kind == "placed":
            self._placed.append((task, placed))
        elif placed.kind == "refused":
            self._settled[str(task.solution)] = task.stamp
            self.refuse(task.frame, placed.reason)
        else:
            self._again_at = time.monotonic() + AGAIN_S
            logger.debug("%s: not placed yet: %s", task.frame, placed.reason)

    def _publish(self) -> None:
        while self._placed:
            task, placed = self._placed.popleft()
            entry = self.records.entry(task.frame)
            if entry is None or entry.wcs != placed.wcs:
                try:
                    new = self.records.solve(
                        task.frame, placed.lines, placed.consolidated, placed.wcs
                    )
                except (OSError, RecordsError) as error:
                    self._again_at = time.monotonic() + AGAIN_S
                    logger.warning("%s: positions cannot be written yet: %s", task.frame, error)
                    continue
                if new:
                    self._unflushed = True
                    logger.info("%s: positions from %s", task.frame, task.solution.name)
            self._settled[str(task.solution)] = task.stamp


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []  # no astrometry has run here, or it is at it


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _made_with(entry: Entry, stamp: Stamp) -> bool:
    """Tell, without reading it, that a frame's row was made with this solution."""
    recorded = str(entry.facts["recorded_at"])
    if not entry.wcs or not recorded:
        return False
    return datetime.fromisoformat(recorded).timestamp() > stamp[2] / 1e9 + SURE_S
