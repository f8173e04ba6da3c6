"""What systemd hears: ready, alive, how it stands, stopping. Nothing where it does not ask."""

import os
import socket
import time

__all__ = ["alive", "notify", "say"]

_last_sign = float("-inf")
_last_said = ""


def notify(*lines: str) -> None:
    """Send lines such as ``READY=1`` to the socket that systemd named, if it named one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        # A full socket must not stop the loop: the next sign of life comes soon.
        sender.setblocking(False)
        try:
            sender.connect(address)
            sender.send("\n".join(lines).encode())
        except OSError:
            # So too when systemd restarts itself.
            return


def alive() -> None:
    """Tell systemd's watchdog that all make progress, twice in the time that it asks for."""
    global _last_sign
    asked = os.environ.get("WATCHDOG_USEC", "")
    meant = os.environ.get("WATCHDOG_PID", "")
    if not asked.isdecimal() or meant not in ("", str(os.getpid())):
        return
    now = time.monotonic()
    # A quarter, since the loop that calls this comes round in steps of its own.
    if now - _last_sign >= int(asked) / 1e6 / 4:
        _last_sign = now
        notify("WATCHDOG=1")


def say(line: str) -> None:
    """Have ``systemctl status`` show a line; said again only when it changes."""
    global _last_said
    if line != _last_said:
        _last_said = line
        notify("STATUS=" + " ".join(line.split()))
