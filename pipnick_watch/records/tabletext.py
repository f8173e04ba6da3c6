"""How the file table is spelled: its lines, cells, comments and columns."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipnick_watch.errors import RecordsError
from pipnick_watch.records.layout import is_frame_name

__all__ = ["COLUMNS", "TableError", "TableLine", "TableRow", "TableShape", "TableText", "refusal"]

COLUMNS = ("names", "objects", "filters", "paths")
BOM = "\ufeff"

_COMMENT = re.compile(r"[ \t]*#[# \t]*")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_CONFLICT = re.compile(r"^(<<<<<<<|>>>>>>>)( |$)", re.MULTILINE)


class TableError(RecordsError):
    """The file table cannot be acted on; it is left as it is."""


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A row of the file table.

    Attributes
    ----------
    name : str
        The file's name without its suffix.
    object, filter : str
    path : str
        Of the file; ours are absolute, upstream's may be relative.
    excluded : bool
        The line begins with ``#``.
    """

    name: str
    object: str
    filter: str
    path: str
    excluded: bool = False

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """What stands in the four columns."""
        return self.name, self.object, self.filter, self.path


def refusal(row: TableRow) -> str:
    """Say why a row cannot stand in the table; empty when it can."""
    for column, text in zip(COLUMNS, row.cells, strict=True):
        if not text or text != text.strip():
            return f"its {column} cell is empty or has blanks at an end: {text!r}"
        if "|" in text or not text.isprintable():
            return f"its {column} cell has | or a character that cannot be printed: {text!r}"
    if row.name.startswith("#"):
        return f"its name begins with #: {row.name!r}"
    return ""


class TableLine:
    """One line as it stands; only blanks beside ``|`` and a leading ``#`` are ever changed.

    Parameters
    ----------
    text : str
        With whatever ends the line.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        body = text.rstrip("\r\n")
        comment = _COMMENT.match(body)
        self.commented = comment is not None
        pieces = body[comment.end() if comment else 0 :].split("|")
        # where the comment took the place of the first bar, the name follows it at once
        self._open = bool(pieces[0].strip(" \t"))
        cells = [piece.strip(" \t") for piece in (pieces if self._open else pieces[1:])]
        self.cells: tuple[str, ...] = tuple(cells[: len(COLUMNS)])
        path = self.cells[-1] if len(self.cells) == len(COLUMNS) else ""
        self.is_header = self.cells == COLUMNS and not self._open
        # a comment with bars in it may be a human's: only one that names a frame is a row
        named = is_frame_name(path.rpartition("/")[2])
        self.is_row = bool(path) and (named or self.is_header or not self.commented)

    @property
    def row(self) -> TableRow:
        """The row that stands here."""
        name, object_, filter_, path = self.cells
        return TableRow(
            name=name, object=object_, filter=filter_, path=path, excluded=self.commented
        )

    def without_comment(self, widths: Sequence[int]) -> str:
        """Take the ``#`` off; where it had taken the place of the first bar, put that back."""
        comment = _COMMENT.match(self.text)
        rest = self.text[comment.end() if comment else 0 :]
        return TableLine("|" + rest).padded(widths) if self._open else rest

    def padded(self, widths: Sequence[int]) -> str:
        """Write the cells between bars as wide as this, blanks in front."""
        body = self.text.rstrip("\r\n")
        comment = _COMMENT.match(body)
        start = comment.end() if comment else 0
        pieces = body[start:].split("|")
        first = 0 if self._open else 1
        for column, width in enumerate(widths):
            place = first + column
            if place == 0:
                continue  # no bar in front of it: the blanks there are the comment's
            closed = place + 1 < len(pieces)
            cell = pieces[place].strip(" \t")
            pieces[place] = f" {cell:>{width}} " if closed else f" {cell:>{width}}"
        return body[:start] + "|".join(pieces) + self.text[len(body) :]


