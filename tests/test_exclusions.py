"""Comments in the file table, exclusions by option, focus frames: what is left out."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Daemon, command, land, rows, statuses, wait_for
from pipnick_watch import photometry_all
from pipnick_watch.errors import UsageError
from pipnick_watch.simulate import FieldSettings, Optics, Pointing, frame_bytes, simulate_field

V1, V2, B, OTHER = (
    "SIM-A_V/d1001_red.fits",
    "SIM-A_V/d1002_red.fits",
    "SIM-A_B/d1003_red.fits",
    "SIMB_V/d1004_red.fits",
)


@pytest.fixture
def night(frames: dict[str, bytes], maindir: Path) -> Path:
    """Give a MAINDIR with the four frames."""
    for frame, content in frames.items():
        land(maindir, frame, content)
    return maindir


def reasons(maindir: Path) -> dict[str, str]:
    """Give the last reason of each frame."""
    return {row["frame"]: row["reason"] for row in rows(maindir / "photometric" / "frames.csv")}


def n_rows(maindir: Path) -> int:
    """Count the rows of frames.csv: how often anything was recorded."""
    return len(rows(maindir / "photometric" / "frames.csv"))


def listed(maindir: Path, name: str = "SIM-A") -> set[str]:
    """Give the frames in an object's CSV."""
    path = maindir / "photometric" / "unconsolidated" / f"{name}.csv"
    return {row["frame"] for row in rows(path)} if path.exists() else set()


def comment(maindir: Path, word: str, *, out: bool = True) -> None:
    """Put a # before the rows with this word, or take it off, as an editor does."""
    table = maindir / "astrometry_files.tbl"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text(
        "".join(
            ("#" + line if out else line.removeprefix("#")) if word in line else line
            for line in lines
        )
    )


def commented(maindir: Path) -> list[str]:
    """Give the names of the rows that are commented out."""
    lines = (maindir / "astrometry_files.tbl").read_text().splitlines()
    return sorted(line.split("|")[1].strip() for line in lines if line.startswith("#|"))


