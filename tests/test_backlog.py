"""Which frames wait, and which of them is next."""

import threading
from pathlib import Path

import pytest

from conftest import land, night_rows
from pipnick_watch.settings import PlotSettings, Settings
from pipnick_watch.watch import backlog as backlog_module
from pipnick_watch.watch.backlog import PULL_S, ROOM, Backlog
from pipnick_watch.watch.once import complete
from pipnick_watch.watch.scan import Seen
from pipnick_watch.watch.workers import WorkerPool


def test_live_frames_are_looked_at_first_and_each_once() -> None:
    """Of the due ones the live come first; a look takes a frame out until it waits again."""
    backlog = Backlog(Path())
    backlog.add("old.fits", 1.0, live=False)
    backlog.add("new.fits", 2.0, live=True)
    backlog.add("old.fits", 3.0, live=True)
    old, new = (backlog.all[name] for name in ("old.fits", "new.fits"))
    backlog.hint("old.fits", 3.0, settles=True)
    assert list(backlog.due(5.0)) == [new, old]
    assert list(backlog.due(5.0)) == []
    assert backlog.next_due() == float("inf")
    old.due = 9.0
    backlog.wait(old)
    assert list(backlog.due(8.0)) == []
    assert backlog.next_due() == 9.0


def test_an_event_while_a_frame_is_taken_leads_to_another_look() -> None:
    """A frame that was hinted at while a worker had it is not forgotten when that one is done."""
    backlog = Backlog(Path())
    backlog.add("one.fits", 1.0, live=True)
    one = backlog.all["one.fits"]
    assert list(backlog.due(1.0)) == [one]
    one.hinted = False
    backlog.queue(one)
    assert backlog.first(live=True) is one
    backlog.take(one)
    assert backlog.first(live=True) is None
    backlog.hint("one.fits", 2.0, settles=True)
    assert list(backlog.due(3.0)) == []
    backlog.drop(one)
    assert list(backlog.due(3.0)) == [one]
    one.hinted = False
    backlog.drop(one)
    assert not len(backlog)
    assert "one.fits" not in backlog


def look_at_all(backlog: Backlog, now: float) -> int:
    """Find that the frames that are due are ready; give how many there were."""
    number = 0
    for one in backlog.due(now):
        one.hinted = False
        one.seen = one.seen or Seen(size=3, mtime_ns=7, ino=number)
        one.settled_at = now if one.settled_at is None else one.settled_at
        backlog.queue(one)
        number += 1
    return number


def test_a_long_backfill_is_kept_by_its_names() -> None:
    """However many frames there are, few are held in full; each comes to a worker once."""
    backlog = Backlog(Path())
    names = [f"d{number}.fits" for number in range(5 * ROOM)]
    for name in names:
        backlog.add(name, 1.0, live=False)
    assert len(backlog) == len(names)
    now, taken = 2.0, []
    while len(backlog):
        look_at_all(backlog, now)
        assert len(backlog.all) <= 2 * ROOM
        assert all(name in backlog for name in names if name not in taken)
        assert len(backlog) == len(names) - len(taken)
        for _ in range(ROOM // 2):
            one = backlog.first(live=False)
            if one is not None:
                assert (one.first_seen, one.seen.size) == (1.0, 3)
                backlog.take(one)
                backlog.drop(one)
                taken.append(one.name)
        due = backlog.next_due()
        assert due <= now + PULL_S or not len(backlog) or backlog.first(live=False)
        now = max(now + 0.1, min(due, now + 9.0))
    assert sorted(taken) == sorted(names)


def test_what_is_shelved_remembers_when_it_was_complete() -> None:
    """A frame that comes back from the shelf is as old as it was, and an event brings it back."""
    backlog = Backlog(Path())
    for number in range(3 * ROOM):
        backlog.add(f"d{number}.fits", 1.0, live=False)
    for now in (2.0, 3.5, 5.0):
        look_at_all(backlog, now)
    shelved = next(name for name in (f"d{n}.fits" for n in range(3 * ROOM))
                   if name not in backlog.all)  # fmt: skip
    assert backlog.n_ready == 3 * ROOM
    backlog.hint(shelved, 9.0, settles=False)
    one = backlog.all[shelved]
    assert one.hinted
    assert one.settled_at in (2.0, 3.5, 5.0)
    assert one.seen.mtime_ns == 7
    assert next(iter(backlog.due(9.0))) is one


def test_a_frame_that_failed_is_not_shelved() -> None:
    """What a worker died on keeps its tries, however long the queue is."""
    backlog = Backlog(Path())
    for number in range(2 * ROOM):
        backlog.add(f"d{number}.fits", 1.0, live=False)
    look_at_all(backlog, 2.0)
    one = backlog.first(live=False)
    assert one is not None
    backlog.take(one)
    one.tries = 1
    look_at_all(backlog, 9.0)
    backlog.queue(one)
    assert backlog.all[one.name].tries == 1


def test_a_night_of_more_frames_than_there_is_room_for(
    frames: dict[str, bytes],
    undisturbed: dict[str, list[tuple[str, ...]]],
    maindir: Path,
    pool: WorkerPool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is shelved for a while is measured like all others, once, and is as old as it was."""
    monkeypatch.setattr(backlog_module, "ROOM", 1)
    monkeypatch.setattr(backlog_module, "PULL_S", 0.05)
    for frame, content in frames.items():
        land(maindir, frame, content)
    plain = Settings(plots=PlotSettings(final=False))
    stop, wake = threading.Event(), threading.Event()
    night = complete(maindir, plain, pool, 1, stop, wake)
    assert night.outbox.counts["done"] == 4
    assert night_rows(maindir) == undisturbed
    facts = [entry.facts for entry in night.records.entries().values()]
    assert all(one["latency_s"] > one["measure_s"] for one in facts)
    assert all(one["wait_s"] > 0 for one in facts)
