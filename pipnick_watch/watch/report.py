"""What a daemon says of one MAINDIR while it works: the status file, and a line for systemd."""

import contextlib
import dataclasses
import datetime as dt
import json
import logging
import os
import socket
import time
from dataclasses import replace
from typing import Any

from pipnick_watch import __version__
from pipnick_watch.records import Layout
from pipnick_watch.records.publishing import PREFIX
from pipnick_watch.watch.night import Night
from pipnick_watch.watch.ready import Candidate
from pipnick_watch.watch.status import HEARTBEAT_S, Status, here, started_ticks
from pipnick_watch.watch.tally import Tally

__all__ = ["StatusFile", "describe", "one_line"]

logger = logging.getLogger(__name__)

WRITE_S = 1.0
"""The file is written at most this often."""

WAITING_TOLD = 50
"""Waiting frames that the file names; a backfill of thousands must not make it large."""


def describe(night: Night, tally: Tally) -> Status:
    """Say what a night waits for and has come to; who says so and the watch are left out."""
    measuring = night.measuring
    busy = {one.name for one in night.ready} | set(measuring)
    waiting = [one for one in night.candidates.values() if one.name not in busy]
    waiting.sort(key=lambda one: one.first_seen)
    troubles = []
    if night.outbox.trouble:
        troubles.append(night.outbox.trouble)
    troubles += [f"{name}: cannot be recorded: {why}" for name, why in night.outbox.aside.items()]
    if night.exclusions.trouble:
        troubles.append(night.exclusions.trouble)
    troubles += [f"{one.name}: its lock seems stuck: {one.reason}" for one in waiting if one.stuck]
    return Status(
        maindir=str(night.layout.maindir),
        troubles=troubles,
        queue={
            "waiting": len(waiting) + night.backlog.n_unseen,
            "ready": night.backlog.n_ready,
            "measuring": len(measuring),
            "publishing": len(night.outbox),
            "pictures": night.gallery.n_left,
        },
        waiting=[_waiting(one) for one in waiting[:WAITING_TOLD]],
        measuring=measuring,
        frames=tally.frames(),
        failed=tally.failed(),
        last=tally.last(),
        latency=tally.latency(),
    )


def _waiting(one: Candidate) -> dict[str, object]:
    holder = one.reason.removeprefix("locked by PID ")
    since = one.first_seen if one.locked_since is None else one.locked_since
    return {
        "frame": one.name,
        "reason": one.reason,
        "since": since,
        "holder": int(holder) if holder.isdecimal() else None,
        "stuck": one.stuck,
    }


class StatusFile:
    """The status file of one MAINDIR, written when something changed, and now and then.

    Parameters
    ----------
    layout : Layout
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        pid = os.getpid()
        self._who: dict[str, Any] = {
            "version": __version__,
            "pid": pid,
            "ticks": started_ticks(pid) or 0,
            "host": socket.gethostname(),
            "place": here(),
            "since": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        }
        self._last = Status()
        self._written = float("-inf")

    @property
    def due(self) -> float:
        """Monotonic time before which nothing is written."""
        return self._written + WRITE_S

    def write(self, status: Status) -> None:
        """Write what changed, or a sign of life; a disk that refuses is no trouble of its own."""
        now = time.monotonic()
        if status == self._last and now - self._written < HEARTBEAT_S:
            return
        self._last, self._written = status, now
        said = replace(status, **self._who, written=now, wall=time.time())
        path = self.layout.status
        temporary = path.with_name(f"{PREFIX}status.tmp")
        try:
            # Nothing of it is worth a sync each second: after a power cut nobody runs.
            temporary.write_text(json.dumps(dataclasses.asdict(said)), encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            logger.debug("%s: not written: %s", path, error)
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def one_line(status: Status) -> str:
    """Say how a night stands in the line that ``systemctl status`` shows."""
    frames = status.frames
    parts = [f"{frames.get('done', 0)} done", f"{frames.get('failed', 0)} failed"]
    left = sum(status.queue.get(name, 0) for name in ("waiting", "ready", "measuring"))
    if left:
        parts.append(f"{left} to do")
    if status.last:
        took = status.last["latency_s"]
        parts.append(f"last {status.last['frame'].rpartition('/')[2]} in {took:.1f} s")
    if status.waiting:
        one = status.waiting[0]
        parts.append(f"{one['frame'].rpartition('/')[2]} waits: {one['reason']}")
    head = "; ".join(f"TROUBLE: {trouble}" for trouble in status.troubles) or status.state
    return f"{head}: {', '.join(parts)}"
