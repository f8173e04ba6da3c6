"""Which frames wait, and which of them is next."""

from pathlib import Path

from pipnick_watch.watch.backlog import Backlog


def test_live_frames_are_looked_at_first_and_each_once() -> None:
    """Of the due ones the live come first; a look takes a frame out until it waits again."""
    backlog = Backlog()
    old = backlog.add("old.fits", Path(), 1.0, live=False)
    new = backlog.add("new.fits", Path(), 2.0, live=True)
    assert backlog.add("old.fits", Path(), 3.0, live=True) is old
    backlog.hint(old, 3.0, settles=True)
    assert list(backlog.due(5.0)) == [new, old]
    assert list(backlog.due(5.0)) == []
    assert backlog.next_due() == float("inf")
    old.due = 9.0
    backlog.wait(old)
    assert list(backlog.due(8.0)) == []
    assert backlog.next_due() == 9.0


def test_an_event_while_a_frame_is_taken_leads_to_another_look() -> None:
    """A frame that was hinted at while a worker had it is not forgotten when that one is done."""
    backlog = Backlog()
    one = backlog.add("one.fits", Path(), 1.0, live=True)
    assert list(backlog.due(1.0)) == [one]
    one.hinted = False
    backlog.queue(one)
    assert backlog.first(live=True) is one
    backlog.take(one)
    assert backlog.first(live=True) is None
    backlog.hint(one, 2.0, settles=True)
    assert list(backlog.due(3.0)) == []
    backlog.drop(one)
    assert list(backlog.due(3.0)) == [one]
    one.hinted = False
    backlog.drop(one)
    assert not len(backlog)
    assert "one.fits" not in backlog
