"""What a worker process does: read a frame, measure it, give back plain data.

It publishes nothing. Its errors travel as text, because an exception that cannot be unpickled
breaks a pool.
"""

import dataclasses
import glob
import math
import os
import time
import warnings
from pathlib import Path

import numpy as np

from pipnick_watch.camera import Camera
from pipnick_watch.columns import CATALOGUE
from pipnick_watch.errors import FrameError, FrameNotReadyError, SolutionError
from pipnick_watch.frame import Frame, pointing_of, read_frame
from pipnick_watch.outline import outline
from pipnick_watch.photometry import Measurement, measure
from pipnick_watch.pictures import (
    draw_groups,
    draw_sources,
    prepare_groups,
    prepare_picture,
    write_png,
)
from pipnick_watch.records.cells import table_lines
from pipnick_watch.records.locks import hold_frame_lock
from pipnick_watch.records.objectcsv import CatalogueGoneError, places_of, read_lines, with_sky
from pipnick_watch.records.result import FrameResult
from pipnick_watch.settings import Settings
from pipnick_watch.solution import place_sources, solution_identity
from pipnick_watch.watch.jobs import Drawing, Job, Outcome, Placed, PlaceJob
from pipnick_watch.watch.options import is_focus
from pipnick_watch.watch.process import limited

__all__ = [
    "draw_pictures",
    "measure_frame",
    "place_frame",
    "redraw_pictures",
    "warm_up",
]


