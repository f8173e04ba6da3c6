"""How SIGTERM and Ctrl-C end a loop: between two turns, so that nothing is torn."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["ended_by_signals"]


@contextmanager
def ended_by_signals(wake: threading.Event) -> Iterator[threading.Event]:
    """Give an event that SIGTERM and SIGINT set; they set ``wake`` too.

    The handler only sets flags: raising from one may strike anywhere.
    """
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()
        wake.set()

    old = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
