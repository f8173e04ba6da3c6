"""What lies under ``reduced/``: the scan is the truth, events are only hints.

Own ``scandir`` walk: links are never followed and nothing is opened. Ten thousand files cost a
tenth of a second, so that a daemon scans in slices.
"""

import os
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipnick_watch.records.layout import is_frame_name
from pipnick_watch.watch.slices import finish

__all__ = ["Listing", "Seen", "can_be_a_frame", "can_be_read", "scan", "scan_slowly", "see"]

SLICE = 100
"""Files that are looked at in one go."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A file as the directory shows it; equal when it looks unchanged."""

    size: int
    mtime_ns: int
    ino: int


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One look through the whole folder.

    Attributes
    ----------
    frames : dict
        Path below ``reduced/`` → :class:`Seen`, every regular file with a frame's name.
    ignored : dict
        Path below ``reduced/`` → why something with a frame's name is not looked at.
    n_folders : int
        Folders walked, ``reduced/`` included.
    """

    frames: dict[str, Seen]
    ignored: dict[str, str]
    n_folders: int


def see(path: Path) -> Seen | None:
    """Look at one file without opening it; None when it is not there or not a regular file."""
    try:
        status = path.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Seen(size=status.st_size, mtime_ns=status.st_mtime_ns, ino=status.st_ino)


def can_be_read(path: Path) -> bool:
    """Tell whether a file may be opened; nothing is read."""
    return os.access(path, os.R_OK)


def can_be_a_frame(name: str) -> bool:
    """Tell whether a path below ``reduced/`` is one that :func:`scan` would list, by its name."""
    *folders, last = name.split("/")
    if any(folder.startswith(".") or is_frame_name(folder) for folder in folders):
        return False
    return is_frame_name(last) and _can_be_listed(name)


def _can_be_listed(name: str) -> bool:
    # The file table has no way to write another name.
    return name.isprintable() and "|" not in name


def scan(reduced: Path) -> Listing:
    """Look through ``reduced/`` and all folders below it.

    Raises
    ------
    OSError
        ``reduced/`` itself cannot be read. A folder below it that vanishes meanwhile is
        left out.
    """
    return finish(scan_slowly(reduced))


def scan_slowly(reduced: Path) -> Generator[None, None, Listing]:
    """Look through ``reduced/`` as :func:`scan` does, in slices.

    What lands or is renamed meanwhile may be missing from the listing; what is removed meanwhile
    may be in it.
    """
    frames: dict[str, Seen] = {}
    ignored: dict[str, str] = {}
    folders = 0
    waiting = [(str(reduced), "")]
    while waiting:
        folder, prefix = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                folders += 1
                yield
                for number, entry in enumerate(entries, start=1):
                    if number % SLICE == 0:
                        yield
                    name = prefix + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if is_frame_name(entry.name):
                            ignored[name] = "a folder"
                        elif not entry.name.startswith("."):
                            waiting.append((entry.path, name + "/"))
                    elif is_frame_name(entry.name.lstrip(".")):
                        reason = _why_ignored(entry, name)
                        if reason:
                            ignored[name] = reason
                        else:
                            frames.update(_seen(entry, name))
        except OSError:
            if not prefix:
                raise
    # by name, without a second table of them: a night may hold a hundred thousand
    frames = {name: frames.pop(name) for name in sorted(frames)}
    return Listing(frames=frames, ignored=ignored, n_folders=folders)


def _why_ignored(entry: os.DirEntry[str], name: str) -> str:
    if entry.name.startswith("."):
        return "a hidden name"
    if entry.is_symlink():
        return "a link"
    if not entry.is_file(follow_symlinks=False):
        return "not a regular file"
    if not _can_be_listed(name):
        return "a name with | or unprintable characters"
    return ""


def _seen(entry: os.DirEntry[str], name: str) -> Iterator[tuple[str, Seen]]:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return  # it vanished between the listing and the look
    yield (
        name,
        Seen(size=status.st_size, mtime_ns=status.st_mtime_ns, ino=status.st_ino),
    )
