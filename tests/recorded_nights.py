"""Nights made of results that nobody measured: what the tests of the records are about."""

import csv
import os
from pathlib import Path

from pipnick_watch.columns import CATALOGUE
from pipnick_watch.records import FrameResult, Layout, Records
from pipnick_watch.records.cells import line
from pipnick_watch.records.objectcsv import HEADER
from pipnick_watch.records.publishing import PREFIX

KINDS = ("unconsolidated", "consolidated")


def lines_of(frame, content, *, name="X", band="V", n=3, sky=None):
    """Write the lines of a catalogue that depends on the frame's content."""
    ra, dec = sky or (None, None)
    return "".join(
        line(
            {
                "id": number + 1,
                "flux_psf": 1000.0 * (number + 1) + len(content),
                "peak": sum(content.encode()),
                "frame": frame,
                "object": name,
                "filter": band,
                "ra": ra,
                "dec": dec,
            },
            CATALOGUE,
        )
        for number in range(n)
    )


def result_of(
    frame,
    content="a",
    *,
    name="X",
    band="V",
    n=3,
    group=False,
    reason="",
    settings="s",
    sky=None,
):
    """Make the result of a frame with this content."""
    wcs = {} if sky is None else {"wcs": "a solution"}
    facts = {"sha256": content, "size": len(content), "mtime_ns": 1, "settings": settings}
    return FrameResult(
        frame=frame,
        object=name,
        filter=band,
        status="done",
        reason=reason,
        facts={**facts, **wcs, "n_sources": n, "fwhm": 4.5, "measure_s": 0.1},
        catalogue=lines_of(frame, content, name=name, band=band, n=n, sky=sky),
        consolidated=(
            lines_of(frame, content, name=name, band=band, n=n - 1, sky=sky) if group else None
        ),
    )


def put(maindir, frame, content="a"):
    """Lay a frame's file down, which nobody will read."""
    path = maindir / "reduced" / frame
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def rows(path):
    """Read an object's CSV or a catalogue as a sorted list of lines; None when there is none."""
    if not path.exists():
        return None
    header, *found = path.read_bytes().splitlines(keepends=True)
    assert header == HEADER
    assert all(one.endswith(b"\n") for one in found)
    return sorted(found)


def temporaries(maindir):
    """List the temporary files that lie about."""
    return [path for path in Path(maindir).rglob(PREFIX + "*") if path.is_file()]


def snapshot(maindir):
    """Give all that must be the same whatever happened on the way."""
    records = Records(maindir)
    photometric = Path(maindir) / "photometric"
    tables = {
        str(path.relative_to(photometric)): rows(path)
        for kind in KINDS
        for path in sorted((photometric / kind).rglob("*.csv"))
    }
    frames = {
        frame: (
            entry.object, entry.filter, entry.status, entry.reason, entry.sha256, entry.settings,
            entry.wcs, entry.n_sources, entry.consol_bytes is not None,
        )
        for frame, entry in records.entries().items()
    }  # fmt: skip
    return tables, frames


def check(maindir, *, midway=False):
    """Assert that night log, catalogues and objects' CSVs agree, and that nothing lies about.

    Midway, after a crash, a catalogue may be newer than the lines in the object's CSV: its frame
    is still to be published.
    """
    layout, records = Layout(maindir), Records(maindir)
    entries = records.entries()
    sizes = {}
    for cells in csv.DictReader(layout.frames_csv.read_text().splitlines()):
        sizes["unconsolidated", cells["object"]] = int(cells["csv_bytes"])
        if cells["consol_bytes"] != "nan":
            sizes["consolidated", cells["object"]] = int(cells["consol_bytes"])
    for (kind, name), size in sizes.items():
        path = layout.object_csv(name, kind)
        assert (path.stat().st_size if path.exists() else 0) == size, (kind, name)
        wanted = []
        for frame, entry in entries.items():
            if entry.object == name and entry.lists(kind):
                wanted += rows(records.catalogue(frame, kind))
        assert midway or (rows(path) or []) == sorted(wanted), (kind, name)
    assert not temporaries(maindir)


def lengthen(records, frame, count):
    """Make a long night of one frame: ``count`` frames more with its catalogue."""
    layout = records.layout
    for kind in KINDS:
        template = records.catalogue(frame, kind)
        stem, ending = template.name.split("_photsrcs")
        for number in range(count):
            os.link(template, template.with_name(f"{stem}-{number}_photsrcs{ending}"))
        with layout.object_csv("X", kind).open("ab") as file:
            file.write(b"".join(rows(template)) * count)
    row = layout.frames_csv.read_text().splitlines()[-1]
    sizes = f",{records.entry(frame).csv_bytes},{records.entry(frame).consol_bytes},"
    assert sizes in row
    after = [layout.object_csv("X", kind).stat().st_size for kind in KINDS]
    stem = frame.removesuffix("_red.fits")
    with layout.frames_csv.open("a") as file:
        for number in range(count):
            new = row.replace(stem, f"{stem}-{number}").replace(sizes, f",{after[0]},{after[1]},")
            file.write(new + "\n")
