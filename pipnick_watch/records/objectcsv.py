"""The frames' catalogues, and the object's CSV that is made of their lines."""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipnick_watch.columns import CATALOGUE, names
from pipnick_watch.records import cells
from pipnick_watch.records.publishing import append_durably, make_folder, write_whole

__all__ = [
    "CatalogueGoneError",
    "add_lines",
    "differ_in_sky_only",
    "file_size",
    "first_frame",
    "has_our_header",
    "places_of",
    "read_lines",
    "with_frame",
    "with_sky",
    "write_lines",
]

FloatArray = npt.NDArray[np.float64]

HEADER = cells.header(CATALOGUE).encode()
_FRAME = names(CATALOGUE).index("frame")
_RA = names(CATALOGUE).index("ra")
_SKY = {_RA, names(CATALOGUE).index("dec")}
_X = names(CATALOGUE).index("x_fit")


class CatalogueGoneError(Exception):
    """The catalogue of a done frame is missing, or is no catalogue of ours."""


def file_size(path: Path) -> int:
    """Give the size of a file, 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def write_lines(path: Path, lines: Iterable[bytes], root: Path) -> int:
    """Publish a catalogue or an object's CSV whole: the header and these lines.

    Returns
    -------
    int
        Its size.

    Raises
    ------
    OSError
        The old file is as it was.
    """
    make_folder(path.parent, root)
    return write_whole(path, _after_header(lines))


def _after_header(lines: Iterable[bytes]) -> Iterator[bytes]:
    yield HEADER
    yield from lines


def add_lines(path: Path, lines: bytes) -> int:
    """Append lines to an object's CSV in one write.

    Returns
    -------
    int
        Its size.

    Raises
    ------
    OSError
        Nothing was appended.
    """
    return append_durably(path, lines) if lines else file_size(path)


def has_our_header(path: Path) -> bool:
    """Tell whether a file begins with today's header, so that today's lines may follow."""
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER


def read_lines(path: Path) -> bytes:
    """Read a catalogue's lines, without the header.

    Lines of an older version get ``nan`` for the columns that were added since.

    Raises
    ------
    CatalogueGoneError
        The file is missing or is no catalogue of ours.
    """
    try:
        header, newline, lines = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        raise CatalogueGoneError(f"{path}: is missing") from None
    ours = HEADER.rstrip(b"\n").split(b",")
    found = header.split(b",")
    if not newline or found != ours[: len(found)] or (lines and not lines.endswith(b"\n")):
        raise CatalogueGoneError(f"{path}: is no catalogue of pipnick-watch")
    missing = len(ours) - len(found)
    return lines.replace(b"\n", b",nan" * missing + b"\n") if missing else lines


def first_frame(lines: bytes) -> str:
    """Give the frame that a catalogue's lines belong to; empty when there are none."""
    if not lines:
        return ""
    found = cells.split(lines.partition(b"\n")[0].decode())
    return cells.text_value(found[_FRAME])


def differ_in_sky_only(path: Path, new: bytes) -> bool:
    """Tell whether a catalogue's lines are these, but for ``ra`` and ``dec``."""

    def rest(lines: bytes) -> list[list[str]]:
        found = csv.reader(io.StringIO(lines.decode(), newline=""))
        return [[text for place, text in enumerate(row) if place not in _SKY] for row in found]

    try:
        return rest(read_lines(path)) == rest(new)
    except CatalogueGoneError:
        return False


def with_frame(lines: bytes, frame: str) -> str:
    """Write a catalogue's lines for a frame's new name, without ``ra`` and ``dec``."""
    written = []
    for row in csv.reader(io.StringIO(lines.decode(), newline=""), strict=True):
        texts = [
            cells.text_cell(cells.text_value(text)) if column.kind == "text" else text
            for text, column in zip(row, CATALOGUE, strict=True)
        ]
        texts[_FRAME] = cells.text_cell(frame)
        for place in _SKY:
            texts[place] = cells.cell(None, CATALOGUE[place])
        written.append(",".join(texts) + "\n")
    return "".join(written)


def places_of(lines: str) -> tuple[FloatArray, FloatArray]:
    """Read ``x_fit`` and ``y_fit`` of a catalogue's lines, each of shape (n,), pixels."""
    # they stand before the first text, which may hold commas
    pairs = [line.split(",", _X + 2)[_X : _X + 2] for line in lines.splitlines()]
    places = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return places[:, 0], places[:, 1]


def with_sky(lines: str, ra: FloatArray, dec: FloatArray) -> str:
    """Write ``ra`` and ``dec`` into a catalogue's lines.

    Parameters
    ----------
    lines : str
        Without the header.
    ra, dec : ndarray, shape (n,)
        Degrees.
    """
    written = []
    after = len(CATALOGUE) - _RA
    for line, *place in zip(lines.splitlines(), ra, dec, strict=True):
        # they stand after the last text, which may hold commas
        head, _, _, *rest = line.rsplit(",", after)
        sky = [cells.cell(one, CATALOGUE[_RA + k]) for k, one in enumerate(place)]
        written.append(",".join([head, *sky, *rest]) + "\n")
    return "".join(written)
