"""``--nights GLOB --once``: many nights, one after the other, each worked as ``--once`` does.

Several are open at a time only as far as the workers would wait otherwise. All that is done is
recorded in each night's own frames.csv: whatever ends this, the next run goes on from there.
"""

import contextlib
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from pipnick_watch.errors import ClusterError, PipnickWatchError, UsageError
from pipnick_watch.records import Layout
from pipnick_watch.settings import Settings
from pipnick_watch.watch.forecast import Forecast, count_frames
from pipnick_watch.watch.once import find_frames
from pipnick_watch.watch.opened import OpenNight
from pipnick_watch.watch.signals import ended_by_signals
from pipnick_watch.watch.workers import Pool, WorkerPool, default_workers

__all__ = ["run_archive"]

logger = logging.getLogger(__name__)

MOST_OPEN = 50
"""Nights that are worked on at a time; each keeps its night log in memory."""

SAY_S = 60.0
"""How often the log says how far it is."""

TOLD = 1000
"""Failures that are listed at the end; the rest are counted, and stand in their night logs."""

SettingsOf = Callable[[Path], Settings]


def run_archive(
    maindirs: Sequence[Path],
    settings_of: SettingsOf,
    *,
    workers: int = 0,
    dask: str | None = None,
    redo: Iterable[str] = (),
) -> int:
    """Measure all that is in these nights and is not measured yet, or with other settings.

    Parameters
    ----------
    maindirs : sequence of Path
    settings_of : callable
        Gives the settings of a MAINDIR.
    workers : int
        Processes on this machine; 0 takes one for each core, four at most.
    dask : str, optional
        Address of a Dask scheduler, whose workers measure instead.
    redo : iterable of str
        Frames to measure again, where there is only one night.

    Returns
    -------
    int
        0; 1 when a frame or a whole night failed; 130 after Ctrl-C.

    Raises
    ------
    UsageError
        The cluster cannot be used; a frame of ``redo`` is not there.
    ClusterError
        It has been gone for long.
    """
    wake = threading.Event()
    with ended_by_signals(wake) as stop, _open_pool(dask, workers, maindirs) as pool:
        archive = _Archive(maindirs, settings_of, pool, wake, redo)
        try:
            with _bar(archive.forecast) as bar:
                archive.run(stop, bar)
        finally:
            # On the way out of trouble nothing is waited for: it is not going to come.
            pool.shutdown(wait=not stop.is_set() and archive.ended, cancel_futures=True)
            archive.close()
    return archive.sum_up(interrupted=stop.is_set())


def _open_pool(dask: str | None, workers: int, maindirs: Sequence[Path]) -> Pool:
    if dask is None:
        return WorkerPool(workers or default_workers())
    try:
        from pipnick_watch.watch.cluster import Cluster
    except ImportError as error:
        raise UsageError(
            "--dask needs distributed: pip install 'pipnick-watch[dask]', here and for the workers"
        ) from error
    pool = Cluster(dask)
    try:
        for maindir in maindirs[:1]:
            pool.check_folder(Layout(maindir).reduced)
    except BaseException:
        pool.shutdown(wait=False)
        raise
    logger.info("measuring on the Dask cluster %s, %d frames at a time", dask, pool.n_workers)
    return pool


@contextlib.contextmanager
def _bar(forecast: Forecast) -> Iterator["tqdm[None]"]:
    """Show a bar on a terminal; elsewhere the log says how far it is."""
    terminal = sys.stderr.isatty()
    shape = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {postfix}"
    with (
        tqdm(total=forecast.n_left, disable=not terminal, file=sys.stderr, bar_format=shape) as bar,
        logging_redirect_tqdm() if terminal else contextlib.nullcontext(),
    ):
        yield bar


