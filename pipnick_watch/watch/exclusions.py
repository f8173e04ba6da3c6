"""Which frames are left out, and why: the file table's comments and the options.

It keeps the file table and the records in agreement: every whole frame has a row; a row that a
human comments out takes its frame out of the object's CSV, and brings it back; what an option
leaves out is commented out.
"""

import logging
import time
from collections.abc import Iterable

from pipnick_watch.errors import RecordsError
from pipnick_watch.outline import Outline
from pipnick_watch.records import Entry, FileTable, Records, TableView
from pipnick_watch.settings import Settings
from pipnick_watch.watch.options import is_focus, option_against, useless_words
from pipnick_watch.watch.wanted_rows import WantedRows

__all__ = ["COMMENTED", "Exclusions"]

logger = logging.getLogger(__name__)

COMMENTED = "commented out in astrometry_files.tbl"
OPTION = "excluded by --"
LEFT_BEHIND = COMMENTED + " by an earlier --"

STEADY_S = 1.0
"""The table is acted on when it has been unchanged for so long: an editor may be at it."""

RETRY_S = 2.0

GIVE_UP_S = 15.0
"""A table that could not be written for so long keeps ``--once`` no longer."""


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
        self._known = False
        self._seen = self.table.signature()
        self._acted_on: object = None
        self._changed_at = 0.0
        self._wanted = WantedRows(self.table)
        self._retry_at = 0.0
        self._trouble_since = 0.0
        self.trouble = ""

    @property
    def busy(self) -> bool:
        """Whether the table is still to be written, or an edit to be acted on."""
        hopeless = self.trouble and time.monotonic() - self._trouble_since > GIVE_UP_S
        return not hopeless and (bool(self._wanted) or self._seen != self._acted_on)

    @property
    def due(self) -> float:
        """Monotonic time at which :meth:`step` has something to do."""
        if self._seen != self._acted_on or self._wanted:
            return max(self._retry_at, self._changed_at + STEADY_S)
        return float("inf")

    def begin(self) -> list[str]:
        """Read the table before the first frame is looked at, and act on it.

        Returns
        -------
        list of str
            Frames that were commented in and have to be measured.

        Raises
        ------
        TableError, OSError
            The table cannot be read: nothing is known of what it leaves out.
        RecordsError
            As :meth:`Records.publish`.
        """
        self._seen = self.table.signature()
        measure = self._read()
        self._acted_on = self._seen
        self._point_out()
        return measure

    def why(self, name: str, outline: Outline) -> str:
        """Say why this frame is not measured; empty when it is."""
        option = self._option(name, outline.object, outline.filter)
        if option:
            return option
        # the observer wants the FWHM of a focus frame whatever the table says
        if self.watch.use_table and not is_focus(outline.object):
            return self.kept_out(name)
        return ""

    def kept_out(self, name: str) -> str:
        """Say why the lines of a measured frame stay out of the object's CSV, if they do."""
        if not self._view.excluded(name):
            return ""
        entry = self.records.entry(name)
        before = "" if entry is None else entry.reason
        if before.startswith(OPTION):
            return LEFT_BEHIND + before.removeprefix(OPTION)
        return before if before.startswith(LEFT_BEHIND) else COMMENTED

    def lifted(self, entry: Entry) -> bool:
        """Tell whether the reason that a frame was excluded for holds no longer."""
        if entry.reason.startswith(COMMENTED):
            return self._known and not self._left_alone(entry.frame)
        if entry.reason.startswith(OPTION):
            return not self._option(entry.frame, entry.object, entry.filter)
        return not entry.reason.startswith("focus")

    def take_back(self, names: Iterable[str]) -> list[str]:
        """Take back frames whose exclusion was lifted, as they were measured.

        Returns
        -------
        list of str
            Those that have to be looked at: to be measured, or because the table leaves them out.

        Raises
        ------
        OSError, RecordsError
            As :meth:`Records.publish`.
        """
        look: list[str] = []
        back: dict[str, list[str]] = {}
        for name in names:
            if self._left_alone(name):
                look.append(name)
            else:
                back.setdefault(self.kept_out(name), []).append(name)
        for reason, some in back.items():
            look += self.records.include(some, reason)
        return look

    def selected(self, entry: Entry) -> bool:
        """Tell whether a recorded frame is done and neither table nor options leave it out."""
        option = self._option(entry.frame, entry.object, entry.filter)
        return entry.status == "done" and not option and not self._left_alone(entry.frame)

    def register(self, name: str, outline: Outline, *, excluded: bool) -> None:
        """Note that a frame is whole, so that the table gets its row, with a ``#`` if excluded.

        What a human takes the ``#`` off afterwards is not commented out again by this process.
        """
        if excluded and not is_focus(outline.object):
            self._wanted.comment(name, outline.object, outline.filter, self._view)
        elif name not in self._view:
            self._wanted.row(name, outline.object, outline.filter, excluded=excluded)

    def check(self) -> None:
        """Note which recorded frames have lost their row: somebody's stale copy, say."""
        for name, entry in self.records.entries().items():
            known = entry.object != "UNKNOWN" and not entry.reason.startswith("same frame as ")
            listed = name in self._view or name in self._wanted
            if known and not listed and (self.records.layout.reduced / name).exists():
                excluded = entry.reason.startswith((OPTION, "focus"))
                self._wanted.row(name, entry.object, entry.filter, excluded=excluded)

    def step(self) -> list[str]:
        """Act on an edit of the table, and write what it lacks.

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
            if not self.trouble:
                self._trouble_since = now
            self.trouble = str(error)
            self._retry_at = now + RETRY_S
            return []

    def _act(self, now: float) -> list[str]:
        measure = []
        if self._seen != self._acted_on and now - self._changed_at >= STEADY_S:
            measure = self._read()
            self._acted_on = self._seen
            self._out_of_trouble()
            self.check()
        if self._wanted and self._seen == self._acted_on:
            measure += self._write()
        return measure

    def _read(self) -> list[str]:
        """Take in the table, and bring the records to agreement with it if it is another."""
        view = self.table.read()
        if self._known and view is self._view:
            return []
        self._view, self._known = view, True
        return self._agree()

    def _write(self) -> list[str]:
        """Add the rows that the table lacks, and comment out what the options leave out."""
        self._wanted.write()
        # taken before the reading: an edit in between is then seen as one
        signature = self.table.signature()
        # before the reading too: what the table cannot hold is not asked for again
        self._wanted.refuse(self.table.read())
        measure = self._read()
        self._seen = self._acted_on = signature
        self._out_of_trouble()
        return measure

    def _agree(self) -> list[str]:
        """Bring the records to agreement with the options and the table's comments.

        Left alone, a commented frame is excluded; otherwise it is done, without lines in the
        object's CSV.
        """
        out: dict[str, list[str]] = {}
        back: list[str] = []
        options: dict[str, str] = {}
        for name, entry in self.records.entries().items():
            if entry.status == "failed" or is_focus(entry.object):
                continue
            option = self._option(name, entry.object, entry.filter)
            if option:
                if entry.status == "done" or entry.reason.startswith(COMMENTED):
                    options[name] = option
                    self._wanted.comment(name, entry.object, entry.filter, self._view)
                continue
            commented = self._view.excluded(name)
            stands = "excluded" if self.watch.use_table else "done"
            if commented and (entry.status == "done" or entry.reason.startswith(COMMENTED)):
                if entry.status != stands or not entry.reason:
                    out.setdefault(self.kept_out(name), []).append(name)
            elif entry.reason.startswith(COMMENTED):
                back.append(name)
        if options:
            self.records.exclude(options)
            logger.info("left out, being excluded by an option: %s", ", ".join(options))
        measure: list[str] = []
        for reason, names in out.items():
            measure += self._keep_out(names, reason)
        if back:
            measure += self.records.include(back)
            logger.info("taken back, being in the table again: %s", ", ".join(back))
        return measure

    def _keep_out(self, names: list[str], reason: str) -> list[str]:
        logger.info("kept out of the object's CSV, being %s: %s", reason, ", ".join(names))
        if self.watch.use_table:
            self.records.exclude(dict.fromkeys(names, reason))
            return []
        return self.records.include(names, reason)

    def _point_out(self) -> None:
        """Say which comments an option has left behind that is no longer given."""
        left = [
            name
            for name, entry in self.records.entries().items()
            if entry.reason.startswith((OPTION, LEFT_BEHIND))
            and self._view.excluded(name)
            and not self._option(name, entry.object, entry.filter)
        ]
        if left:
            logger.warning(
                "still commented out by an earlier --excl_… that is not given now; to have them"
                " back, take the # off their rows in %s: %s",
                self.table.path.name, ", ".join(left),
            )  # fmt: skip

    def point_out_useless(self) -> None:
        """Say which words of the options leave out no frame that is known: misspelt, perhaps."""
        known = [(one.frame, one.object, one.filter) for one in self.records.entries().values()]
        for option in useless_words(self.watch, known):
            logger.warning("%s: leaves out no frame", option)

    def _left_alone(self, name: str) -> bool:
        return self.watch.use_table and self._view.excluded(name)

    def _option(self, name: str, object_: str, filter_: str) -> str:
        """Say which option leaves a frame out; empty when none does."""
        option = option_against(self.watch, name, object_, filter_)
        return OPTION + option if option else ""

    def _out_of_trouble(self) -> None:
        self.trouble, self._retry_at = "", 0.0