def warm_up() -> int:
    """Measure a small frame of noise and one star, so that the first real one need not wait."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96]
    star = 5000 * np.exp(-((x - 48) ** 2 + (y - 48) ** 2) / 18)
    frame = Frame(
        name="", data=star + rng.normal(300, 20, star.shape), mask=np.zeros(star.shape, bool),
        uncert=None, camera=Camera(), object="", filter="", exptime=1.0, airmass=1.0,
        airmass_mid=1.0, mjd_mid=6e4, bjd_tdb=math.nan, ra=math.nan, dec=math.nan, size=0,
        mtime_ns=0, sha256="",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measure(frame, Settings())
    return os.getpid()


def measure_frame(job: Job) -> Outcome:
    """Measure one frame."""
    started = time.perf_counter()
    with limited(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with hold_frame_lock(job.path):
                frame = read_frame(job.path, job.name, job.settings)
        except FrameNotReadyError as error:
            return Outcome(kind="not ready", reason=str(error))
        except FrameError as error:
            return Outcome(kind="result", result=_failed(job, str(error)))
        except MemoryError:
            return Outcome(kind="result", result=_failed(job, "needs more memory than is allowed"))
        if frame.sha256 in job.known:
            return Outcome(
                kind="same",
                size=frame.size,
                mtime_ns=frame.mtime_ns,
                sha256=frame.sha256,
                seconds=time.perf_counter() - started,
            )
        try:
            measurement = measure(frame, job.settings)
        except MemoryError:
            return Outcome(kind="result", result=_failed(job, "needs more memory than is allowed"))
        result, refused = _place(job, frame, _result(job, frame, measurement))
        seconds = {"measure_s": time.perf_counter() - started}
        drawing = _prepare(frame, measurement, job.settings)
    notes = (*frame.warnings, *(str(one.message) for one in caught))
    return Outcome(
        kind="result",
        result=dataclasses.replace(result, facts={**result.facts, **seconds}),
        drawing=drawing,
        refused=refused,
        warnings=tuple(dict.fromkeys(notes)),
        advice=measurement.warnings,
    )


def _place(job: Job, frame: Frame, result: FrameResult) -> tuple[FrameResult, str]:
    """Fill ra and dec from the solution; give the result, and why it is not used."""
    if job.solution is None:
        return result, ""
    try:
        wcs, lines, consolidated = _with_positions(
            job.solution, (frame.ra, frame.dec), job.settings, result.catalogue, result.consolidated
        )
    except SolutionError as error:
        return result, str(error)
    facts = {**result.facts, "wcs": wcs}
    placed = dataclasses.replace(result, catalogue=lines, consolidated=consolidated, facts=facts)
    return placed, ""


def _with_positions(
    solution: Path,
    pointing: tuple[float, float],
    settings: Settings,
    lines: str,
    consolidated: str | None,
) -> tuple[str, str, str | None]:
    """Fill ra and dec in the lines of catalogues; gives the solution's identity first.

    It starts from the lines, so that a solution gives the same whenever it comes.
    """
    wcs = solution_identity(solution)
    filled = [
        None
        if text is None
        else with_sky(
            text, *place_sources(solution, pointing, settings.camera.plate_scale, *places_of(text))
        )
        for text in (lines, consolidated)
    ]
    assert filled[0] is not None
    return wcs, filled[0], filled[1]


def place_frame(job: PlaceJob) -> Placed:
    """Fill the positions on the sky of a frame that was measured before."""
    with limited(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with hold_frame_lock(job.path):
                sketch = outline(job.path, job.settings.camera)
            if (sketch.size, sketch.mtime_ns) != (job.size, job.mtime_ns):
                return Placed(kind="not ready", reason="the frame has changed")
            lines, consolidated = (
                None if path is None else read_lines(path).decode()
                for path in (job.catalogue, job.consolidated)
            )
            assert lines is not None
            pointing = pointing_of(sketch, job.settings.camera.keywords)
            wcs, lines, consolidated = _with_positions(
                job.solution, pointing, job.settings, lines, consolidated
            )
        except (FrameError, FrameNotReadyError, CatalogueGoneError, OSError) as error:
            return Placed(kind="not ready", reason=str(error))
        except SolutionError as error:
            return Placed(kind="refused", reason=str(error))
    return Placed(kind="placed", wcs=wcs, lines=lines, consolidated=consolidated)


def _prepare(frame: Frame, measurement: Measurement, settings: Settings) -> Drawing | None:
    """Take from the pixels what the pictures show, where any are wanted."""
    plots = settings.plots
    if plots.inters:
        groups = prepare_groups(frame, measurement, settings)
        return Drawing.of(groups.overview if plots.final else None, groups)
    if plots.final:
        return Drawing.of(prepare_picture(frame, measurement, settings))
    return None


def _result(job: Job, frame: Frame, measurement: Measurement) -> FrameResult:
    """Turn what was measured into what is published."""
    focus = is_focus(frame.object)
    merged = measurement.consolidated
    return FrameResult(
        frame=job.name,
        object=frame.object,
        filter=frame.filter,
        status="excluded" if focus else "done",
        reason="focus frame" if focus else "",
        facts={
            **measurement.figures,
            "airmass": frame.airmass,
            "airmass_mid": frame.airmass_mid,
            "mjd_mid": frame.mjd_mid,
            "exptime": frame.exptime,
            "size": frame.size,
            "mtime_ns": frame.mtime_ns,
            "sha256": frame.sha256,
            "settings": job.settings.fingerprint(),
            "wcs": "",
        },
        catalogue=table_lines(measurement.catalogue, CATALOGUE),
        consolidated=None if merged is None else table_lines(merged, CATALOGUE),
    )


def _failed(job: Job, reason: str) -> FrameResult:
    return FrameResult(
        frame=job.name, object="UNKNOWN", filter="UNKNOWN", status="failed", reason=reason
    )


def draw_pictures(drawing: Drawing, folder: Path, stem: str) -> list[Path]:
    """Draw a frame's pictures into a folder; gives their paths."""
    drawn = []
    with limited(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that is missing, say: the picture shows it
        sources, groups = drawing.unpacked()
        if sources is not None:
            drawn.append(folder / f"{stem}_sources.png")
            write_png(draw_sources(sources), drawn[-1])
        if groups is not None:
            sheets = []
            for number, figure in enumerate(draw_groups(groups), start=1):
                sheets.append(folder / f"{stem}_groups_{number}.png")
                write_png(figure, sheets[-1])
            for old in set(folder.glob(f"{glob.escape(stem)}_groups_*.png")) - set(sheets):
                if old.stem.removeprefix(f"{stem}_groups_").isdecimal():
                    old.unlink(missing_ok=True)  # the frame had more groups before
            drawn += sheets
    return drawn


def redraw_pictures(job: Job, folder: Path, stem: str) -> list[Path]:
    """Measure a frame again for the sake of its pictures; gives their paths.

    Raises
    ------
    FrameError, FrameNotReadyError
        It could not be measured.
    """
    outcome = measure_frame(job)
    if outcome.kind == "not ready":
        raise FrameNotReadyError(outcome.reason)
    if outcome.drawing is None:
        raise FrameError("" if outcome.result is None else outcome.result.reason)
    return draw_pictures(outcome.drawing, folder, stem)
