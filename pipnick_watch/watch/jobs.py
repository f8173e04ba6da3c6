"""What a worker is asked and what it answers, without the weight of what it does.

The process that watches sends these functions and never runs them: so it starts at once and
stays small, and only the workers import the photometry and the pictures.
"""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipnick_watch.records.result import FrameResult
from pipnick_watch.settings import Settings

if TYPE_CHECKING:
    from pipnick_watch.pictures import GroupSheets, SourcePicture

__all__ = [
    "Job",
    "Outcome",
    "TaskError",
    "draw",
    "measure",
    "overview",
    "redraw",
    "start",
    "warm_up",
]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One frame to measure.

    Attributes
    ----------
    path : Path
        The file.
    name : str
        Path below ``reduced/``.
    settings : Settings
    solution : Path or None
        The astrometric solution, where there is one.
    known : tuple of str
        Hashes of content whose rows are there already, under this name or an older one; a file
        with such a content is not measured.
    """

    path: Path
    name: str
    settings: Settings
    solution: Path | None = None
    known: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """What a frame's pictures are drawn from, packed.

    The process that watches only passes it on: unpacking it would load the pictures' libraries
    there, a hundred megabytes that it never uses.
    """

    packed: bytes

    @classmethod
    def of(
        cls, sources: "SourcePicture | None" = None, groups: "GroupSheets | None" = None
    ) -> "Drawing":
        """Pack what is wanted of the two."""
        return cls(packed=pickle.dumps((sources, groups)))

    def unpacked(self) -> "tuple[SourcePicture | None, GroupSheets | None]":
        """Give the two back; None for one that is not wanted."""
        sources, groups = pickle.loads(self.packed)  # noqa: S301  (a worker of ours packed it)
        return sources, groups


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What came of a job.

    Attributes
    ----------
    kind : {"result", "same", "not ready"}
        ``same``: the content is one whose rows are there. ``not ready``: locked, or written to
        while it was read.
    reason : str
        Why it is not ready.
    result : FrameResult or None
    size, mtime_ns, sha256, seconds : int, int, str, float
        Of the file that was read, and how long that took, when the kind is ``same``.
    drawing : Drawing or None
    refused : str
        Why the astrometric solution was not used, where there is one.
    warnings : tuple of str
        What the file and the libraries say, one line each, for the log file.
    advice : tuple of str
        What a person should know of the measurement, one line each.
    """

    kind: Literal["result", "same", "not ready"]
    reason: str = ""
    result: FrameResult | None = None
    size: int = 0
    mtime_ns: int = 0
    sha256: str = ""
    seconds: float = 0.0
    drawing: Drawing | None = None
    refused: str = ""
    warnings: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlaceJob:
    """A measured frame whose astrometric solution came later.

    Attributes
    ----------
    path, name, settings, solution
        As of a :class:`Job`.
    size, mtime_ns : int or None
        Of the frame's file as it was measured.
    catalogue : Path
    consolidated : Path or None
    """

    path: Path
    name: str
    settings: Settings
    solution: Path
    size: int | None
    mtime_ns: int | None
    catalogue: Path
    consolidated: Path | None


@dataclass(frozen=True, kw_only=True)
class Placed:
    """What came of a late solution.

    Attributes
    ----------
    kind : {"placed", "refused", "not ready"}
        ``not ready``: the frame is locked or gone, or is about to be measured again.
    reason : str
        Why not.
    wcs : str
        Identity of the solution.
    lines, consolidated : str
        The catalogues' lines, ``ra`` and ``dec`` filled.
    """

    kind: Literal["placed", "refused", "not ready"]
    reason: str = ""
    wcs: str = ""
    lines: str = ""
    consolidated: str | None = None


class TaskError(Exception):
    """What went wrong in a worker, as one line of text."""


@contextmanager
def _as_text() -> Iterator[None]:
    """Let errors travel as text: one that cannot be unpickled would break the pool."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror or error}") from error
    except Exception as error:
        raise TaskError(f"{type(error).__name__}: {error}".partition("\n")[0]) from error


def start(daemon: int) -> None:
    """Prepare a worker process whose daemon has this PID."""
    from pipnick_watch.watch import process

    process.start(daemon)


def warm_up() -> int:
    """Answer with the worker's PID, once it is ready to work."""
    from pipnick_watch.watch import worker

    return worker.warm_up()


def measure(job: Job) -> Outcome:
    """Measure one frame."""
    from pipnick_watch.watch import worker

    with _as_text():
        return worker.measure_frame(job)


def place(job: PlaceJob) -> Placed:
    """Fill the positions on the sky of a frame that was measured before."""
    from pipnick_watch.watch import worker

    with _as_text():
        return worker.place_frame(job)


def draw(drawing: Drawing, folder: Path, stem: str) -> list[Path]:
    """Draw a frame's pictures into a folder; gives their paths."""
    from pipnick_watch.watch import worker

    with _as_text():
        return worker.draw_pictures(drawing, folder, stem)


def overview(maindir: Path, settings: Settings) -> None:
    """Make the light curves that are out of date, their pictures, and the page."""
    from pipnick_watch.watch import derive

    with _as_text():
        derive.make_overview(maindir, settings)


def redraw(job: Job, folder: Path, stem: str) -> list[Path]:
    """Measure a frame again for the sake of its pictures; gives their paths.

    Raises
    ------
    FrameError, FrameNotReadyError
        It could not be measured.
    """
    from pipnick_watch.watch import worker

    with _as_text():
        return worker.redraw_pictures(job, folder, stem)
