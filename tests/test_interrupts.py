"""Ctrl-C at any moment: a command ends cleanly, an interrupted cell leaves nothing half done."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import BIN, command, land, night_rows, wait_for

FIRST = "SIM-A_V/d1001_red.fits"


@pytest.mark.parametrize("delay_s", [0.5, 1.0, 2.0])
def test_a_command_says_that_it_was_interrupted(
    frames: dict[str, bytes], maindir: Path, delay_s: float
) -> None:
    """The terminal sends Ctrl-C to every process of a command: one of them speaks, with 130."""
    for number in range(40):
        land(maindir, f"SIM-A_V/d{number}_red.fits", frames[FIRST])
    with subprocess.Popen(
        [str(BIN / "pipnick_photometry"), str(maindir), "--verbosity", "3"],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as running:  # fmt: skip
        time.sleep(delay_s)
        os.killpg(running.pid, signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    lines = [line for line in said.splitlines() if "aperture correction" not in line]
    assert "interrupted" in lines[-1]
    assert len(lines) <= 2  # the signal's own line and the command's


CELLS = """
import os, random, signal, sys, time
from pipnick_watch import photometry_all

night, workers = sys.argv[1], int(sys.argv[2])
random.seed(4)
interrupted = 0
for wait in sorted(random.uniform(0.01, 2.0) for _ in range(int(sys.argv[3]))):
    signal.setitimer(signal.ITIMER_REAL, wait)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        photometry_all(night, workers=workers, redo=["d1001_red.fits"])
    except KeyboardInterrupt:
        interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
print(interrupted, len(photometry_all(night, workers=workers)), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("workers", "times"), [(0, 8), (2, 4)])
def test_an_interrupted_cell_leaves_nothing_half_done(
    frames: dict[str, bytes],
    maindir: Path,
    undisturbed: dict[str, list[tuple[str, ...]]],
    workers: int,
    times: int,
) -> None:
    """Interrupted again and again, here or among workers: the rows of one run, and no worker."""
    for frame, content in frames.items():
        land(maindir, frame, content)
    with subprocess.Popen(
        [sys.executable, "-c", CELLS, str(maindir), str(workers), str(times)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as notebook:  # fmt: skip
        assert notebook.stdout is not None
        interrupted, found = map(int, notebook.stdout.readline().split())
        assert interrupted > 0
        assert found == 4
        assert night_rows(maindir) == undisturbed
        wait_for(lambda: not _workers_of(notebook.pid), "the workers' end")
        _, said = notebook.communicate("", timeout=20)
    assert "Traceback" not in said
    assert "0 frames done" in command("pipnick_photometry", maindir).stderr


def _workers_of(pid: int) -> list[int]:
    """List the grandchildren of a process: what its fork server has started."""

    def children(one: int) -> list[int]:
        try:
            found = Path(f"/proc/{one}/task/{one}/children").read_text().split()
        except FileNotFoundError:
            return []
        return [int(child) for child in found]

    return [worker for server in children(pid) for worker in children(server)]
