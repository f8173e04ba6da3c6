"""Which frames wait, for what, and which of them is looked at or measured next.

A night may bring thousands of frames at once, so nothing here costs more than the frames that
are due.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from pipnick_watch.watch.ready import Candidate
from pipnick_watch.watch.shelf import Shelf

__all__ = ["Backlog"]

ROOM = 300
"""Frames of a backfill that are looked at at a time, and as many that are ready; the others are
kept by little more than their names."""

PULL_S = 1.0
"""How often so many more are looked at: by then it is known what has become of the last ones."""


class Backlog:
    """The frames between their first sight and their outcome.

    A frame waits to be looked at, or stands in the queue for a worker, or is taken: a worker has
    it. An event of a frame that is not waiting is kept for the next look. Of a long backfill, what
    is still to be looked at is shelved, and so is what is ready: that is looked at once more when
    its turn comes.

    Parameters
    ----------
    reduced : Path
        Where the frames lie.
    """

    def __init__(self, reduced: Path) -> None:
        self._reduced = reduced
        self._all: dict[str, Candidate] = {}
        self._queues: dict[bool, deque[Candidate]] = {True: deque(), False: deque()}
        self._dues: list[tuple[float, bool, int, Candidate]] = []
        self._waiting: dict[Candidate, int] = {}
        self._numbers = itertools.count()
        self._unseen, self._shelved = Shelf(), Shelf()
        self._next_pull = 0.0

    def __len__(self) -> int:
        return len(self._all) + len(self._unseen) + len(self._shelved)

    def __contains__(self, name: object) -> bool:
        return name in self._all or name in self._unseen or name in self._shelved

    @property
    def all(self) -> Mapping[str, Candidate]:
        """Every frame that is not shelved, by its name."""
        return MappingProxyType(self._all)

    @property
    def n_ready(self) -> int:
        """How many frames wait for nothing but a worker."""
        return len(self.ready) + len(self._shelved)

    @property
    def n_unseen(self) -> int:
        """How many frames are shelved that were not looked at yet."""
        return len(self._unseen)

    def add(self, name: str, now: float, *, live: bool) -> None:
        """Take a frame that was seen, if it is not here already."""
        if name in self:
            return
        one = Candidate(name=name, reduced=self._reduced, live=live, first_seen=now)
        if live or len(self._all) < ROOM:
            self._admit(one)
        else:
            self._unseen.put(one)

    def _admit(self, one: Candidate) -> None:
        self._all[one.name] = one
        self.wait(one)

    def hint(self, name: str, at: float, *, settles: bool) -> None:
        """Note an event: the frame is looked at next, or again when its worker is done."""
        for shelf in (self._unseen, self._shelved):
            shelved = shelf.take(name, self._reduced)
            if shelved is not None:
                self._admit(shelved)
        self.add(name, at, live=True)
        one = self._all[name]
        one.hinted, one.due = True, 0.0
        if settles:
            one.hinted_at = at
        if one in self._waiting:
            self.wait(one)

    def wait(self, one: Candidate) -> None:
        """Have a frame looked at when it is due."""
        number = next(self._numbers)
        self._waiting[one] = number
        heapq.heappush(self._dues, (one.due, not one.live, number, one))

    def due(self, now: float) -> Iterator[Candidate]:
        """Give the frames that are to be looked at now, live ones first; each waits no longer."""
        if now >= self._next_pull:
            self._pull(self._unseen, ROOM)
            self._pull(self._shelved, ROOM - len(self._queues[False]))
            self._next_pull = now + PULL_S
        while self._dues and self._dues[0][0] <= now:
            _, _, number, one = heapq.heappop(self._dues)
            if self._waiting.get(one) == number:
                del self._waiting[one]
                yield one

    def _pull(self, shelf: Shelf, most: int) -> None:
        """Have so many shelved frames looked at."""
        for _ in range(most):
            one = shelf.take_first(self._reduced)
            if one is None:
                return
            self._admit(one)

    def next_due(self) -> float:
        """Give the monotonic time at which a frame is to be looked at; infinite without one."""
        while self._dues and self._waiting.get(self._dues[0][3]) != self._dues[0][2]:
            heapq.heappop(self._dues)
        due = self._dues[0][0] if self._dues else float("inf")
        room = self._shelved and len(self._queues[False]) < ROOM
        return min(due, self._next_pull) if self._unseen or room else due

    def queue(self, one: Candidate) -> None:
        """Put a ready frame into the queue for a worker."""
        one.reason = "waiting for a worker"
        # A frame that something has happened to keeps what is known of it.
        plain = not (one.live or one.hinted or one.tries or one.afresh)
        if plain and len(self._queues[False]) >= ROOM:
            self._shelved.put(one)
            del self._all[one.name]
        else:
            self._queues[one.live].append(one)

    def first(self, *, live: bool) -> Candidate | None:
        """Give the frame that is measured next, live ones or the others; it stays queued."""
        queue = self._queues[live]
        return queue[0] if queue else None

    @property
    def ready(self) -> tuple[Candidate, ...]:
        """The frames in the queue, those to be measured first first."""
        return (*self._queues[True], *self._queues[False])

    def take(self, one: Candidate) -> None:
        """Take the first frame out of its queue: a worker has it."""
        self._queues[one.live].popleft()

    def drop(self, one: Candidate) -> None:
        """Forget a frame whose fate is known; where an event came meanwhile, look once more."""
        if one.hinted:
            self.wait(one)
        else:
            self._all.pop(one.name, None)
            self._waiting.pop(one, None)
