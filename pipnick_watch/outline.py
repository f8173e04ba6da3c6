"""Is this file whole, and what does it say it is: from its header blocks alone.

Nothing is allocated by what a header says, and no pixel is read: a look takes a millisecond and
may be had in the process that watches the night, on whatever bytes lie there.
"""

import contextlib
import dataclasses
import errno
import math
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipnick_watch.camera import Camera, clean_name
from pipnick_watch.errors import FrameError, FrameNotReadyError
from pipnick_watch.header import BLOCK, Header, ReadAt, read_header

__all__ = ["MAX_SIZE", "Outline", "Part", "open_regular", "outline", "outline_of"]

MAX_SIZE = 2**30
"""Bytes; a larger file is refused before it is read."""

MAX_PIXELS = 100_000_000
MAX_PARTS = 256
FACTS = {"BUNIT", "UTYPE"}
BEGINNING = b"SIMPLE  ="
EXTENSION = b"XTENSION"
BESIDE = {"MASK", "UNCERT"}
"""Extensions that belong to an image and are none themselves."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One header and its data (an HDU).

    Attributes
    ----------
    name : str
        EXTNAME in upper case; empty for the primary.
    start, data_start, stop : int
        Where it begins, its data begin, and the next begins (padding included), bytes.
    axes : tuple of int
        Lengths of the image's axes, the fastest first; empty when it holds no image.
    compressed : bool
        The image is cut in tiles that are compressed.
    values : mapping of str to str
        The cards that matter here.
    """

    name: str
    start: int
    data_start: int
    stop: int
    axes: tuple[int, ...]
    compressed: bool
    values: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What a file says of itself.

    Attributes
    ----------
    size, mtime_ns, ino : int
        Of the file.
    expected_size : int
        Bytes that the headers seen so far ask for, padding included.
    reason : str
        Why the file is not whole yet, for a person; empty when it is.
    object, filter : str
        Cleaned names; ``UNKNOWN`` when the header does not say or is not there yet.
    has_checksum : bool
        It carries CHECKSUM or DATASUM.
    values : mapping of str to str
        Text of every header keyword that the camera's profile names, where present: the image's
        own header before the primary one.
    parts : tuple of Part
    image : int
        Which of the parts is the image; -1 when it is not there yet.
    """

    size: int
    mtime_ns: int
    ino: int
    expected_size: int
    reason: str
    object: str
    filter: str
    has_checksum: bool
    values: Mapping[str, str]
    parts: tuple[Part, ...]
    image: int

    @property
    def complete(self) -> bool:
        """Whether all that the headers ask for is there."""
        return not self.reason

    def first(self, keywords: tuple[str, ...]) -> str:
        """Give the value of the first keyword that is present and not blank, else ``""``."""
        return next(iter(self.texts(keywords)), "")

    def texts(self, keywords: tuple[str, ...]) -> list[str]:
        """Give the values of the keywords that are present and not blank, in their order."""
        return _texts(self.values, keywords)


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[int]:
    """Open a file to read, without following a link or hanging on a FIFO; gives a descriptor.

    Raises
    ------
    FrameError
        It is something else than a regular file.
    FrameNotReadyError
        It cannot be opened or read now.
    """
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # a link, a socket
            raise FrameError("not a regular file") from error
        raise FrameNotReadyError(f"cannot be opened: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FrameError("not a regular file")
        yield descriptor
    except OSError as error:
        raise FrameNotReadyError(f"cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def outline(path: Path, camera: Camera) -> Outline:
    """Look at a file's headers.

    Parameters
    ----------
    path : Path
    camera : Camera
        How the headers are spelled.

    Returns
    -------
    Outline
        With a ``reason`` when the file is shorter than its headers say.

    Raises
    ------
    FrameError
        Not a regular file, not FITS, an impossible header, too large, or not one 2-D image: more
        bytes will not help. The message is one line for a person.
    FrameNotReadyError
        It cannot be opened or read now.
    """
    with open_regular(path) as descriptor:
        status = os.fstat(descriptor)
        return outline_of(lambda at, size: os.pread(descriptor, size, at), status, camera)


def outline_of(read: ReadAt, status: os.stat_result, camera: Camera) -> Outline:
    """Look at headers through ``read``; see :func:`outline`."""
    if status.st_size > MAX_SIZE:
        raise FrameError(f"too large: {status.st_size // 1000} kB, {MAX_SIZE // 1000} kB at most")
    wanted = _keywords(camera)
    parts, expected, reason = _walk(read, status.st_size, wanted)
    image = _find_image(parts, final=not reason)
    values: dict[str, str] = {}
    for number in (0, image):  # the image's own header comes last and wins
        if 0 <= number < len(parts):
            own = parts[number].values
            values.update({word: own[word] for word in wanted if own.get(word)})
    return Outline(
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ino=status.st_ino,
        expected_size=expected,
        reason=reason,
        object=clean_name("".join(_texts(values, camera.keywords.object)[:1])),
        filter=clean_name("".join(_texts(values, camera.keywords.filter)[:1])),
        has_checksum=any(part.values.keys() & {"CHECKSUM", "DATASUM"} for part in parts),
        values=values,
        parts=tuple(parts),
        image=image,
    )


def _keywords(camera: Camera) -> set[str]:
    lists = dataclasses.asdict(camera.keywords).values()
    return {_plain(word) for words in lists for word in words} | FACTS


def _plain(keyword: str) -> str:
    return " ".join(keyword.upper().removeprefix("HIERARCH ").split())


def _texts(values: Mapping[str, str], keywords: tuple[str, ...]) -> list[str]:
    return [text for word in keywords if (text := values.get(_plain(word), ""))]


def _walk(read: ReadAt, size: int, wanted: set[str]) -> tuple[list[Part], int, str]:
    """List the parts; give the size they ask for, and what is wrong when that is not there."""
    _check_beginning(read(0, 9))
    parts: list[Part] = []
    at = 0
    # what follows the last part and is none itself is left alone, as the standard allows
    while at < size and (not parts or EXTENSION.startswith(read(at, len(EXTENSION)))):
        if len(parts) == MAX_PARTS:
            raise FrameError(f"not one 2-D image: more than {MAX_PARTS} extensions")
        header = read_header(read, at, wanted)
        if header is None:
            return (
                parts,
                max(size, at + BLOCK),
                f"incomplete: {size} bytes, and a header unfinished",
            )
        part = _part(header, primary=not parts)
        if part.stop > MAX_SIZE:
            raise FrameError(f"too large: its header asks for {part.stop // 1000} kB")
        parts.append(part)
        at = part.stop
    if not parts:
        return parts, BLOCK, "incomplete: empty"
    return parts, at, _short(size, at) if at > size else ""


def _check_beginning(first: bytes) -> None:
    if first.startswith(b"\x1f\x8b"):
        raise FrameError("not FITS: its content is gzipped; gunzip it")
    if not BEGINNING.startswith(first):
        raise FrameError("not FITS: it does not begin with SIMPLE =")


def _part(header: Header, *, primary: bool) -> Part:
    if primary and header.values.get("SIMPLE") != "T":
        raise FrameError("not FITS: its header says that it is not standard (SIMPLE is not T)")
    kind = "IMAGE" if primary else header.values.get("XTENSION", "").strip().upper()
    compressed = kind == "BINTABLE" and header.values.get("ZIMAGE") == "T"
    axes: tuple[int, ...] = ()
    if compressed or (kind == "IMAGE" and header.data_size()):
        axes = header.axes("Z" if compressed else "")
        header.check_scaling()
    return Part(
        name=header.values.get("EXTNAME", "").strip().upper(),
        start=header.start,
        data_start=header.stop,
        stop=header.next_start(),
        axes=axes,
        compressed=compressed,
        values=header.values,
    )


def _find_image(parts: list[Part], *, final: bool) -> int:
    """Tell which part is the image; -1 while that may still change (``final`` is False)."""
    images = [n for n, part in enumerate(parts) if part.axes and part.name not in BESIDE]
    science = [n for n in images if parts[n].name == "SCI"]
    if images[:1] != [0]:
        if len(science) == 1:
            images = science
        if len(images) != 1:
            if not final:
                return -1
            raise FrameError(f"not one 2-D image: {len(images) or 'no'} images")
    image = images[0]
    lengths = parts[image].axes
    if math.prod(lengths) > MAX_PIXELS:
        raise FrameError(f"too large: {_spelled(lengths)} pixels")
    if sum(length != 1 for length in lengths) != 2:
        raise FrameError(f"not one 2-D image: {_spelled(lengths)} pixels")
    return image


def _spelled(lengths: tuple[int, ...]) -> str:
    shown = " × ".join(str(length) for length in lengths[:4])
    return f"{shown} × …" if len(lengths) > 4 else shown


def _short(size: int, expected: int) -> str:
    if size // 1000 == expected // 1000:
        return f"incomplete: {size} of {expected} bytes"
    return f"incomplete: {size // 1000} of {expected // 1000} kB"
