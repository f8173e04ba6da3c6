"""What there is to do in a night, by a look through its whole folder and its records."""

import itertools
import logging
import time

from pipnick_watch.errors import RecordsError
from pipnick_watch.records import Records
from pipnick_watch.watch.backlog import Backlog
from pipnick_watch.watch.claims import Claims
from pipnick_watch.watch.exclusions import Exclusions
from pipnick_watch.watch.gallery import Gallery
from pipnick_watch.watch.outbox import Outbox
from pipnick_watch.watch.scan import Seen, scan_slowly
from pipnick_watch.watch.slices import Task
from pipnick_watch.watch.solutions import Solutions

__all__ = ["Sweep"]

logger = logging.getLogger(__name__)

SLICE = 500
"""Files that a scan found and that are compared with the records in one go."""


class Sweep:
    """Looks through the folder of one MAINDIR, again and again.

    Parameters
    ----------
    records : Records
    backlog : Backlog
    outbox : Outbox
    claims : Claims
    exclusions : Exclusions
    solutions : Solutions
    gallery : Gallery

    Attributes
    ----------
    n_folders, n_frames : int
        What the last look found.
    """

    def __init__(
        self,
        records: Records,
        *,
        backlog: Backlog,
        outbox: Outbox,
        claims: Claims,
        exclusions: Exclusions,
        solutions: Solutions,
        gallery: Gallery,
    ) -> None:
        self.records = records
        self.backlog = backlog
        self.outbox = outbox
        self.claims = claims
        self.exclusions = exclusions
        self.solutions = solutions
        self.gallery = gallery
        self.n_folders = 1
        self.n_frames = 0
        self._ignored: set[str] = set()
        self._scanned = False

    def look_through(self) -> Task:
        """Look through the whole folder: whatever became of the events, nothing is missed.

        Frames are looked at, measured and published between its slices.

        Raises
        ------
        OSError
            ``reduced/`` is not there.
        """
        listing = yield from scan_slowly(self.records.layout.reduced)
        self.n_folders = listing.n_folders
        self.n_frames = len(listing.frames)
        for name in listing.ignored.keys() - self._ignored:
            logger.warning("%s: ignored: %s", name, listing.ignored[name])
        self._ignored = set(listing.ignored)
        yield
        self.claims.note(listing.frames)
        yield
        lifted: list[tuple[str, Seen]] = []
        frames = iter(listing.frames.items())
        while some := list(itertools.islice(frames, SLICE)):
            lifted += self._compare(some)
            yield
        del listing, frames  # it is as long as the night
        self._take_back([name for name, _ in self._compare(lifted)])  # if they still are
        self.exclusions.check()
        yield from self.solutions.look()
        if not self._scanned:
            yield from self.gallery.find_missing()
        self._scanned = True

    def _compare(self, frames: list[tuple[str, Seen]]) -> list[tuple[str, Seen]]:
        """Add the files that there is something to do with; give those excluded no longer."""
        now = time.monotonic()
        entries = self.records.entries()
        lifted: list[tuple[str, Seen]] = []
        for name, seen in frames:
            entry = entries.get(name)
            if self._is_at(name) or not self.claims.wanted(name, seen, entry):
                continue
            if entry is not None and self.claims.only_lifted(seen, entry):
                lifted.append((name, seen))
            else:
                self.backlog.add(name, now, live=self._scanned)
        return lifted

    def _is_at(self, name: str) -> bool:
        """Tell whether a frame is on its way already."""
        return name in self.backlog or self.outbox.holds(name)

    def _take_back(self, names: list[str]) -> None:
        """Have what is excluded no longer as it was measured; the rest is looked at."""
        try:
            look = self.exclusions.take_back(names) if names else []
        except (OSError, RecordsError) as error:
            self.outbox.refuse(str(error))  # the next scan finds them again
            return
        for name in look:
            self.backlog.add(name, time.monotonic(), live=self._scanned)
