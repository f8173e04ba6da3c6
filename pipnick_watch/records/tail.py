"""What was added to a file of lines since the last look."""

import os
from pathlib import Path

__all__ = ["Tail"]


class Tail:
    """A growing file of lines, read from where the last look ended.

    A last line without its newline is not there yet. When the file was replaced or became
    shorter, it is read from its beginning.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int, int] | None = None
        self._end = 0
        self._last = b""

    def read(self) -> tuple[list[str], bool]:
        """Read the complete lines that are new.

        Returns
        -------
        lines : list of str
            With their newlines; bytes that are no UTF-8 as surrogates.
        anew : bool
            They are all lines of the file, and what was read before counts no more.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            known, self._seen, self._end, self._last = self._seen, None, 0, b""
            return [], known is not None
        try:
            about = os.fstat(descriptor)
            seen = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
            if seen == self._seen:
                return [], False
            anew = not self._continues(descriptor, about)
            if anew:
                self._end, self._last = 0, b""
            content = _read(descriptor, self._end, about.st_size)
        finally:
            os.close(descriptor)
        whole = content[: content.rfind(b"\n") + 1]
        self._seen = seen
        self._end += len(whole)
        lines = whole.splitlines(keepends=True) if b"\r" not in whole else _split(whole)
        if lines:
            self._last = lines[-1]
        return [line.decode(errors="surrogateescape") for line in lines], anew

    def _continues(self, descriptor: int, about: os.stat_result) -> bool:
        if self._seen is None or self._seen[:2] != (about.st_dev, about.st_ino):
            return False
        start = self._end - len(self._last)
        return about.st_size >= self._end and _read(descriptor, start, self._end) == self._last

    def cut_torn_line(self) -> bool:
        """Cut off a last line without a newline; call :meth:`read` first.

        Nobody else may be writing: the caller holds the lock that all writers hold.
        """
        if self._seen is None or self._seen[2] == self._end:
            return False
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(descriptor, self._end)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return True

    def empty(self) -> bool:
        """Tell whether there is no complete line."""
        return self._end == 0

    def all_lines(self) -> list[str]:
        """Read all complete lines again."""
        again = Tail(self.path)
        return again.read()[0]


def _split(content: bytes) -> list[bytes]:
    return [line + b"\n" for line in content.split(b"\n")[:-1]]


def _read(descriptor: int, start: int, end: int) -> bytes:
    pieces = []
    while start < end:
        piece = os.pread(descriptor, end - start, start)
        if not piece:
            break
        pieces.append(piece)
        start += len(piece)
    return b"".join(pieces)
