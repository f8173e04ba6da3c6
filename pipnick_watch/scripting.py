"""What a script or a notebook calls: a whole night, one frame, its picture.

Nothing here needs an ``if __name__ == "__main__"`` guard or touches the caller's logging.
"""

import dataclasses
import logging
import os
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from pipnick_watch.errors import FrameError, SolutionError, UsageError
from pipnick_watch.frame import Frame, read_frame
from pipnick_watch.photometry import Measurement, measure
from pipnick_watch.pictures import Figure, draw_sources, prepare_picture
from pipnick_watch.records import Layout, Records, hold_frame_lock
from pipnick_watch.records.layout import Kind
from pipnick_watch.settings import (
    PHOTOMETRY_DEFAULTS,
    SECTIONS,
    Settings,
    choose_file,
    load_settings,
)
from pipnick_watch.solution import place_sources, solution_identity
from pipnick_watch.watch.here import Here
from pipnick_watch.watch.once import complete, find_frames
from pipnick_watch.watch.scan import scan
from pipnick_watch.watch.workers import WorkerPool, default_workers

__all__ = ["measure_frame", "photometry_all", "plot_frame"]

logger = logging.getLogger(__name__)

SMALL = 8
"""So many frames are measured here sooner than worker processes have started."""


def photometry_all(
    maindir: str | os.PathLike[str],
    use_table: bool = False,
    excl_files: Sequence[str] = (),
    excl_objs: Sequence[str] = (),
    excl_filts: Sequence[str] = (),
    thresh: float = 8.0,
    group: bool = False,
    mode: str = "all",
    fittype: str = "circ",
    plot_final: bool = False,
    plot_inters: bool = False,
    *,
    redo: Iterable[str] = (),
    config: str | os.PathLike[str] | None = None,
    **options: Any,
) -> list[Path]:
    """Measure all frames of a night that are not measured yet.

    A parameter that is left at its default follows ``maindir/pipnick-watch.toml``, where there is
    one, as the commands do. It is safe while a daemon works on the same folder.

    Parameters
    ----------
    maindir : path
        The folder that holds ``reduced/``.
    use_table : bool
        Leave out the frames that are commented out in ``astrometry_files.tbl``.
    excl_files, excl_objs, excl_filts : list of str
        Leave out frames whose stem, object or filter contains one of these, whatever the case
        and the blanks.
    thresh : float
        Detection threshold: fitted peak over the local background's standard deviation.
    group : bool
        Write the consolidated catalogues too: each group as one source.
    mode : {"all", "new"}
        Fit sources found in the residuals together with all others, or alone.
    fittype : {"circ", "ellip"}
        Moffat to fit.
    plot_final : bool
        Draw each frame with its sources and their fluxes, into ``photometric/plots/``.
    plot_inters : bool
        Draw the initial sources and a sheet of every group.
    redo : iterable of str
        Frames to measure again: paths below ``reduced/``, or names of files.
    config : path, optional
        Settings in TOML, instead of ``maindir/pipnick-watch.toml``.
    **options
        Any other setting of ``[photometry]``, ``[watch]`` and ``[plots]`` by its name;
        ``workers=N`` for so many worker processes.

    Returns
    -------
    list of Path
        The catalogues of every selected frame, measured now or before; the consolidated ones
        with ``group``.

    Raises
    ------
    UsageError
        ``maindir/reduced`` is not there, a frame of ``redo`` is not, or the file table is none.
    SettingsError
        A setting is unknown or impossible.
    RecordsError
        Nothing can be written.
    """
    started = time.monotonic()
    night = Path(maindir)
    if not (night / "reduced").is_dir():
        raise UsageError(f"{night / 'reduced'}: no such folder; the frames are looked for there")
    options |= {
        "use_table": use_table, "excl_files": excl_files, "excl_objs": excl_objs,
        "excl_filts": excl_filts, "thresh": thresh, "group": group, "mode": mode,
        "fittype": fittype, "final": plot_final, "inters": plot_inters,
    }  # fmt: skip
    settings = _settings(night, options, config)
    layout = Layout(night)
    again = find_frames(redo, layout)
    n_workers = settings.watch.workers
    if not n_workers and not _is_small(layout, settings, len(again)):
        n_workers = default_workers()
    pool: Executor = WorkerPool(n_workers) if n_workers else Here()
    with pool:
        try:
            done = complete(
                night, settings, pool, n_workers or 1, threading.Event(), threading.Event(), again
            )
        except BaseException:  # an interrupted cell waits for nobody
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    done.outbox.summarise(time.monotonic() - started)
    for frame, reason in done.failed().items():
        logger.warning("failed: %s: %s", frame, reason)
    kind: Kind = "consolidated" if settings.photometry.group else "unconsolidated"
    paths = [
        done.records.catalogue(name, kind)
        for name, entry in sorted(done.records.entries().items())
        if done.exclusions.selected(entry) and layout.frame_path(name).exists()
    ]
    return [path for path in paths if path is not None]