class _Archive:
    """The nights that are open, that wait, and that are done."""

    def __init__(
        self,
        maindirs: Sequence[Path],
        settings_of: SettingsOf,
        pool: Pool,
        wake: threading.Event,
        redo: Iterable[str],
    ) -> None:
        self.ended = False
        self._settings_of = settings_of
        self._pool = pool
        self._wake = wake
        self._redo = list(redo)
        self._n_nights = len(maindirs)
        self._started = time.monotonic()
        self._say_at = self._started + SAY_S
        self._waiting = deque((maindir, self._count(maindir)) for maindir in maindirs)
        self._n_waiting = sum(count for _, count in self._waiting)
        self._open: list[OpenNight] = []
        self._counts = {"done": 0, "failed": 0, "excluded": 0, "sources": 0}
        self._failed: list[str] = []
        self._n_failed = 0
        self.forecast = Forecast(self._n_waiting)

    def _count(self, maindir: Path) -> int:
        try:
            return count_frames(maindir, self._settings_of(maindir).fingerprint())
        except (PipnickWatchError, OSError):
            return 0  # said when its turn comes

    def run(self, stop: threading.Event, bar: "tqdm[None]") -> None:
        """Work until nothing is left, or ``stop`` is set."""
        while not stop.is_set():
            self._wake.clear()
            pause = self._round()
            self._tell(bar)
            if not self._open and not self._waiting:
                break
            self._wake.wait(pause)
        self.ended = True

    def close(self) -> None:
        """Publish what is measured of the nights that were not done, and let go of them."""
        for one in list(self._open):
            one.finish()
            self._take(one)
            self._drop(one)

    def _round(self) -> float:
        """Give each open night its turn, the first one first; open another for idle workers."""
        pause = 1.0
        n_busy = sum(one.night.n_busy for one in self._open)
        for one in list(self._open):
            others = n_busy - one.night.n_busy
            one.night.share(self._pool.n_workers - others)
            try:
                pause = min(pause, one.turn())
            except ClusterError:
                raise
            except (PipnickWatchError, OSError) as error:
                self._give_up(one.maindir, error)
                self._drop(one)
                continue
            n_busy = others + one.night.n_busy
            if one.done:
                one.finish()
                self._take(one)
                self._drop(one)
        if self._waiting and n_busy < self._pool.n_workers and len(self._open) < MOST_OPEN:
            self._open_next()
            return 0.0
        return pause

    def _open_next(self) -> None:
        maindir, count = self._waiting.popleft()
        self._n_waiting -= count
        try:
            settings = self._settings_of(maindir)
            redo = find_frames(self._redo, Layout(maindir))
            self._open.append(OpenNight(maindir, settings, self._pool, self._wake, redo))
        except (PipnickWatchError, OSError) as error:
            if self._redo:
                raise
            self._give_up(maindir, error)

    def _drop(self, one: OpenNight) -> None:
        one.close()
        self._open.remove(one)

    def _take(self, one: OpenNight) -> None:
        for kind, count in one.night.outbox.counts.items():
            self._counts[kind] += count
        for frame, reason in one.night.failed().items():
            self._note_failure(f"{one.maindir}: {frame}: {reason}")

    def _give_up(self, maindir: Path, error: Exception) -> None:
        logger.error("%s: given up: %s", maindir, error)
        self._note_failure(f"{maindir}: not finished: {error}")

    def _note_failure(self, line: str) -> None:
        self._n_failed += 1
        if len(self._failed) < TOLD:
            self._failed.append(line)

    def _tell(self, bar: "tqdm[None]") -> None:
        """Say how far it is, on the terminal at once, in the log now and then."""
        counts = [self._counts, *(one.night.outbox.counts for one in self._open)]
        n_done = sum(each[kind] for each in counts for kind in ("done", "failed", "excluded"))
        n_left = self._n_waiting + sum(one.night.n_left for one in self._open)
        self.forecast.note(n_done, n_left)
        bar.total = n_done + n_left
        bar.set_postfix_str(str(self.forecast), refresh=False)
        bar.update(n_done - bar.n)
        if time.monotonic() >= self._say_at:
            self._say_at = time.monotonic() + SAY_S
            n_nights = self._n_nights - len(self._waiting) - len(self._open)
            logger.info("%d of %d nights, %s", n_nights, self._n_nights, self.forecast)

    def sum_up(self, *, interrupted: bool) -> int:
        """List what failed, and give the exit code."""
        counts = self._counts
        logger.info(
            "%d nights: %d frames done, %d failed, %d excluded; %d sources; %.1f s",
            self._n_nights, counts["done"], counts["failed"], counts["excluded"],
            counts["sources"], time.monotonic() - self._started,
        )  # fmt: skip
        for line in self._failed:
            logger.warning("failed: %s", line)
        if self._n_failed > len(self._failed):
            logger.warning("failed: %d more", self._n_failed - len(self._failed))
        if interrupted:
            logger.warning("interrupted; the next run goes on from here")
            return 130
        return 1 if self._n_failed else 0
