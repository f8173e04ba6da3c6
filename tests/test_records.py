"""What is recorded of frames, and what becomes of objects' CSVs when frames change."""

import os
import time

import pandas as pd
import pytest
from astropy.table import Table
from recorded_nights import check, lengthen, lines_of, put, result_of, rows, snapshot

from pipnick_watch.errors import RecordsError
from pipnick_watch.records import FrameResult, Records


@pytest.fixture
def night(tmp_path):
    (tmp_path / "reduced").mkdir()
    records = Records(tmp_path)
    assert records.recover() == []
    return records


def publish(records, frame, *args, **kwargs):
    put(records.layout.maindir, frame, args[0] if args else "a")
    return records.publish(result_of(frame, *args, **kwargs), since=time.monotonic())


def lines(records, name="X", kind="unconsolidated"):
    return rows(records.layout.object_csv(name, kind))


def test_done_frames_have_their_lines_once(night, tmp_path):
    """Each done frame has its catalogue, its lines in the object's CSV and its row."""
    for number in range(4):
        assert publish(night, f"X_V/d{number}_red.fits", f"content {number}", n=number)
    check(tmp_path)
    assert len(lines(night)) == 0 + 1 + 2 + 3
    entry = night.entry("X_V/d3_red.fits")
    assert (entry.status, entry.size, entry.mtime_ns, entry.settings) == ("done", 9, 1, "s")
    assert entry.facts["fwhm"] == 4.5
    assert 0 <= entry.facts["latency_s"] < 5
    assert entry.csv_bytes == night.layout.object_csv("X").stat().st_size


def test_every_csv_reads_without_options(night):
    """Pandas and astropy read catalogue, object's CSV and night log as they are."""
    publish(night, "X_V/d1_red.fits")
    publish(night, '=cmd, "x"\\/d2.fits', "b", name="Y")
    paths = [
        night.catalogue("X_V/d1_red.fits"), night.layout.object_csv("Y"), night.layout.frames_csv
    ]  # fmt: skip
    for path in paths:
        assert len(pd.read_csv(path)) == len(Table.read(path)) > 0
    frame = pd.read_csv(night.layout.frames_csv)["frame"].iloc[1]
    assert frame == '\'=cmd, "x"\\u005c/d2.fits'
    assert Records(night.layout.maindir).entry('=cmd, "x"\\/d2.fits').status == "done"


def test_same_result_again_writes_nothing(night):
    """Content that another process has just recorded is not recorded twice."""
    other = Records(night.layout.maindir)
    assert publish(night, "X_V/d1_red.fits")
    before = night.layout.frames_csv.read_bytes()
    assert not publish(other, "X_V/d1_red.fits")
    assert night.layout.frames_csv.read_bytes() == before
    assert other.publish(result_of("X_V/d1_red.fits"), since=0.0, force=True)
    assert other.publish(result_of("X_V/d1_red.fits", settings="t"))
    check(night.layout.maindir)


def test_remeasured_frame_replaces_its_lines(night, tmp_path):
    """New content of a frame takes the place of the old in catalogue and object's CSV."""
    for number in range(3):
        publish(night, f"X_V/d{number}_red.fits", f"{number}")
    publish(night, "X_V/d1_red.fits", "newer", n=5)
    check(tmp_path)
    assert len(lines(night)) == 3 + 5 + 3


def test_frame_whose_object_changed_moves(night, tmp_path):
    """Its lines leave the old object's CSV, and its old catalogue does not linger."""
    publish(night, "d1.fits", "a", group=True)
    publish(night, "d2.fits", "b", group=True)
    publish(night, "d1.fits", "c", name="Y", group=True)
    check(tmp_path)
    for kind in ("unconsolidated", "consolidated"):
        assert len(lines(night, "X", kind)) == len(lines(night, "Y", kind)) > 0
    assert len(list((tmp_path / "photometric").rglob("*d1_photsrcs*"))) == 2


def test_failed_frame_loses_the_lines_of_its_old_content(night, tmp_path):
    """A good frame that is replaced by a broken one has no rows, as if it had come broken."""
    publish(night, "d1.fits", "a", group=True)
    publish(night, "d2.fits", "b", group=True)
    broken = FrameResult(
        frame="d1.fits", object="UNKNOWN", filter="UNKNOWN", status="failed", reason="no FITS"
    )
    assert night.publish(broken)
    assert not night.publish(broken)
    check(tmp_path)
    assert len(lines(night)) == 3
    assert night.entry("d1.fits").reason == "no FITS"


