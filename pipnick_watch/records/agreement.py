"""Whether an object's CSV holds just the lines of the frames that the night log says."""

from pathlib import Path

from pipnick_watch.records.entry import Entry
from pipnick_watch.records.layout import Kind
from pipnick_watch.records.nightlog import NightLog
from pipnick_watch.records.objectcsv import (
    HEADER,
    CatalogueGoneError,
    file_size,
    has_our_header,
    read_lines,
)

__all__ = ["Place", "may_grow", "mismatched", "spoiled"]

Place = tuple[Kind, str]
"""An object's CSV: its kind and its object."""


def mismatched(log: NightLog) -> set[Place]:
    """Find the objects' CSVs that must be made anew; the others are trusted from now on."""
    wrong = {place for place in log.recorded() if not _agrees(log, place)}
    log.trusted.update(log.recorded().keys() - wrong)
    return wrong


def spoiled(log: NightLog) -> list[Entry]:
    """Find the frames whose catalogue is there but is not what was measured: torn, say.

    Only catalogues whose sizes do not add up to their object's CSV are read.
    """
    found: dict[str, Entry] = {}
    for kind, name in log.recorded():
        members = [log.entries[frame] for frame in log.members(name, kind)]
        paths = [log.catalogue(entry, kind) for entry in members]
        total = sum([max(0, file_size(path) - len(HEADER)) for path in paths])
        if total + len(HEADER) == file_size(log.layout.object_csv(name, kind)):
            continue
        for entry, path in zip(members, paths, strict=True):
            if path.exists() and not _is_whole(entry, kind, path):
                found[entry.frame] = entry
    return list(found.values())


def _is_whole(entry: Entry, kind: Kind, path: Path) -> bool:
    try:
        lines = read_lines(path)
    except CatalogueGoneError:
        return False
    return kind == "consolidated" or lines.count(b"\n") == entry.n_sources


def may_grow(log: NightLog, place: Place) -> bool:
    """Tell whether lines may be appended to an object's CSV.

    Once a CSV was compared with its frames' catalogues, its size tells; only after frames.csv was
    read anew, because somebody else rewrote it, all of them are compared again.
    """
    kind, name = place
    path = log.layout.object_csv(name, kind)
    if not 0 < file_size(path) == log.recorded_bytes(name, kind) or not has_our_header(path):
        return False
    if place not in log.trusted:
        if not _agrees(log, place):
            return False
        log.trusted.add(place)
    return True


def _agrees(log: NightLog, place: Place) -> bool:
    """Compare an object's CSV with its recorded size, and with its frames' catalogues.

    The second tells when rows are missing in the middle of frames.csv: the CSV has lines of
    frames that are not done, and to append these again would double them.
    """
    kind, name = place
    size = file_size(log.layout.object_csv(name, kind))
    if size != log.recorded_bytes(name, kind):
        return False
    paths = [log.catalogue(log.entries[frame], kind) for frame in log.members(name, kind)]
    sizes = [file_size(path) for path in paths]
    if not all(sizes):
        return True  # what was deleted cannot be compared, nor made anew
    if size == (len(HEADER) if size else 0) + sum(sizes) - len(HEADER) * len(sizes):
        return True
    try:  # catalogues of an older version have fewer columns
        return size == len(HEADER) + sum([len(read_lines(path)) for path in paths])
    except CatalogueGoneError:
        return True