@dataclass(frozen=True, kw_only=True)
class TableShape:
    """What an appended row must fit.

    Attributes
    ----------
    widths : tuple of int
        Of the header's columns, a blank on either side left.
    ending : str
        Of each line.
    torn : bool
        The last line has no ending yet.
    """

    widths: tuple[int, ...]
    ending: str
    torn: bool

    def tail(self, rows: Sequence[TableRow]) -> bytes | None:
        """Write rows as they are to be appended; None when a value is wider than its column."""
        pairs = [pair for row in rows for pair in zip(row.cells, self.widths, strict=True)]
        if any(len(cell) > width for cell, width in pairs):
            return None
        text = "".join([_line(row, self.widths, self.ending) for row in rows])
        return ((self.ending if self.torn else "") + text).encode(errors="surrogateescape")


class TableText:
    """The text of a whole table, and its edits.

    Parameters
    ----------
    content : bytes
        The file; bytes that are no UTF-8 survive.

    Raises
    ------
    TableError
        It is empty, binary, in the middle of a merge, or has no header.
    """

    def __init__(self, content: bytes, where: str) -> None:
        if not content.strip():
            raise TableError(f"{where}: is empty; restore it, or remove it to have it made anew")
        if b"\0" in content:
            raise TableError(f"{where}: is no text; restore it, or remove it to have it made anew")
        text = content.decode(errors="surrogateescape")
        if _CONFLICT.search(text):
            raise TableError(f"{where}: has merge-conflict markers; resolve them")
        self._bom = BOM if text.startswith(BOM) else ""
        self.lines = [TableLine(line) for line in _LINE.findall(text[len(self._bom) :])]
        active = [line for line in self.lines if line.is_row and not line.commented]
        if not active or not active[0].is_header:
            raise TableError(
                f"{where}: its header line | names | objects | filters | paths | is not the first"
                " row; put it there, or remove the file to have it made anew"
            )

    @classmethod
    def new(cls) -> "TableText":
        """Begin a table."""
        return cls(f"| {' | '.join(COLUMNS)} |\n".encode(), "a new table")

    def rows(self) -> list[TableRow]:
        """List the rows, commented ones too, in their order."""
        return [line.row for line in self._row_lines()]

    def _row_lines(self) -> list[TableLine]:
        return [line for line in self.lines if line.is_row and not line.is_header]

    @property
    def header(self) -> TableLine:
        """The line that names the columns."""
        return next(line for line in self.lines if line.is_header and not line.commented)

    @property
    def _ending(self) -> str:
        return self.header.text[len(self.header.text.rstrip("\r\n")) :] or "\n"

    def shape(self) -> "TableShape":
        """Give what a row must fit that is appended."""
        pieces = self.header.text.rstrip("\r\n").split("|")
        widths = tuple(max(len(piece) - 2, 0) for piece in pieces[1 : len(COLUMNS) + 1])
        torn = not self.lines[-1].text.endswith("\n")
        return TableShape(widths=widths, ending=self._ending, torn=torn)

    def add(self, rows: Iterable[TableRow]) -> None:
        """Add rows at the end and make all columns wide enough, commented rows' too."""
        if not self.lines[-1].text.endswith("\n"):
            self.lines[-1] = TableLine(self.lines[-1].text + self._ending)
        rows = list(rows)
        everyone = [line.cells for line in self._row_lines()] + [row.cells for row in rows]
        widths = [max(map(len, column)) for column in zip(COLUMNS, *everyone, strict=True)]
        self.lines = [
            TableLine(line.padded(widths)) if line.is_row else line for line in self.lines
        ]
        self.lines += [TableLine(_line(row, widths, self._ending)) for row in rows]

    def comment(self, chosen: Iterable[TableRow], *, out: bool) -> bool:
        """Comment rows out, or in; False when nothing changes."""
        wanted = {row.cells for row in chosen}
        widths = self.shape().widths
        changed = False
        for place, line in enumerate(self.lines):
            if line.is_row and line.cells in wanted and line.commented != out:
                text = "#" + line.text if out else line.without_comment(widths)
                self.lines[place] = TableLine(text)
                changed = True
        return changed

    def encode(self) -> bytes:
        """Give the bytes of the file."""
        text = self._bom + "".join([line.text for line in self.lines])
        return text.encode(errors="surrogateescape")


def _line(row: TableRow, widths: Sequence[int], ending: str) -> str:
    cells = [f" {cell:>{width}} " for cell, width in zip(row.cells, widths, strict=True)]
    return f"{'#' if row.excluded else ''}|{'|'.join(cells)}|{ending}"
