"""When a frame is ready, and what it waits for."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import land
from pipnick_watch.camera import Camera
from pipnick_watch.settings import Settings
from pipnick_watch.watch.night import Night
from pipnick_watch.watch.ready import SETTLE_S, Candidate, Limits, Verdict, look

LIMITS = Limits(short_s=10.0, lock_s=10.0, give_up=False)
NAME = "SIM-A_V/d1001_red.fits"


@pytest.fixture
def one(maindir: Path) -> Candidate:
    night = Night(maindir, Settings(), ThreadPoolExecutor(1), 1, wake=lambda: None)
    night.hint(NAME, 100.0, settles=False)
    return night.candidates[NAME]


def check(one: Candidate, now: float) -> Verdict:
    """Look at a moment of our choosing."""
    return look(one, now, Camera(), LIMITS)


def test_an_unchanged_size_settles_a_frame(
    frames: dict[str, bytes], maindir: Path, one: Candidate
) -> None:
    """Without an event, two looks a second apart; each change begins anew."""
    content = frames[NAME]
    land(maindir, NAME, content[:5760])
    assert check(one, 100.0) is Verdict.WAITING
    assert one.due == 100.0 + SETTLE_S
    land(maindir, NAME, content)
    assert check(one, 101.0) is Verdict.WAITING
    assert check(one, 101.5) is Verdict.WAITING
    assert check(one, 102.0) is Verdict.WHOLE
    assert one.settled_at == 102.0


def test_an_event_settles_a_frame_at_its_own_time(
    frames: dict[str, bytes], maindir: Path, one: Candidate
) -> None:
    """A close or a rename: no second look is needed."""
    land(maindir, NAME, frames[NAME])
    one.hinted, one.hinted_at = True, 99.5
    assert check(one, 100.0) is Verdict.WHOLE
    assert one.settled_at == 99.5
    assert not one.hinted


def test_a_short_frame_waits_and_fails_in_the_end(
    frames: dict[str, bytes], maindir: Path, one: Candidate
) -> None:
    """Its reason says how much is there; growth gives it time, and new tries."""
    content = frames[NAME]
    land(maindir, NAME, content[:300_000])
    one.hinted_at, one.tries = 100.0, 2
    assert check(one, 100.0) is Verdict.WAITING
    assert one.reason.startswith("incomplete: 300 of ")
    assert one.tries == 0
    assert check(one, 109.0) is Verdict.WAITING
    land(maindir, NAME, content[:310_000])
    assert check(one, 111.0) is Verdict.WAITING
    assert check(one, 120.0) is Verdict.WAITING
    assert check(one, 121.0) is Verdict.FAILED


def test_what_is_gone_is_gone_and_what_is_none_fails(maindir: Path, one: Candidate) -> None:
    """A frame that vanished is forgotten, event or not; a text fails at once."""
    one.hinted, one.hinted_at = True, 99.0
    assert check(one, 100.0) is Verdict.GONE
    assert not one.hinted
    land(maindir, NAME, b"no frame" * 1000)
    one.hinted_at = 100.0
    assert check(one, 101.0) is Verdict.FAILED
    assert "not FITS" in one.reason
