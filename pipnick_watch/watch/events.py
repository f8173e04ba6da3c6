"""Events of the file system, as hints where to look; and whether they still arrive.

The only importer of watchdog. Its pattern matchers differ between releases, its observer says
it is alive when its emitters are dead, and an overflow reaches no handler: so names are filtered
here, every thread is asked, and watchdog's own log is listened to.
"""

import contextlib
import errno
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyObserver

__all__ = ["COOKIE_PREFIX", "EventWatch", "Hint", "cannot_hear"]

logger = logging.getLogger(__name__)

COOKIE_PREFIX = ".pw-cookie-"
COOKIE_PATIENCE_S = 5.0
SHORT_S = 1.0
AT_LIMIT = "the system's inotify limit is reached"

# Opened and ClosedNoWrite are left out: the observer's own walk makes them, and they can keep
# its queue overflowing without end.
EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileMovedEvent,
    FileClosedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]
DEAF_FILE_SYSTEMS = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "overlay", "afs",
}  # fmt: skip


@dataclass(frozen=True)
class Hint:
    """Something happened at ``path`` at the monotonic time ``at``.

    ``settles`` is True when a writer closed the file or a finished one was renamed to this name.
    """

    path: str
    at: float
    settles: bool


class _Handler(FileSystemEventHandler):
    """Puts hints into a queue. Nothing here can raise: that would end watchdog's thread."""

    def __init__(self, hints: deque[Hint], wake: Callable[[], None]) -> None:
        self.hints = hints
        self.wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        arrived = event.event_type == "moved" and bool(event.dest_path)
        path = event.dest_path if arrived else event.src_path
        settles = not event.is_directory and (arrived or event.event_type == "closed")
        self.hints.append(Hint(os.fsdecode(path), time.monotonic(), settles))
        self.wake()


