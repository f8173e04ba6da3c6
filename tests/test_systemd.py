"""The template unit under a real systemd: started, killed, hung, stopped, and kept in its box."""

import os
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from booted import PLACES, USER, Machine, booted

from conftest import BIN, night_rows, statuses, wait_for

TEMPLATE = "pipnick-watch@.service"

PROBE = """
import pathlib, socket, sys
night = pathlib.Path(sys.argv[1])
found = {}
def attempt(what, act):
    try:
        act()
        found[what] = "allowed"
    except OSError as error:
        found[what] = error.strerror
attempt("night", lambda: (night / "mine").write_text("x"))
for place in ("/data/other/x", "/etc/x", "/home/x", "/var/lib/x", "/opt/x"):
    attempt(place, lambda: pathlib.Path(place).write_text("x"))
attempt("inet", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
attempt("inet6", lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
(night / "probe").write_text(repr(found))
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Boot a systemd, with the template unit as --install-service makes it."""
    with booted(tmp_path_factory.mktemp("machine")) as machine:
        new_night(machine, "first")
        run_command(machine, "--install-service", "/data/first", "--apply")
        drop_in(machine, TEMPLATE, *settings())
        yield machine


def variables() -> list[str]:
    """Give what leads to the package that is tested, where that is not the installed one."""
    return [f"PYTHONPATH={os.environ['PYTHONPATH']}"] if os.environ.get("PYTHONPATH") else []


def settings() -> list[str]:
    """Give what is changed in a unit, so that nobody has to wait."""
    # The unit's own /tmp hides what lies there.
    hidden = [str(place) for place in PLACES if place.is_relative_to("/tmp")]  # noqa: S108
    return [
        "WatchdogSec=4",
        "RestartSec=500ms",
        *(f"Environment={one}" for one in variables()),
        *(f"BindReadOnlyPaths={place}" for place in hidden),
    ]


def run_command(machine: Machine, *arguments: str) -> str:
    """Run our command in it."""
    return machine.run("env", *variables(), BIN / "pipnick-watch", *arguments)


def drop_in(machine: Machine, unit: str, *lines: str) -> None:
    """Change a unit's settings."""
    folder = machine.path(f"/etc/systemd/system/{unit}.d")
    folder.mkdir(exist_ok=True)
    (folder / "test.conf").write_text("\n".join(["[Service]", *lines]) + "\n")
    machine.run("systemctl", "daemon-reload")


def new_night(machine: Machine, name: str) -> tuple[Path, str]:
    """Make a night that belongs to the service's user; give its place from here, and its unit."""
    machine.run("mkdir", "-p", f"/data/{name}/reduced")
    machine.run("chown", "-R", f"{USER}:", f"/data/{name}")
    escaped = machine.run("systemd-escape", "-p", f"/data/{name}").strip()
    return machine.path(f"/data/{name}"), f"pipnick-watch@{escaped}.service"


def land(night: Path, frame: str, content: bytes) -> None:
    """Write a frame under a hidden name and rename it."""
    path = night / "reduced" / frame
    path.parent.mkdir(exist_ok=True)
    hidden = path.with_name(".incoming")
    hidden.write_bytes(content)
    hidden.rename(path)


def wait_done(machine: Machine, unit: str, night: Path, *frames: str) -> None:
    """Wait until these frames are done."""

    def done() -> bool:
        known = statuses(night)
        return all(known.get(frame) == "done" for frame in frames)

    try:
        wait_for(done, f"{frames} done")
    except pytest.fail.Exception:
        print(machine.journal(unit))  # noqa: T201  (pytest shows it with the failure)
        raise


def main_pid(machine: Machine, unit: str) -> int:
    """Give the PID of a unit's main process, 0 while there is none."""
    return int(machine.show(unit, "MainPID"))


def test_a_night_is_followed(machine: Machine, frames: dict[str, bytes]) -> None:
    """It starts, is ready, measures what lands, says how it stands, and has its priorities."""
    night, unit = new_night(machine, "2024-05-13")
    machine.run("systemctl", "start", unit)
    assert machine.show(unit, "ActiveState") == "active"
    frame = next(iter(frames))
    land(night, frame, frames[frame])
    land(night, "d9_red.fits", b"no frame at all" * 1000)
    wait_done(machine, unit, night, frame)
    wait_for(lambda: statuses(night).get("d9_red.fits") == "failed", "the bad frame's failure")
    wait_for(lambda: "1 done, 1 failed" in machine.show(unit, "StatusText"), "the status line")
    assert (night / "photometric/frames.csv").stat().st_uid == (night / "reduced").stat().st_uid
    status = run_command(machine, "/data/2024-05-13", "--status")
    assert "watching: PID" in status
    wait_for(lambda: "SIM-A V" in machine.journal(unit, "-p", "info..info"), "the frame's line")
    warnings = machine.journal(unit, "-p", "warning")
    assert "d9_red.fits: failed" in warnings
    assert "SIM-A V" not in warnings
    machine.run("systemctl", "stop", unit)
    assert machine.show(unit, "Result") == "success"