def test_excluded_frame_leaves_and_comes_back_unmeasured(night, tmp_path):
    """A commented frame leaves the object's CSV, its catalogue stays and serves again."""
    for name in ("d1", "d2"):
        publish(night, f"X_V/{name}_red.fits", name, group=True)
    done = snapshot(tmp_path)
    night.exclude({"X_V/d1_red.fits": "commented out"})
    check(tmp_path)
    assert len(lines(night)) == 3
    assert night.catalogue("X_V/d1_red.fits").exists()
    assert night.include(["X_V/d1_red.fits", "X_V/d2_red.fits"]) == []
    check(tmp_path)
    assert snapshot(tmp_path) == done


def test_excluded_frame_with_new_content_is_measured(night):
    """A catalogue serves again only while it is of the content that is recorded."""
    publish(night, "d1.fits", "a")
    changed = FrameResult(
        frame="d1.fits", object="X", filter="V", status="excluded", reason="commented out",
        facts={"size": 77, "mtime_ns": 2},
    )  # fmt: skip
    assert night.publish(changed)
    assert night.include(["d1.fits", "never.fits"]) == ["d1.fits", "never.fits"]


def test_excluded_unread_frame_keeps_what_is_known(night):
    """A frame that is excluded before it is read again still says what it was."""
    publish(night, "d1.fits", "a")
    out = FrameResult(
        frame="d1.fits", object="UNKNOWN", filter="UNKNOWN", status="excluded", reason="an option",
        facts={"size": 1, "mtime_ns": 1, "settings": "other"},
    )  # fmt: skip
    assert night.publish(out)
    entry = night.entry("d1.fits")
    assert (entry.object, entry.sha256, entry.settings) == ("X", "a", "s")
    assert night.include(["d1.fits"]) == []
    assert len(lines(night)) == 3


def test_missing_catalogue_means_measuring(night):
    """A frame whose catalogue was deleted is not brought back from nothing."""
    publish(night, "d1.fits", "a")
    night.exclude({"d1.fits": "commented out"})
    night.catalogue("d1.fits").unlink()
    assert night.include(["d1.fits"]) == ["d1.fits"]
    assert night.entry("d1.fits").status == "excluded"


def test_failed_frame_is_not_brought_back(night):
    """What failed on the same content is measured again, not taken from its old catalogue."""
    publish(night, "d1.fits", "a")
    facts = {"sha256": "a", "settings": "t"}
    night.publish(FrameResult(frame="d1.fits", object="X", filter="V", status="failed",
                              reason="killed its worker", facts=facts))  # fmt: skip
    assert night.include(["d1.fits"]) == ["d1.fits"]


def test_measured_but_commented_frame_stays_out(night, tmp_path):
    """A done frame with a reason has a catalogue and no lines, until it is included."""
    publish(night, "d1.fits", "a", reason="commented out in the file table")
    check(tmp_path)
    assert night.entry("d1.fits").status == "done"
    assert lines(night) is None
    assert night.include(["d1.fits"]) == []
    assert len(lines(night)) == 3
    assert night.include(["d1.fits"], "commented out in the file table") == []
    assert lines(night) == []
    check(tmp_path)


def test_renamed_frame_takes_its_lines_along(night, tmp_path):
    """The same content under a new name, the old file being gone: one frame, one set of lines."""
    publish(night, "X_V/d1_red.fits", "same")
    publish(night, "X_V/d2_red.fits", "other")
    os.rename(tmp_path / "reduced/X_V/d1_red.fits", tmp_path / "reduced/X_V/d9_red.fits")
    assert night.publish(result_of("X_V/d9_red.fits", "same"))
    check(tmp_path)
    assert len(lines(night)) == 6
    assert night.entry("X_V/d1_red.fits").reason == "renamed to X_V/d9_red.fits"
    assert not list((tmp_path / "photometric").rglob("d1_photsrcs.csv"))
    os.rename(tmp_path / "reduced/X_V/d9_red.fits", tmp_path / "reduced/X_V/d1_red.fits")
    assert night.publish(result_of("X_V/d1_red.fits", "same"))
    check(tmp_path)
    assert len(lines(night)) == 6


