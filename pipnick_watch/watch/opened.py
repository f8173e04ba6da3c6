"""One night of an archive while it is worked on: how it comes to its end."""

import logging
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from pipnick_watch import logs
from pipnick_watch.settings import Settings
from pipnick_watch.watch.night import Night
from pipnick_watch.watch.once import RESCAN_S, TROUBLE_S
from pipnick_watch.watch.workers import Pool

__all__ = ["OpenNight"]

logger = logging.getLogger(__name__)


class OpenNight:
    """A night, with its log file, its name in each line, and its scans.

    Attributes
    ----------
    done : bool
        Nothing is left to do.
    """

    def __init__(
        self,
        maindir: Path,
        settings: Settings,
        pool: Pool,
        wake: threading.Event,
        redo: Iterable[str],
    ) -> None:
        self.maindir = maindir
        self.done = False
        self._scan_at = 0.0
        self._log = logs.open_log_file(maindir / "photometric" / "pipnick_watch.log")
        try:
            with logs.about(maindir.name, self._log):
                logger.debug("settings: %s", settings)
                self.night = Night(
                    maindir, settings, pool, pool.n_workers, wake=wake.set, once=True, redo=redo
                )
                self.night.begin()
                self._rescan()
        except BaseException:
            self.close()
            raise

    def turn(self) -> float:
        """Do all that can be done now; give the seconds until the next turn is wanted."""
        night = self.night
        with logs.about(self.maindir.name, self._log):
            pause = night.step()
            if night.idle or time.monotonic() >= self._scan_at:
                self._rescan()
                self.done = night.idle
            night.outbox.give_up_after(TROUBLE_S)
        return pause

    def finish(self) -> None:
        """Publish what is measured."""
        with logs.about(self.maindir.name, self._log):
            self.night.finish(0.0)

    def close(self) -> None:
        """Give up the log file."""
        self._log.close()

    def _rescan(self) -> None:
        self.night.rescan()
        self._scan_at = time.monotonic() + RESCAN_S
