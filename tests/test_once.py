"""``pipnick-watch MAINDIR --once`` as a user runs it."""

from pathlib import Path

import pytest
from astropy.table import Table

from conftest import NIGHTS, command, land, night_rows, rows, statuses
from pipnick_watch import columns


def test_once_makes_every_file(frames: dict[str, bytes], maindir: Path) -> None:
    """Each frame gets its row in the table, catalogue, rows in its object's CSV and picture."""
    for frame, content in frames.items():
        land(maindir, frame, content)
    ran = command("pipnick-watch", maindir, "--once")
    assert ran.returncode == 0, ran.stderr
    assert "4 frames done, 0 failed" in ran.stderr
    assert set(statuses(maindir).values()) == {"done"}
    photometric = maindir / "photometric"
    for stem, folder in (("d1001", "SIM-A_V"), ("d1003", "SIM-A_B"), ("d1004", "SIMB_V")):
        catalogue = photometric / "unconsolidated" / folder / f"{stem}_photsrcs.csv"
        assert catalogue.is_file()
        assert (photometric / "plots" / folder / f"{stem}_sources.png").stat().st_size > 10_000
    merged = rows(photometric / "unconsolidated" / "SIM-A.csv")
    assert {row["frame"] for row in merged} == {frame for frame in frames if "SIM-A" in frame}
    assert list(merged[0]) == columns.names(columns.CATALOGUE)
    table = Table.read(maindir / "astrometry_files.tbl", format="ascii.fixed_width")
    assert sorted(table["paths"]) == sorted(str(maindir / "reduced" / frame) for frame in frames)
    assert (photometric / "pipnick_watch.log").is_file()
    assert not list(maindir.rglob(".pw-*"))


def test_a_second_once_finds_nothing_to_do(frames: dict[str, bytes], maindir: Path) -> None:
    """Running it again changes no file but the log."""
    for frame, content in frames.items():
        land(maindir, frame, content)
    command("pipnick-watch", maindir, "--once")

    def state() -> dict[str, int]:
        return {
            str(path): path.stat().st_mtime_ns
            for path in maindir.rglob("*")
            if path.is_file() and path.suffix not in (".log", ".lock")
        }

    before = state()
    ran = command("pipnick-watch", maindir, "--once")
    assert ran.returncode == 0
    assert "0 frames done" in ran.stderr
    assert state() == before


def test_without_news_no_worker_is_started(frames: dict[str, bytes], maindir: Path) -> None:
    """Page and light curves are left alone while they stand, and made again when one is gone."""
    for frame, content in frames.items():
        land(maindir, frame, content)
    photometric = maindir / "photometric"

    def n_started(*flags: str) -> int:
        log = photometric / "pipnick_watch.log"
        before = log.read_text().count("is started") if log.exists() else 0
        assert command("pipnick-watch", maindir, "--once", *flags).returncode == 0
        return log.read_text().count("is started") - before

    assert n_started() > 0
    assert n_started() == 0
    for path in (photometric / "index.html", next((photometric / "lightcurves").glob("*.csv"))):
        path.unlink()
        assert n_started() == 1
        assert path.exists()
    assert n_started("--no-final") == 1  # the page without the pictures of light curves
    assert n_started("--no-final") == 0
    (photometric / ".pipnick-watch" / "overview.json").write_text("{")
    assert n_started("--no-final") == 1


def test_a_frame_without_stars_is_done(maindir: Path) -> None:
    """A frame with no source gives an empty catalogue with its header, and status done."""
    from pipnick_watch.simulate import FieldSettings, Optics, Pointing, frame_bytes, simulate_field

    empty = simulate_field(
        FieldSettings(optics=Optics(shape=(150, 150)), n_stars=0), 3, Pointing(object="NOTHING")
    )
    land(maindir, "NOTHING_V/d1_red.fits", frame_bytes(empty))
    ran = command("pipnick-watch", maindir, "--once")
    assert ran.returncode == 0, ran.stderr
    assert statuses(maindir) == {"NOTHING_V/d1_red.fits": "done"}
    catalogue = maindir / "photometric/unconsolidated/NOTHING_V/d1_photsrcs.csv"
    assert catalogue.read_text().strip() == ",".join(columns.names(columns.CATALOGUE))


