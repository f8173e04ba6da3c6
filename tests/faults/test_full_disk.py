"""A disk that is really full, and one that is read-only: nothing half-written, then all of it."""

import os
import subprocess

import pytest
from recorded_nights import check, put, result_of, temporaries

from pipnick_watch.records import FileTable, Records

SIZE_KB = 1024


@pytest.fixture
def small_disk(tmp_path):
    """Give a folder on a file system of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_KB}k", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_harms_nothing(small_disk):
    """ENOSPC at whatever write comes first: what was recorded stays, and the rest comes later.

    Outcome: OSError, no half rows, no temporary files; with room again every frame is done once.
    """
    (small_disk / "reduced").mkdir()
    records = Records(small_disk, group=True)
    records.recover()
    table = FileTable(records.layout)
    names = [f"X_V/d{number:02d}_red.fits" for number in range(30)]
    ballast = small_disk / "ballast"
    refused = 0
    for number, name in enumerate(names):
        put(small_disk, name)
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        # leave some pages, so that each of the writes of a publish is the one that fails
        left = 4096 * (number % 12)
        ballast.write_bytes(b"\0" * max(0, free - left))
        try:
            table.add([table.row(name, "X", "V")])
            records.publish(result_of(name, name, n=60, group=True))
        except OSError:
            refused += 1
            assert not temporaries(small_disk)
        ballast.unlink()
        Records(small_disk, group=True).recover()
        check(small_disk, midway=True)
        table.add([table.row(name, "X", "V")])
        records.publish(result_of(name, name, n=1, group=True), force=True)
        check(small_disk)
    assert refused > 10
    assert len(table.read()) == len(names)
    assert all(records.entry(name).status == "done" for name in names)


def test_read_only_disk_is_an_error_and_no_more(small_disk):
    """EROFS: an OSError, nothing changed, and once writable it goes on."""
    (small_disk / "reduced").mkdir()
    records = Records(small_disk)
    records.recover()
    put(small_disk, "d1.fits")
    records.publish(result_of("d1.fits"))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OSError, match="Read-only"):
        records.publish(result_of("d2.fits"))
    with pytest.raises(OSError, match="Read-only"):
        FileTable(records.layout).add([FileTable(records.layout).row("d1.fits", "X", "V")])
    assert records.entry("d1.fits").status == "done"
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    records.publish(result_of("d2.fits", "b"))
    check(small_disk)
