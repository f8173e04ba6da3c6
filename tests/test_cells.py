"""How values become cells of a CSV, and cells values again."""

import io

import numpy as np
import pandas as pd
import pytest
from astropy.table import MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st

from pipnick_watch.columns import CATALOGUE, NIGHT_LOG, Column, names
from pipnick_watch.records import cells

TEXT = Column("reason", "text", "", "")
FLOAT = Column("fwhm", "float", "pix", "", ".2f")
INT = Column("size", "int", "byte", "", "d")


@pytest.mark.parametrize(
    ("value", "column", "cell"),
    [(None, TEXT, "nan"), ("", TEXT, "nan"), (None, INT, "nan"), (float("nan"), FLOAT, "nan"),
     (float("inf"), FLOAT, "nan"), (np.ma.masked, INT, "nan"), (np.float64("nan"), INT, "nan"),
     (3, INT, "3"), (np.int64(2**62), INT, str(2**62)), (3.0, INT, "3"), (2, FLOAT, "2.00"),
     (-1.005, FLOAT, "-1.00"), (True, INT, "1")],
)  # fmt: skip
def test_values_are_written_as_their_columns_say(value, column, cell):
    """Missing is nan in every kind of column; numbers have their column's format."""
    assert cells.cell(value, column) == cell


@given(st.text())
def test_any_text_comes_back(text):
    """A text cell is one printable line, no formula, and reads back as it was."""
    cell = cells.text_cell(text)
    assert cell.isprintable()
    assert not cell.lstrip('"').startswith(("=", "+", "-", "@", "\t"))
    if text != "nan":
        assert cells.text_value(cells.split(cell)[0]) == text


@given(st.lists(st.text(max_size=20), min_size=2, max_size=5))
def test_pandas_sees_the_same_cells(texts):
    """What is written as one cell is one cell for pandas, whatever is in it."""
    line = ",".join(cells.text_cell(text) for text in texts)
    found = pd.read_csv(io.StringIO(line), header=None, dtype=str, keep_default_na=False)
    assert list(found.iloc[0]) == cells.split(line)
    assert len(found) == 1


def test_rows_come_back_as_they_were():
    """A row of the night log read back gives its values, None or nan where they are missing."""
    row = {"frame": "a,b/d1.fits", "status": "done", "size": 2**60, "fwhm": 4.25}
    line = cells.line(row, NIGHT_LOG)
    found = {column.name: cells.value(text, column)
             for column, text in zip(NIGHT_LOG, cells.split(line), strict=True)}  # fmt: skip
    assert {name: found[name] for name in row} == row
    assert found["mtime_ns"] is None
    assert np.isnan(found["sky"])
    assert found["reason"] == ""


def test_tables_become_lines():
    """Each row of a table is a line with every column, masked and infinite cells nan."""
    count = 3
    table = Table({column.name: _column(column, count) for column in CATALOGUE})
    table["qfit"] = MaskedColumn([1.0, 2.0, 3.0], mask=[False, True, False])
    table["mag"][1] = np.inf
    lines = cells.table_lines(table, CATALOGUE)
    frame = pd.read_csv(io.StringIO(cells.header(CATALOGUE) + lines))
    assert list(frame.columns) == names(CATALOGUE)
    assert len(frame) == count
    assert np.isnan(frame["qfit"][1])
    assert np.isnan(frame["mag"][1])
    assert list(frame["id"]) == [0, 1, 2]
    assert cells.table_lines(table[:0], CATALOGUE) == ""


def _column(column, count):
    if column.kind == "text":
        return [f"{column.name} {number}" for number in range(count)]
    return np.arange(count, dtype=int if column.kind == "int" else float)
