"""What does one FITS header say: its 80-byte cards, read without trusting any of them.

Only bytes go in and only text and small numbers come out, so that it is safe and quick in the
process that watches the night.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from pipnick_watch.errors import FrameError

__all__ = ["BLOCK", "Header", "ReadAt", "number", "printable", "read_header"]

BLOCK = 2880
"""FITS files come in blocks of this many bytes."""

MAX_BLOCKS = 1000
MAX_AXES = 999
MAX_TEXT = 1000
CARDS_AT_ONCE = 8 * BLOCK

ReadAt = Callable[[int, int], bytes]
"""``read(offset, size)`` gives the bytes there, fewer at the end of the file."""

_INTEGER = re.compile(r"\s*([+-]?\d{1,18})\s*(?:/|$)")
_TEXT = re.compile(r"\s*'((?:[^']|'')*)'?")
_LAYOUT = re.compile(
    r"SIMPLE|XTENSION|BITPIX|BSCALE|BZERO|NAXIS\d{0,3}|PCOUNT|GCOUNT|GROUPS|EXTNAME|CHECKSUM|DATASUM"
    r"|ZIMAGE|ZNAXIS\d{0,3}"
)
_ODD = re.compile(rb"[^ -~]")
_BITS = {8, 16, 32, 64, -32, -64}


@dataclass(frozen=True, kw_only=True)
class Header:
    """The cards of one header that somebody asked for.

    Attributes
    ----------
    values : mapping of str to str
        Text of the value of each keyword; the first card with a keyword counts.
    start, stop : int
        Where the header begins and its data begin, bytes.
    """

    values: Mapping[str, str]
    start: int
    stop: int

    def integer(self, keyword: str, default: int | None = None) -> int:
        """Read a whole number.

        Raises
        ------
        FrameError
            It is missing without a default, or something else.
        """
        text = self.values.get(keyword)
        if text is None:
            if default is None:
                raise FrameError(f"impossible header: {keyword} is missing")
            return default
        if not re.fullmatch(r"[+-]?\d{1,18}", text):
            raise FrameError(f"impossible header: {keyword} is not a whole number")
        return int(text)

    def check_scaling(self) -> None:
        """Check that BSCALE and BZERO, where present, are numbers.

        Raises
        ------
        FrameError
            One of them is something else.
        """
        for keyword in ("BSCALE", "BZERO"):
            if not math.isfinite(number(self.values.get(keyword, "1"))):
                raise FrameError(f"impossible header: {keyword} is not a number")

    def axes(self, prefix: str = "") -> tuple[int, ...]:
        """Read the lengths of the axes, ``NAXIS1`` first; ``prefix`` Z for a compressed image.

        Raises
        ------
        FrameError
            A number is missing, negative or too large to be one.
        """
        n_axes = self.integer(prefix + "NAXIS")
        if not 0 <= n_axes <= MAX_AXES:
            raise FrameError(f"impossible header: {prefix}NAXIS = {n_axes}")
        lengths = []
        for axis in range(1, n_axes + 1):
            length = self.integer(f"{prefix}NAXIS{axis}")
            if length < 0:
                raise FrameError(f"impossible header: {prefix}NAXIS{axis} = {length}")
            lengths.append(length)
        return tuple(lengths)

    def data_size(self) -> int:
        """Count the bytes of the data, without the padding.

        Raises
        ------
        FrameError
            The header is impossible.
        """
        bits = self.integer("BITPIX")
        if bits not in _BITS:
            raise FrameError(f"impossible header: BITPIX = {bits}")
        axes = self.axes()
        if self.values.get("GROUPS") == "T" and axes[:1] == (0,):
            raise FrameError("not one 2-D image: random groups")
        extra, groups = self.integer("PCOUNT", 0), self.integer("GCOUNT", 1)
        if extra < 0 or groups < 0:
            raise FrameError(f"impossible header: PCOUNT = {extra}, GCOUNT = {groups}")
        if not axes:
            return 0
        return abs(bits) // 8 * groups * (extra + math.prod(axes))

    def next_start(self) -> int:
        """Tell where the next header begins: behind the data and their padding."""
        return self.stop + -(-self.data_size() // BLOCK) * BLOCK


def read_header(read: ReadAt, start: int, wanted: Collection[str]) -> Header | None:
    """Read one header.

    Parameters
    ----------
    read : callable
        Gives bytes of the file.
    start : int
        Where the header begins.
    wanted : collection of str
        Keywords to keep beside those that say how the data lie.

    Returns
    -------
    Header or None
        None when the file ends before the header does.

    Raises
    ------
    FrameError
        The header goes on and on.
    """
    values: dict[str, str] = {}
    last = ""
    for chunk_start in range(start, start + MAX_BLOCKS * BLOCK, CARDS_AT_ONCE):
        chunk = read(chunk_start, CARDS_AT_ONCE)
        for at in range(0, len(chunk) - 79, 80):
            raw = chunk[at : at + 80]
            if raw[:8] == b"END     ":
                stop = chunk_start + (at // BLOCK + 1) * BLOCK
                return Header(values=values, start=start, stop=stop)
            if not any(raw):
                return None  # the place was made, but nothing is written yet
            # latin-1 gives every byte a character: what is odd is replaced where names are cleaned
            card = raw.decode("latin-1")
            if card.startswith("CONTINUE") and last:
                values[last] = values[last][:-1] + _value(card[8:])
                last = last if _goes_on(values[last]) else ""
                continue
            keyword, value = _split(card)
            last = ""
            if keyword in values or not (keyword in wanted or _LAYOUT.fullmatch(keyword)):
                continue
            values[keyword] = _value(value)
            last = keyword if _goes_on(values[keyword]) else ""
        if len(chunk) < CARDS_AT_ONCE:
            return None
    raise FrameError(f"impossible header: no END in {MAX_BLOCKS} blocks")


def printable(cards: bytes) -> bytes:
    """Replace the bytes that no header may hold, and that astropy refuses, by ``?``."""
    return _ODD.sub(b"?", cards)


def number(text: str) -> float:
    """Read a number of a header; nan when it is none, or not finite."""
    try:
        value = float(text.upper().replace("D", "E"))
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _split(card: str) -> tuple[str, str]:
    if card.startswith("HIERARCH"):
        keyword, equals, value = card[8:].partition("=")
        return " ".join(keyword.upper().split()), value if equals else ""
    return card[:8].rstrip(), card[10:] if card[8] == "=" else ""


def _goes_on(text: str) -> bool:
    return text.endswith("&") and len(text) < MAX_TEXT


def _value(field: str) -> str:
    """Give the text of a card's value field, without quotes, comment and trailing blanks."""
    text = _TEXT.match(field)
    if text:
        return text[1].replace("''", "'").rstrip()
    integer = _INTEGER.match(field)
    return integer[1] if integer else field.partition("/")[0].strip()
