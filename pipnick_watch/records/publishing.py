"""How bytes reach the disk so that no reader and no crash ever sees half of them."""

import contextlib
import errno
import fcntl
import itertools
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "NO_LOCKS",
    "PREFIX",
    "append_durably",
    "make_folder",
    "sweep",
    "sync_folder",
    "write_whole",
]

PREFIX = ".pipnick-watch-"
"""Every temporary file's name begins with this, and nothing else's does."""

ABANDONED_S = 3600.0
"""Age of a temporary file that is nobody's, where the file system has no locks to tell."""

NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
"""What a file system answers that knows no locks."""

_numbers = itertools.count()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot, and need not
            raise
    finally:
        os.close(descriptor)


def make_folder(folder: Path, root: Path) -> None:
    """Make a folder and those above it up to ``root``, durably.

    ``root`` itself is never made: when it is missing, a disk is not mounted.

    Raises
    ------
    FileNotFoundError
        ``root`` is missing.
    """
    if folder == root or folder.is_dir():
        return
    make_folder(folder.parent, root)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    sync_folder(folder.parent)


def write_whole(path: Path, content: bytes | Iterable[bytes]) -> int:
    """Replace a file, or make it, in one step; readers see the old content or the new.

    The content goes to a hidden temporary file in the same folder, is made durable, and takes the
    name; an existing file's mode and owner are kept. On any failure the temporary file is removed
    and the old file is as it was. Content that comes in pieces is written as it comes.

    Returns
    -------
    int
        Size of the file.

    Raises
    ------
    OSError
        The disk is full, failing or read-only.
    """
    descriptor, temporary = _open_temporary(path)
    try:
        try:
            size = 0
            for piece in (content,) if isinstance(content, bytes) else content:
                _write_all(descriptor, piece)
                size += len(piece)
            _take_over_mode(path, descriptor)
            os.fsync(descriptor)
            temporary.replace(path)
        finally:
            os.close(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return size


def _open_temporary(path: Path) -> tuple[int, Path]:
    """Make a temporary file beside ``path``, locked so that :func:`sweep` knows it is in use."""
    while True:
        name = f"{PREFIX}{os.getpid()}-{next(_numbers)}-{time.time_ns():x}.tmp"
        temporary = path.parent / name
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(temporary, flags, 0o666)
        except FileExistsError:
            continue
        if _lock(descriptor) is not False and os.fstat(descriptor).st_nlink:
            return descriptor, temporary
        os.close(descriptor)  # a sweep came between making and locking it


def _lock(descriptor: int) -> bool | None:
    """Lock a descriptor if it is free; None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in NO_LOCKS:
            return None
        raise
    return True


def _take_over_mode(path: Path, descriptor: int) -> None:
    """Give the new file the mode and, where we may, the owner of the one that it replaces."""
    try:
        old = path.stat()
    except FileNotFoundError:
        return
    if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, old.st_uid, old.st_gid)
    with contextlib.suppress(PermissionError):
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def append_durably(path: Path, content: bytes) -> int:
    """Append to an existing file in one write; on failure cut it back to what it was.

    Returns
    -------
    int
        Size of the file afterwards.

    Raises
    ------
    OSError
        Nothing was appended: the disk is full or failing, or the file is not there.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        before = os.fstat(descriptor).st_size
        try:
            _write_all(descriptor, content)
            os.fsync(descriptor)
        except BaseException:
            os.ftruncate(descriptor, before)
            raise
        return before + len(content)
    finally:
        os.close(descriptor)


def sweep(folder: Path, *, deep: bool) -> list[Path]:
    """Remove the temporary files that dead processes left in a folder, and below it when deep.

    A file that a living process is writing is locked, and stays. Links are not followed.

    Returns
    -------
    list of Path
        What was removed.
    """
    removed = []
    waiting = [folder]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            if deep and entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            elif entry.name.startswith(PREFIX) and entry.is_file(follow_symlinks=False):
                path = Path(entry.path)
                if _abandoned(path):
                    path.unlink(missing_ok=True)
                    removed.append(path)
    return removed


def _abandoned(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False  # gone, or another user's
    try:
        free = _lock(descriptor)
        if free is None:
            return time.time() - os.fstat(descriptor).st_mtime > ABANDONED_S
        return free
    finally:
        os.close(descriptor)
