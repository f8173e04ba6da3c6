"""Where everything of a MAINDIR lies, and what a frame and its catalogue are called."""

import functools
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Literal

from pipnick_watch.camera import clean_name
from pipnick_watch.errors import UsageError

__all__ = [
    "ENDINGS",
    "Kind",
    "Layout",
    "frame_identity",
    "frame_stem",
    "is_frame_name",
    "plain_stem",
    "same_frames",
    "without_suffix",
]

Kind = Literal["unconsolidated", "consolidated"]
"""The two kinds of catalogue; each has its own folder and its own object's CSVs."""

SUFFIXES = (".fits", ".fit", ".fts", ".fits.fz")
"""Suffixes of a frame's file, in any case; the earlier one counts."""

LONGEST_STEM = 180
"""Bytes; with every ending the file's name stays below the 255 that file systems allow."""

ENDINGS: dict[Kind, str] = {
    "unconsolidated": "_photsrcs.csv",
    "consolidated": "_photsrcs_consol.csv",
}
"""How the names of the catalogues end."""


def _suffix(name: str) -> str:
    """Give the suffix of a frame's file as it is written, or nothing when it is no frame."""
    lower = name.lower()
    return next((name[-len(suffix) :] for suffix in SUFFIXES if lower.endswith(suffix)), "")


def is_frame_name(name: str) -> bool:
    """Tell whether a file of this name can be a frame: a known suffix, and not hidden."""
    suffix = _suffix(name)
    return bool(suffix) and len(name) > len(suffix) and not name.startswith(".")


def without_suffix(name: str) -> str:
    """Cut the suffix off a frame's name: ``d1047_red.fits.fz`` → ``d1047_red``."""
    return name[: len(name) - len(_suffix(name))]


def frame_stem(name: str) -> str:
    """Cut the suffix and a trailing ``_red`` off a file's name: ``d1047_red.fits`` → ``d1047``."""
    base = without_suffix(name.rpartition("/")[2])
    return base.removesuffix("_red") or base


def frame_identity(frame: str) -> str:
    """Name what makes a frame one frame: its folder and its stem."""
    folder, slash, name = frame.rpartition("/")
    return folder + slash + frame_stem(name)


def same_frames(frames: Iterable[str]) -> dict[str, str]:
    """Find the files that hold a frame which another file of the folder holds already.

    Of several files the first in the order ``_red.fits .fits .fit .fts .fits.fz`` counts.

    Parameters
    ----------
    frames : iterable of str
        Paths below ``reduced/``.

    Returns
    -------
    dict
        For each file that does not count, the one that does.
    """
    groups: dict[str, list[str]] = {}
    for frame in frames:
        groups.setdefault(frame_identity(frame), []).append(frame)
    others = {}
    for group in groups.values():
        if len(group) > 1:
            first, *rest = sorted(group, key=_rank)
            others.update(dict.fromkeys(rest, first))
    return others


def _rank(frame: str) -> tuple[int, bool, str]:
    suffix = _suffix(frame)
    base = frame[: len(frame) - len(suffix)]
    return SUFFIXES.index(suffix.lower()), not base.endswith("_red"), frame


def plain_stem(frame: str, object: str, filter: str) -> str:  # noqa: A002
    """Give the stem that a frame's catalogue and pictures are named by.

    A frame in any other folder than ``reduced/`` or its own ``<OBJECT>_<FILTER>/`` has its folder
    in its stem, ``/`` written as ``__``.
    """
    folder, _, name = frame.rpartition("/")
    stem = frame_stem(name)
    if folder not in ("", f"{object}_{filter}"):
        stem = f"{folder}/{stem}".replace("/", "__")
    printable = stem
    if not stem.isprintable():
        printable = "".join(char if char.isprintable() else "_" for char in stem)
    if len(printable.encode()) > LONGEST_STEM:
        cut = printable.encode()[: LONGEST_STEM - 10].decode(errors="ignore")
        return f"{cut}__{digest(frame_identity(frame))}"
    return printable


def digest(text: str) -> str:
    """Shorten a text to eight hexadecimal digits that tell it from others."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]


@functools.lru_cache(maxsize=1024)
def _folder(object: str, filter: str) -> str:  # noqa: A002
    # cleaned once more: whatever a row or a result says, no path leaves MAINDIR
    return f"{clean_name(object)}_{clean_name(filter)}"


class Layout:
    """The paths of one MAINDIR; nothing is looked up on disk.

    Parameters
    ----------
    maindir : Path
        Made absolute, links as they are.
    """

    def __init__(self, maindir: Path) -> None:
        self.maindir = Path(os.path.abspath(maindir))  # noqa: PTH100  (keeps links)
        self.settings_file = self.maindir / "pipnick-watch.toml"
        self.reduced = self.maindir / "reduced"
        self.table = self.maindir / "astrometry_files.tbl"
        self.table_lock = self.maindir / "astrometry_files.tbl.lock"
        self.solutions = self.maindir / "astrometric" / "wcs"
        self.photometric = self.maindir / "photometric"
        self.frames_csv = self.photometric / "frames.csv"
        self.lightcurves = self.photometric / "lightcurves"
        self.plots = self.photometric / "plots"
        self.index = self.photometric / "index.html"
        self.state = self.photometric / ".pipnick-watch"
        self.status = self.state / "status.json"
        self.made = self.state / "overview.json"
        self.records_lock = self.state / "records.lock"
        self.daemon_lock = self.state / "daemon.lock"
        self.unreadable_rows = self.state / "frames-unreadable.csv"

    def frame_path(self, frame: str) -> Path:
        """Give the path of a frame's file.

        Raises
        ------
        UsageError
            The name would leave ``reduced/``.
        """
        name = PurePosixPath(frame)
        if name.is_absolute() or ".." in name.parts or "\0" in frame or not name.parts:
            raise UsageError(f"{frame!r}: not a path below reduced/; give one like X_V/d1_red.fits")
        return self.reduced / name

    def frame_name(self, path: Path) -> str:
        """Give a frame's name, its path below ``reduced/``.

        Raises
        ------
        UsageError
            The file does not lie there.
        """
        absolute = Path(os.path.abspath(path))  # noqa: PTH100  (keeps links)
        if self.reduced not in absolute.parents:
            raise UsageError(f"{path}: not below {self.reduced}; move the frame there")
        return absolute.relative_to(self.reduced).as_posix()

    def object_csv(self, object: str, kind: Kind = "unconsolidated") -> Path:  # noqa: A002
        """Give the path of an object's CSV."""
        return self.photometric / kind / f"{clean_name(object)}.csv"

    def catalogue(
        self, object: str, filter: str, stem: str, kind: Kind = "unconsolidated"  # noqa: A002
    ) -> Path:  # fmt: skip
        """Give the path of a frame's catalogue; ``Records.stem`` gives the stem."""
        name = f"{kind}/{_folder(object, filter)}/{stem}{ENDINGS[kind]}"
        return self.photometric / name

    def plot(self, object: str, filter: str, name: str) -> Path:  # noqa: A002
        """Give the path of a picture of a frame, ``<stem>_sources.png`` for one."""
        return self.plots / _folder(object, filter) / name

    def solution(self, frame: str, object: str, filter: str) -> Path:  # noqa: A002
        """Give the path where the astrometry leaves a frame's solution."""
        return self.solutions / _folder(object, filter) / f"{frame_stem(frame)}_astro.fits"
