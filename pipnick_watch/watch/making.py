"""What the light curves and the page on disk were made from, for the process that comes next.

Without this a run that finds nothing new would start a worker to find that out.
"""

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterator

from pipnick_watch import __version__
from pipnick_watch.records import Layout
from pipnick_watch.records.publishing import PREFIX
from pipnick_watch.settings import Settings
from pipnick_watch.watch.scan import Seen

__all__ = ["recall", "remember"]

logger = logging.getLogger(__name__)


def remember(layout: Layout, settings: Settings, source: Seen) -> None:
    """Note that all was made from frames.csv as it looked then."""
    path = layout.made
    temporary = path.with_name(f"{PREFIX}{path.name}.tmp")
    said = {"from": _state(source), "with": _digest(settings), "files": sorted(_files(layout))}
    try:
        # Nothing of it is worth a sync: lost, all is made once more.
        temporary.write_text(json.dumps(said), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        logger.debug("%s: not written: %s", path, error)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def recall(layout: Layout, settings: Settings) -> Seen | None:
    """Give what frames.csv looked like when all was made that is on disk still.

    None when that is not known, was made with other settings or by another version, or when a
    file of it is gone.
    """
    try:
        said = json.loads(layout.made.read_bytes())
        size, mtime_ns, ino = map(int, said["from"])
        stands = said["with"] == _digest(settings) and _files(layout).issuperset(said["files"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return Seen(size=size, mtime_ns=mtime_ns, ino=ino) if stands else None


def _state(source: Seen) -> list[int]:
    return [source.size, source.mtime_ns, source.ino]


def _digest(settings: Settings) -> str:
    return hashlib.sha256(f"{__version__} {settings!r}".encode()).hexdigest()


def _files(layout: Layout) -> set[str]:
    """Name the page, the light curves and their pictures; those of single frames are others'."""

    def found() -> Iterator[str]:
        if layout.index.exists():
            yield layout.index.name
        for folder in (layout.lightcurves, layout.plots):
            with contextlib.suppress(OSError):
                yield from (
                    f"{folder.name}/{one.name}" for one in folder.iterdir() if one.is_file()
                )

    return set(found())
