"""What systemd hears: ready, alive, stopping. Nothing where it does not ask."""

import os
import socket
import time

__all__ = ["alive", "notify"]

_last_sign = 0.0


def notify(*lines: str) -> None:
    """Send lines such as ``READY=1`` to the socket that systemd named, if it named one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect(address)
            sender.sendall("\n".join(lines).encode())
        except OSError:
            # systemd may be restarting itself; the next sign of life comes soon.
            return


def alive() -> None:
    """Tell systemd's watchdog that the main loop came round, at half of the time that it asks."""
    global _last_sign
    asked = os.environ.get("WATCHDOG_USEC", "")
    if not asked.isdecimal():
        return
    now = time.monotonic()
    if now - _last_sign >= int(asked) / 2e6 / 2:
        _last_sign = now
        notify("WATCHDOG=1")
