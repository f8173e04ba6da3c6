"""Our own locks, and those that others put on frames."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import wait_for
from pipnick_watch.errors import AnotherDaemonError, FrameNotReadyError, RecordsError
from pipnick_watch.records import Layout, daemon_lock, hold_frame_lock, probe_frame_lock
from pipnick_watch.records.locks import own_lock


@pytest.fixture
def frame(tmp_path):
    path = tmp_path / "d1047_red.fits"
    path.touch()
    return path


@pytest.fixture
def lock(frame):
    return frame.with_name("d1047_red.fits.lock")


@pytest.fixture
def held(lock):
    """Let the real flock command hold the frame's lock; gives the process that does."""
    holder = subprocess.Popen(
        ["flock", str(lock), sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    holder.stdout.readline()
    yield holder
    with contextlib.suppress(ProcessLookupError):  # the test may have killed it itself
        os.killpg(holder.pid, signal.SIGKILL)
    holder.communicate()


def test_frame_without_lock_file_is_free_and_gets_none(frame, lock):
    """Nothing is made beside a frame whose producer has no lock."""
    assert not probe_frame_lock(frame).held
    with hold_frame_lock(frame):
        pass
    assert not lock.exists()


def test_left_behind_lock_file_is_free(frame, lock):
    """A lock file that nobody holds is free, even one that we may not write."""
    lock.touch(mode=0o444)
    assert not probe_frame_lock(frame).held


def test_flock_command_holds_a_frame(frame, held):
    """A frame under the flock command waits, and its holder's PID is named."""
    state = probe_frame_lock(frame)
    assert state.held
    assert state.holder == held.pid
    assert state.reason == f"locked by PID {held.pid}"
    with pytest.raises(FrameNotReadyError, match="locked by PID"), hold_frame_lock(frame):
        pass


def test_stopped_holder_still_holds_and_dead_one_does_not(frame, lock, held):
    """SIGSTOP does not break a lock; SIGKILL of all who have it frees it at once."""
    os.killpg(held.pid, signal.SIGSTOP)
    assert probe_frame_lock(frame).held
    os.killpg(held.pid, signal.SIGKILL)
    held.wait()
    # the child that inherited the lock is not ours to wait for
    wait_for(lambda: not probe_frame_lock(frame).held, "the end of the lock", 10)


def test_frame_is_held_while_it_is_read(frame, lock):
    """While we read, the flock command cannot take the lock; two readers can share it."""
    lock.touch()
    with hold_frame_lock(frame), hold_frame_lock(frame):
        taken = subprocess.run(["flock", "-n", str(lock), "true"], check=False)
        assert taken.returncode == 1
    assert subprocess.run(["flock", "-n", str(lock), "true"], check=False).returncode == 0


def test_replaced_lock_file_counts(frame, lock, held):
    """When the lock file is replaced, the new one is asked."""
    lock.unlink()
    assert not probe_frame_lock(frame).held
    lock.touch()
    assert not probe_frame_lock(frame).held


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_lock_that_cannot_be_read_counts_as_held(frame, lock, kind):
    """A link, a FIFO or a folder in the lock's place is held, says why, and blocks nobody."""
    if kind == "link":
        lock.symlink_to(frame)
    elif kind == "fifo":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    state = probe_frame_lock(frame)
    assert state.held
    assert "cannot be read" in state.reason


def test_other_users_lock_counts_as_held(frame, lock, monkeypatch):
    """Another user's lock file that we may not open is held, and says so."""
    lock.touch(mode=0o000)
    monkeypatch.chdir(frame.parent)
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            state = probe_frame_lock(Path(frame.name))
            os._exit(0 if state.held and "Permission denied" in state.reason else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


HOLD = """
import sys, pathlib
from pipnick_watch.records import Layout, daemon_lock
with daemon_lock(Layout(pathlib.Path(sys.argv[1]))):
    print("holds", flush=True)
    input()
"""


def test_second_daemon_is_refused_and_names_the_first(tmp_path):
    """One daemon for a MAINDIR; when it is killed, the next one takes over."""
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert first.stdout.readline() == b"holds\n"
    with (
        pytest.raises(AnotherDaemonError, match=f"PID {first.pid}") as refused,
        daemon_lock(Layout(tmp_path)),
    ):
        pass
    assert refused.value.exit_code == 75
    first.kill()
    first.communicate()
    with daemon_lock(Layout(tmp_path)):
        pass


def test_stopped_holder_of_our_own_lock_is_named(tmp_path, held, lock):
    """A publish that cannot have its lock says who has it, instead of waiting for ever."""
    with (
        pytest.raises(RecordsError, match=f"PID {held.pid} holds it"),
        own_lock(lock, tmp_path, patience_s=0.05),
    ):
        pass


def test_own_lock_stays_and_is_not_made_without_maindir(tmp_path):
    """The lock file stays where it is; a MAINDIR that is not there is not made."""
    path = tmp_path / "night" / "photometric" / "records.lock"
    with pytest.raises(FileNotFoundError), own_lock(path, tmp_path / "night"):
        pass
    (tmp_path / "night").mkdir()
    with own_lock(path, tmp_path / "night"):
        inode = path.stat().st_ino
    with own_lock(path, tmp_path / "night"):
        assert path.stat().st_ino == inode