def measure_frame(path: str | os.PathLike[str], **options: Any) -> Table:
    """Measure one frame; nothing is written.

    Parameters
    ----------
    path : path
        A reduced frame. Where it lies in the ``reduced/`` of a MAINDIR, its settings and its
        astrometric solution are used.
    **options
        ``thresh``, ``fittype``, ``mode``, ``group`` and the other settings of ``[photometry]``;
        ``config``, a TOML file.

    Returns
    -------
    Table
        A row for each source, or for each group with ``group``, with units. ``meta`` holds the
        frame's figures (``fwhm``, ``sky``, …), facts (``mjd_mid``, …) and ``warnings``.

    Raises
    ------
    FrameError
        It cannot be measured.
    FrameNotReadyError
        It is incomplete or locked.
    SettingsError
        A setting is unknown or impossible.
    """
    frame, measurement, settings = _look_at(Path(path), options)
    merged = measurement.consolidated if settings.photometry.group else None
    table = measurement.catalogue if merged is None else merged
    notes = [*frame.warnings, *measurement.warnings]
    try:
        wcs = _place(Path(path), frame, settings, table)
    except SolutionError as error:
        wcs = ""
        notes.append(str(error))
    facts = ("object", "filter", "exptime", "airmass", "airmass_mid", "mjd_mid", "bjd_tdb",
             "sha256")  # fmt: skip
    table.meta.update(
        measurement.figures,
        frame=frame.name,
        **{name: getattr(frame, name) for name in facts},
        wcs=wcs,
        settings=settings.fingerprint(),
        warnings=tuple(dict.fromkeys(notes)),
    )
    return table


def plot_frame(path: str | os.PathLike[str], **options: Any) -> Figure:
    """Measure one frame and draw it with its sources, their fluxes and its PSF.

    Parameters
    ----------
    path, **options
        As of :func:`measure_frame`.

    Returns
    -------
    Figure
        Nothing is shown or written; a notebook shows it as the value of a cell.

    Raises
    ------
    FrameError, FrameNotReadyError, SettingsError
        As :func:`measure_frame`.
    """
    frame, measurement, settings = _look_at(Path(path), options)
    return draw_sources(prepare_picture(frame, measurement, settings))


def _is_small(layout: Layout, settings: Settings, n_again: int) -> bool:
    """Tell whether a night leaves so little to do that it is done here."""
    if layout.solutions.is_dir():
        return False  # a broken solution can crash its process
    frames = scan(layout.reduced).frames
    if settings.plots.final or settings.plots.inters:
        return len(frames) <= SMALL
    entries = Records(layout.maindir).entries()
    wanted = settings.fingerprint()
    measured = sum(1 for name in frames if name in entries and entries[name].settings == wanted)
    return len(frames) - measured + n_again <= SMALL


def _settings(
    maindir: Path | None, options: dict[str, Any], config: str | os.PathLike[str] | None
) -> Settings:
    """Read the settings; an option that has its default does not count as given."""
    section_of = {
        one.name: (section, one)
        for section, kind in SECTIONS.items()
        for one in dataclasses.fields(kind)
    }
    flags: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for name, value in options.items():
        section, one = section_of.get(name, ("photometry", None))
        if one is not None:
            default = PHOTOMETRY_DEFAULTS.get(section, {}).get(name, one.default)
            if isinstance(default, tuple):
                words = () if value is None else value
                value = tuple(words.split(",") if isinstance(words, str) else words)
            elif isinstance(value, np.generic):
                value = value.item()
            if value == default:
                continue
        flags[section][name] = value
    return load_settings(choose_file(config, maindir), flags, PHOTOMETRY_DEFAULTS)


def _home(path: Path) -> Layout | None:
    """Find the MAINDIR in whose ``reduced/`` a frame lies."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100  (keeps links)
    reduced = next((one for one in absolute.parents if one.name == "reduced"), None)
    return None if reduced is None else Layout(reduced.parent)


def _look_at(path: Path, options: dict[str, Any]) -> tuple[Frame, Measurement, Settings]:
    """Read and measure a frame."""
    home = _home(path)
    options = dict(options)
    config = options.pop("config", None)
    settings = _settings(None if home is None else home.maindir, options, config)
    if not path.is_file():
        raise FrameError(f"{path}: no such file")
    name = path.name if home is None else home.frame_name(path)
    with hold_frame_lock(path):
        frame = read_frame(path, name, settings)
    return frame, measure(frame, settings), settings


def _place(path: Path, frame: Frame, settings: Settings, table: Table) -> str:
    """Fill ra and dec where there is a solution; give its identity.

    Raises
    ------
    SolutionError
        It cannot be used.
    """
    home = _home(path)
    solution = None if home is None else home.solution(frame.name, frame.object, frame.filter)
    if solution is None or not solution.is_file():
        return ""
    x, y = np.asarray(table["x_fit"]), np.asarray(table["y_fit"])
    with WorkerPool(1) as pool:  # a broken solution can crash its process
        where = frame.ra, frame.dec
        task = pool.submit(place_sources, solution, where, settings.camera.plate_scale, x, y)
        table["ra"][:], table["dec"][:] = task.result()
    return solution_identity(solution)
