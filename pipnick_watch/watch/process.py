"""A worker as a process: its limits, its signals, its memory, and its end when its daemon ends."""

import ctypes
import gc
import os
import resource
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["limited", "start"]

MEMORY_LIMIT = 6 * 1024**3
"""Address space of a worker, bytes."""

CPU_LIMIT_S = 300
"""Processor seconds for one task; the kernel kills the worker that needs more."""

REST_S = 5.0
"""A worker looks this often whether it rests."""

_own_process = False
_n_tasks = 0


def start(daemon: int) -> None:
    """Prepare this process: limits, signals, and the watch on its daemon."""
    global _own_process
    _own_process = True
    gc.freeze()  # the collector would write into all that is shared with the other workers
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
    given_back = 0
    while not select.select([handle], [], [], REST_S)[0]:
        if _n_tasks != given_back:
            given_back = _n_tasks
            _give_memory_back()
    os._exit(1)


def _give_memory_back() -> None:
    """Return what the last frames needed to the system: half of a resting worker's memory."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # the GNU library's
        trim(0)


@contextmanager
def limited() -> Iterator[None]:
    """Let one task use so much processor time and no more, in a process that is for tasks."""
    if not _own_process:
        yield
        return
    global _n_tasks
    used = time.process_time()
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + CPU_LIMIT_S, hard))
    try:
        yield
    finally:
        _n_tasks += 1
