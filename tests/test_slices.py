"""Long tasks are done a little at a time, each to its end."""

import pytest

from pipnick_watch.watch.slices import Slices, Task, finish


def counting(done: list[str], name: str, steps: int) -> Task:
    for _ in range(steps):
        done.append(name)
        yield


def test_tasks_are_done_one_after_the_other_and_a_step_at_least() -> None:
    """However little time there is, each goes on a step; the second begins when the first ends."""
    done: list[str] = []
    slices = Slices()
    slices.add("a", counting(done, "a", 2))
    slices.add("b", counting(done, "b", 1))
    slices.advance(0.0)
    assert done == ["a"]
    while slices.busy:
        slices.advance(0.0)
    assert done == ["a", "a", "b"]


def test_a_task_under_way_is_not_begun_again() -> None:
    """A second one of the same name is left out until the first has ended."""
    done: list[str] = []
    slices = Slices()
    slices.add("a", counting(done, "first", 1))
    slices.add("a", counting(done, "second", 1))
    assert "a" in slices
    slices.advance(1.0)
    assert done == ["first"]
    assert "a" not in slices


def test_a_task_that_fails_is_given_up_and_the_next_one_goes_on() -> None:
    """Its error comes out once."""

    def failing() -> Task:
        yield
        raise OSError("no disk")

    done: list[str] = []
    slices = Slices()
    slices.add("bad", failing())
    slices.add("good", counting(done, "good", 1))
    with pytest.raises(OSError, match="no disk"):
        slices.advance(1.0)
    slices.advance(1.0)
    assert done == ["good"]
    assert not slices.busy


def test_a_task_may_clear_all_tasks_itself() -> None:
    """As a scan does that finds its folder gone."""
    slices = Slices()

    def clearing() -> Task:
        yield
        slices.clear()

    slices.add("a", clearing())
    slices.add("b", clearing())
    slices.advance(1.0)
    assert not slices.busy


def test_finish_gives_what_a_task_returns() -> None:
    """A task done at once is like a call."""

    def task():  # type: ignore[no-untyped-def]
        yield
        return 3

    assert finish(task()) == 3