def test_kill_9_restarts_it_and_loses_nothing(
    machine: Machine, frames: dict[str, bytes], undisturbed: dict[str, list[tuple[str, ...]]]
) -> None:
    """After kill -9 in mid-frame it is restarted, and the rows are those of an undisturbed run."""
    night, unit = new_night(machine, "killed")
    machine.run("systemctl", "start", unit)
    for number, (frame, content) in enumerate(frames.items()):
        land(night, frame, content)
        if number % 2:
            time.sleep(0.3)
            before = main_pid(machine, unit)
            machine.run("kill", "-KILL", before)
            wait_for(
                lambda before=before: main_pid(machine, unit) not in (0, before), "the restart"
            )
    wait_done(machine, unit, night, *frames)
    assert int(machine.show(unit, "NRestarts")) == 2
    machine.run("systemctl", "stop", unit)
    assert night_rows(night) == undisturbed


def test_a_hang_restarts_it(machine: Machine, frames: dict[str, bytes]) -> None:
    """A main loop that hangs is ended by the watchdog, says where it hung, and is restarted."""
    night, unit = new_night(machine, "hung")
    machine.run("systemctl", "start", unit)
    before = main_pid(machine, unit)
    frame = next(iter(frames))
    lock = "/data/hung/photometric/.pipnick-watch/records.lock"
    # Whoever holds this lock for good stops the loop in the middle of a publish.
    machine.run("systemd-run", "--unit=holder", "flock", lock, "sleep", "1000")
    land(night, frame, frames[frame])
    wait_for(lambda: main_pid(machine, unit) not in (0, before), "the watchdog's restart")
    machine.run("systemctl", "stop", "holder")
    wait_done(machine, unit, night, frame)
    said = machine.journal(unit)
    assert "Watchdog timeout" in said
    assert "in own_lock" in said
    machine.run("systemctl", "stop", unit)


def test_it_stops_in_mid_frame(machine: Machine, frames: dict[str, bytes]) -> None:
    """Stopping it while frames are measured takes less than 10 s and leaves no process behind."""
    night, unit = new_night(machine, "stopped")
    machine.run("systemctl", "start", unit)
    for number in range(40):
        land(night, f"d{number}_red.fits", next(iter(frames.values())))
    wait_for(lambda: bool(statuses(night)), "the first row")
    started = time.monotonic()
    machine.run("systemctl", "stop", unit)
    assert time.monotonic() - started < 10
    assert machine.show(unit, "Result") == "success"
    assert len(statuses(night)) < 40
    assert machine.show(unit, "TasksCurrent") in ("[not set]", "0")


def test_the_box_is_closed(machine: Machine) -> None:
    """What runs in the unit writes below its night and nowhere else, and has no network."""
    machine.run("mkdir", "-p", "/data/other")
    machine.run("chmod", "777", "/data/other", "/opt", "/var/lib", "/home", "/etc")
    night, unit = new_night(machine, "probed")
    machine.path("/usr/local/probe.py").write_text(PROBE)
    command = shlex.join([sys.executable, "/usr/local/probe.py"])
    drop_in(machine, unit, "Type=oneshot", "Restart=no", "ExecStart=", f"ExecStart={command} %f")
    machine.run("systemctl", "start", unit)
    found = (night / "probe").read_text()
    assert found.count("allowed") == 1
    assert "'night': 'allowed'" in found
    assert found.count("Read-only file system") == 5


def test_a_missing_night_is_not_started_again(machine: Machine) -> None:
    """Wrong usage ends it for good: no restart mends that."""
    unit = "pipnick-watch@data-nowhere.service"
    with pytest.raises(AssertionError):
        machine.run("systemctl", "start", unit)
    assert machine.show(unit, "ExecMainStatus") == "2"
    assert machine.show(unit, "ActiveState") == "failed"


def test_nights_are_taken_up_as_they_appear(machine: Machine, frames: dict[str, bytes]) -> None:
    """The service for all nights measures what lands in a folder that comes while it runs."""
    new_night(machine, "dusk/2024-05-13")
    run_command(machine, "--install-service", "--nights", "/data/dusk/*/", "--apply")
    drop_in(machine, "pipnick-watch.service", *settings())
    machine.run("systemctl", "start", "pipnick-watch.service")
    night, _ = new_night(machine, "dusk/2024-05-14")
    frame = next(iter(frames))
    land(night, frame, frames[frame])
    wait_done(machine, "pipnick-watch.service", night, frame)
    machine.run("systemctl", "stop", "pipnick-watch.service")
    assert machine.show("pipnick-watch.service", "Result") == "success"
