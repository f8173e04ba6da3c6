"""What is recorded of each frame of a MAINDIR, and how it is changed so that it survives."""

import contextlib
import csv
import io
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipnick_watch import __version__
from pipnick_watch.columns import CATALOGUE, names
from pipnick_watch.errors import RecordsError
from pipnick_watch.records.commit import (
    GONE,
    KINDS,
    Change,
    commit,
    mismatched,
    remove_stale,
)
from pipnick_watch.records.layout import Kind, Layout
from pipnick_watch.records.locks import own_lock
from pipnick_watch.records.nightlog import RENAMED, Entry, NightLog
from pipnick_watch.records.objectcsv import (
    HEADER,
    CatalogueGoneError,
    first_frame,
    read_lines,
    write_lines,
)
from pipnick_watch.records.publishing import make_folder, sweep
from pipnick_watch.records.result import FrameResult

__all__ = ["Records"]

_SKY = {names(CATALOGUE).index(name) for name in ("ra", "dec")}


class Records:
    """The records of one MAINDIR; threads and processes may share it.

    Parameters
    ----------
    maindir : Path
    group : bool
        Consolidated catalogues are wanted too.
    version : str
        Written into every row.
    """

    def __init__(self, maindir: Path, *, group: bool = False, version: str = __version__) -> None:
        self.layout = Layout(maindir)
        self.group = group
        self.version = version
        self._log = NightLog(self.layout)
        self._mutex = threading.RLock()
        self._solved: dict[str, tuple[str, str]] = {}

    @contextlib.contextmanager
    def _alone(self) -> Iterator[NightLog]:
        """Hold the records lock, with a fresh night log."""
        if not self.layout.reduced.is_dir():  # the lock's folder would be made in a mount point
            raise RecordsError(f"{self.layout.reduced}: is missing; is its disk mounted?")
        with self._mutex, own_lock(self.layout.records_lock, self.layout.maindir):
            self._log.refresh()
            yield self._log

    def _commit(self, log: NightLog, changes: Iterable[Change], **how: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        commit(log, changes, stamp={"recorded_at": now}, **how)

    def recover(self) -> list[str]:
        """Bring night log, catalogues and objects' CSVs to agreement; make the folders.

        Without ``reduced/`` nothing is looked at: its disk may not be mounted yet.

        Returns
        -------
        list of str
            What was found and done, one line each; nothing on an untouched night.

        Raises
        ------
        OSError
            MAINDIR is missing, or its disk is full or failing.
        """
        layout = self.layout
        if not layout.reduced.is_dir():
            return []
        make_folder(layout.photometric, layout.maindir)
        for kind in KINDS if self.group else KINDS[:1]:
            make_folder(layout.photometric / kind, layout.maindir)
        with self._alone() as log:
            swept = sweep(layout.maindir, deep=False) + sweep(layout.photometric, deep=True)
            told = [f"{path}: a temporary file of a dead process was removed" for path in swept]
            told += log.mend()
            remove_stale(log)
            told += self._remove_strays(log)
            gone = self._without_catalogue(log)
            wrong = mismatched(log)
            changes = [Change.of(entry, status="excluded", reason=GONE) for entry in gone]
            if changes or wrong:
                self._commit(log, changes, remake=wrong)
            told += [f"{entry.frame}: {GONE}" for entry in gone]
            told += [f"{layout.object_csv(name, kind)}: made anew from its frames' catalogues"
                     for kind, name in sorted(wrong)]  # fmt: skip
        return told

    def _remove_strays(self, log: NightLog) -> list[str]:
        """Remove CSVs of objects of which no row was ever written: a publish was cut short."""
        told = []
        for kind in KINDS if log.entries else ():
            for path in (self.layout.photometric / kind).glob("*.csv"):
                if (kind, path.stem) not in log.recorded() and path.is_file():
                    with path.open("rb") as file:
                        ours = file.readline() == HEADER
                    if ours:
                        path.unlink()
                        told.append(f"{path}: removed, no frame of this object is done")
        return told

    def _without_catalogue(self, log: NightLog) -> list[Entry]:
        """Find frames that are done and still there, but have no catalogue."""
        folders: dict[Path, set[str]] = {}
        gone = []
        for entry in log.entries.values():
            if entry.status == "done":
                path = self._catalogue(entry, "unconsolidated")
                if path.parent not in folders:
                    folders[path.parent] = _names_in(path.parent)
                if path.name not in folders[path.parent] and self._exists(entry.frame):
                    gone.append(entry)
        return gone

    def _exists(self, frame: str) -> bool:
        return os.path.lexists(self.layout.frame_path(frame))

    def _catalogue(self, entry: Entry, kind: Kind) -> Path:
        stem = self._log.stem(entry.frame, entry.object, entry.filter)
        return self.layout.catalogue(entry.object, entry.filter, stem, kind)

    def entry(self, frame: str) -> Entry | None:
        """Give the last row of a frame, other processes' included; costs one ``stat``."""
        with self._mutex:
            self._log.refresh()
            return self._log.entries.get(frame)

    def entries(self) -> Mapping[str, Entry]:
        """Give the last row of every frame, as of now."""
        with self._mutex:
            self._log.refresh()
            return MappingProxyType(dict(self._log.entries))

    def stem(self, frame: str, object: str, filter: str) -> str:  # noqa: A002
        """Give the stem of a frame's catalogue and pictures, which no other frame's has."""
        with self._mutex:
            return self._log.stem(frame, object, filter)

    def has_catalogue(self, entry: Entry) -> bool:
        """Tell whether the catalogue of a done frame is there."""
        with self._mutex:
            return self._catalogue(entry, "unconsolidated").exists()

    def catalogue(self, frame: str, kind: Kind = "unconsolidated") -> Path | None:
        """Give the path of the catalogue of a frame that was done once; None without one."""
        with self._mutex:
            self._log.refresh()
            entry = self._log.measured.get(frame)
            if entry is None or (kind == "consolidated" and entry.consol_bytes is None):
                return None
            return self._catalogue(entry, kind)

    def publish(
        self, result: FrameResult, *, since: float | None = None, force: bool = False
    ) -> bool:
        """Record what a frame came to; when this returns, it is durable.

        A done result with a ``reason`` has its catalogue made, but no lines in the object's CSV:
        the file table leaves the frame out. Another frame with the same content whose file is gone
        was renamed to this one: its lines go. So do those of another file of the same frame.

        Parameters
        ----------
        result : FrameResult
        since : float, optional
            ``time.monotonic()`` when the frame was complete.
        force : bool
            Write even if the same is recorded already.

        Returns
        -------
        bool
            False when another process has recorded the same meanwhile: nothing was written.

        Raises
        ------
        OSError, RecordsError
            The disk is full, failing, read-only or gone. Try again later; it is not the frame's
            fault, and nothing half-done stays.
        """
        with self._alone() as log:
            before = log.entries.get(result.frame)
            if before is not None and not force and self._is_recorded(before, result):
                return False
            changes = [*self._superseded(log, before, result), self._change(before, result)]
            self._commit(log, changes, since=since)
        return True

    def _is_recorded(self, entry: Entry, result: FrameResult) -> bool:
        facts = result.facts
        content = (facts.get("sha256", ""), facts.get("settings", ""), self.version)
        same_content = content == (entry.sha256, entry.settings, entry.version)
        if result.status == "failed" and entry.status == "done":
            return same_content
        same_outcome = (result.status, result.reason) == (entry.status, entry.reason)
        if result.status != "done":
            return same_outcome and (same_content or (not content[0] and not entry.sha256))
        return (
            same_outcome
            and same_content
            and (result.object, result.filter) == (entry.object, entry.filter)
            and (result.consolidated is None or entry.consol_bytes is not None)
            and facts.get("wcs", "") in ("", entry.wcs)
        )

    def _change(self, before: Entry | None, result: FrameResult) -> Change:
        told = {"frame": result.frame, "object": result.object, "filter": result.filter,
                "status": result.status, "reason": result.reason,
                "version": self.version}  # fmt: skip
        if result.status == "excluded" and before is not None and "sha256" not in result.facts:
            if result.object == "UNKNOWN":
                told |= {"object": before.object, "filter": before.filter}
            known = {"size": before.size, "mtime_ns": before.mtime_ns}
            if {**known, **result.facts}.items() >= known.items():
                return Change.of(before, **result.facts, **told)
        bodies: dict[Kind, bytes] = {}
        if result.status == "done":
            bodies["unconsolidated"] = result.catalogue.encode()
            if result.consolidated is not None:
                bodies["consolidated"] = result.consolidated.encode()
        row = {**result.facts, **told}
        return Change(row=row, consolidated="consolidated" in bodies, bodies=bodies)

    def _superseded(
        self, log: NightLog, before: Entry | None, result: FrameResult
    ) -> Iterator[Change]:
        """Find the frames whose lines go because this frame takes their place."""
        sha256 = str(result.facts.get("sha256", ""))
        if sha256 and (before is None or before.sha256 != sha256):
            for frame in log.with_hash(sha256):
                entry = log.entries[frame]
                moved = frame != result.frame and entry.status == "done"
                if moved and not self._exists(frame):
                    yield Change.of(entry, status="excluded", reason=RENAMED + result.frame)
        if result.status == "done":
            for frame in log.same_identity(result.frame):
                entry = log.entries[frame]
                if entry.status == "done":
                    reason = f"same frame as {result.frame}"
                    yield Change.of(entry, status="excluded", reason=reason)

    def exclude(self, frames: Mapping[str, str]) -> None:
        """Take frames out of their objects' CSVs; their catalogues stay.

        Parameters
        ----------
        frames : mapping
            For each frame, the reason.

        Raises
        ------
        OSError, RecordsError
            As :meth:`publish`.
        """
        with self._alone() as log:
            changes = []
            for frame, reason in frames.items():
                entry = log.entries.get(frame)
                told = {"status": "excluded", "reason": reason}
                if entry is None:
                    unknown = {"frame": frame, "object": "UNKNOWN", "filter": "UNKNOWN",
                               "version": self.version}  # fmt: skip
                    changes.append(Change(row={**unknown, **told}))
                elif (entry.status, entry.reason) != ("excluded", reason):
                    changes.append(Change.of(entry, **told))
            if changes:
                self._commit(log, changes)

    def include(self, frames: Iterable[str], reason: str = "") -> list[str]:
        """Take frames back that were excluded, without measuring those whose catalogue stands.

        Parameters
        ----------
        frames : iterable of str
        reason : str
            Why their lines stay out of the object's CSV all the same; empty: they go in.

        Returns
        -------
        list of str
            The frames that must be measured.

        Raises
        ------
        OSError, RecordsError
            As :meth:`publish`.
        """
        measure, changes = [], []
        with self._alone() as log:
            for frame in frames:
                entry = log.entries.get(frame)
                if entry is not None and (entry.status, entry.reason) == ("done", reason):
                    continue
                back = self._standing(log, entry) if entry is not None else None
                if back is None:
                    measure.append(frame)
                else:
                    back.row["reason"] = reason
                    changes.append(back)
            if changes:
                self._commit(log, changes)
        return measure

    def _standing(self, log: NightLog, entry: Entry) -> Change | None:
        """Bring a frame back as it was measured, if its catalogue is of the same content."""
        measured = log.measured.get(entry.frame)
        if measured is None or not entry.sha256 or measured.sha256 != entry.sha256:
            return None
        try:
            lines = read_lines(self._catalogue(measured, "unconsolidated"))
        except CatalogueGoneError:
            return None
        count = lines.count(b"\n")
        if count != measured.n_sources or (count and first_frame(lines) != entry.frame):
            return None
        change = Change.of(measured, size=entry.size, mtime_ns=entry.mtime_ns, wcs=measured.wcs)
        consol = self._catalogue(measured, "consolidated")
        if change.consolidated and not consol.exists():
            return None
        return change

    def touch(self, frame: str, size: int, mtime_ns: int) -> None:
        """Record a new size and time of a frame whose content is the same.

        Raises
        ------
        OSError, RecordsError
            As :meth:`publish`.
        """
        with self._alone() as log:
            entry = log.entries.get(frame)
            if entry is not None and (entry.size, entry.mtime_ns) != (size, mtime_ns):
                self._commit(log, [Change.of(entry, size=size, mtime_ns=mtime_ns)])

    def solve(self, frame: str, lines: str, consolidated: str | None, wcs: str) -> bool:
        """Publish a done frame's catalogue with ``ra`` and ``dec``, a solution having come later.

        Its object's CSV and its row follow with :meth:`flush_solutions`; after a crash in between,
        the row's ``wcs`` says that it is to be done again.

        Returns
        -------
        bool
            False, and nothing is written, when the frame was measured anew meanwhile.

        Raises
        ------
        OSError, RecordsError
            As :meth:`publish`.
        """
        with self._alone() as log:
            entry = log.entries.get(frame)
            if entry is None or entry.status != "done":
                return False
            new = {"unconsolidated": lines, "consolidated": consolidated}
            for kind in KINDS:
                body = new[kind]
                if body is not None:
                    path = self._catalogue(entry, kind)
                    if not _differ_in_sky_only(read_lines(path), body.encode()):
                        return False
            for kind in KINDS:
                body = new[kind]
                if body is not None:
                    path = self._catalogue(entry, kind)
                    write_lines(path, [body.encode()], self.layout.maindir)
            self._solved[frame] = (entry.sha256, wcs)
        return True

    def flush_solutions(self) -> None:
        """Remake the objects' CSVs of the frames solved since the last time, and record them.

        Raises
        ------
        OSError, RecordsError
            As :meth:`publish`; the next call tries again.
        """
        with self._mutex:
            if not self._solved:
                return
        with self._alone() as log:
            changes = []
            for frame, (sha256, wcs) in self._solved.items():
                entry = log.entries.get(frame)
                if entry is not None and entry.status == "done" and entry.sha256 == sha256:
                    changes.append(Change.of(entry, wcs=wcs))
            places = {(kind, change.object) for change in changes for kind in KINDS
                      if change.home(kind) is not None}  # fmt: skip
            if changes:
                self._commit(log, changes, remake=places)
            self._solved.clear()


def _names_in(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return set()


def _differ_in_sky_only(old: bytes, new: bytes) -> bool:
    """Tell whether two bodies of a catalogue are the same but for ``ra`` and ``dec``."""

    def rest(body: bytes) -> list[list[str]]:
        rows = csv.reader(io.StringIO(body.decode(), newline=""))
        return [[text for place, text in enumerate(row) if place not in _SKY] for row in rows]

    return rest(old) == rest(new)
