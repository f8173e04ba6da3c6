"""Who holds what: our own locks on a MAINDIR, and the locks that others put on frames."""

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pipnick_watch.errors import AnotherDaemonError, FrameNotReadyError, RecordsError
from pipnick_watch.records.layout import Layout
from pipnick_watch.records.publishing import NO_LOCKS, make_folder

__all__ = [
    "FrameLock",
    "daemon_lock",
    "hold_frame_lock",
    "lock_holder",
    "own_lock",
    "probe_frame_lock",
]

PATIENCE_S = 10.0
"""How long one of our own locks is waited for; the longest publish takes a second or two."""

POLL_S = 0.005
"""How often a lock that another process holds is tried again; a publish takes milliseconds."""

_FLOCK = re.compile(r"^\d+: FLOCK +ADVISORY +\w+ +(\d+) +([0-9a-f]+):([0-9a-f]+):(\d+) ", re.M)


@dataclass(frozen=True, kw_only=True)
class FrameLock:
    """What is known of a frame's lock.

    Attributes
    ----------
    held : bool
        Somebody has it, or it cannot be told.
    holder : int or None
        The PID, where the system knows it.
    reason : str
        One line for a person: ``locked by PID 812``; empty when free.
    """

    held: bool
    holder: int | None = None
    reason: str = ""


FREE = FrameLock(held=False)


@contextlib.contextmanager
def own_lock(path: Path, root: Path, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Hold one of our own locks, waiting for it for so long.

    Parameters
    ----------
    path : Path
        The lock file; it and its folder are made, and never removed.
    root : Path
        The MAINDIR, which is not made.
    patience_s : float
        Seconds.

    Raises
    ------
    RecordsError
        Another process holds it all the time: stopped, perhaps. Or the file system has no locks,
        so that two programs could not be kept apart.
    OSError
        The lock file cannot be made.
    """
    make_folder(path.parent, root)
    lock = FileLock(path, poll_interval=POLL_S, fallback_to_soft=False)
    try:
        _acquire(lock, path, timeout=patience_s)
    except Timeout:
        raise RecordsError(
            f"{path}: {_process(path)} holds it longer than {patience_s:g} s; tried again later"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def daemon_lock(layout: Layout) -> Iterator[None]:
    """Be the one daemon of a MAINDIR.

    Raises
    ------
    AnotherDaemonError
        Another one is; its PID is named where the system knows it.
    RecordsError
        The file system has no locks.
    """
    path = layout.daemon_lock
    make_folder(path.parent, layout.maindir)
    lock = FileLock(path, fallback_to_soft=False)
    try:
        _acquire(lock, path, timeout=0)
    except Timeout:
        raise AnotherDaemonError(
            f"{layout.maindir}: another daemon, {_process(path)}, watches it; stop that one, or "
            "use --once"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, path: Path, timeout: float) -> None:
    try:
        lock.acquire(timeout=timeout)
    except NotImplementedError as error:
        raise RecordsError(f"{path}: this file system has no locks; use a local disk") from error
    except Timeout:
        raise
    except OSError as error:
        if error.errno in NO_LOCKS:
            raise RecordsError(
                f"{path}: this file system has no locks ({error.strerror}); use a local disk"
            ) from error
        raise


def _process(path: Path) -> str:
    holder = lock_holder(path)
    return f"PID {holder}" if holder else "a process that the system does not name"


def lock_holder(path: Path) -> int | None:
    """Find the PID of the process that holds a ``flock`` on a file, where the system knows it."""
    try:
        about = path.stat()
        known = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return None
    device = (os.major(about.st_dev), os.minor(about.st_dev))
    candidates = [
        (int(pid), (int(major, 16), int(minor, 16)) == device)
        for pid, major, minor, inode in _FLOCK.findall(known)
        if int(inode) == about.st_ino and int(pid) > 0
    ]
    # overlay and btrfs give another device here than stat does
    candidates.sort(key=lambda candidate: not candidate[1])
    return candidates[0][0] if candidates else None


def probe_frame_lock(frame: Path) -> FrameLock:
    """Look whether a frame is locked: by a ``flock`` on ``<frame>.lock``, if that file exists.

    Nothing is made, written or waited for.
    """
    descriptor, state = _take(frame)
    if descriptor is not None:
        os.close(descriptor)
    return state


@contextlib.contextmanager
def hold_frame_lock(frame: Path) -> Iterator[None]:
    """Hold a frame's lock, shared, while the frame is read; without a lock file nothing is held.

    Raises
    ------
    FrameNotReadyError
        Somebody else holds it, or it cannot be read.
    """
    descriptor, state = _take(frame)
    if state.held:
        raise FrameNotReadyError(state.reason)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _take(frame: Path) -> tuple[int | None, FrameLock]:
    """Take the shared lock: its descriptor, or None and why there is none."""
    path = frame.with_name(frame.name + ".lock")
    while True:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            return None, FREE
        except OSError as error:
            why = "is a link" if error.errno == errno.ELOOP else (error.strerror or "no reason")
            reason = f"its lock {path.name} cannot be read ({why})"
            return None, FrameLock(held=True, reason=reason)
        taken = False
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                reason = f"its lock {path.name} cannot be read (not a file)"
                return None, FrameLock(held=True, reason=reason)
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            taken = _is_still(path, descriptor)
        except BlockingIOError:
            reason = f"locked by {_process(path)}"
            return None, FrameLock(held=True, holder=lock_holder(path), reason=reason)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                reason = f"its lock {path.name} cannot be read ({error.strerror})"
                return None, FrameLock(held=True, reason=reason)
            return None, FREE  # without locks its producer cannot have taken one either
        finally:
            if not taken:
                os.close(descriptor)
        if taken:
            return descriptor, FREE


def _is_still(path: Path, descriptor: int) -> bool:
    """Tell whether a name still means the open file; else a newer lock file is the one."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
