"""Which frames are left out, and why: the file table's comments and the options.

It keeps the file table and the records in agreement: every whole frame has a row; a row that a
human comments out takes its frame out of the object's CSV, and brings it back.
"""

import logging
import time
from collections.abc import Mapping

from pipnick_watch.errors import RecordsError
from pipnick_watch.outline import Outline
from pipnick_watch.records import Entry, FileTable, Records, TableView, frame_stem
from pipnick_watch.settings import Settings

__all__ = ["COMMENTED", "Exclusions"]

logger = logging.getLogger(__name__)

COMMENTED = "commented out in astrometry_files.tbl"
OPTION = "excluded by --"

STEADY_S = 1.0
"""The table is acted on when it has been unchanged for so long: an editor may be at it."""

RETRY_S = 2.0


class Exclusions:
    """What is left out of one MAINDIR.

    Parameters
    ----------
    records : Records
    settings : Settings

    Attributes
    ----------
    trouble : str
        Why the file table cannot be read or added to; empty while it can.
    """

    def __init__(self, records: Records, settings: Settings) -> None:
        self.records = records
        self.table = FileTable(records.layout)
        self.watch = settings.watch
        self._view = TableView(records.layout, ())
        self._seen = self.table.signature()
        self._acted_on: object = None
        self._changed_at = 0.0
        self._unlisted: dict[str, tuple[str, str]] = {}
        self._retry_at = 0.0
        self.trouble = ""

    @property
    def busy(self) -> bool:
        """Whether rows wait to be added, or an edit to be acted on."""
        return not self.trouble and (bool(self._unlisted) or self._seen != self._acted_on)

    @property
    def due(self) -> float:
        """Monotonic time at which :meth:`step` has something to do."""
        if self._seen != self._acted_on or self._unlisted:
            return max(self._retry_at, self._changed_at + STEADY_S)
        return float("inf")

    def why(self, name: str, outline: Outline) -> str:
        """Say why this frame is left out; empty when it is not."""
        option = self._option(name, outline.object, outline.filter)
        if option:
            return option
        return COMMENTED if self._commented(name) else ""

    def lifted(self, entry: Entry, others: Mapping[str, str]) -> bool:
        """Tell whether the reason that a frame was excluded for holds no longer."""
        if entry.reason == COMMENTED:
            return not self._commented(entry.frame)
        if entry.reason.startswith(OPTION):
            return not self._option(entry.frame, entry.object, entry.filter)
        if entry.reason.startswith("same frame as "):
            return entry.frame not in others
        return not entry.reason.startswith("focus")

    def register(self, name: str, outline: Outline) -> None:
        """Note that a frame is whole, so that the table gets its row."""
        if name not in self._view and name not in self._unlisted:
            self._unlisted[name] = (outline.object, outline.filter)

    def check(self) -> None:
        """Note which recorded frames have lost their row: somebody's stale copy, say."""
        for name, entry in self.records.entries().items():
            known = entry.object != "UNKNOWN" and not entry.reason.startswith("same frame as ")
            listed = name in self._view or name in self._unlisted
            if known and not listed and (self.records.layout.reduced / name).exists():
                self._unlisted[name] = (entry.object, entry.filter)

    def step(self) -> list[str]:
        """Act on an edit of the table, and add the rows that it lacks.

        Returns
        -------
        list of str
            Frames that were commented in and have to be measured.
        """
        now = time.monotonic()
        signature = self.table.signature()
        if signature != self._seen:
            self._seen, self._changed_at = signature, now
        if now < self._retry_at:
            return []
        try:
            return self._act(now)
        except (OSError, RecordsError) as error:
            if str(error) != self.trouble:
                logger.warning("%s", error)
            self.trouble = str(error)
            self._retry_at = now + RETRY_S
            return []

    def _act(self, now: float) -> list[str]:
        measure = []
        if self._seen != self._acted_on and now - self._changed_at >= STEADY_S:
            self._view = self.table.read()
            measure = self._agree()
            self._acted_on = self._seen
            self._out_of_trouble()
            self.check()
        if self._unlisted and self._seen == self._acted_on:
            self._list()
        return measure

    def _list(self) -> None:
        """Add the rows that the table lacks."""
        rows = [self.table.row(name, *about) for name, about in self._unlisted.items()]
        for line in self.table.add(rows):
            logger.warning("%s", line)
        self._unlisted.clear()
        self._view = self.table.read()
        self._seen = self._acted_on = self.table.signature()
        self._out_of_trouble()

    def _agree(self) -> list[str]:
        """Bring the records to agreement with the table's comments."""
        out, back = {}, []
        for name, entry in self.records.entries().items():
            if entry.status == "done" and self._commented(name):
                out[name] = COMMENTED
            elif entry.reason == COMMENTED and not self._commented(name):
                back.append(name)
        if out:
            self.records.exclude(out)
            logger.info("left out, being commented out in the table: %s", ", ".join(out))
        measure = self.records.include(back) if back else []
        if back:
            logger.info("taken back, being in the table again: %s", ", ".join(back))
        return measure

    def _commented(self, name: str) -> bool:
        return self.watch.use_table and self._view.excluded(name)

    def _option(self, name: str, object_: str, filter_: str) -> str:
        """Say which option leaves a frame out; empty when none does."""
        for flag, words, text in (
            ("excl_files", self.watch.excl_files, frame_stem(name)),
            ("excl_objs", self.watch.excl_objs, object_),
            ("excl_filts", self.watch.excl_filts, filter_),
        ):
            for word in words:
                if _bare(word) and _bare(word) in _bare(text):
                    return f"{OPTION}{flag} {word}"
        return ""

    def _out_of_trouble(self) -> None:
        self.trouble, self._retry_at = "", 0.0


def _bare(text: str) -> str:
    return "".join(text.split()).casefold()
