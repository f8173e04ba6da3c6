"""Frames of a long backfill that need not be looked at for now, each in few bytes."""

import math
import struct
from collections import deque
from pathlib import Path

from pipnick_watch.watch.ready import Candidate
from pipnick_watch.watch.scan import Seen

__all__ = ["Shelf"]

_FORM = struct.Struct("<ddqqq")
"""When it was first seen and when it was complete; size, time and inode of its file."""


class Shelf:
    """Frames that are none of a live night's, the first one first.

    A candidate takes a kilobyte, and an archive's night may bring tens of thousands at once.
    """

    def __init__(self) -> None:
        self._packed: dict[str, bytes] = {}
        self._order: deque[str] = deque()
        self._last = b""

    def __len__(self) -> int:
        return len(self._packed)

    def __contains__(self, name: object) -> bool:
        return name in self._packed

    def put(self, one: Candidate) -> None:
        """Put a frame behind the others."""
        settled_at = math.nan if one.settled_at is None else one.settled_at
        seen = one.seen or Seen(size=-1, mtime_ns=0, ino=0)
        packed = _FORM.pack(one.first_seen, settled_at, seen.size, seen.mtime_ns, seen.ino)
        if packed != self._last:  # of what was not looked at yet, the same can be said
            self._last = packed
        self._packed[one.name] = self._last
        self._order.append(one.name)

    def take(self, name: str, reduced: Path) -> Candidate | None:
        """Take this frame, if it is here; it is to be looked at."""
        packed = self._packed.pop(name, None)
        if packed is None:
            return None
        first_seen, settled_at, size, mtime_ns, ino = _FORM.unpack(packed)
        one = Candidate(name=name, reduced=reduced, live=False, first_seen=first_seen)
        if size >= 0:
            one.seen = Seen(size=size, mtime_ns=mtime_ns, ino=ino)
        if not math.isnan(settled_at):
            one.settled_at = one.changed_at = settled_at
        return one

    def take_first(self, reduced: Path) -> Candidate | None:
        """Take the frame that has been here longest; None when there is none."""
        while self._order:
            one = self.take(self._order.popleft(), reduced)
            if one is not None:  # that one was taken by its name
                return one
        return None
