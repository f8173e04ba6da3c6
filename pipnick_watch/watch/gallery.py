"""Which pictures are still to be drawn: always behind the rows, never on their way."""

import dataclasses
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

from pipnick_watch.records import Entry, FrameResult, Records
from pipnick_watch.settings import PlotSettings, Settings
from pipnick_watch.watch import jobs
from pipnick_watch.watch.jobs import Drawing, Job, Outcome
from pipnick_watch.watch.slices import Task
from pipnick_watch.watch.viewer import Viewer

__all__ = ["Gallery"]

logger = logging.getLogger(__name__)

SLICE = 20
"""Frames whose pictures are looked for in one go."""

PILE = 4
"""Prepared pictures that may wait, each about a megabyte, before backfill gives way to them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Prepared:
    frame: str
    drawing: Drawing
    folder: Path
    stem: str


@dataclass(frozen=True, kw_only=True)
class _Missing:
    plots: PlotSettings
    folder: Path
    stem: str


class Gallery:
    """The pictures of one MAINDIR.

    Parameters
    ----------
    records : Records
    settings : Settings
    pool : Executor
        Who draws.
    wake : callable
        Called, from another thread, when a picture is done.
    """

    def __init__(
        self, records: Records, settings: Settings, pool: Executor, wake: Callable[[], None]
    ) -> None:
        self.records = records
        self.layout = records.layout
        self.settings = settings
        self._pool = pool
        self._wake = wake
        self._viewer = Viewer() if settings.plots.show else None
        self._prepared: deque[_Prepared] = deque()
        self._missing: dict[str, _Missing] = {}
        self._drawing: dict[Future[list[Path]], str] = {}
        self._hopeless: set[str] = set()

    @property
    def wanted(self) -> bool:
        """Whether frames are to be drawn at all."""
        return self.settings.plots.final or self.settings.plots.inters

    @property
    def busy(self) -> bool:
        """Whether pictures are being drawn or wait for it."""
        return bool(self._prepared or self._missing or self._drawing)

    @property
    def n_left(self) -> int:
        """How many frames are still to be drawn."""
        return len(self._prepared) + len(self._missing) + len(self._drawing)

    @property
    def piled_up(self) -> bool:
        """Whether so many wait that drawing goes before the backfill."""
        return len(self._prepared) >= PILE

    @property
    def n_drawing(self) -> int:
        """How many workers draw."""
        return len(self._drawing)

    def add(self, result: FrameResult, outcome: Outcome) -> None:
        """Queue the pictures that came with a frame's rows."""
        self._missing.pop(result.frame, None)
        if outcome.drawing is not None:
            folder, stem = self._place(result)
            self._prepared.append(
                _Prepared(frame=result.frame, drawing=outcome.drawing, folder=folder, stem=stem)
            )
        elif self.wanted and (missing := self._lacks(result)) is not None:
            self._missing[result.frame] = missing  # it was renamed: its picture shows its name

    def find_missing(self) -> Task:
        """Queue, in slices, the pictures that frames should have and have not: to be redrawn."""
        if not self.wanted:
            return
        for number, (frame, entry) in enumerate(self.records.entries().items(), start=1):
            if number % SLICE == 0:
                yield
            if entry.status != "done" or frame in self._hopeless or self._awaits(frame):
                continue
            missing = self._lacks(entry)
            if missing is not None and (self.layout.reduced / frame).exists():
                self._missing[frame] = missing

    def _awaits(self, frame: str) -> bool:
        """Tell whether a frame's pictures are being drawn, or will be from what is at hand."""
        return frame in self._drawing.values() or any(one.frame == frame for one in self._prepared)

    def _lacks(self, of: FrameResult | Entry) -> _Missing | None:
        """Find out which of its pictures a frame has not."""
        folder, stem = self._place(of)
        plots = self.settings.plots
        final = plots.final and not (folder / f"{stem}_sources.png").exists()
        inters = plots.inters and not (folder / f"{stem}_groups_1.png").exists()
        if not (final or inters):
            return None
        return _Missing(plots=PlotSettings(final=final, inters=inters), folder=folder, stem=stem)

    def _place(self, of: FrameResult | Entry) -> tuple[Path, str]:
        """Give the folder and the stem of a frame's pictures."""
        stem = self.records.stem(of.frame, of.object, of.filter)
        return self.layout.plot(of.object, of.filter, stem).parent, stem

    def draw_one(self) -> bool:
        """Give one frame's pictures to a worker; False when there are none."""
        if self._prepared:
            one = self._prepared.popleft()
            frame = one.frame
            future = self._pool.submit(jobs.draw, one.drawing, one.folder, one.stem)
        elif self._missing:
            frame, missing = self._missing.popitem()
            settings = dataclasses.replace(self.settings, plots=missing.plots)
            job = Job(path=self.layout.reduced / frame, name=frame, settings=settings)
            future = self._pool.submit(jobs.redraw, job, missing.folder, missing.stem)
        else:
            return False
        self._drawing[future] = frame
        future.add_done_callback(lambda _: self._wake())
        return True

    def collect(self) -> None:
        """Take note of the pictures that are done."""
        for future in [future for future in self._drawing if future.done()]:
            frame = self._drawing.pop(future)
            error = future.exception()
            if error is not None:
                if not isinstance(error, OSError):  # the disk's trouble passes
                    self._hopeless.add(frame)  # until the next start: it would fail again
                logger.warning("%s: no picture: %s", frame, error)
            elif self._viewer is not None:
                self._viewer.show(future.result())
