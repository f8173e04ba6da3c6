"""``--demo``: a simulated night is played into a folder while a daemon follows it."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pipnick_watch.records import Entry, Layout, Records
from pipnick_watch.simulate import play_night, prepare_night

__all__ = ["run_demo"]

NIGHT_S = 20.0
"""Time in which the night's frames land."""

PATIENCE_S = 60.0
"""Time after the last frame in which its rows and pictures must be there."""


def run_demo(folder: Path | None, flags: Sequence[str] = ()) -> int:
    """Play a simulated night, let a daemon follow it, and say what lies where.

    Parameters
    ----------
    folder : Path or None
        New, empty or of an earlier demo; None makes one.
    flags : sequence of str
        Further flags for the daemon.

    Returns
    -------
    int
        0, or 1 when a frame has no rows or no picture at the end.

    Raises
    ------
    UsageError
        The folder holds another night.
    """
    maindir = Path(tempfile.mkdtemp(prefix="pipnick-watch-demo-")) if folder is None else folder
    maindir = maindir.resolve()
    prepare_night(maindir)
    _say(f"A simulated night lands in {maindir / 'reduced'}; a daemon follows it:")
    _say(f"  pipnick-watch {maindir}")
    daemon = subprocess.Popen(  # noqa: S603  our own command
        [sys.executable, "-m", "pipnick_watch", str(maindir), *flags], stdin=subprocess.DEVNULL
    )
    try:
        frames = play_night(maindir, seconds=NIGHT_S)
        missing = _wait(maindir, frames, daemon)
    finally:
        daemon.terminate()
        daemon.wait()
    _tell(maindir)
    for frame in missing:
        _say(f"  missing: {frame}")
    return 1 if missing else 0


def _wait(maindir: Path, frames: Sequence[Path], daemon: subprocess.Popen[bytes]) -> list[str]:
    """Wait for rows and pictures of all frames, and the page; give what is not there in the end."""
    records = Records(maindir)
    end = time.monotonic() + PATIENCE_S
    names = [path.relative_to(records.layout.reduced).as_posix() for path in frames]
    missing = names
    while missing and time.monotonic() < end and daemon.poll() is None:
        missing = [name for name in names if not _complete(records, name)]
        if not missing and not _page_is_fresh(records.layout):
            missing = [records.layout.index.name]
        time.sleep(0.2)
    return missing


def _page_is_fresh(layout: Layout) -> bool:
    if not layout.index.exists():
        return False
    return layout.index.stat().st_mtime_ns >= layout.frames_csv.stat().st_mtime_ns


def _complete(records: Records, name: str) -> bool:
    entry = records.entry(name)
    return entry is not None and entry.status == "done" and _picture(records, entry).exists()


def _picture(records: Records, entry: Entry) -> Path:
    stem = records.stem(entry.frame, entry.object, entry.filter)
    return records.layout.plot(entry.object, entry.filter, f"{stem}_sources.png")


def _tell(maindir: Path) -> None:
    """Say what is where."""
    records, layout = Records(maindir), Layout(maindir)
    done = [entry for entry in records.entries().values() if entry.status == "done"]
    n_rows = sum(entry.n_sources or 0 for entry in done)
    _say(f"\n{len(done)} frames, {n_rows} rows. What is where:")
    _say(f"  {layout.index}: the night at a glance; open it in a browser")
    for name in sorted({entry.object for entry in done}):
        _say(f"  {layout.object_csv(name)}: all rows of {name}")
    _say(f"  {layout.frames_csv}: the night log, a row for each frame")
    _say(f"  {layout.table}: the file table; a # in front of a row leaves a frame out")
    if done:
        _say(f"  {_picture(records, done[-1])}: the picture of the last frame")
    _say(
        f"Read the rows with pandas.read_csv, TOPCAT or Table.read; remove it all: rm -r {maindir}"
    )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
