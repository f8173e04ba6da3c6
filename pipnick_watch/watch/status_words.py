"""``--status``: how a night stands, or all that are followed, for a person and for scripts."""

import glob
import json
import math
import sys
from pathlib import Path
from typing import Any

from pipnick_watch.watch.status import read_status, size_text

__all__ = ["tell", "tell_nights"]

SHOWN = 10
"""Waiting and failed frames that a person is shown; ``--json`` gives all that the file holds."""


def tell(maindir: Path, *, as_json: bool = False) -> int:
    """Print the status of a MAINDIR's daemon; give the exit code."""
    known = read_status(maindir)
    code: int = known["exit_code"]
    _print(_json(known) if as_json else "\n".join(_lines(known)))
    return code


def tell_nights(pattern: str, *, as_json: bool = False) -> int:
    """Print the status of every night that matches and is followed or rests; give the exit code.

    It is 3 when one of them is in trouble, 1 when no daemon looks after any.
    """
    found = [read_status(Path(name).resolve()) for name in sorted(glob.glob(pattern))]  # noqa: PTH207
    alive = [known for known in found if known["alive"]]
    if as_json:
        _print(_json(alive))
    else:
        texts = ["\n".join(_lines(known)) for known in alive]
        _print("\n".join(texts) or f"{pattern}: no night there is followed now")
    return max((known["exit_code"] for known in alive), default=1)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _lines(known: dict[str, Any]) -> list[str]:
    """Write the status for a person."""
    if known["alive"]:
        first = f"{known['state']}: PID {known['pid']} on {known['host']} since {known['since']}"
    elif known["pid"]:
        ended = "stopped" if known["state"] == "stopped" else "gone without a word"
        first = f"not running: PID {known['pid']} on {known['host']} is {ended}"
    else:
        first = "not running: no daemon has been here"
    version = f", version {known['version']}" if known["version"] else ""
    lines = [f"{known['maindir']}: {first}{version}"]
    lines += [f"  TROUBLE: {trouble}" for trouble in known["troubles"]]
    if known["alive"] and known["state"] != "resting":
        lines.append(f"  watch    {known['mode']}" + (f" ({known['why']})" if known["why"] else ""))
        queue = known["queue"]
        lines.append("  queue    " + ", ".join(f"{queue[name]} {name}" for name in queue))
        for one in known["waiting"][:SHOWN]:
            stuck = ", stuck" if one["stuck"] else ""
            lines.append(f"    {one['frame']}: {one['reason']}{stuck}, {one['seconds']:.0f} s")
        if known["queue"].get("waiting", 0) > SHOWN:
            lines.append(f"    and {known['queue']['waiting'] - SHOWN} more")
    counts = known["frames"]
    if counts:
        lines.append("  frames   " + ", ".join(f"{counts[name]} {name}" for name in counts))
    lines += [f"    {one['frame']}: failed: {one['reason']}" for one in known["failed"][:SHOWN]]
    lines += _numbers(known)
    return lines


def _numbers(known: dict[str, Any]) -> list[str]:
    lines = []
    last, latency, disk = known["last"], known["latency"], known["disk"]
    if last:
        took = f" in {last['latency_s']:.2f} s" if last["status"] == "done" else ""
        lines.append(f"  last     {last['frame']}: {last['status']}{took}, {last['recorded_at']}")
    if latency.get("n"):
        lines.append(
            f"  latency  p50 {latency['p50']:.2f} s, p95 {latency['p95']:.2f} s"
            f" ({latency['n']} frames)"
        )
    if disk:
        lines.append(f"  disk     {size_text(disk['free'])} of {size_text(disk['total'])} left")
    return lines


def _json(value: Any) -> str:
    return json.dumps(_without_nan(value), indent=2)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    # JSON has no nan.
    return None if isinstance(value, float) and math.isnan(value) else value
