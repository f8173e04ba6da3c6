"""When the light curves and the page are made anew: behind the rows, and not too often."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future

from pipnick_watch.records import Records
from pipnick_watch.settings import Settings
from pipnick_watch.watch import jobs
from pipnick_watch.watch.making import recall, remember
from pipnick_watch.watch.scan import Seen, see

__all__ = ["Overview"]

logger = logging.getLogger(__name__)

EVERY_S = 5.0
"""Least time between the end of one making and the next."""

SHARE = 4.0
"""It rests so many times as long as it worked: a large night does not keep a worker busy."""

PATIENCE_S = 60.0
"""Time after which it no longer gives way to backfill."""


class Overview:
    """The light curves and the page of one MAINDIR.

    Both are functions of what is recorded, so that whatever changed frames.csv, and whoever did,
    makes them stale.

    Parameters
    ----------
    records : Records
    settings : Settings
    pool : Executor
        Who makes them.
    wake : callable
        Called, from another thread, when they are made.
    """

    def __init__(
        self, records: Records, settings: Settings, pool: Executor, wake: Callable[[], None]
    ) -> None:
        self.layout = records.layout
        self.settings = settings
        self._pool = pool
        self._wake = wake
        self._making: Future[None] | None = None
        self._made_from: Seen | None = None
        self._recalled = False
        self._started = 0.0
        self._rested_at = 0.0
        self._trouble = ""

    @property
    def stale(self) -> bool:
        """Whether something was recorded since they were made last."""
        if not self.settings.plots.overview:
            return False
        now = see(self.layout.frames_csv)
        if now is not None and not self._recalled:
            self._recalled = True
            self._made_from = recall(self.layout, self.settings)
        return now is not None and now != self._made_from

    @property
    def n_making(self) -> int:
        """How many workers make them."""
        return int(self._making is not None)

    @property
    def busy(self) -> bool:
        """Whether they are being made, or are to be."""
        return self._making is not None or self.stale

    def overdue(self) -> bool:
        """Tell whether they have given way for long enough."""
        return time.monotonic() - self._rested_at > PATIENCE_S and self.start(hurry=False)

    def start(self, *, hurry: bool) -> bool:
        """Give the making to a worker, if it is due; with ``hurry`` it need not have rested."""
        rested = hurry or time.monotonic() >= self._rested_at
        if self._making is not None or not rested or not self.stale:
            return False
        self._started = time.monotonic()
        self._made_from = see(self.layout.frames_csv)
        self._making = self._pool.submit(jobs.overview, self.layout.maindir, self.settings)
        self._making.add_done_callback(lambda _: self._wake())
        return True

    def collect(self) -> None:
        """Take note that they are made, or why not."""
        if self._making is None or not self._making.done():
            return
        error, self._making = self._making.exception(), None
        if error is None and self._made_from is not None:
            remember(self.layout, self.settings, self._made_from)
        now = time.monotonic()
        self._rested_at = now + max(EVERY_S, SHARE * (now - self._started))
        trouble = "" if error is None else str(error)
        if trouble and trouble != self._trouble:
            logger.warning("%s: no light curves and page: %s", self.layout.maindir, trouble)
        self._trouble = trouble
