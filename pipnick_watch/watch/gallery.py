"""Which pictures are still to be drawn: always behind the rows, never on their way."""

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipnick_watch.records import FrameResult, Records
from pipnick_watch.settings import Settings
from pipnick_watch.watch import jobs
from pipnick_watch.watch.jobs import Job, Outcome

if TYPE_CHECKING:
    from pipnick_watch.pictures import SourcePicture

__all__ = ["Gallery"]

logger = logging.getLogger(__name__)

PILE = 4
"""Prepared pictures that may wait, each about a megabyte, before backfill gives way to them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Prepared:
    frame: str
    picture: "SourcePicture"
    path: Path


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
        self._prepared: deque[_Prepared] = deque()
        self._missing: dict[str, Path] = {}
        self._drawing: dict[Future[str | None], str] = {}
        self._hopeless: set[str] = set()

    @property
    def wanted(self) -> bool:
        """Whether frames are to be drawn at all."""
        return self.settings.plots.final

    @property
    def busy(self) -> bool:
        """Whether pictures are being drawn or wait for it."""
        return bool(self._prepared or self._missing or self._drawing)

    @property
    def n_left(self) -> int:
        """How many are still to be drawn."""
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
        path = self._path(result.frame, result.object, result.filter)
        self._missing.pop(result.frame, None)
        if outcome.picture is not None:
            self._prepared.append(_Prepared(frame=result.frame, picture=outcome.picture, path=path))

    def find_missing(self) -> None:
        """Queue the source pictures that frames should have and have not: they are redrawn."""
        if not self.wanted:
            return
        waiting = {one.frame for one in self._prepared} | set(self._drawing.values())
        for frame, entry in self.records.entries().items():
            if entry.status == "done" and frame not in waiting | self._hopeless:
                path = self._path(frame, entry.object, entry.filter)
                if not path.exists() and (self.layout.reduced / frame).exists():
                    self._missing[frame] = path

    def _path(self, frame: str, object_: str, filter_: str) -> Path:
        stem = self.records.stem(frame, object_, filter_)
        return self.layout.plot(object_, filter_, f"{stem}_sources.png")

    def draw_one(self) -> bool:
        """Give one picture to a worker; False when there is none."""
        future: Future[str | None]
        if self._prepared:
            one = self._prepared.popleft()
            frame = one.frame
            future = self._pool.submit(jobs.draw, one.picture, one.path)
        elif self._missing:
            frame, path = self._missing.popitem()
            job = Job(path=self.layout.reduced / frame, name=frame, settings=self.settings)
            future = self._pool.submit(jobs.redraw, job, path)
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
            trouble = str(error) if error is not None else future.result()
            if trouble:
                if not isinstance(error, OSError):  # the disk's trouble passes
                    self._hopeless.add(frame)  # until the next start: it would fail again
                logger.warning("%s: no picture: %s", frame, trouble)