@pytest.mark.parametrize("group", [False, True])
def test_a_renamed_frame_is_taken_over_from_its_catalogue(tmp_path, group):
    """It comes to what measuring it would, without its old name's solution."""
    records = Records(tmp_path, group=group)
    put(tmp_path, "X_V/d1_red.fits", "same")
    records.recover()
    assert records.publish(result_of("X_V/d1_red.fits", "same", group=group, sky=(1.0, 2.0)))
    new = 'else where/=d"9,_red.fits'
    (tmp_path / "reduced/else where").mkdir()
    assert records.taken_over(new, "same", "s") is None
    os.rename(tmp_path / "reduced/X_V/d1_red.fits", tmp_path / "reduced" / new)
    assert [entry.frame for entry in records.gone(new, 4, 1)] == ["X_V/d1_red.fits"]
    assert records.gone(new, 4, 2) == records.gone("X_V/d1_red.fits", 4, 1) == []
    taken = records.taken_over(new, "same", "s")
    wanted = result_of(new, "same", group=group)
    assert {**taken.facts} == {**wanted.facts, "wcs": "", **{
        name: taken.facts[name] for name in taken.facts.keys() - wanted.facts.keys()
    }}  # fmt: skip
    assert (taken.catalogue, taken.consolidated) == (wanted.catalogue, wanted.consolidated)
    assert records.publish(taken)
    check(tmp_path)
    assert records.taken_over(new, "same", "s") is None


def test_what_was_measured_otherwise_or_is_torn_is_not_taken_over(night, tmp_path):
    """Other settings, another version, a cut catalogue, none: the renamed frame is measured."""
    publish(night, "X_V/d1_red.fits", "same")
    os.rename(tmp_path / "reduced/X_V/d1_red.fits", tmp_path / "reduced/X_V/d9_red.fits")
    new = "X_V/d9_red.fits"
    assert night.taken_over(new, "same", "other") is None
    assert night.taken_over(new, "another", "s") is None
    assert Records(tmp_path, version="0").taken_over(new, "same", "s") is None
    assert Records(tmp_path, group=True).taken_over(new, "same", "s") is None
    assert night.taken_over(new, "same", "s") is not None
    path = night.catalogue("X_V/d1_red.fits")
    content = path.read_bytes()
    path.write_bytes(content[: content[:-1].rfind(b"\n") + 1])
    assert night.taken_over(new, "same", "s") is None
    path.unlink()
    assert night.taken_over(new, "same", "s") is None


def test_equal_bytes_at_two_places_are_two_frames(night, tmp_path):
    """A copy is a frame of its own; a removed frame keeps its lines."""
    publish(night, "X_V/d1_red.fits", "same")
    publish(night, "X_V/d2_red.fits", "same")
    assert len(lines(night)) == 6
    (tmp_path / "reduced/X_V/d1_red.fits").unlink()
    publish(night, "X_V/d2_red.fits", "same", settings="other")
    check(tmp_path)
    assert len(lines(night)) == 6


def test_same_stem_in_different_folders_shares_no_catalogue(night, tmp_path):
    """Frames named alike have catalogues of their own, wherever they lie."""
    names = ["d1_red.fits", "X_V/d1_red.fits", "a/b/d1_red.fits", "a__b/d1.fits", "a/b__d1.fits"]
    for name in names:
        publish(night, name, name)
    check(tmp_path)
    assert len({night.catalogue(name) for name in names}) == len(names)
    assert night.catalogue("a/b/d1_red.fits").name == "a__b__d1_photsrcs.csv"
    again = Records(tmp_path)
    assert [again.catalogue(name) for name in names] == [night.catalogue(name) for name in names]
    assert len(lines(night)) == 3 * len(names)


def test_several_files_of_one_frame_count_once(night, tmp_path):
    """When another file of the same folder and stem is done, the first one's lines go."""
    publish(night, "X_V/d1.fits", "plain")
    publish(night, "X_V/d1_red.fits", "reduced")
    check(tmp_path)
    assert len(lines(night)) == 3
    assert night.entry("X_V/d1.fits").reason == "same frame as X_V/d1_red.fits"
    assert night.catalogue("X_V/d1_red.fits").name == "d1_photsrcs.csv"
    assert night.include(["X_V/d1.fits"]) == ["X_V/d1.fits"]


def test_group_comes_later_without_touching_the_rest(night, tmp_path):
    """Consolidated catalogues are added beside; without --group theirs are not made."""
    publish(night, "d1.fits", "a")
    assert night.entry("d1.fits").consol_bytes is None
    plain = night.layout.object_csv("X").stat()
    grouped = Records(tmp_path, group=True)
    assert grouped.publish(result_of("d1.fits", "a", group=True))
    after = night.layout.object_csv("X").stat()
    assert (after.st_ino, after.st_mtime_ns) == (plain.st_ino, plain.st_mtime_ns)
    assert len(lines(night, kind="consolidated")) == 2
    publish(night, "d2.fits", "b")
    check(tmp_path)
    assert len(lines(night, kind="consolidated")) == 2
    publish(night, "d1.fits", "c")
    check(tmp_path)
    assert lines(night, kind="consolidated") == []


def test_solutions_come_together(night, tmp_path):
    """A solution fills the catalogue at once, object's CSV and row when they are flushed."""
    for name in ("d1", "d2"):
        publish(night, f"{name}.fits", name, group=True)
    for name in ("d1", "d2"):
        sky = lines_of(f"{name}.fits", name, sky=(10.0, 20.0))
        consol = lines_of(f"{name}.fits", name, sky=(10.0, 20.0), n=2)
        assert night.solve(f"{name}.fits", sky, consol, "a solution")
    assert b"10.0000000,20.0000000" in night.catalogue("d1.fits").read_bytes()
    assert not any(b"10.0000000" in one for one in lines(night))
    assert night.entry("d1.fits").wcs == ""
    night.flush_solutions()
    check(tmp_path)
    assert all(b"10.0000000" in one for one in lines(night))
    assert all(b"10.0000000" in one for one in lines(night, kind="consolidated"))
    assert night.entry("d2.fits").wcs == "a solution"
    before = night.layout.frames_csv.read_bytes()
    night.flush_solutions()
    assert night.layout.frames_csv.read_bytes() == before


def test_solution_of_older_content_is_refused(night, tmp_path):
    """Positions computed from a catalogue that was replaced meanwhile are not written over it."""
    publish(night, "d1.fits", "old")
    sky = lines_of("d1.fits", "old", sky=(10.0, 20.0))
    publish(night, "d1.fits", "new")
    assert not night.solve("d1.fits", sky, None, "a solution")
    assert not night.solve("none.fits", sky, None, "a solution")
    check(tmp_path)


def test_touched_frame_keeps_its_rows(night, tmp_path):
    """A new time of the same content is noted, and nothing else changes."""
    publish(night, "d1.fits", "a")
    before = lines(night)
    night.touch("d1.fits", 1, 99)
    night.touch("d1.fits", 1, 99)
    check(tmp_path)
    assert night.entry("d1.fits").mtime_ns == 99
    assert lines(night) == before
    assert len(night.layout.frames_csv.read_text().splitlines()) == 3


def test_many_frames_measured_again_remake_the_csv_once(night, tmp_path):
    """Results recorded together give the same files as one after the other."""
    for number in range(5):
        publish(night, f"d{number}.fits", f"{number}")
    results = [(result_of(f"d{number}.fits", f"{number}", n=4, settings="t"), None)
               for number in range(6)]  # fmt: skip
    put(tmp_path, "d5.fits")
    assert night.publish_many([*results, results[0]]) == [True] * 6 + [False]
    check(tmp_path)
    assert len(lines(night)) == 24


def test_vanished_disk_is_waited_for(night, tmp_path):
    """Without reduced/ nothing is written, and nothing is taken for deleted."""
    publish(night, "d1.fits", "a")
    os.rename(tmp_path / "reduced", tmp_path / "elsewhere")
    os.rename(tmp_path / "photometric", tmp_path / "gone")
    with pytest.raises(RecordsError, match="is its disk mounted"):
        night.publish(result_of("d2.fits", "b"))
    assert night.entry("d1.fits").status == "done"
    assert Records(tmp_path).recover() == []
    assert not (tmp_path / "photometric").exists()
    os.rename(tmp_path / "gone", tmp_path / "photometric")
    os.rename(tmp_path / "elsewhere", tmp_path / "reduced")
    publish(night, "d2.fits", "b")
    check(tmp_path)


def test_work_of_one_frame_does_not_grow_with_the_night(night, tmp_path):
    """The ten-thousandth frame reads and writes as many bytes as the tenth."""
    for number in range(10):
        publish(night, f"X_V/d{number}_red.fits", f"{number}", group=True)
    few = _bytes_moved(lambda: publish(night, "X_V/f_red.fits", "few", group=True))
    lengthen(night, "X_V/f_red.fits", 10_000)
    night.entry("none")
    many = _bytes_moved(lambda: publish(night, "X_V/m_red.fits", "man", group=True))
    assert many[0] - few[0] < 1000
    assert many[1] - few[1] < 100
    assert night.entry("X_V/m_red.fits").csv_bytes == night.layout.object_csv("X").stat().st_size


def _bytes_moved(work):
    def moved():
        with open("/proc/self/io") as file:
            known = dict(one.split(": ") for one in file.read().splitlines())
        return int(known["rchar"]), int(known["wchar"])

    before = moved()
    work()
    after = moved()
    return after[0] - before[0], after[1] - before[1]
