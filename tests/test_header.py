"""What does one FITS header say, card by card."""

import math

import pytest

from pipnick_watch.errors import FrameError
from pipnick_watch.header import Header, number, read_header

WANTED = {"OBJECT", "EXPTIME", "ESO DET ID"}


def read(*cards: str, start: int = 0) -> Header | None:
    content = b" " * start + "".join(card.ljust(80) for card in cards).encode("latin-1")
    content += b" " * (-len(content) % 2880)
    return read_header(lambda at, size: content[at : at + size], start, WANTED)


@pytest.mark.parametrize(
    ("card", "value"),
    [
        ("OBJECT  = 'NGC 4147  '        / target", "NGC 4147"),
        ("OBJECT  = 'O''Neill / star'   / target", "O'Neill / star"),
        ("OBJECT  = 'never closed", "never closed"),
        ("OBJECT  = ''", ""),
        ("OBJECT  =                   13 / a number", "13"),
        ("OBJECT  = -1.50E+01 / a number", "-1.50E+01"),
        ("OBJECT  =                    T / a truth", "T"),
        ("OBJECT  =", ""),
        ("OBJECT    no value here", ""),
        ("HIERARCH  eso det   id = 'chip' / long", "chip"),
    ],
)
def test_value(card: str, value: str) -> None:
    """The text of a value is read as the standard spells it."""
    header = read(card, "END")
    assert header is not None
    assert list(header.values.values()) == [value]


def test_continued_value() -> None:
    """A long string goes on over CONTINUE cards; other cards end it."""
    header = read("OBJECT  = 'one &'", "CONTINUE  'two&' / c", "CONTINUE  'three'", "END")
    assert header is not None
    assert header.values["OBJECT"] == "one twothree"
    stray = read("OBJECT  = 'one'", "CONTINUE  'two'", "END")
    assert stray is not None
    assert stray.values["OBJECT"] == "one"


def test_first_card_counts() -> None:
    """Of two cards with one keyword the first counts, and what nobody asked for is not kept."""
    header = read("EXPTIME = 60", "EXPTIME = 61", "GAIN    = 1", "END")
    assert header is not None
    assert dict(header.values) == {"EXPTIME": "60"}


def test_where_it_ends() -> None:
    """A header fills whole blocks, and the data's padding does as well."""
    image = ["BITPIX  = -64", "NAXIS   = 2", "NAXIS1  = 19", "NAXIS2  = 19"]
    header = read(*image, *["COMMENT"] * 60, "END", start=2880)
    assert header is not None
    assert (header.start, header.stop) == (2880, 3 * 2880)
    assert header.data_size() == 19 * 19 * 8
    assert header.next_start() == 5 * 2880


def test_unfinished() -> None:
    """A header without END is unfinished, and impossible when it is long."""
    assert read("OBJECT  = 'x'") is None
    with pytest.raises(FrameError, match="no END"):
        read(*["COMMENT"] * 36_001)


def test_group_and_parameter_counts() -> None:
    """PCOUNT and GCOUNT count into the size of the data."""
    header = read("BITPIX  = 8", "NAXIS   = 1", "NAXIS1  = 10", "PCOUNT  = 5", "GCOUNT  = 3", "END")
    assert header is not None
    assert header.data_size() == 45


@pytest.mark.parametrize(
    ("text", "value"), [("60", 60), ("6.0D1", 60), (" -1.5e-3 ", -0.0015), ("+.5", 0.5)]
)
def test_number(text: str, value: float) -> None:
    """Numbers are read with either exponent."""
    assert number(text) == value


@pytest.mark.parametrize("text", ["", "sixty", "nan", "inf", "1e999", "T"])
def test_no_number(text: str) -> None:
    """What is no finite number gives nan."""
    assert math.isnan(number(text))
