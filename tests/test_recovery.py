"""What a start makes of records that something happened to."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_nights import check, lengthen, put, result_of, rows, snapshot, temporaries

from pipnick_watch.columns import CATALOGUE, NIGHT_LOG
from pipnick_watch.records import Records, cells
from pipnick_watch.records.publishing import PREFIX

FRAMES = {f"X_V/d{number}_red.fits": f"content {number}" for number in range(4)}


def make_night(maindir):
    """Record four frames of one object."""
    records = Records(maindir, group=True)
    (maindir / "reduced").mkdir(parents=True)
    records.recover()
    for frame, content in FRAMES.items():
        put(maindir, frame, content)
        records.publish(result_of(frame, content, group=True))
    return records


def redo(maindir):
    """Restart: recover, then record what is missing."""
    records = Records(maindir, group=True)
    told = records.recover()
    check(maindir, midway=True)
    for frame, content in FRAMES.items():
        records.include([frame])
        entry = records.entry(frame)
        if entry is None or entry.status != "done" or entry.sha256 != content:
            records.publish(result_of(frame, content, group=True))
    check(maindir)
    return told


@pytest.fixture
def night(tmp_path):
    return make_night(tmp_path)


def test_untouched_night_is_left_alone(night, tmp_path):
    """A second start finds nothing to do, and no file is written."""
    paths = list(tmp_path.rglob("*.csv"))
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in paths]
    assert Records(tmp_path, group=True).recover() == []
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in paths] == before


def test_torn_row_is_cut_off(night, tmp_path):
    """Half a row at the end of frames.csv is no row, and the next one is whole."""
    path = night.layout.frames_csv
    whole = path.read_bytes()
    path.write_bytes(whole + b"X_V/d9_red.fits,X,V,do")
    assert Records(tmp_path).entry("X_V/d9_red.fits") is None
    assert redo(tmp_path) == [f"{path}: cut off a torn last line"]
    assert path.read_bytes() == whole


def test_torn_row_is_cut_off_by_a_living_process(night, tmp_path):
    """A process that goes on after another was killed does not append to half a row."""
    path = night.layout.frames_csv
    path.write_bytes(path.read_bytes() + b"X_V/d9_red.fits,X,V,do")
    put(tmp_path, "X_V/d5_red.fits")
    night.publish(result_of("X_V/d5_red.fits", group=True))
    check(tmp_path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_torn_and_damaged_files_lead_back_to_the_same_rows(tmp_path_factory, data):
    """Whatever is cut off or damaged, a restart that measures what is missing puts it right."""
    maindir = tmp_path_factory.mktemp("night")
    night = make_night(maindir)
    expected = snapshot(maindir)
    for path in (night.layout.frames_csv, night.layout.object_csv("X")):
        content = path.read_bytes()
        end = data.draw(st.integers(0, len(content)), label=f"{path.name} cut at")
        tail = data.draw(st.binary(max_size=30), label="then")
        path.write_bytes(content[:end] + tail)
    redo(maindir)
    assert snapshot(maindir) == expected


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_unreadable_rows_are_set_aside(tmp_path_factory, data):
    """Damage in the middle of frames.csv costs the damaged rows only; their frames come again."""
    maindir = tmp_path_factory.mktemp("night")
    night = make_night(maindir)
    expected = snapshot(maindir)
    path = night.layout.frames_csv
    lines = path.read_bytes().splitlines(keepends=True)
    number = data.draw(st.integers(1, len(lines) - 1), label="row")
    damage = data.draw(st.sampled_from([b"\0" * 40, b"\xff,\xfe", b"a,b,c", b'"open,', b"", b"\r"]))
    lines[number] = damage + b"\n"
    path.write_bytes(b"".join(lines))
    told = redo(maindir)
    assert any("unreadable rows were set aside" in line for line in told)
    assert damage in night.layout.unreadable_rows.read_bytes()
    assert snapshot(maindir) == expected


@pytest.mark.parametrize("running", [False, True])
def test_row_deleted_by_hand_means_measuring_again(night, tmp_path, running):
    """A row taken out of frames.csv brings its frame again, and nothing is doubled."""
    expected = snapshot(tmp_path)
    path = night.layout.frames_csv
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2] + lines[3:]))
    if running:
        frame = "X_V/d1_red.fits"
        assert night.entry(frame) is None
        night.publish(result_of(frame, FRAMES[frame], group=True))
        check(tmp_path)
    else:
        redo(tmp_path)
    assert snapshot(tmp_path) == expected


def test_lost_night_log_is_made_again(night, tmp_path):
    """Without frames.csv every frame is measured again, and nothing is doubled."""
    expected = snapshot(tmp_path)
    night.layout.frames_csv.unlink()
    redo(tmp_path)
    assert snapshot(tmp_path) == expected


def test_lost_state_folder_is_made_again(night, tmp_path):
    """The locks' folder may be deleted while nothing runs."""
    for path in night.layout.state.iterdir():
        path.unlink()
    night.layout.state.rmdir()
    assert redo(tmp_path) == []


