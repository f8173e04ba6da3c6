"""The file table that the astrometry and the observer share: which frames it lists and excludes."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

from pipnick_watch.records.layout import Layout, without_suffix
from pipnick_watch.records.locks import own_lock
from pipnick_watch.records.publishing import append_durably, write_whole
from pipnick_watch.records.tabletext import TableError, TableRow, TableShape, TableText, refusal

__all__ = ["FileTable", "TableView"]

ATTEMPTS = 20
"""How often an edit is tried while somebody else keeps writing the table."""

PATIENCE_S = 0.5
"""The table's lock is also the astrometry's, and no frame waits for the table's sake."""

Signature = tuple[int, int, int, int]


class TableView:
    """Which frames the table lists and leaves out, as it was read and by what we have added since.

    Parameters
    ----------
    layout : Layout
    rows : iterable of TableRow
    """

    def __init__(self, layout: Layout, rows: Iterable[TableRow]) -> None:
        self._layout = layout
        self._excluded: dict[str, bool] = {}
        self.take(rows)

    def take(self, rows: Iterable[TableRow]) -> None:
        """Take in rows that the table has got."""
        for row in rows:
            for frame in _frames_meant(self._layout, row.path):
                self._excluded[frame] = row.excluded or self._excluded.get(frame, False)

    def lists(self, row: TableRow) -> bool:
        """Tell whether the frame of a row has one already."""
        return any(frame in self._excluded for frame in _frames_meant(self._layout, row.path))

    def __len__(self) -> int:
        return len(self._excluded)

    def __contains__(self, frame: object) -> bool:
        return frame in self._excluded

    def excluded(self, frame: str) -> bool:
        """Tell whether a row of the frame, found by the end of its path, is commented out."""
        return self._excluded.get(frame, False)


def _frames_meant(layout: Layout, path: str) -> list[str]:
    """Give the frames that a path can mean: what follows ``reduced/`` in it."""
    whole = PurePosixPath(path)
    if whole.is_absolute() and whole.is_relative_to(layout.reduced):
        return [str(whole.relative_to(layout.reduced))]
    parts = whole.parts
    return ["/".join(parts[place + 1 :]) for place, part in enumerate(parts[:-1])
            if part == "reduced"]  # fmt: skip


class FileTable:
    """``astrometry_files.tbl`` of one MAINDIR; a human and foreign programs write it too.

    Parameters
    ----------
    layout : Layout
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.path = layout.table
        self._seen: Signature | None = None
        self._view = TableView(layout, ())
        self._shape: TableShape | None = None

    def signature(self) -> Signature | None:
        """Give what changes whenever the file does; None when there is none."""
        return _signature(self.path)

    def read(self) -> TableView:
        """Read the table; a table that is not there has no rows.

        Raises
        ------
        TableError
            It is empty, binary, in the middle of a merge, or has no header; it is no file, or may
            not be read.
        OSError
            It cannot be read now.
        """
        signature = self.signature()
        if signature != self._seen:
            self._seen = None  # what follows may raise
            self._view, self._shape = TableView(self.layout, ()), None
            content = self._content()
            if content is not None:
                text = TableText(content, str(self.path))
                self._view, self._shape = TableView(self.layout, text.rows()), text.shape()
            self._seen = signature
        return self._view

    def _content(self) -> bytes | None:
        try:
            if not self.path.is_file() and self.path.exists():  # reading a FIFO would never end
                raise TableError(f"{self.path}: is no file; move it away to have the table made")
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise TableError(f"{self.path}: may not be read; give yourself the right to") from error

    def row(self, frame: str, object: str, filter: str, *, excluded: bool = False) -> TableRow:  # noqa: A002
        """Make the row of a frame."""
        path = self.layout.frame_path(frame)
        name = without_suffix(path.name)
        return TableRow(name=name, object=object, filter=filter, path=str(path), excluded=excluded)

    def add(self, rows: Iterable[TableRow]) -> list[str]:
        """Add rows, in one appended write when they fit; those of frames it lists are left out.

        Returns
        -------
        list of str
            What could not be added, and why, one line each.

        Raises
        ------
        TableError
            The table is unreadable, or somebody else keeps writing it.
        OSError
            Nothing was added: the disk is full, failing or read-only.
        """
        refused, fine = [], []
        for row in rows:
            reason = refusal(row)
            if reason:
                refused.append(f"{row.path!r}: has no row in {self.path.name}: {reason}")
            else:
                fine.append(row)
        if fine:
            with own_lock(self.layout.table_lock, self.layout.maindir, PATIENCE_S):
                self._retry(lambda: self._try_add(fine))
        return refused

    def _try_add(self, rows: Sequence[TableRow]) -> bool:
        view = self.read()
        new = [row for row in rows if not view.lists(row)]
        if not new:
            return True
        tail = self._shape.tail(new) if self._shape is not None else None
        if tail is None or self._shape is None or self._seen is None:
            content = self._content()
            text = TableText.new() if content is None else TableText(content, str(self.path))
            text.add(new)
            return self._swap(content, text.encode())
        before = self._seen
        if self.signature() != before:
            return False
        append_durably(self.path, tail)
        after = self.signature()
        if after is None or after[:3] != (*before[:2], before[2] + len(tail)):
            return False
        view.take(new)
        self._seen, self._shape = after, dataclasses.replace(self._shape, torn=False)
        return True

    def comment_out(self, frames: Iterable[str]) -> None:
        """Exclude frames: a ``#`` goes in front of their rows.

        Raises
        ------
        TableError, OSError
            As :meth:`add`.
        """
        self._comment(list(frames), out=True)

    def comment_in(self, frames: Iterable[str]) -> None:
        """Take the ``#`` off the rows of frames.

        Raises
        ------
        TableError, OSError
            As :meth:`add`.
        """
        self._comment(list(frames), out=False)

    def _comment(self, frames: Sequence[str], *, out: bool) -> None:
        with own_lock(self.layout.table_lock, self.layout.maindir, PATIENCE_S):
            self._retry(lambda: self._try_comment(frames, out=out))

    def _try_comment(self, frames: Sequence[str], *, out: bool) -> bool:
        content = self._content()
        if content is None:
            return True
        text = TableText(content, str(self.path))
        wanted = set(frames)
        chosen = [
            row
            for row in text.rows()
            if not wanted.isdisjoint(_frames_meant(self.layout, row.path))
        ]
        return not text.comment(chosen, out=out) or self._swap(content, text.encode())

    def _swap(self, old: bytes | None, new: bytes) -> bool:
        """Replace the table unless somebody else has written it meanwhile."""
        if self._content() != old:
            return False
        write_whole(self.path.resolve(), new)  # where it is a link, what that leads to
        return True

    def _retry(self, attempt: Callable[[], bool]) -> None:
        for _ in range(ATTEMPTS):
            if attempt():
                return
        raise TableError(f"{self.path}: somebody else keeps writing it; tried again later")


def _signature(path: Path) -> Signature | None:
    try:
        about = path.stat()
    except FileNotFoundError:
        return None
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns
