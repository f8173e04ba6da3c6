"""How a value becomes a cell of a CSV, and a cell a value again."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipnick_watch.columns import Column, names

if TYPE_CHECKING:  # loading astropy costs more than all the rest of this package
    from astropy.table import Table

__all__ = [
    "cell",
    "header",
    "line",
    "lines",
    "split",
    "table_lines",
    "text_cell",
    "text_value",
    "value",
]

MISSING = "nan"
_ESCAPED = re.compile(r"\\u([0-9a-f]{4})|\\U([0-9a-f]{8})")
_FORMULA = ("=", "+", "-", "@", "'")


def header(columns: Sequence[Column]) -> str:
    """Write the header line of a CSV, with its newline."""
    return ",".join(names(tuple(columns))) + "\n"


def text_cell(text: str) -> str:
    """Write a text so that no reader breaks on it and no spreadsheet runs it.

    Characters that cannot be printed are escaped (so is the backslash); a text that a spreadsheet
    would take for a formula gets a leading ``'``. :func:`text_value` undoes both.
    """
    if not text:
        return MISSING
    if not text.isprintable() or "\\" in text:
        text = "".join(char if char.isprintable() and char != "\\" else _escape(char)
                       for char in text)  # fmt: skip
    if text.startswith(_FORMULA):
        text = "'" + text
    if "," in text or '"' in text or text != text.strip():
        text = '"' + text.replace('"', '""') + '"'
    return text


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def text_value(text: str) -> str:
    """Read a text cell, its quotes already taken off."""
    if text == MISSING:
        return ""
    text = text.removeprefix("'")
    return _ESCAPED.sub(lambda found: chr(int(found[1] or found[2], 16)), text)


def cell(content: Any, column: Column) -> str:
    """Write one value; ``nan`` where it is missing or not finite."""
    if column.kind == "float" and isinstance(content, float):  # nearly all are
        return format(content, column.spec) if math.isfinite(content) else MISSING
    if column.kind == "text":
        return text_cell("" if content is None else str(content))
    if content is None or content is np.ma.masked or content == "":
        return MISSING
    if column.kind == "int":
        if isinstance(content, (float, np.floating)):
            if not math.isfinite(content):
                return MISSING
            content = round(float(content))
        return format(int(content), column.spec)
    number = float(content)
    return format(number, column.spec) if math.isfinite(number) else MISSING


def line(values: Mapping[str, Any], columns: Sequence[Column]) -> str:
    """Write a row, with its newline; columns without a value are missing."""
    return ",".join([cell(values.get(column.name), column) for column in columns]) + "\n"


def lines(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> list[str]:
    """Write many rows, as :func:`line` does one; by column, which is twice as fast."""
    texts = []
    for column in columns:
        found = [row.get(column.name) for row in rows]
        if column.kind == "float":
            texts.append([cell(one, column) for one in found])
        else:
            known = {one: cell(one, column) for one in set(found)}
            texts.append([known[one] for one in found])
    return [",".join(row) + "\n" for row in zip(*texts, strict=True)]


def table_lines(table: "Table", columns: Sequence[Column]) -> str:
    """Write all rows of a table that has these columns, without a header.

    Parameters
    ----------
    table : Table
        A column for each of ``columns``, by name; units are those of ``columns`` already.
    columns : sequence of Column

    Returns
    -------
    str
        A line for each row, each ended by a newline.
    """
    texts = [_column_cells(table[column.name], column) for column in columns]
    return "".join([",".join(row) + "\n" for row in zip(*texts, strict=True)])


def _column_cells(content: Any, column: Column) -> list[str]:
    if column.kind == "float":
        numbers = np.ma.filled(np.ma.asarray(content).astype(float), np.nan).tolist()
        return [format(one, column.spec) if math.isfinite(one) else MISSING for one in numbers]
    values = np.ma.asarray(content).tolist()
    known = {one: cell(one, column) for one in set(values)}
    return [known[one] for one in values]


def split(text: str) -> list[str]:
    """Split a line into its cells, quotes taken off.

    Raises
    ------
    csv.Error
        The line is no CSV at all.
    """
    if '"' not in text:
        return text.rstrip("\n").split(",")
    return next(csv.reader(io.StringIO(text), strict=True))


def value(text: str, column: Column) -> Any:
    """Read one cell: a text, a float, or an int (None when missing).

    Raises
    ------
    ValueError
        The cell does not hold what its column says.
    """
    if column.kind == "text":
        return text_value(text)
    if column.kind == "float":
        return float(text)
    return None if text == MISSING else int(text)