def test_lost_objects_csv_is_made_anew(night, tmp_path):
    """A deleted or shortened CSV comes back from the catalogues."""
    expected = snapshot(tmp_path)
    night.layout.object_csv("X").unlink()
    night.layout.object_csv("X", "consolidated").write_text("")
    told = Records(tmp_path).recover()
    assert len(told) == 2
    assert snapshot(tmp_path) == expected
    check(tmp_path)


def test_lost_catalogue_means_measuring_again(night, tmp_path):
    """A done frame without its catalogue is taken out and measured, if its file is there."""
    expected = snapshot(tmp_path)
    night.catalogue("X_V/d1_red.fits").unlink()
    night.catalogue("X_V/d2_red.fits").unlink()
    (tmp_path / "reduced/X_V/d2_red.fits").unlink()
    told = Records(tmp_path).recover()
    assert [line for line in told if "d1_red" in line]
    assert not [line for line in told if "d2_red" in line]
    assert Records(tmp_path).entry("X_V/d1_red.fits").status == "excluded"
    redo(tmp_path)
    put(tmp_path, "X_V/d2_red.fits", FRAMES["X_V/d2_red.fits"])
    Records(tmp_path).recover()
    redo(tmp_path)
    assert snapshot(tmp_path) == expected


def test_temporaries_of_the_dead_are_swept_and_of_the_living_kept(night, tmp_path):
    """A temporary file goes when no process holds it; a stranger's hidden file stays."""
    import fcntl

    folder = night.catalogue("X_V/d1_red.fits").parent
    dead, living, other = (folder / f"{PREFIX}1-1.tmp", folder / f"{PREFIX}2-2.tmp", folder / ".x")
    for path in (dead, living, other, tmp_path / f"{PREFIX}3-3.tmp"):
        path.write_text("half")
    with living.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert len(Records(tmp_path).recover()) == 2
        assert temporaries(tmp_path) == [living]
    Records(tmp_path).recover()
    assert temporaries(tmp_path) == []
    assert other.exists()


def test_older_catalogues_get_the_columns_that_were_added(night, tmp_path):
    """Rows of a version with fewer columns are filled up with nan, and stay."""
    for path in tmp_path.rglob("*.csv"):
        lines = path.read_text().splitlines()
        path.write_text("".join(line.rpartition(",")[0] + "\n" for line in lines))
    put(tmp_path, "X_V/d5_red.fits")
    records = Records(tmp_path, group=True)
    records.recover()
    assert records.entry("X_V/d1_red.fits").facts["recorded_at"] == ""
    assert records.publish(result_of("X_V/d5_red.fits", group=True))
    assert len(rows(records.layout.object_csv("X"))) == 3 * 5
    assert records.layout.frames_csv.read_text().startswith(cells.header(NIGHT_LOG))
    width = len(CATALOGUE)
    for line in rows(records.layout.object_csv("X")):
        assert line.count(b",") == width - 1


def test_newer_night_log_keeps_its_columns(night, tmp_path):
    """Rows are added to a frames.csv with more columns than ours, and its own stay."""
    path = night.layout.frames_csv
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header + ",humidity", *(line + ",0.4" for line in lines)]) + "\n")
    put(tmp_path, "X_V/d5_red.fits")
    records = Records(tmp_path, group=True)
    assert records.recover() == []
    records.publish(result_of("X_V/d5_red.fits", group=True))
    assert path.read_text().splitlines()[0].endswith(",humidity")
    assert path.read_text().splitlines()[1].endswith(",0.4")
    assert path.read_text().splitlines()[-1].endswith("Z,nan")
    assert Records(tmp_path).entry("X_V/d5_red.fits").status == "done"


def test_start_on_a_long_night_is_cheap(night, tmp_path):
    """Ten thousand frames: a start opens none of their catalogues."""
    lengthen(night, "X_V/d3_red.fits", 10_000)
    size = night.layout.frames_csv.stat().st_size
    records = Records(tmp_path, group=True)
    before = _read_bytes()
    told = records.recover()
    assert told == []
    assert _read_bytes() - before < 2 * size
    assert len(records.entries()) == 10_004


def _read_bytes():
    with open("/proc/self/io") as file:
        return int(file.readline().split()[1])
