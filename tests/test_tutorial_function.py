"""The photometry tutorial's function: in scripts, notebooks, loops and threads."""

import asyncio
import inspect
import json
import logging
import subprocess
import sys
import threading
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from astropy import units as u
from solutions import solve

import pipnick_watch
from conftest import BIN, Daemon, command, land, night_rows, rows, statuses
from pipnick_watch import measure_frame, photometry_all, plot_frame
from pipnick_watch.errors import FrameError, SettingsError, UsageError

FIRST = "SIM-A_V/d1001_red.fits"


@pytest.fixture
def night(frames: dict[str, bytes], maindir: Path) -> Path:
    """Give a MAINDIR with the four frames."""
    for frame, content in frames.items():
        land(maindir, frame, content)
    return maindir


def script(code: str, folder: Path, timeout: float = 100.0) -> str:
    """Run a script without any guard, and give what it prints."""
    path = folder / "script.py"
    path.write_text(code)
    ran = subprocess.run(
        [sys.executable, str(path)], cwd=folder, capture_output=True, text=True,
        timeout=timeout, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    (folder / "said.txt").write_text(ran.stderr)
    return ran.stdout


def test_the_tutorials_signature_and_defaults() -> None:
    """The parameters are upstream's, in order, with upstream's defaults."""
    signature = inspect.signature(photometry_all)
    given = {
        one.name: list(one.default) if one.default == () else one.default
        for one in signature.parameters.values()
        if one.kind is one.POSITIONAL_OR_KEYWORD
    }
    assert given.pop("maindir") is inspect.Parameter.empty
    assert given == {
        "use_table": False, "excl_files": [], "excl_objs": [], "excl_filts": [], "thresh": 8.0,
        "group": False, "mode": "all", "fittype": "circ", "plot_final": False,
        "plot_inters": False,
    }  # fmt: skip
    assert list(given)[:2] == ["use_table", "excl_files"]


def test_the_tutorials_script(night: Path, tmp_path: Path) -> None:
    """Import, logging, both calls as written; the log file is at DEBUG, the console at INFO."""
    printed = script(
        f"""
import logging
from pipnick_watch import adjust_global_logger, photometry_all

adjust_global_logger('INFO', __name__)
logger = logging.getLogger(__name__)
logger.info('mine')
logger.debug('too much')
maindir = {str(night)!r}
first = photometry_all(maindir)
second = photometry_all(maindir, use_table=True, excl_filts=['B'],
                        thresh=15.0, group=True, fittype='ellip',
                        plot_final=True, plot_inters=True)
import json
print(json.dumps([[str(path) for path in paths] for paths in (first, second)]))
""",
        tmp_path,
    )
    first, second = json.loads(printed)
    photometric = night / "photometric"
    assert [str(Path(path).relative_to(photometric)) for path in first] == [
        "unconsolidated/SIM-A_B/d1003_photsrcs.csv",
        "unconsolidated/SIM-A_V/d1001_photsrcs.csv",
        "unconsolidated/SIM-A_V/d1002_photsrcs.csv",
        "unconsolidated/SIMB_V/d1004_photsrcs.csv",
    ]
    assert [str(Path(path).relative_to(photometric)) for path in second] == [
        "consolidated/SIM-A_V/d1001_photsrcs_consol.csv",
        "consolidated/SIM-A_V/d1002_photsrcs_consol.csv",
        "consolidated/SIMB_V/d1004_photsrcs_consol.csv",
    ]
    assert len(list(photometric.rglob("*_sources.png"))) == 3
    assert len(list(photometric.rglob("*_groups_1.png"))) == 3
    assert (night / "astrometry_files.tbl").read_text().count("#|") == 1
    said = (tmp_path / "said.txt").read_text()
    assert " INFO    mine" in said
    assert "too much" not in said
    log = (tmp_path / "log___main__.log").read_text()
    assert " DEBUG " in log
    assert "too much" in log


def test_many_frames_need_no_guard(frames: dict[str, bytes], maindir: Path, tmp_path: Path) -> None:
    """A night for which processes are started runs the caller's script only once."""
    for number in range(9):
        land(maindir, f"SIM-A_V/d{number}_red.fits", frames[FIRST])
    printed = script(
        f"""
print('once')
from pipnick_watch import photometry_all
print(len(photometry_all({str(maindir)!r})))
print(len(photometry_all({str(maindir)!r}, workers=1)))
""",
        tmp_path,
    )
    assert printed.split() == ["once", "9", "9"]


def test_in_a_running_loop_and_in_a_thread(night: Path) -> None:
    """It runs within asyncio and beside the main thread, and again gives what is there."""

    async def within() -> list[Path]:
        await asyncio.sleep(0)
        return photometry_all(night)

    first = asyncio.run(within())
    found: list[list[Path]] = []
    thread = threading.Thread(target=lambda: found.append(photometry_all(str(night))))
    thread.start()
    thread.join()
    assert found == [first]
    assert len(first) == 4


def test_the_callers_logging_is_its_own(night: Path) -> None:
    """Levels, handlers and filters of the caller's loggers stay as they were."""

    def state() -> object:
        root = logging.getLogger()
        named = [logging.getLogger(name) for name in ("matplotlib", "astropy", "watchdog")]
        return [(one.level, list(one.handlers), list(one.filters)) for one in (root, *named)]

    before = state()
    photometry_all(night, plot_final=True)
    assert state() == before


def test_the_nights_file_holds_for_the_function_too(night: Path) -> None:
    """An option at its default follows pipnick-watch.toml; one that is given wins."""
    (night / "pipnick-watch.toml").write_text('[watch]\nexcl_filts = ["B"]\n')
    assert len(photometry_all(night)) == 3
    assert len(photometry_all(night, excl_objs=["simb"])) == 2


def test_none_is_an_empty_list(night: Path) -> None:
    """Nothing to exclude may be spelled None."""
    assert len(photometry_all(night, excl_files=None, excl_objs=None)) == 4  # type: ignore[arg-type]


def test_a_warning_is_one_line_of_the_log(tmp_path: Path) -> None:
    """A warning of Python's comes with its source line; both stand in one line of the log."""
    code = """
import warnings
from pipnick_watch import adjust_global_logger
adjust_global_logger("warning", "night.notes")
warnings.warn("look\\nhere")
"""
    script(code, tmp_path)
    (line,) = (tmp_path / "said.txt").read_text().splitlines()
    assert "UserWarning: look here" in line
    assert "\\x0a" not in line
    assert "UserWarning" in (tmp_path / "log_notes.log").read_text()
    with pytest.raises(UsageError, match="no such level"):
        pipnick_watch.adjust_global_logger("LOUD")


def test_what_is_wrong_is_said(tmp_path: Path, night: Path) -> None:
    """A missing folder, an unknown option and an impossible value each raise one line."""
    with pytest.raises(UsageError, match="no such folder"):
        photometry_all(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="aperture_radius"):
        photometry_all(night, aperture_radios=8.0)
    with pytest.raises(SettingsError, match="choose from circ, ellip"):
        photometry_all(night, fittype="square")
    with pytest.raises(UsageError, match="no such frame"):
        photometry_all(night, redo=["d9999_red.fits"])
    with pytest.raises(FrameError, match="no such file"):
        measure_frame(night / "reduced" / "nothing.fits")
    assert statuses(night) == {}


def test_redo_measures_again(night: Path) -> None:
    """Only the named frames get a new row, and the rows of the sources are the same."""
    photometry_all(night)
    before = night_rows(night)
    photometry_all(night, redo=["d1001_red.fits"])
    recorded = [row["frame"] for row in rows(night / "photometric" / "frames.csv")]
    assert sorted(recorded) == sorted([*statuses(night), FIRST])
    assert night_rows(night) == before


def test_measure_frame_gives_the_rows_and_writes_nothing(night: Path) -> None:
    """One frame in, a table with units and the frame's figures out; as the night has it."""
    before = sorted(night.rglob("*"))
    table = measure_frame(night / "reduced" / FIRST)
    assert sorted(night.rglob("*")) == before
    assert table["flux_psf"].unit == u.electron
    assert table["x_fit"].unit == u.pix
    assert table.meta["fwhm"] == pytest.approx(4.5, rel=0.1)
    assert table.meta["object"] == "SIM-A"
    assert np.isnan(table["ra"]).all()
    photometry_all(night)
    recorded = rows(night / "photometric" / "unconsolidated" / "SIM-A_V" / "d1001_photsrcs.csv")
    assert [f"{flux:.2f}" for flux in table["flux_psf"]] == [row["flux_psf"] for row in recorded]
    assert len(measure_frame(str(night / "reduced" / FIRST), thresh=40.0)) < len(table)


def test_measure_frame_uses_the_frames_solution(night: Path) -> None:
    """Where the night has a solution, ra and dec are filled; another frame's is refused."""
    solve(night, FIRST)
    table = measure_frame(night / "reduced" / FIRST)
    assert np.isfinite(table["ra"]).all()
    assert len(table.meta["wcs"]) == 12
    solve(night, FIRST, dec=40.0)
    table = measure_frame(night / "reduced" / FIRST)
    assert np.isnan(table["dec"]).all()
    assert any("not this frame's" in line for line in table.meta["warnings"])


def test_plot_frame_gives_a_figure(night: Path) -> None:
    """The figure is matplotlib's own, a notebook shows it, and pyplot was not needed."""
    figure = plot_frame(night / "reduced" / FIRST)
    assert isinstance(figure, mpl.figure.Figure)
    assert figure.axes
    # what a notebook asks the value of a cell for
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_the_import_is_instant() -> None:
    """``import pipnick_watch`` loads nothing heavy, and its names are there all the same."""
    code = "import sys, pipnick_watch; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert not loaded & {"numpy", "astropy", "photutils", "matplotlib", "watchdog"}
    for name in pipnick_watch.__all__:
        assert getattr(pipnick_watch, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pipnick_watch.nothing  # noqa: B018


def test_a_daemon_and_three_processes_end_with_the_rows_of_one_run(
    frames: dict[str, bytes], maindir: Path, undisturbed: dict[str, list[tuple[str, ...]]]
) -> None:
    """With a ``--once`` beside them they share the locks: no row is doubled or lost."""
    code = "import sys; from pipnick_watch import photometry_all; photometry_all(sys.argv[1])"
    with Daemon(maindir) as daemon:
        for frame, content in frames.items():
            land(maindir, frame, content)
        running = [
            subprocess.Popen([sys.executable, "-c", code, str(maindir)], stderr=subprocess.PIPE)
            for _ in range(3)
        ]
        once = [str(BIN / "pipnick-watch"), str(maindir), "--once", "--no-plots"]
        running.append(subprocess.Popen(once, stderr=subprocess.PIPE))
        for one in running:
            _, said = one.communicate(timeout=90)
            assert one.returncode == 0, said
        daemon.wait_done(*frames)
        assert daemon.stop() == 0
    assert night_rows(maindir) == undisturbed
    recorded = [row["frame"] for row in rows(maindir / "photometric" / "frames.csv")]
    assert sorted(recorded) == sorted(frames)
    again = command("pipnick_photometry", maindir)
    assert "0 frames done" in again.stderr
