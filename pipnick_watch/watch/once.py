"""``--once``: the daemon's flow, run until nothing is left."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from pipnick_watch import __version__
from pipnick_watch.errors import RecordsError, UsageError
from pipnick_watch.records import Layout
from pipnick_watch.settings import Settings
from pipnick_watch.watch.night import Night
from pipnick_watch.watch.scan import scan
from pipnick_watch.watch.signals import ended_by_signals
from pipnick_watch.watch.workers import WorkerPool, default_workers

__all__ = ["complete", "find_frames", "run_once"]

logger = logging.getLogger(__name__)

RESCAN_S = 5.0
"""Frames that land while ``--once`` works are taken too."""

TROUBLE_S = 30.0
"""A disk that refuses for longer ends ``--once``; the next run goes on where this one stopped."""


Progress = Callable[[int], AbstractContextManager["tqdm[None]"]]


@contextmanager
def _progress(total: int) -> Iterator["tqdm[None]"]:
    """Show a bar on a terminal; elsewhere the log has a line for each frame."""
    terminal = sys.stderr.isatty()
    with tqdm(total=total, unit="frame", disable=not terminal, file=sys.stderr) as bar:
        if terminal:
            with logging_redirect_tqdm():
                yield bar
        else:
            yield bar


def _silent(total: int) -> "tqdm[None]":
    return tqdm(total=total, disable=True)


def run_once(maindir: Path, settings: Settings, redo: Iterable[str] = ()) -> int:
    """Measure all that is in ``maindir`` and is not measured yet.

    Parameters
    ----------
    maindir : Path
    settings : Settings
    redo : iterable of str
        Frames to measure again: paths below ``reduced/``, or names of files.

    Returns
    -------
    int
        0, 1 when a frame failed, or 130 after Ctrl-C.

    Raises
    ------
    UsageError
        A frame of ``redo`` is not there.
    RecordsError
        Nothing can be written.
    """
    started = time.monotonic()
    again = find_frames(redo, Layout(maindir))
    wake = threading.Event()
    n_workers = settings.watch.workers or default_workers()
    with _as_records_error(), ended_by_signals(wake) as stop, WorkerPool(n_workers) as pool:
        ended = False
        try:
            night = complete(maindir, settings, pool, n_workers, stop, wake, again, _progress)
            ended = not stop.is_set()
        finally:
            pool.shutdown(wait=ended, cancel_futures=True)
    night.outbox.summarise(time.monotonic() - started)
    if stop.is_set():
        logger.warning("interrupted; the next run goes on from here")
        return 130
    failed = night.failed()
    for frame, reason in failed.items():
        logger.warning("failed: %s: %s", frame, reason)
    return 1 if failed else 0


@contextmanager
def _as_records_error() -> Iterator[None]:
    """Say in one line what the disk refuses, as commands end with."""
    try:
        yield
    except OSError as error:
        raise RecordsError(str(error)) from error


def complete(
    maindir: Path,
    settings: Settings,
    pool: Executor,
    n_workers: int,
    stop: threading.Event,
    wake: threading.Event,
    redo: Iterable[str] = (),
    progress: Progress = _silent,
) -> Night:
    """Measure all that is not measured yet, by the workers of ``pool``, until ``stop`` is set.

    Parameters
    ----------
    maindir : Path
    settings : Settings
    pool : Executor
    n_workers : int
        How many tasks it works on at a time.
    stop, wake : threading.Event
        To end it; set together with ``wake``.
    redo : iterable of str
        Paths below ``reduced/``.
    progress : callable
        Makes the bar.

    Returns
    -------
    Night
        All that was published is durable.

    Raises
    ------
    RecordsError
        Nothing can be written.
    UsageError
        The file table cannot be read.
    """
    with _as_records_error():
        logger.debug("%s, version %s: %s", maindir, __version__, settings)
        night = Night(maindir, settings, pool, n_workers, wake=wake.set, once=True, redo=redo)
        night.begin()
        _work(night, stop, wake, progress)
        night.finish(0.0)
        if not stop.is_set():
            night.exclusions.point_out_useless()
    return night


def find_frames(names: Iterable[str], layout: Layout) -> set[str]:
    """Turn the frames that a person named into paths below ``reduced/``.

    Raises
    ------
    UsageError
        One is not there.
    """
    names = list(names)
    there = scan(layout.reduced).frames if names else {}
    found = set()
    for name in names:
        matches = {frame for frame in there if frame == name or Path(frame).name == name}
        matches |= {frame for frame in there if layout.reduced / frame == Path(name).absolute()}
        if not matches:
            raise UsageError(f"{name}: no such frame below {layout.reduced}")
        found |= matches
    return found


def _work(night: Night, stop: threading.Event, wake: threading.Event, progress: Progress) -> None:
    """Step until nothing is left."""
    night.rescan()
    if not night.sweep.n_frames:
        logger.warning("%s: no frames there", night.layout.reduced)
    total = night.n_left
    next_scan = time.monotonic() + RESCAN_S
    with progress(total) as bar:
        while not stop.is_set():
            wake.clear()
            pause = night.step()
            total = max(total, night.n_left)
            bar.total = total
            bar.update(total - night.n_left - bar.n)
            if night.idle:
                night.rescan()
                if night.idle:
                    return
            night.outbox.give_up_after(TROUBLE_S)
            if time.monotonic() >= next_scan:
                night.rescan()
                next_scan = time.monotonic() + RESCAN_S
            wake.wait(min(pause, 1.0))
