"""What frames.csv, the night log and commit record, says of each frame; and how a row is added."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipnick_watch.columns import NIGHT_LOG, names
from pipnick_watch.records import cells
from pipnick_watch.records.entry import Entry, read_row
from pipnick_watch.records.layout import Kind, Layout, frame_identity, plain_stem
from pipnick_watch.records.layout import digest as short_digest
from pipnick_watch.records.publishing import append_durably, make_folder, write_whole
from pipnick_watch.records.tail import Tail

__all__ = ["RENAMED", "NightLog"]

RENAMED = "renamed to "
"""How the reason of a row begins whose frame now lies elsewhere."""

ALIKE = 20
"""Where more files than this have one time and size, as after unpacking, these tell nothing."""

_NAMES = names(NIGHT_LOG)


class NightLog:
    """frames.csv as it stands, kept up to date from its tail.

    Attributes
    ----------
    entries : dict
        Last row of each frame.
    measured : dict
        Last row of each frame with the status ``done``: what its catalogue on disk is.
    trusted : set
        The objects' CSVs that were compared with the catalogues since frames.csv was read anew.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._tail = Tail(layout.frames_csv)
        self._forget()

    def _forget(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.measured: dict[str, Entry] = {}
        self.trusted: set[tuple[Kind, str]] = set()
        self._bytes: dict[tuple[Kind, str], int] = {}
        self._members: dict[str, dict[str, None]] = {}
        self._by_hash: dict[str, dict[str, None]] = {}
        self._by_identity: dict[str, dict[str, None]] = {}
        self._by_look: dict[tuple[int | None, int | None], dict[str, None]] = {}
        self._stems: dict[tuple[str, str, str], str] = {}
        self._stale: dict[tuple[Kind, str, str, str], None] = {}
        self._unreadable: list[str] = []
        self._header = cells.header(NIGHT_LOG)

    def refresh(self) -> None:
        """Take in what was written since the last look; a look costs one ``stat``.

        Raises
        ------
        OSError
            The file is there and cannot be read.
        """
        lines, anew = self._tail.read()
        if anew and not lines and not self.layout.reduced.is_dir():
            return  # the disk is gone: what is known stays known until it is back
        if anew:
            self._forget()
            if lines:
                self._header, *lines = lines
        padding = self._padding()
        width = len(_NAMES) + self._extra()
        for line in lines:
            text = line.rstrip("\n") + padding + "\n" if padding else line
            try:
                self._take(read_row(text, width))
            except ValueError:
                self._unreadable.append(line)

    def _padding(self) -> str:
        """Give what the rows of an older version lack, columns having been added since."""
        found = self._header.rstrip("\n").split(",")
        if len(found) < len(_NAMES) and found == _NAMES[: len(found)]:
            return ",nan" * (len(_NAMES) - len(found))
        return ""

    def _extra(self) -> int:
        """Count the columns that a newer version has added."""
        found = self._header.rstrip("\n").split(",")
        return len(found) - len(_NAMES) if found[: len(_NAMES)] == _NAMES else 0

    def _take(self, entry: Entry) -> None:
        frame, before = entry.frame, self.entries.get(entry.frame)
        if before is not None:
            self._members.get(before.object, {}).pop(frame, None)
            self._by_hash.get(before.sha256, {}).pop(frame, None)
            self._by_look.get((before.size, before.mtime_ns), {}).pop(frame, None)
        self.entries[frame] = entry
        if entry.status == "done":
            self._take_catalogue(entry)
        if entry.listed:
            self._members.setdefault(entry.object, {})[frame] = None
        if entry.sha256:
            self._by_hash.setdefault(entry.sha256, {})[frame] = None
            self._by_look.setdefault((entry.size, entry.mtime_ns), {})[frame] = None
        self._by_identity.setdefault(frame_identity(frame), {})[frame] = None
        self._bytes["unconsolidated", entry.object] = entry.csv_bytes
        if entry.consol_bytes is not None:
            self._bytes["consolidated", entry.object] = entry.consol_bytes
        if entry.status == "excluded" and entry.reason.startswith(RENAMED):
            self._set_aside(self.measured.pop(frame, None), ("unconsolidated", "consolidated"))

    def _take_catalogue(self, entry: Entry) -> None:
        before = self.measured.get(entry.frame)
        self._set_aside(before, ("unconsolidated", "consolidated"))
        self.measured[entry.frame] = entry
        stem = self.stem(entry.frame, entry.object, entry.filter)
        self._stems.setdefault((entry.object, entry.filter, stem), frame_identity(entry.frame))
        self._stale.pop(("unconsolidated", entry.object, entry.filter, stem), None)
        if entry.consol_bytes is not None:
            self._stale.pop(("consolidated", entry.object, entry.filter, stem), None)

    def _set_aside(self, entry: Entry | None, kinds: Sequence[Kind]) -> None:
        if entry is None:
            return
        stem = self.stem(entry.frame, entry.object, entry.filter)
        for kind in kinds:
            if kind == "unconsolidated" or entry.consol_bytes is not None:
                self._stale[kind, entry.object, entry.filter, stem] = None

    def stem(self, frame: str, object: str, filter: str) -> str:  # noqa: A002
        """Give the stem of a frame's catalogue, which no other frame's has.

        Where two frames would share one, the frame that was done first has the plain stem.
        """
        stem = plain_stem(frame, object, filter)
        identity = frame_identity(frame)
        if self._stems.get((object, filter, stem), identity) == identity:
            return stem
        return f"{stem}__{short_digest(identity)}"

    def catalogue(self, entry: Entry, kind: Kind) -> Path:
        """Give the path of a frame's catalogue."""
        stem = self.stem(entry.frame, entry.object, entry.filter)
        return self.layout.catalogue(entry.object, entry.filter, stem, kind)

    def members(self, object: str, kind: Kind) -> list[str]:  # noqa: A002
        """List the frames whose lines the object's CSV of this kind holds."""
        return [one for one in self._members.get(object, ()) if self.entries[one].lists(kind)]

    def recorded_bytes(self, object: str, kind: Kind) -> int:  # noqa: A002
        """Give the size of an object's CSV as last recorded; 0 when it was never made."""
        return self._bytes.get((kind, object), 0)

    def recorded(self) -> Mapping[tuple[Kind, str], int]:
        """Give the size of each object's CSV as last recorded."""
        return self._bytes

    def take_stale(self) -> list[tuple[Kind, str, str, str]]:
        """Give, once, the catalogues that are nobody's now: kind, object, filter and stem."""
        stale = list(self._stale)
        self._stale.clear()
        return stale

    def with_hash(self, sha256: str) -> list[str]:
        """List the frames whose last row has this hash, the last one first."""
        return list(reversed(self._by_hash.get(sha256, {})))

    def with_look(self, size: int, mtime_ns: int) -> list[str]:
        """List the frames whose files had this size and time; none where these tell nothing."""
        alike = self._by_look.get((size, mtime_ns), {})
        return list(alike) if len(alike) <= ALIKE else []

    def same_identity(self, frame: str) -> list[str]:
        """List the other files of the same folder and stem that have rows."""
        return [one for one in self._by_identity.get(frame_identity(frame), ()) if one != frame]

    def append(self, make: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        """Add rows in one write, durably; the caller holds the records lock.

        ``make`` gives the rows at the last moment, so that they can say how long it took.

        Raises
        ------
        OSError
            Nothing was added.
        """
        self.mend()
        text = "".join([cells.line(row, NIGHT_LOG) for row in make()])
        text = text.replace("\n", ",nan" * self._extra() + "\n")
        append_durably(self.layout.frames_csv, text.encode())
        self.refresh()

    def mend(self) -> list[str]:
        """Make the file what it must be before a row is added; the caller holds the records lock.

        A torn last line is cut off, unreadable rows are set aside, an older header is replaced.

        Returns
        -------
        list of str
            What was done, one line each.
        """
        told = []
        self.refresh()
        path = self.layout.frames_csv
        if self._tail.cut_torn_line():
            told.append(f"{path}: cut off a torn last line")
        header = cells.header(NIGHT_LOG)
        if self._tail.empty():
            make_folder(path.parent, self.layout.maindir)
            write_whole(path, header.encode())
        elif self._unreadable or not (self._extra() or self._header == header):
            told.append(self._rewrite(header))
        else:
            return told
        self.refresh()
        return told

    def _rewrite(self, header: str) -> str:
        path, aside = self.layout.frames_csv, self.layout.unreadable_rows
        kept, padding = [header], self._padding()
        known = set(self._unreadable)
        whole = [line for line in self._tail.all_lines()[1:] if line not in known]
        kept += [line.rstrip("\n") + padding + "\n" for line in whole]
        if self._unreadable:
            make_folder(aside.parent, self.layout.maindir)
            old = aside.read_bytes() if aside.exists() else b""
            bad = "".join(self._unreadable).encode(errors="surrogateescape")
            write_whole(aside, old + bad)
        write_whole(path, "".join(kept).encode(errors="surrogateescape"))
        return (
            f"{path}: rewritten with {len(kept) - 1} rows; {len(self._unreadable)} unreadable rows"
            f" were set aside in {aside}, their frames are measured again"
        )
