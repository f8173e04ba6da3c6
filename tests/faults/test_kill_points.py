"""SIGKILL at every step of publishing: what is on disk afterwards is an undisturbed night's."""

import errno
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from failpoints import CALLS, CHANGES, Failpoints, die, die_halfway, in_child
from recorded_nights import check, lines_of, put, result_of, snapshot, temporaries

from pipnick_watch.records import Records

SKY = (10.0, 20.0)

WORLD = {
    "X_V/d1_red.fits": {"content": "one"},
    "X_V/d2_red.fits": {"content": "two, reduced again", "n": 4},
    "X_V/d3_red.fits": {"content": "three", "name": "Y"},
    "X_V/d4_red.fits": {"content": "four", "n": 1},
    "X_V/d5_red.fits": {"content": "five"},
    "X_V/d6_red.fits": {"content": "six"},
    "d6.fits": {"content": "another six"},
    "X_V/moved.fits": {"content": "seven"},
}
"""How the frames end; some were otherwise before."""

EXCLUDED = {"X_V/d5_red.fits": "commented out"}
SOLVED = ("X_V/d1_red.fits", "d6.fits")


def live_through(maindir):
    """Let a whole night happen: frames come, change, are excluded, included and solved."""
    records = Records(maindir, group=True)
    records.recover()

    def publish(frame, content, **how):
        put(maindir, frame, content)
        records.publish(result_of(frame, content, group=True, **how), since=0.0)

    publish("X_V/d1_red.fits", "one")
    publish("X_V/d2_red.fits", "two")
    publish("X_V/d3_red.fits", "three")
    publish("X_V/d4_red.fits", "four", n=1)
    publish("X_V/d5_red.fits", "five")
    publish("X_V/d6_red.fits", "six")
    publish("X_V/d7_red.fits", "seven")
    publish("d6.fits", "another six")
    publish("X_V/d2_red.fits", "two, reduced again", n=4)
    records.exclude({"X_V/d5_red.fits": "commented out", "X_V/d6_red.fits": "commented out"})
    publish("X_V/d3_red.fits", "three", name="Y")
    records.include(["X_V/d6_red.fits"])
    os.rename(maindir / "reduced/X_V/d7_red.fits", maindir / "reduced/X_V/moved.fits")
    records.publish(records.taken_over("X_V/moved.fits", "seven", "s"), since=0.0)
    solve(records)


def solve(records):
    """Let the solutions come that are missing."""
    for frame in SOLVED:
        if records.entry(frame).wcs == "":
            content = WORLD[frame]["content"]
            lines = lines_of(frame, content, sky=SKY)
            consolidated = lines_of(frame, content, sky=SKY, n=2)
            assert records.solve(frame, lines, consolidated, "a solution")
    records.flush_solutions()


def finish(maindir):
    """Do what a restarted daemon does: recover, then whatever is not as the frames are now."""
    records = Records(maindir, group=True)
    records.recover()
    check(maindir, midway=True)
    old = maindir / "reduced/X_V/d7_red.fits"
    for frame, how in WORLD.items():
        put(maindir, frame, how["content"])
    old.unlink(missing_ok=True)
    for frame, how in WORLD.items():
        if frame not in EXCLUDED:
            records.include([frame])
        entry = records.entry(frame)
        same = (
            entry is not None
            and entry.sha256 == how["content"]
            and entry.object == how.get("name", "X")
            and (entry.status == "done" or frame in EXCLUDED)
        )
        taken = None if same else records.taken_over(frame, how["content"], "s")
        if taken is not None:
            records.publish(taken, since=0.0)
        elif not same:
            records.publish(result_of(frame, group=True, **how), since=0.0)
    records.exclude(EXCLUDED)
    solve(records)


@pytest.fixture
def maindir():
    """Give a MAINDIR in memory where there is such a place: SIGKILL does not ask for a disk."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield empty(Path(folder) / "night")


def empty(maindir):
    """Make a MAINDIR in which nothing has happened."""
    shutil.rmtree(maindir, ignore_errors=True)
    (maindir / "reduced").mkdir(parents=True)
    return maindir


def undisturbed(maindir, calls=CHANGES):
    """Give the records of a night that nothing happened to, and how many steps it takes."""
    steps = Failpoints(0, die, calls)
    with pytest.MonkeyPatch.context() as monkeypatch:
        steps.install(monkeypatch)
        live_through(maindir)
    finish(maindir)
    check(maindir)
    return without_renamed(snapshot(maindir)), steps.count


def without_renamed(taken):
    """Leave out the row of the old name, which only a night that saw it has."""
    tables, frames = taken
    return tables, {name: row for name, row in frames.items() if name != "X_V/d7_red.fits"}


@pytest.mark.parametrize("action", [die, die_halfway])
def test_killed_at_every_step_and_finished(maindir, action):
    """After SIGKILL at any step and a restart, the rows are an undisturbed night's.

    Outcome: the same catalogues, objects' CSVs and last rows, none doubled, no temporary files.
    """
    expected, n_steps = undisturbed(maindir)
    assert n_steps > 100
    for number in range(1, n_steps + 1):
        empty(maindir)

        def disturbed(number=number):
            with pytest.MonkeyPatch.context() as monkeypatch:
                Failpoints(number, action).install(monkeypatch)
                live_through(maindir)

        assert in_child(disturbed) == -signal.SIGKILL
        finish(maindir)
        check(maindir)
        assert without_renamed(snapshot(maindir)) == expected, f"killed at step {number}"


def test_killed_in_recovery_too(maindir):
    """A recovery that is itself killed at every step is finished by the next one."""
    expected, n_steps = undisturbed(maindir)
    for number in range(1, n_steps + 1, 17):
        empty(maindir)

        def disturbed(number=number):
            with pytest.MonkeyPatch.context() as monkeypatch:
                Failpoints(number, die).install(monkeypatch)
                live_through(maindir)

        in_child(disturbed)
        for step in range(1, 40):

            def recovering(step=step):
                with pytest.MonkeyPatch.context() as monkeypatch:
                    Failpoints(step, die_halfway).install(monkeypatch)
                    finish(maindir)

            if in_child(recovering) == 0:
                break
        finish(maindir)
        check(maindir)
        assert without_renamed(snapshot(maindir)) == expected, f"killed at step {number}"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_every_call_refused_once(maindir, code):
    """A disk that is full or failing at any step harms nothing: the next try does it.

    Outcome: an OSError, nothing half-written, and after a second try the undisturbed rows.
    """
    expected, n_steps = undisturbed(maindir, CALLS)

    def refuse(name, real, args):
        if name == "write":
            real(args[0], bytes(args[1])[: len(args[1]) // 2])
        raise OSError(code, os.strerror(code))

    for number in range(1, n_steps + 1, 3):
        empty(maindir)
        with pytest.MonkeyPatch.context() as monkeypatch:
            Failpoints(number, refuse, CALLS).install(monkeypatch)
            try:
                live_through(maindir)
            except OSError as error:
                assert error.errno == code
        assert not temporaries(maindir)
        finish(maindir)
        check(maindir)
        assert without_renamed(snapshot(maindir)) == expected, f"refused at step {number}"
