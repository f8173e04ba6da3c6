"""What a worker process does: read a frame, measure it, give back plain data.

It publishes nothing. Its errors travel as text, because an exception that cannot be unpickled
breaks a pool; and it ends when its daemon does.
"""

import dataclasses
import math
import os
import resource
import select
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pipnick_watch.camera import Camera
from pipnick_watch.columns import CATALOGUE
from pipnick_watch.errors import FrameError, FrameNotReadyError, SolutionError
from pipnick_watch.frame import Frame, read_frame
from pipnick_watch.photometry import Measurement, measure
from pipnick_watch.pictures import SourcePicture, draw_sources, prepare_picture, write_png
from pipnick_watch.records.cells import table_lines
from pipnick_watch.records.locks import hold_frame_lock
from pipnick_watch.records.result import FrameResult
from pipnick_watch.settings import Settings
from pipnick_watch.solution import place_sources, solution_identity
from pipnick_watch.watch.jobs import Job, Outcome

__all__ = ["draw_picture", "measure_frame", "redraw_picture", "start", "warm_up"]

MEMORY_LIMIT = 6 * 1024**3
"""Address space of a worker, bytes."""

CPU_LIMIT_S = 300
"""Processor seconds for one task; the kernel kills the worker that needs more."""

FOCUS = "FOCUS"


def start(daemon: int) -> None:
    """Prepare this process: limits, signals, and the watch on its daemon."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the daemon's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=_end_with, args=(daemon,), daemon=True).start()


def _end_with(daemon: int) -> None:
    """End this process as soon as the daemon is gone: an orphan would work for nobody."""
    try:
        handle = os.pidfd_open(daemon)
    except ProcessLookupError:
        os._exit(1)
    select.select([handle], [], [])
    os._exit(1)


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


@contextmanager
def _limited() -> Iterator[None]:
    """Let one task use so much processor time and no more."""
    used = time.process_time()
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + CPU_LIMIT_S, hard))
    yield


def measure_frame(job: Job) -> Outcome:
    """Measure one frame."""
    started = time.perf_counter()
    with _limited(), warnings.catch_warnings(record=True) as caught:
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
        if frame.sha256 == job.known_sha256:
            return Outcome(kind="same", size=frame.size, mtime_ns=frame.mtime_ns)
        try:
            measurement = measure(frame, job.settings)
        except MemoryError:
            return Outcome(kind="result", result=_failed(job, "needs more memory than is allowed"))
        wcs, trouble = _place(job, frame, measurement)
        result = _result(job, frame, measurement, wcs)
        seconds = {"measure_s": time.perf_counter() - started}
        picture = (
            prepare_picture(frame, measurement, job.settings) if job.settings.plots.final else None
        )
    notes = (*frame.warnings, *measurement.warnings, *(str(one.message) for one in caught), trouble)
    return Outcome(
        kind="result",
        result=dataclasses.replace(result, facts={**result.facts, **seconds}),
        picture=picture,
        warnings=tuple(dict.fromkeys(note for note in notes if note)),
    )


def _place(job: Job, frame: Frame, measurement: Measurement) -> tuple[str, str]:
    """Fill ra and dec from the solution; give its identity, or why it is not used."""
    if job.solution is None:
        return "", ""
    try:
        identity = solution_identity(job.solution)
        for table in (measurement.catalogue, measurement.consolidated):
            table["ra"], table["dec"] = place_sources(
                job.solution,
                (frame.ra, frame.dec),
                job.settings.camera.plate_scale,
                np.asarray(table["x_fit"]),
                np.asarray(table["y_fit"]),
            )
    except SolutionError as error:
        return "", str(error)
    return identity, ""


def _result(job: Job, frame: Frame, measurement: Measurement, wcs: str) -> FrameResult:
    """Turn what was measured into what is published."""
    focus = FOCUS in frame.object
    group = job.settings.photometry.group
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
            "wcs": wcs,
        },
        catalogue=table_lines(measurement.catalogue, CATALOGUE),
        consolidated=table_lines(measurement.consolidated, CATALOGUE) if group else None,
    )


def _failed(job: Job, reason: str) -> FrameResult:
    return FrameResult(
        frame=job.name, object="UNKNOWN", filter="UNKNOWN", status="failed", reason=reason
    )


def draw_picture(picture: SourcePicture, path: Path) -> None:
    """Draw a source picture into a file."""
    with _limited(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that is missing, say: the picture shows it
        write_png(draw_sources(picture), path)


def redraw_picture(job: Job, path: Path) -> str:
    """Measure a frame again for the sake of its picture; give what stood against it."""
    outcome = measure_frame(job)
    if outcome.picture is None:
        return outcome.reason or (outcome.result.reason if outcome.result else "")
    draw_picture(outcome.picture, path)
    return ""
