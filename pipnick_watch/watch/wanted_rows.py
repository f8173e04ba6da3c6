"""What the file table still lacks: rows of new frames, and a ``#`` in front of others."""

import logging

from pipnick_watch.records import FileTable, TableView

__all__ = ["WantedRows"]

logger = logging.getLogger(__name__)


class WantedRows:
    """Rows and comments to be written into one file table.

    Parameters
    ----------
    table : FileTable
    """

    def __init__(self, table: FileTable) -> None:
        self._table = table
        self._rows: dict[str, tuple[str, str, bool]] = {}
        self._comments: set[str] = set()
        self._refused: set[str] = set()
        self._tried: set[str] = set()

    def __bool__(self) -> bool:
        """Tell whether anything is to be written."""
        return bool(self._rows or self._comments)

    def __contains__(self, name: object) -> bool:
        """Tell whether a frame's row is wanted, or cannot stand in the table."""
        return name in self._rows or name in self._refused

    def row(self, name: str, object_: str, filter_: str, *, excluded: bool) -> None:
        """Want a row for a frame that the table does not have, with a ``#`` if excluded."""
        if name not in self:
            self._rows[name] = (object_, filter_, excluded)

    def comment(self, name: str, object_: str, filter_: str, view: TableView) -> None:
        """Want a frame commented out, whether the table has it or not."""
        if name in self._refused:
            return
        if name not in view:
            self._rows[name] = (object_, filter_, True)
        elif not view.excluded(name):
            self._comments.add(name)

    def write(self) -> None:
        """Write what is wanted; to be followed by :meth:`refuse`.

        Raises
        ------
        OSError, RecordsError
            The table cannot be written: all is wanted still.
        """
        rows = [
            self._table.row(name, object_, filter_, excluded=excluded)
            for name, (object_, filter_, excluded) in self._rows.items()
        ]
        refused = self._table.add(rows) if rows else []
        for line in refused:
            logger.warning("%s", line)
        self._tried = set(self._rows) if refused else set()
        self._rows.clear()
        if self._comments:
            self._table.comment_out(self._comments)
            logger.info("commented out in the table: %s", ", ".join(sorted(self._comments)))
            self._comments.clear()

    def refuse(self, view: TableView) -> None:
        """Never ask again for rows that were tried and are not in the table, as it is now."""
        self._refused |= {name for name in self._tried if name not in view}
        self._tried = set()
