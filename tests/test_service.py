"""What systemd hears, over a socket of our own: no systemd is needed for it."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import BIN, Daemon, land, statuses, wait_for
from pipnick_watch.watch import service


class Listener:
    """The socket that systemd would have, and what came in."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)
        self.heard: list[str] = []

    def lines(self) -> list[str]:
        """Give all lines that have come so far."""
        while True:
            try:
                self.heard += self.socket.recv(65536).decode().splitlines()
            except BlockingIOError:
                return self.heard


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """Listen as systemd does; processes that are started find the socket."""
    address = str(tmp_path / "notify")
    found = Listener(address)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    yield found
    found.socket.close()


def test_the_daemon_says_how_it_goes(
    listener: Listener, maindir: Path, frames: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ready first, signs of life, a line about the night, and in the end that it stops."""
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    frame, content = next(iter(frames.items()))
    with Daemon(maindir) as daemon:
        wait_for(lambda: bool(listener.lines()), "the first word")
        assert listener.lines()[0] == "READY=1"
        # Ready means that nothing which lands now can be missed.
        land(maindir, frame, content)
        daemon.wait_done(frame)
        wait_for(lambda: any("1 done" in line for line in listener.lines()), "the status line")
        before = listener.lines().count("WATCHDOG=1")
        wait_for(lambda: listener.lines().count("WATCHDOG=1") >= before + 3, "signs of life", 10)
        assert daemon.stop() == 0
    assert "STOPPING=1" in listener.lines()


def test_a_hung_loop_gives_no_sign_of_life(
    listener: Listener, maindir: Path, frames: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the main loop hangs, no thread of the process pretends that all is well."""
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    frame, content = next(iter(frames.items()))
    with Daemon(maindir) as daemon:
        wait_for(lambda: "WATCHDOG=1" in listener.lines(), "a sign of life")
        lock = maindir / "photometric" / ".pipnick-watch" / "records.lock"
        with subprocess.Popen(["flock", str(lock), "sleep", "600"]) as holder:
            land(maindir, frame, content)
            deadline = time.monotonic() + 30
            n_before, since = -1, time.monotonic()
            while time.monotonic() - since < 2.5 and time.monotonic() < deadline:
                number = listener.lines().count("WATCHDOG=1")
                if number != n_before:
                    n_before, since = number, time.monotonic()
                time.sleep(0.05)
            assert time.monotonic() - since >= 2.5
            # A SIGABRT, as systemd sends it, says where it hung.
            daemon.process.send_signal(signal.SIGABRT)
            assert daemon.process.wait(timeout=10) == -signal.SIGABRT
            assert "in own_lock" in daemon.said()
            subprocess.run(["pkill", "-P", str(holder.pid)], check=False)
            holder.kill()
    assert statuses(maindir) == {}


def test_it_is_ready_while_its_folder_is_missing(listener: Listener, tmp_path: Path) -> None:
    """An unmounted disk is waited for: systemd need not wait with it, and is told."""
    (tmp_path / "night").mkdir()
    with Daemon(tmp_path / "night"):
        wait_for(lambda: "READY=1" in listener.lines(), "its word that it is ready")
        wait_for(
            lambda: any(line.startswith("STATUS=") and "no such folder" in line
                        for line in listener.lines()),
            "its word what it waits for",
        )  # fmt: skip


def test_the_journal_takes_priorities(maindir: Path, frames: dict[str, bytes]) -> None:
    """Where the journal listens, each line begins with its priority and has no time."""
    frame, content = next(iter(frames.items()))
    land(maindir, frame, content)
    land(maindir, "d9_red.fits", b"no frame" * 1000)
    ran = subprocess.run(
        [BIN / "pipnick-watch", maindir, "--once"],
        capture_output=True, text=True, env={**os.environ, "JOURNAL_STREAM": "8:1"}, check=False,
    )  # fmt: skip
    lines = ran.stderr.splitlines()
    assert all(line[0] == "<" and line[2] == ">" for line in lines)
    assert next(line[:3] for line in lines if "d9_red.fits: failed: " in line) == "<4>"
    assert sum(line.startswith(f"<6>{frame}: SIM-A V, ") for line in lines) == 1


def test_an_abstract_socket_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leading @ stands for the zero byte of an abstract address."""
    name = f"pipnick-watch-test-{os.getpid()}"
    found = Listener(f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    service.notify("READY=1", "STATUS=x")
    assert found.lines() == ["READY=1", "STATUS=x"]
    found.socket.close()


def test_nothing_is_sent_where_nobody_asks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a socket, or with one that nobody listens to, it is silent and goes on."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    service.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    service.notify("READY=1")


def test_signs_of_life_are_for_the_process_that_is_watched(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that systemd does not watch sends none, though it has the socket."""
    monkeypatch.setenv("WATCHDOG_USEC", "1")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    service.alive()
    assert listener.lines() == []
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    service.alive()
    assert listener.lines() == ["WATCHDOG=1"]
