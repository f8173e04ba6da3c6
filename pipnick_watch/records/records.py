"""What is recorded of each frame of a MAINDIR, and how it is changed so that it survives."""

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from pipnick_watch import __version__
from pipnick_watch.errors import RecordsError
from pipnick_watch.records.commit import KINDS, Change, commit
from pipnick_watch.records.entry import Entry
from pipnick_watch.records.layout import Kind, Layout
from pipnick_watch.records.locks import own_lock
from pipnick_watch.records.nightlog import NightLog
from pipnick_watch.records.objectcsv import differ_in_sky_only, write_lines
from pipnick_watch.records.outcomes import (
    change_of,
    gone,
    is_recorded,
    standing,
    stays_in_place,
    superseded,
    under_new_name,
)
from pipnick_watch.records.publishing import make_folder
from pipnick_watch.records.recovery import reconcile
from pipnick_watch.records.result import FrameResult

__all__ = ["Records"]


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
        self._solved: dict[str, tuple[Entry, str]] = {}

    @contextlib.contextmanager
    def _alone(self) -> Iterator[NightLog]:
        """Hold the records lock, with a fresh night log."""
        if not self.layout.reduced.is_dir():  # the lock's folder would be made in a mount point
            raise RecordsError(f"{self.layout.reduced}: is missing; is its disk mounted?")
        with self._mutex, own_lock(self.layout.records_lock, self.layout.maindir):
            self._log.refresh()
            yield self._log

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
            return reconcile(log)

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

    def catalogue(self, frame: str, kind: Kind = "unconsolidated") -> Path | None:
        """Give the path of the catalogue of a frame that was done once; None without one."""
        with self._mutex:
            self._log.refresh()
            entry = self._log.measured.get(frame)
            if entry is None or (kind == "consolidated" and entry.consol_bytes is None):
                return None
            return self._log.catalogue(entry, kind)

    def gone(self, frame: str, size: int, mtime_ns: int) -> list[Entry]:
        """List the done frames whose files had this size and time and are gone."""
        with self._mutex:
            self._log.refresh()
            return gone(self._log, frame, self._log.with_look(size, mtime_ns))

    def taken_over(self, frame: str, sha256: str, settings: str) -> FrameResult | None:
        """Give what a renamed frame comes to, from the catalogue of its older name.

        Parameters
        ----------
        frame : str
            Its name now.
        sha256, settings : str
            Its content, and what it is to be measured with.

        Returns
        -------
        FrameResult or None
            To be published; None when no such catalogue stands, so that it must be measured.
        """
        with self._mutex:
            self._log.refresh()
            for entry in gone(self._log, frame, self._log.with_hash(sha256)):
                if (entry.settings, entry.version) == (settings, self.version):
                    result = under_new_name(self._log, entry, frame, group=self.group)
                    if result is not None:
                        return result
        return None

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
        return self.publish_many([(result, since)], force=force)[0]

    def publish_many(
        self, results: Sequence[tuple[FrameResult, float | None]], *, force: bool = False
    ) -> list[bool]:
        """Record several frames, each with its ``since``; an object's CSV is remade only once.

        Where many frames are measured again, this saves remaking it for each of them.

        Raises
        ------
        OSError, RecordsError
            As :meth:`publish`; some of them may be recorded.
        """
        told = []
        together: dict[str, Change] = {}
        with self._alone() as log:
            for result, since in results:
                before = log.entries.get(result.frame)
                if before is not None and not force and is_recorded(before, result, self.version):
                    told.append(False)
                    continue
                change = change_of(before, result, self.version, since)
                if result.frame in together or not stays_in_place(log, result):
                    commit(log, together.values())
                    together.clear()
                    commit(log, [*superseded(log, result), change])
                else:
                    together[result.frame] = change
                told.append(True)
            commit(log, together.values())
        return told

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
                commit(log, changes)

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
                stands = entry is not None and entry.status != "failed"
                back = standing(log, entry) if entry is not None and stands else None
                if back is None:
                    measure.append(frame)
                else:
                    back.row["reason"] = reason
                    changes.append(back)
            if changes:
                commit(log, changes)
        return measure

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
                commit(log, [Change.of(entry, size=size, mtime_ns=mtime_ns)])

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
        new: dict[Kind, bytes] = {"unconsolidated": lines.encode()}
        if consolidated is not None:
            new["consolidated"] = consolidated.encode()
        with self._alone() as log:
            entry = log.entries.get(frame)
            if entry is None or entry.status != "done":
                return False
            paths = {kind: log.catalogue(entry, kind) for kind in new}
            if not all(differ_in_sky_only(paths[kind], body) for kind, body in new.items()):
                return False
            for kind, body in new.items():
                write_lines(paths[kind], [body], self.layout.maindir)
            self._solved[frame] = (entry, wcs)
        return True

    def flush_solutions(self) -> None:
        """Remake the objects' CSVs of the frames solved since the last time, and record them.

        Raises
        ------
        OSError, RecordsError
            As :meth:`publish`; the next call tries again.
        """
        if not self._solved:
            return
        with self._alone() as log:
            # where the row has changed since, so may have the catalogue: it is solved again
            changes = [
                Change.of(entry, wcs=wcs)
                for frame, (entry, wcs) in self._solved.items()
                if log.entries.get(frame) == entry
            ]
            places = {(kind, change.object) for change in changes for kind in KINDS
                      if change.home(kind) is not None}  # fmt: skip
            if changes:
                commit(log, changes, remake=places)
            self._solved.clear()
