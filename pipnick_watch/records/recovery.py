"""How night log, catalogues and objects' CSVs are brought to agreement after whatever happened."""

import os
from pathlib import Path

from pipnick_watch.records.commit import GONE, KINDS, Change, commit, mismatched, remove_stale
from pipnick_watch.records.entry import Entry
from pipnick_watch.records.nightlog import NightLog
from pipnick_watch.records.objectcsv import HEADER
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
    gone = _without_catalogue(log)
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


def _without_catalogue(log: NightLog) -> list[Entry]:
    """Find frames that are done and still there, but have no catalogue."""
    folders: dict[Path, set[str]] = {}
    gone = []
    for entry in log.entries.values():
        if entry.status != "done":
            continue
        path = log.catalogue(entry, "unconsolidated")
        if path.parent not in folders:
            folders[path.parent] = _names_in(path.parent)
        missing = path.name not in folders[path.parent]
        if missing and os.path.lexists(log.layout.frame_path(entry.frame)):
            gone.append(entry)
    return gone


def _names_in(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return set()
