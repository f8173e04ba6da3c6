"""Solutions that come after the photometry, with --once and while the daemon follows the night."""

import csv
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from solutions import solve

from conftest import Daemon, command, land, night_rows, rows, wait_for


def sky(path: Path, frame: str) -> list[tuple[str, str]]:
    """Give ra and dec of a frame's rows in a CSV, as text."""
    return [(row["ra"], row["dec"]) for row in rows(path) if row["frame"] == frame]


def refusals(text: str) -> int:
    return text.count("not this frame's")


def test_a_solution_that_comes_later_gives_what_an_early_one_gives(
    frames: dict[str, bytes], maindir: Path, tmp_path: Path
) -> None:
    """--once after the solution fills catalogue and object's CSV; all else stays as it was."""
    early = tmp_path / "early"
    for night in (maindir, early):
        for frame, content in frames.items():
            land(night, frame, content)
    for frame in frames:
        solve(early, frame)
    command("pipnick-watch", early, "--once", "-g", "--no-plots")
    command("pipnick-watch", maindir, "--once", "-g", "--no-plots")
    first = next(iter(frames))
    own = maindir / "photometric" / "unconsolidated" / "SIM-A_V" / "d1001_photsrcs.csv"
    assert set(sky(own, first)) == {("nan", "nan")}
    for frame in frames:
        solve(maindir, frame)
    ran = command("pipnick-watch", maindir, "--once", "-g", "--no-plots")
    assert ran.returncode == 0, ran.stderr
    assert "0 frames done" in ran.stderr
    assert night_rows(maindir) == night_rows(early)
    merged = maindir / "photometric" / "unconsolidated" / "SIM-A.csv"
    assert sky(merged, first) == sky(own, first)
    assert ("nan", "nan") not in sky(own, first)

    with own.open(newline="") as file:
        found = list(csv.DictReader(file))
    solution = maindir / "astrometric" / "wcs" / "SIM-A_V" / "d1001_astro.fits"
    wcs = WCS(fits.getheader(solution))
    x, y, ra, dec = (
        np.array([float(row[name]) for row in found]) for name in ("x_fit", "y_fit", "ra", "dec")
    )
    expected = SkyCoord(wcs.pixel_to_world(x, y)).icrs
    assert np.allclose(expected.ra.deg, ra, atol=1e-7)
    assert np.allclose(expected.dec.deg, dec, atol=1e-7)

    again = command("pipnick-watch", maindir, "--once", "-g", "--no-plots")
    assert "positions" not in again.stderr
    assert night_rows(maindir) == night_rows(early)


def test_the_daemon_takes_a_solution_at_once_and_refuses_another_frames(
    frames: dict[str, bytes], maindir: Path
) -> None:
    """The catalogue has positions while the daemon runs; the wrong solution is refused once."""
    right, wrong = list(frames)[:2]
    for frame in (right, wrong):
        land(maindir, frame, frames[frame])
    folder = maindir / "photometric" / "unconsolidated"
    own = folder / "SIM-A_V" / "d1001_photsrcs.csv"
    with Daemon(maindir, "--no-plots", "--rescan-s", "1") as daemon:
        daemon.wait_done(right, wrong)
        solve(maindir, wrong, dec=10.0)
        solve(maindir, right)
        wait_for(lambda: ("nan", "nan") not in sky(own, right), "positions in the catalogue")
        merged = folder / "SIM-A.csv"
        wait_for(lambda: ("nan", "nan") not in sky(merged, right), "positions in the object's CSV")
        wait_for(lambda: refusals(daemon.said()) == 1, "the refusal")
        # a later frame makes the night look anew at all that is open
        later = list(frames)[2]
        land(maindir, later, frames[later])
        daemon.wait_done(later)
        solve(maindir, later)
        wait_for(lambda: f"{later}: positions from" in daemon.said(), "the third solution")
        assert daemon.stop() == 0
        assert refusals(daemon.said()) == 1
    assert set(sky(folder / "SIM-A.csv", wrong)) == {("nan", "nan")}
    assert ("nan", "nan") not in sky(folder / "SIM-A.csv", later)


def test_a_solution_of_another_scale_and_one_that_is_none_are_refused(
    frames: dict[str, bytes], maindir: Path
) -> None:
    """Neither fills a position, each is one warning, and the exit code stays 0."""
    scaled, broken = list(frames)[:2]
    for frame in (scaled, broken):
        land(maindir, frame, frames[frame])
    solve(maindir, scaled, scale=0.74)
    solve(maindir, broken).write_bytes(b"no FITS at all")
    ran = command("pipnick_photometry", maindir)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("no positions on the sky") == 2
    merged = maindir / "photometric" / "unconsolidated" / "SIM-A.csv"
    assert {row["ra"] for row in rows(merged)} == {"nan"}