class _Overflow(logging.Handler):
    """Notes that watchdog lost events; it tells nobody but its log."""

    def __init__(self, noted: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self.noted = noted

    def emit(self, record: logging.LogRecord) -> None:
        self.noted()


def cannot_hear(path: Path) -> str:
    """Say why events are not to be relied on for this folder; empty when they are."""
    kind, longest = "", -1
    real = str(path.resolve())
    with Path("/proc/self/mounts").open(encoding="utf-8", errors="replace") as mounts:
        for line in mounts:
            fields = line.split()
            point = fields[1].replace("\\040", " ")
            inside = real == point or real.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= longest:
                kind, longest = fields[2], len(point)
    if kind in DEAF_FILE_SYSTEMS or kind.startswith("fuse"):
        return f"{kind} file system"
    return ""


class EventWatch:
    """Watches folders and collects hints.

    Parameters
    ----------
    root : Path
        ``reduced/``, watched with all folders below it.
    wake : callable
        Called, from watchdog's thread, whenever there is a new hint.

    Attributes
    ----------
    hints : deque of Hint
        What happened, oldest first.
    deaf : str
        Why there are no events; empty while there are.
    """

    def __init__(self, root: Path, wake: Callable[[], None]) -> None:
        self.root = root
        self.hints: deque[Hint] = deque()
        self.deaf = "not started"
        self._handler = _Handler(self.hints, wake)
        self._observer: BaseObserver | None = None
        self._identity: tuple[int, int] | None = None
        self._overflowed = False
        self._overflow = _Overflow(self._note_overflow)
        self._cookie: tuple[str, float] | None = None
        self._short_since: float | None = None
        self._others: dict[Path, bool] = {}
        self._watched_too: dict[Path, bool] = {}

    def start(self) -> None:
        """Start to listen; ``deaf`` says why not, where that is impossible."""
        self.stop()
        for name in ("watchdog.observers.inotify_c", "watchdog.observers.inotify"):
            logging.getLogger(name).addHandler(self._overflow)
        try:
            self.deaf = cannot_hear(self.root)
            if self.deaf:
                return
            _sweep_cookies(self.root)
            self._identity = _identity(self.root)
            self._watched_too = {
                folder: how for folder, how in self._others.items() if folder.is_dir()
            }
            # Counted first: what is made meanwhile is watched, and may not look like a shortage.
            wanted = self._watches_wanted(_count_folders(self.root))
            # Only with "full" events does a rename from outside the folder tell itself from the
            # creation of a file that is still to be written.
            observer = InotifyObserver(generate_full_events=True)
            observer.schedule(self._handler, str(self.root), recursive=True, event_filter=EVENTS)
            for folder, recursive in self._watched_too.items():
                observer.schedule(
                    self._handler, str(folder), recursive=recursive, event_filter=EVENTS
                )
            observer.start()
            self._observer = observer
            if _count_watches() < wanted:
                self.stop()
                self.deaf = AT_LIMIT
        except OSError as error:
            self._identity = None
            short = error.errno in (errno.ENOSPC, errno.EMFILE)
            self.deaf = AT_LIMIT if short else str(error)

    def also(self, folder: Path, *, recursive: bool) -> None:
        """Watch this folder too, from the next start on."""
        self._others[folder] = recursive

    def stop(self) -> None:
        """Stop listening."""
        for name in ("watchdog.observers.inotify_c", "watchdog.observers.inotify"):
            logging.getLogger(name).removeHandler(self._overflow)
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join(timeout=2.0)
        self.deaf = "not started"
        self._cookie = None
        self._short_since = None

    def missed(self) -> bool:
        """Tell, once, that events were lost."""
        missed, self._overflowed = self._overflowed, False
        return missed

    def trouble(self, n_folders: int) -> str:
        """Say what is wrong with the watch; empty when it is healthy.

        Parameters
        ----------
        n_folders : int
            Folders that the last scan walked; fewer watches than that may mean that the system's
            limit was hit, which watchdog does not say.
        """
        observer = self._observer
        if observer is None:
            return self.deaf
        if not observer.is_alive() or not all(one.is_alive() for one in observer.emitters):
            return "a watching thread has ended"
        if _identity(self.root) != self._identity:
            return f"{self.root} is not the folder that it was"
        return self._shortage(n_folders) or self._cookie_trouble()

    def bake_cookie(self) -> None:
        """Make and remove a hidden file in ``reduced/``: its event proves that events arrive."""
        if self._observer is None or self._cookie is not None:
            return
        path = self.root / f"{COOKIE_PREFIX}{os.getpid()}"
        try:
            path.touch()
            path.unlink()
        except OSError as error:
            # A folder that we may not write to is no reason to distrust the watch.
            logger.debug("%s: no cookie: %s", self.root, error)
            return
        self._cookie = (str(path), time.monotonic())

    def take(self) -> list[Hint]:
        """Take the hints that have come; the cookie's own are seen and kept back."""
        taken = []
        while self.hints:
            hint = self.hints.popleft()
            if Path(hint.path).name.startswith(COOKIE_PREFIX):
                self._cookie = None
            else:
                taken.append(hint)
        return taken

    def _watches_wanted(self, n_folders: int) -> int:
        return n_folders + sum(
            _count_folders(folder) if recursive else 1
            for folder, recursive in self._watched_too.items()
        )

    def _shortage(self, n_folders: int) -> str:
        """Say that folders have no watch, once that has lasted."""
        there = n_folders
        if _count_watches() < self._watches_wanted(there):
            there = _count_folders(self.root)  # some may be gone since the scan
        if _count_watches() >= self._watches_wanted(there):
            self._short_since = None
            return ""
        if self._short_since is None:
            self._short_since = time.monotonic()  # one that was just made gets its watch soon
        return AT_LIMIT if time.monotonic() - self._short_since > SHORT_S else ""

    def _cookie_trouble(self) -> str:
        if self._cookie is not None and time.monotonic() - self._cookie[1] > COOKIE_PATIENCE_S:
            return "events no longer arrive"
        return ""

    def _note_overflow(self) -> None:
        self._overflowed = True
        self._handler.wake()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _sweep_cookies(root: Path) -> None:
    """Remove the cookies that a killed process may have left; the daemon lock is ours."""
    with os.scandir(root) as entries:
        left = [entry.path for entry in entries if entry.name.startswith(COOKIE_PREFIX)]
    for path in left:
        with contextlib.suppress(OSError):  # not ours to remove: nobody minds a hidden file
            Path(path).unlink()


def _count_folders(root: Path) -> int:
    return sum(1 for _ in os.walk(root))


def _count_watches() -> int:
    """Count the inotify watches that this process has."""
    count = 0
    for info in Path("/proc/self/fdinfo").iterdir():
        with contextlib.suppress(OSError):  # closed since it was listed
            count += info.read_text(encoding="ascii").count("inotify wd:")
    return count
