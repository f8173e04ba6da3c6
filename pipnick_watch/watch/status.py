"""What is known of a MAINDIR's daemon, from any process, whether it runs or not.

The daemon writes ``photometric/.pipnick-watch/status.json``. Reading it imports nothing heavy and
takes no lock, so that it answers at once and cannot get in the way of a daemon that starts.
"""

import csv
import dataclasses
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "HEARTBEAT_S",
    "Status",
    "here",
    "percentile",
    "read_status",
    "started_ticks",
]

HEARTBEAT_S = 10.0
"""The file is written at least this often while the daemon lives."""

SILENT_S = 30.0
"""A daemon whose file is older than this hangs, or cannot write."""

LOW_DISK_BYTES = 100_000_000


@dataclass(frozen=True, kw_only=True)
class Status:
    """What the status file says.

    Times are on the monotonic clock of the machine that wrote it, except where named otherwise.

    Attributes
    ----------
    version, maindir : str
    pid, ticks : int
        The process, and when it started in clock ticks since boot: PIDs are used again.
    host, place : str
        The machine's name; and its boot and PID namespace, in which the PID means something.
    since : str
        When the daemon took up this MAINDIR, ISO 8601 UTC.
    state : str
        ``starting``, ``watching``, ``waiting for reduced/``, ``resting`` or ``stopped``.
    written, wall : float
        When this was written, on the monotonic clock and as Unix time.
    mode, why : str
        ``events`` or ``scanning``, and why scanning.
    troubles : list of str
        What keeps it from its work, one line each.
    queue : dict
        Numbers of frames ``waiting``, ``ready``, ``measuring``, ``publishing``; of ``pictures``.
    waiting : list of dict
        ``frame``, ``reason``, ``since``, ``holder`` (PID or None), ``stuck``; longest first.
    measuring : list of str
    frames : dict
        Numbers of frames ``done``, ``failed`` and ``excluded``.
    failed : list of dict
        ``frame`` and ``reason`` of the last ones.
    last : dict
        ``frame``, ``status``, ``latency_s`` and ``recorded_at`` of the last frame.
    latency : dict
        ``n``, ``p50``, ``p95``, ``sum`` of the night's done frames, seconds, and ``buckets``: how
        many took as long as the key at most.
    """

    version: str = ""
    maindir: str = ""
    pid: int = 0
    ticks: int = 0
    host: str = ""
    place: str = ""
    since: str = ""
    state: str = "starting"
    written: float = 0.0
    wall: float = 0.0
    mode: str = "scanning"
    why: str = ""
    troubles: list[str] = field(default_factory=list)
    queue: dict[str, int] = field(default_factory=dict)
    waiting: list[dict[str, Any]] = field(default_factory=list)
    measuring: list[str] = field(default_factory=list)
    frames: dict[str, int] = field(default_factory=dict)
    failed: list[dict[str, str]] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)
    latency: dict[str, Any] = field(default_factory=dict)


def here() -> str:
    """Name where PIDs and the monotonic clock mean the same: this boot and PID namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115  (no path at all)
    except OSError:
        return os.uname().nodename


def started_ticks(pid: int) -> int | None:
    """Give when a process started, in ticks since boot; None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name, in brackets, may hold anything; what follows the last bracket is numbers.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def percentile(values: Sequence[float], fraction: float) -> float:
    """Give the value that this fraction of the sorted values does not exceed; nan for none."""
    if not values:
        return math.nan
    return values[min(len(values) - 1, math.ceil(fraction * len(values)) - 1)]


def read_status(maindir: Path) -> dict[str, Any]:
    """Read what is known of a MAINDIR's daemon.

    Returns
    -------
    dict
        The fields of :class:`Status`, each ``since`` of ``waiting`` replaced by ``seconds``; and
        ``alive``, ``healthy``, ``exit_code``, ``age_s``, and ``disk`` with ``free`` and ``total``
        bytes. ``exit_code`` is 0 when healthy, 1 when no daemon runs, 3 when one runs and is in
        trouble.
    """
    photometric = maindir / "photometric"
    said = _read(photometric / ".pipnick-watch" / "status.json")
    local = said.place == here()
    age = max(0.0, time.monotonic() - said.written if local else time.time() - said.wall)
    # Another machine's PID tells nothing here; its sign of life does.
    lives = _lives(said) if local else said.pid > 0 and age < SILENT_S
    alive = lives and said.state != "stopped"
    troubles = list(said.troubles)
    if alive and age >= SILENT_S and said.state != "resting":
        troubles.append(f"no sign of life for {age:.0f} s: it hangs, or its disk takes no writes")
    disk = _disk(maindir)
    if disk and disk["free"] < LOW_DISK_BYTES:
        troubles.append(f"the disk is nearly full: {size_text(disk['free'])} left")
    known = dataclasses.asdict(said)
    for one in known["waiting"]:
        one["seconds"] = round(max(0.0, said.written - one.pop("since") + (age if alive else 0)), 1)
    if not alive:
        known |= _counted(photometric / "frames.csv", said)
    return {
        **known,
        "maindir": str(maindir),
        "troubles": troubles,
        "age_s": round(age, 1) if said.pid else None,
        "disk": disk,
        "alive": alive,
        "healthy": alive and not troubles,
        "exit_code": (3 if troubles else 0) if alive else 1,
    }


def _read(path: Path) -> Status:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        # None was written yet, or a power cut came in between: as if nothing had run.
        return Status()
    known = {one.name for one in dataclasses.fields(Status)}
    return Status(**{key: value for key, value in content.items() if key in known})


def _lives(said: Status) -> bool:
    return said.pid > 0 and started_ticks(said.pid) == said.ticks


def _disk(maindir: Path) -> dict[str, int]:
    try:
        room = os.statvfs(maindir)
    except OSError:
        return {}
    return {"free": room.f_bavail * room.f_frsize, "total": room.f_blocks * room.f_frsize}


def _counted(path: Path, said: Status) -> dict[str, Any]:
    """Count the night log's rows, where it is newer than what the last daemon said."""
    found: dict[str, tuple[str, str]] = {}
    try:
        if path.stat().st_mtime <= said.wall:
            return {}
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            place = {name: number for number, name in enumerate(next(csv.reader(file), []))}
            at, what, took = (place[name] for name in ("frame", "status", "latency_s"))
            for line in file:
                # Ten thousand rows are split faster so: few have quotes, all that counts is early.
                row = next(csv.reader([line])) if '"' in line else line.split(",", took + 1)
                if len(row) > took + 1 and line.endswith("\n"):  # not torn
                    found[row[at]] = row[what], row[took]
    except (OSError, KeyError, csv.Error):
        return {}
    words = [status for status, _ in found.values()]
    late = sorted(float(text) for status, text in found.values() if status == "done")
    late = [seconds for seconds in late if not math.isnan(seconds)]
    return {
        "frames": {status: words.count(status) for status in ("done", "failed", "excluded")},
        "latency": {"n": len(late), "p50": percentile(late, 0.5), "p95": percentile(late, 0.95)},
    }


def size_text(n_bytes: float) -> str:
    """Write so many bytes for a person."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"
