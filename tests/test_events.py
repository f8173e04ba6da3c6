"""Events as hints, and how it is known that they still come."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import wait_for
from pipnick_watch.watch.events import COOKIE_PREFIX, EventWatch, Hint


@pytest.fixture
def watch(maindir: Path) -> Iterator[EventWatch]:
    (maindir / "reduced" / "X_V").mkdir()
    watching = EventWatch(maindir / "reduced", lambda: None)
    watching.start()
    if watching.deaf:
        pytest.skip(f"no events here: {watching.deaf}")
    yield watching
    watching.stop()


def heard(watch: EventWatch, path: Path) -> list[Hint]:
    """Wait for hints about a file, and give them."""
    found: list[Hint] = []

    def look() -> bool:
        found.extend(hint for hint in watch.take() if hint.path == str(path))
        return bool(found)

    wait_for(look, f"an event of {path}", 5)
    time.sleep(0.05)
    look()
    return found


def test_a_close_and_a_rename_settle_a_file(watch: EventWatch, tmp_path: Path) -> None:
    """So does a rename from outside the folder, which no close event follows."""
    folder = watch.root / "X_V"
    (folder / "a.fits").write_bytes(b"1")
    assert [hint.settles for hint in heard(watch, folder / "a.fits")] == [False, True]
    (folder / "a.fits").rename(folder / "b.fits")
    assert [hint.settles for hint in heard(watch, folder / "b.fits")] == [True]
    (tmp_path / "c").write_bytes(b"1")
    (tmp_path / "c").rename(folder / "c.fits")
    assert [hint.settles for hint in heard(watch, folder / "c.fits")] == [True]


def test_a_file_in_a_new_folder_is_heard_of(watch: EventWatch) -> None:
    """Though its own events may have come before the folder was watched."""
    path = watch.root / "new_V" / "deep" / "a.fits"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"1")
    assert heard(watch, path)
    assert watch.trouble(4) == ""


def test_a_cookie_proves_that_events_come(
    watch: EventWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves no file, is no hint, and one that is not heard of is trouble."""
    monkeypatch.setattr("pipnick_watch.watch.events.COOKIE_PATIENCE_S", 0.3)
    watch.bake_cookie()
    assert not list(watch.root.glob(COOKIE_PREFIX + "*"))
    time.sleep(0.5)
    assert watch.take() == []
    assert watch.trouble(2) == ""
    watch._handler.hints = type(watch.hints)()  # events go nowhere now
    watch.bake_cookie()
    time.sleep(0.5)
    watch.take()
    assert watch.trouble(2) == "events no longer arrive"


def test_a_cookie_of_a_killed_process_is_removed(maindir: Path) -> None:
    """It would lie in reduced/ for ever."""
    left = maindir / "reduced" / f"{COOKIE_PREFIX}123"
    left.touch()
    watching = EventWatch(maindir / "reduced", lambda: None)
    watching.start()
    watching.stop()
    assert watching.deaf == "not started"
    assert not left.exists()
