"""Several processes publish into one MAINDIR at the same time."""

import os
import random

from recorded_nights import check, put, result_of, rows

from pipnick_watch.records import FileTable, Records


def publish_all(maindir, seed):
    """Publish every frame, as a process that knows of no other, in an order of its own."""
    names = [f"X_V/d{number}_red.fits" for number in range(25)]
    random.Random(seed).shuffle(names)
    records = Records(maindir, group=True)
    records.recover()
    table = FileTable(records.layout)
    for name in names:
        table.add([table.row(name, "X", "V")])
        records.publish(result_of(name, name, group=True))
        if seed % 2:
            records.exclude({name: "commented out"})
            assert records.include([name]) == []


def test_no_row_is_doubled_or_lost(tmp_path):
    """Four processes with the same frames end with the rows of one."""
    for number in range(25):
        put(tmp_path, f"X_V/d{number}_red.fits")
    children = []
    for seed in range(4):
        child = os.fork()
        if child == 0:
            try:
                publish_all(tmp_path, seed)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    check(tmp_path)
    records = Records(tmp_path)
    assert len(rows(records.layout.object_csv("X"))) == 25 * 3
    assert {entry.status for entry in records.entries().values()} == {"done"}
    assert len(FileTable(records.layout).read()) == 25
    assert Records(tmp_path).recover() == []
