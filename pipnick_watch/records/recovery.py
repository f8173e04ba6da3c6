"""How night log, catalogues and objects' CSVs are brought to agreement after whatever happened."""

import os
from pathlib import Path

from pipnick_watch.records.agreement import mismatched, spoiled
from pipnick_watch.records.commit import GONE, KINDS, Change, commit, remove_stale
from pipnick_watch.records.entry import Entry
from pipnick_watch.records.layout import ENDINGS
from pipnick_watch.records.nightlog import NightLog
from pipnick_watch.records.objectcsv import HEADER, CatalogueGoneError, first_frame, read_lines
from pipnick_watch.records.publishing import sweep

__all__ = ["reconcile"]


def reconcile(log: NightLog) -> list[str]:
    """Put right what a publish that was cut short has left; the caller holds the records lock.

    Returns
    -------
    list of str
        What was found and done, one line each; nothing on an untouched night.

    Raises
    ------
    OSError
        The disk is full or failing; what was done is sound.
    """
    layout = log.layout
    swept = sweep(layout.maindir, deep=False) + sweep(layout.photometric, deep=True)
    told = [f"{path}: a temporary file of a dead process was removed" for path in swept]
    told += log.mend()
    remove_stale(log)
    told += _remove_strays(log)
    there = _catalogues(log)
    told += _remove_orphans(log, there)
    gone = [*_without_catalogue(log, there), *_without_rows(log)]
    wrong = mismatched(log)
    if gone or wrong:
        changes = [Change.of(entry, status="excluded", reason=GONE) for entry in gone]
        commit(log, changes, remake=wrong)
    told += [f"{entry.frame}: {GONE}" for entry in gone]
    told += [f"{layout.object_csv(name, kind)}: made anew from its frames' catalogues"
             for kind, name in sorted(wrong)]  # fmt: skip
    return told


def _remove_strays(log: NightLog) -> list[str]:
    """Remove CSVs of objects of which no row was ever written: a publish was cut short.

    Without any row the night log itself is lost: they stay until their frames are measured again.
    """
    told = []
    for kind in KINDS if log.entries else ():
        for path in (log.layout.photometric / kind).glob("*.csv"):
            if (kind, path.stem) not in log.recorded() and path.is_file() and _is_ours(path):
                path.unlink()
                told.append(f"{path}: removed, no frame of this object is done")
    return told


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER


def _catalogues(log: NightLog) -> set[Path]:
    """List the catalogues that are on disk."""
    return {
        path
        for kind in KINDS
        for folder in (log.layout.photometric / kind).glob("*/")
        for path in folder.iterdir()
        if path.name.endswith(ENDINGS[kind])
    }


def _remove_orphans(log: NightLog, there: set[Path]) -> list[str]:
    """Remove catalogues that no row tells of; their frames are there and measured again."""
    owned = {
        log.catalogue(entry, kind)
        for entry in log.measured.values()
        for kind in KINDS
        if kind == "unconsolidated" or entry.consol_bytes is not None
    }
    told = []
    # without any row the night log itself is lost, and so is not what it told of
    for path in sorted(there - owned) if log.entries else ():
        try:
            frame = first_frame(read_lines(path))
        except CatalogueGoneError:
            continue  # it is somebody else's
        if not frame or os.path.lexists(log.layout.frame_path(frame)):
            path.unlink()
            told.append(f"{path}: removed, its frame is not done")
    return told


def _without_rows(log: NightLog) -> list[Entry]:
    """Find frames that are done and still there, but whose catalogue was spoiled."""
    return [entry for entry in spoiled(log) if os.path.lexists(log.layout.frame_path(entry.frame))]


def _without_catalogue(log: NightLog, there: set[Path]) -> list[Entry]:
    """Find frames that are done and still there, but have no catalogue."""
    return [
        entry
        for entry in log.entries.values()
        if entry.status == "done"
        and log.catalogue(entry, "unconsolidated") not in there
        and os.path.lexists(log.layout.frame_path(entry.frame))
    ]
