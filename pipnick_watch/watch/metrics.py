"""``--metrics FILE``: numbers for Prometheus, as the node exporter's textfile collector reads them.

The only importer of ``prometheus_client``, an extra: nothing of it is loaded unless it is asked.
"""

import datetime as dt
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipnick_watch.errors import UsageError
from pipnick_watch.watch.status import Status

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["MetricsFile"]

logger = logging.getLogger(__name__)


class MetricsFile:
    """Writes what the status says in Prometheus' words, one label ``maindir`` for each night.

    Parameters
    ----------
    path : Path
        Replaced in one step each time. The collector wants a name that ends in ``.prom``.

    Raises
    ------
    UsageError
        ``prometheus_client`` is not installed, or the folder is missing.
    """

    def __init__(self, path: Path) -> None:
        try:
            import prometheus_client  # noqa: F401
        except ImportError as error:
            raise UsageError(
                "--metrics needs prometheus_client: pip install 'pipnick-watch[metrics]'"
            ) from error
        if not path.parent.is_dir():
            raise UsageError(f"{path.parent}: no such folder; --metrics writes its file there")
        self.path = path
        self._trouble = ""

    def write(self, nights: Sequence[Status]) -> None:
        """Write the file; a disk that refuses is warned of once."""
        from prometheus_client import CollectorRegistry, write_to_textfile

        registry = CollectorRegistry()
        registry.register(_Nights(nights))
        try:
            write_to_textfile(str(self.path), registry)
        except OSError as error:
            if str(error) != self._trouble:
                logger.warning("%s: no metrics are written: %s", self.path, error.strerror)
            self._trouble = str(error)
        else:
            self._trouble = ""


class _Nights:
    """What a registry asks for its metrics."""

    def __init__(self, nights: Sequence[Status]) -> None:
        self.nights = nights

    def collect(self) -> Iterator["Metric"]:
        from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily

        def gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"pipnick_watch_{name}", text, labels=("maindir", *labels))

        frames = gauge("frames", "Frames of the night by their last status.", "status")
        queue = gauge("queue", "Frames and pictures on their way, by what they wait for.", "stage")
        events = gauge("watch_events", "1 while file events arrive, 0 while only scans look.")
        troubles = gauge("troubles", "Things that keep the daemon from its work.")
        last = gauge("last_recorded_timestamp_seconds", "When a frame was last recorded.")
        free = gauge("disk_free_bytes", "Room left on the disk of the night.")
        latency = HistogramMetricFamily(
            "pipnick_watch_latency_seconds",
            "From a frame's completion to durable rows, of the night's done frames.",
            labels=("maindir",),
        )
        for night in self.nights:
            where = night.maindir
            for status, number in night.frames.items():
                frames.add_metric([where, status], number)
            for stage, number in night.queue.items():
                queue.add_metric([where, stage], number)
            events.add_metric([where], night.mode == "events")
            troubles.add_metric([where], len(night.troubles))
            if night.last:
                at = dt.datetime.fromisoformat(night.last["recorded_at"])
                last.add_metric([where], at.timestamp())
            if Path(where).is_dir():
                free.add_metric([where], shutil.disk_usage(where).free)
            buckets = [(f"{float(bound)}", n) for bound, n in night.latency["buckets"].items()]
            latency.add_metric(
                [where], [*buckets, ("+Inf", night.latency["n"])], night.latency["sum"]
            )
        yield from (frames, queue, events, troubles, last, free, latency)
