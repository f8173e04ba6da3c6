"""When something last came to a night, as the times of its folders tell."""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["DAY_S", "Stamp", "days_unchanged", "newest", "stamp_of", "touched"]

DAY_S = 86400.0

Stamp = tuple[tuple[str, int], ...]
"""The folders and the file table of a night, each with its modification time, nanoseconds."""


def stamp_of(maindir: Path) -> Stamp:
    """Look at the times of what changes when something comes to a night."""
    folders = [maindir / "reduced", maindir / "astrometric" / "wcs"]
    inner = []
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            inner += [Path(one.path) for one in entries if one.is_dir(follow_symlinks=False)]
    return _times([*folders, *inner, maindir / "astrometry_files.tbl"])


def _times(paths: Sequence[Path]) -> Stamp:
    found = []
    for path in paths:
        with contextlib.suppress(OSError):
            found.append((str(path), path.stat().st_mtime_ns))
    return tuple(sorted(found))


def touched(maindir: Path, since: float) -> bool:
    """Tell whether an object has come since this Unix time; a cheap look."""
    return newest(_times([maindir / "reduced"])) > since


def newest(stamp: Stamp) -> float:
    """Give the Unix time of the newest of them."""
    return max((time_ns for _, time_ns in stamp), default=0) / 1e9


def days_unchanged(maindir: Path) -> float:
    """Count the days since something came to a night."""
    return (time.time() - newest(stamp_of(maindir))) / DAY_S