def test_an_option_is_written_into_the_table_and_what_it_leaves_behind_is_pointed_out(
    night: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """--excl_* comments rows out; later runs honour that with -t, say so, and measure without."""
    paths = photometry_all(night, excl_filts=["b"], excl_files=["D1002"])
    assert [path.name for path in paths] == ["d1001_photsrcs.csv", "d1004_photsrcs.csv"]
    assert commented(night) == ["d1002_red", "d1003_red"]
    assert reasons(night)[B] == "excluded by --excl_filts b"
    assert "still commented out" not in caplog.text

    paths = photometry_all(night, use_table=True)
    assert [path.name for path in paths] == ["d1001_photsrcs.csv", "d1004_photsrcs.csv"]
    assert statuses(night)[B] == "excluded"
    pointed = [one.message for one in caplog.records if "still commented out" in one.message]
    assert len(pointed) == 1
    assert V2 in pointed[0]
    assert B in pointed[0]

    paths = photometry_all(night)
    assert [path.name for path in paths] == [f"d{n}_photsrcs.csv" for n in (1003, 1001, 1002, 1004)]
    assert set(statuses(night).values()) == {"done"}
    assert commented(night) == ["d1002_red", "d1003_red"]
    assert listed(night) == {V1}

    comment(night, "d100", out=False)
    photometry_all(night)
    assert listed(night) == {V1, V2, B}
    assert set(reasons(night).values()) == {"nan"}


def test_objects_are_excluded_whatever_the_case_and_the_blanks(night: Path) -> None:
    """A word matches within the object's name, and one text with commas is several words."""
    paths = photometry_all(night, excl_objs="sim b, m31")
    assert {path.parent.name for path in paths} == {"SIM-A_V", "SIM-A_B"}
    assert commented(night) == ["d1004_red"]


def test_a_comment_takes_a_frame_out_and_its_end_brings_it_back_unmeasured(night: Path) -> None:
    """The catalogue stays all the while, and the rows are those of the first measurement."""
    photometry_all(night)
    merged = night / "photometric" / "unconsolidated" / "SIM-A.csv"
    before, catalogue = rows(merged), merged.with_name("SIM-A_V") / "d1001_photsrcs.csv"
    stamp = catalogue.stat().st_mtime_ns
    comment(night, "d1001")
    for use_table, status in ((True, "excluded"), (False, "done"), (True, "excluded")):
        paths = photometry_all(night, use_table=use_table)
        assert listed(night) == {V2, B}
        assert statuses(night)[V1] == status
        assert (catalogue in paths) is not use_table
        assert commented(night) == ["d1001_red"]
    comment(night, "d1001", out=False)
    photometry_all(night, use_table=True)
    assert sorted(map(str, rows(merged))) == sorted(map(str, before))
    assert catalogue.stat().st_mtime_ns == stamp


def test_what_an_option_left_out_comes_back_unmeasured(night: Path) -> None:
    """A measured frame that an option leaves out for a while is not measured again."""
    photometry_all(night)
    catalogue = night / "photometric" / "unconsolidated" / "SIM-A_B" / "d1003_photsrcs.csv"
    stamp = catalogue.stat().st_mtime_ns
    photometry_all(night, excl_filts=["B"])
    assert listed(night) == {V1, V2}
    assert commented(night) == ["d1003_red"]
    comment(night, "d1003", out=False)
    assert catalogue in photometry_all(night)
    assert listed(night) == {V1, V2, B}
    assert catalogue.stat().st_mtime_ns == stamp


def test_the_daemon_follows_comments_within_seconds(night: Path) -> None:
    """Out and in again while it runs; words of a human in the table survive."""
    with Daemon(night, "--no-plots", "--excl-objs", "SIMB") as daemon:
        daemon.wait_done(V1, V2, B)
        wait_for(lambda: commented(night) == ["d1004_red"], "the option's comment")
        table = night / "astrometry_files.tbl"
        table.write_text(table.read_text() + "# clouds from here on, says the observer\n")
        comment(night, "d1002")
        wait_for(lambda: listed(night) == {V1, B}, "the frame out", seconds=5)
        comment(night, "d1002", out=False)
        wait_for(lambda: listed(night) == {V1, V2, B}, "the frame back", seconds=5)
        assert "clouds from here on" in table.read_text()
        # what a human takes the # off is not fought over
        comment(night, "d1004", out=False)
        time.sleep(3)
        assert commented(night) == []
        assert statuses(night)[OTHER] == "excluded"
        assert daemon.stop() == 0


def test_the_daemon_can_be_told_to_measure_commented_frames(night: Path) -> None:
    """With --no-use-table a commented frame is measured, and stays out of the object's CSV."""
    photometry_all(night, excl_filts=["B"])
    with Daemon(night, "--no-plots", "--no-use-table") as daemon:
        daemon.wait_done(B)
        assert daemon.stop() == 0
    assert listed(night) == {V1, V2}
    catalogue = night / "photometric" / "unconsolidated" / "SIM-A_B" / "d1003_photsrcs.csv"
    assert catalogue.exists()


def test_a_focus_frame_is_left_out_but_its_width_is_told(maindir: Path) -> None:
    """``focus`` anywhere in OBJECT: excluded, commented out, FWHM in the log and frames.csv."""
    field = FieldSettings(optics=Optics(shape=(200, 220), fwhm=6.0), n_stars=12, faintest=14.0)
    content = frame_bytes(simulate_field(field, 5, Pointing(object="point focus")))
    land(maindir, "POINTFOCUS_V/d1005_red.fits", content)
    ran = command("pipnick_photometry", maindir, "-t")
    assert ran.returncode == 0, ran.stderr
    (row,) = rows(maindir / "photometric" / "frames.csv")
    assert (row["status"], row["reason"]) == ("excluded", "focus frame")
    assert float(row["fwhm"]) == pytest.approx(6.0, rel=0.1)
    assert f"FWHM {float(row['fwhm']):.2f} px" in ran.stderr
    assert commented(maindir) == ["d1005_red"]
    assert not list((maindir / "photometric" / "unconsolidated").rglob("*.csv"))
    again = command("pipnick_photometry", maindir)
    assert "0 frames done" in again.stderr
    assert n_rows(maindir) == 1


BROKEN = {
    "empty": b"",
    "binary": b"\x00\x01\x02\xff" * 50,
    "csv": b"names,objects\nd1,M13\n",
    "utf-16": "| names | objects | filters | paths |\n".encode("utf-16"),
    "merge": b"<<<<<<< HEAD\n| names | objects | filters | paths |\n=======\n>>>>>>> theirs\n",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_table_that_is_none_is_refused_and_left_as_it_was(night: Path, kind: str) -> None:
    """Nothing is measured, since nobody knows what the table leaves out; one line says so."""
    table = night / "astrometry_files.tbl"
    table.write_bytes(BROKEN[kind])
    with pytest.raises(UsageError, match=r"astrometry_files\.tbl: .*(remove|restore|resolve)"):
        photometry_all(night)
    assert table.read_bytes() == BROKEN[kind]
    assert statuses(night) == {}


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_table_that_is_no_file_is_refused(night: Path, make: Callable[[Path], None]) -> None:
    """A folder or a FIFO of that name is not waited for, and stays."""
    table = night / "astrometry_files.tbl"
    make(table)
    ran = command("pipnick_photometry", night, timeout=30)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert "is no file; move it away" in ran.stderr
    assert table.exists()


def test_a_table_that_is_a_link_stays_one(night: Path) -> None:
    """Rows and comments go to the file that it leads to."""
    there = night.parent / "shared.tbl"
    table = night / "astrometry_files.tbl"
    table.symlink_to(there)
    photometry_all(night, excl_filts=["B"])
    photometry_all(night, excl_objs=["simb"])
    assert table.is_symlink()
    assert there.read_text().count("#|") == 2
    assert commented(night) == ["d1003_red", "d1004_red"]


def test_the_commands_end_with_2_on_a_broken_table(night: Path) -> None:
    """Both commands say it in one line."""
    table = night / "astrometry_files.tbl"
    table.write_bytes(b"")
    for words in (["pipnick_photometry", night, "-t"], ["pipnick-watch", night, "--once"]):
        ran = command(*words)
        assert ran.returncode == 2
        assert ran.stderr.count("\n") == 1
        assert "is empty" in ran.stderr
    assert table.read_bytes() == b""


def test_the_daemon_waits_for_a_broken_table_and_keeps_what_it_left_out(night: Path) -> None:
    """A table that breaks between two runs brings no excluded frame back."""
    photometry_all(night)
    comment(night, "d1002")
    photometry_all(night, use_table=True)
    table = night / "astrometry_files.tbl"
    good = table.read_bytes()
    table.write_bytes(b"")
    with Daemon(night, "--no-plots", "--rescan-s", "1") as daemon:
        wait_for(lambda: "is empty" in daemon.said(), "the warning")
        time.sleep(3)
        assert listed(night) == {V1, B}
        assert table.read_bytes() == b""
        assert daemon.said().count("is empty") == 1
        table.write_bytes(good.replace(b"#", b""))
        wait_for(lambda: listed(night) == {V1, V2, B}, "the frame back", seconds=10)
        assert daemon.stop() == 0


def test_a_foreign_lock_on_the_table_holds_up_no_frame(
    frames: dict[str, bytes], maindir: Path
) -> None:
    """While somebody else holds the table's lock, frames are measured; their rows come after."""
    lock = maindir / "astrometry_files.tbl.lock"
    with subprocess.Popen(["flock", "-o", str(lock), "sleep", "100"]) as holder:
        try:
            with Daemon(maindir, "--no-plots") as daemon:
                for frame, content in frames.items():
                    land(maindir, frame, content)
                daemon.wait_done(*frames, seconds=30)
                wait_for(lambda: f"PID {holder.pid}" in daemon.said(), "the holder's name")
                assert not (maindir / "astrometry_files.tbl").exists()
                holder.kill()
                table = maindir / "astrometry_files.tbl"
                wait_for(lambda: table.exists() and table.read_text().count("|\n") == 5, "the rows")
                assert daemon.stop() == 0
        finally:
            holder.kill()


def test_a_night_whose_path_fits_in_no_table_is_measured_all_the_same(
    frames: dict[str, bytes], tmp_path: Path
) -> None:
    """What the table cannot hold is said once for each frame, and not tried for ever."""
    maindir = tmp_path / "clear | windy"
    for frame, content in frames.items():
        land(maindir, frame, content)
    ran = command("pipnick_photometry", maindir, "--excl_filts", "B", timeout=60)
    assert ran.returncode == 0
    assert ran.stderr.count("has no row in astrometry_files.tbl") == 4
    assert listed(maindir) == {V1, V2}


def test_a_word_that_leaves_out_nothing_is_pointed_out(
    night: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A misspelt word would otherwise let frames through that nobody wanted."""
    photometry_all(night, excl_objs=["simb", "simc"], excl_files=["d1001_red"])
    said = [one.message for one in caplog.records if "leaves out no frame" in one.message]
    assert said == ["--excl_objs simc: leaves out no frame"]


def test_both_commands_know_every_spelling(night: Path) -> None:
    """Underscores, hyphens, several words and commas: the same exclusions."""
    spellings = (["--excl_files", "d1001,d1002"], ["--excl-files", "d1001", "d1002"])
    for words in spellings:
        ran = command("pipnick-watch", night, "--once", "--no-plots", *words)
        assert ran.returncode == 0, ran.stderr
        assert statuses(night)[V1] == statuses(night)[V2] == "excluded"