def test_bad_frames_fail_with_a_reason_and_the_good_are_measured(
    frames: dict[str, bytes], maindir: Path
) -> None:
    """Empty, half, text and impossible files are failed in words; exit 1; the rest is done."""
    good, content = next(iter(frames.items()))
    land(maindir, good, content)
    land(maindir, "bad/text_red.fits", b"this is not a FITS file\n" * 300)
    land(maindir, "bad/half_red.fits", content[: len(content) // 2])
    land(maindir, "bad/none_red.fits", b"")
    huge = content.replace(b"NAXIS1  =                  220", b"NAXIS1  =           2000000000", 1)
    assert huge != content
    land(maindir, "bad/huge_red.fits", huge)
    ran = command("pipnick-watch", maindir, "--once")
    assert ran.returncode == 1, ran.stderr
    assert "Traceback" not in ran.stderr
    known = {row["frame"]: row for row in rows(maindir / "photometric" / "frames.csv")}
    assert known[good]["status"] == "done"
    for name in ("text", "half", "none", "huge"):
        row = known[f"bad/{name}_red.fits"]
        assert row["status"] == "failed"
        assert row["reason"] != "nan"
    assert "incomplete" in known["bad/half_red.fits"]["reason"]
    assert "FITS" in known["bad/text_red.fits"]["reason"]


def test_same_stems_in_two_folders_and_names_that_differ_in_case(
    frames: dict[str, bytes], maindir: Path
) -> None:
    """Objects that differ in case or blanks are one object; equal stems never share a file."""
    content = frames["SIM-A_V/d1001_red.fits"]
    other = content.replace(b"'SIM-A   ", b"'sim - a ", 1)
    assert other != content
    land(maindir, "SIM-A_V/d1001_red.fits", content)
    land(maindir, "elsewhere/d1001_red.fits", other)
    land(maindir, "d1001_red.fits", frames["SIM-A_V/d1002_red.fits"])
    assert command("pipnick-watch", maindir, "--once").returncode == 0
    merged = rows(maindir / "photometric" / "unconsolidated" / "SIM-A.csv")
    assert len({row["frame"] for row in merged}) == 3
    catalogues = list((maindir / "photometric" / "unconsolidated" / "SIM-A_V").iterdir())
    assert len(catalogues) == 3


def test_a_newer_reduction_replaces_the_rows(frames: dict[str, bytes], maindir: Path) -> None:
    """After a frame's content changed, only the rows of the new content are there."""
    land(maindir, "SIM-A_V/d1001_red.fits", frames["SIM-A_V/d1001_red.fits"])
    land(maindir, "SIM-A_V/d1002_red.fits", frames["SIM-A_V/d1002_red.fits"])
    command("pipnick-watch", maindir, "--once")
    before = rows(maindir / "photometric" / "unconsolidated" / "SIM-A.csv")
    land(maindir, "SIM-A_V/d1001_red.fits", frames["SIM-A_V/d1002_red.fits"])
    assert command("pipnick-watch", maindir, "--once").returncode == 0
    after = rows(maindir / "photometric" / "unconsolidated" / "SIM-A.csv")
    place = "x_fit"
    by_frame = {
        name: sorted(row[place] for row in after if row["frame"] == f"SIM-A_V/{name}_red.fits")
        for name in ("d1001", "d1002")
    }
    assert by_frame["d1001"] == by_frame["d1002"]
    assert len(after) != 0
    assert before != after


def test_one_frame_in_two_files_is_measured_once(frames: dict[str, bytes], maindir: Path) -> None:
    """Of d1_red.fits and d1.fits the first counts and the other is excluded."""
    content = frames["SIM-A_V/d1001_red.fits"]
    land(maindir, "SIM-A_V/d1_red.fits", content)
    land(maindir, "SIM-A_V/d1.fits", content)
    assert command("pipnick-watch", maindir, "--once").returncode == 0
    known = {row["frame"]: row for row in rows(maindir / "photometric" / "frames.csv")}
    assert known["SIM-A_V/d1_red.fits"]["status"] == "done"
    assert known["SIM-A_V/d1.fits"]["reason"] == "same frame as SIM-A_V/d1_red.fits"


def test_a_lock_that_is_not_released_fails_the_frame_by_name(
    frames: dict[str, bytes], maindir: Path
) -> None:
    """``--once`` gives up on a lock held too long, names its holder, and does the others."""
    import subprocess

    locked, free = list(frames)[:2]
    for frame in (locked, free):
        land(maindir, frame, frames[frame])
    lock = maindir / "reduced" / f"{locked}.lock"
    with subprocess.Popen(["flock", "-o", str(lock), "sleep", "60"]) as holder:
        try:
            ran = command("pipnick-watch", maindir, "--once", "--lock-timeout-s", "2")
        finally:
            holder.kill()
    assert ran.returncode == 1
    known = {row["frame"]: row for row in rows(maindir / "photometric" / "frames.csv")}
    assert known[free]["status"] == "done"
    assert known[locked]["reason"].startswith("locked by PID ")


def test_redo_measures_a_frame_again(frames: dict[str, bytes], maindir: Path) -> None:
    """--redo adds a row for the named frame only, and leaves the rows as they were."""
    for frame in list(frames)[:2]:
        land(maindir, frame, frames[frame])
    command("pipnick-watch", maindir, "--once")
    before = night_rows(maindir)
    ran = command("pipnick-watch", maindir, "--once", "--redo", "d1001_red.fits")
    assert "1 frames done" in ran.stderr, ran.stderr
    assert night_rows(maindir) == before
    missing = command("pipnick-watch", maindir, "--once", "--redo", "d9.fits")
    assert missing.returncode == 2
    assert "no such frame" in missing.stderr


@pytest.mark.parametrize("fittype", ["circ", "ellip"])
def test_the_real_frames(real_frames: dict[str, Path], maindir: Path, fittype: str) -> None:
    """No source is split or negative, and every error is a number, on the three real frames."""
    assert NIGHTS.is_dir()
    for frame, path in real_frames.items():
        land(maindir, frame, path.read_bytes())
    ran = command("pipnick-watch", maindir, "--once", "--fittype", fittype, "--no-plots")
    assert ran.returncode == 0, ran.stderr
    for name, least in (("PG1323-085_V/d1047", 12), ("NGC_4147_V/d1048", 100),
                        ("UGC_9837_V/d1074", 12)):  # fmt: skip
        path = maindir / "photometric/unconsolidated" / f"{name}_photsrcs.csv"
        catalogue = Table.read(path)
        night = {row["frame"]: row for row in rows(maindir / "photometric" / "frames.csv")}
        fwhm = float(night[f"{name}_red.fits"]["fwhm"])
        assert len(catalogue) >= least
        assert (catalogue["flux_psf"] > 0).all()
        for column in ("x_err", "y_err", "flux_err"):
            assert (catalogue[column] > 0).all()
        x, y = catalogue["x_fit"].data, catalogue["y_fit"].data
        apart = ((x[:, None] - x) ** 2 + (y[:, None] - y) ** 2) ** 0.5
        apart[range(len(x)), range(len(x))] = fwhm
        assert apart.min() > fwhm / 2
