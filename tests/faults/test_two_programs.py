"""A daemon beside --once, and clocks that step: the same rows, once each."""

import errno
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import without_locks

from conftest import BIN, Daemon, command, land, night_rows, rows, statuses, wait_for

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(id, now);
    FILE *file = id == CLOCK_REALTIME ? fopen(getenv("CLOCK_STEP"), "r") : NULL;
    long step = 0;
    if (file) { if (fscanf(file, "%ld", &step) == 1) now->tv_sec += step; fclose(file); }
    return code;
}
"""


def test_a_daemon_and_two_backfills_at_once(
    frames: dict[str, bytes], maindir: Path, undisturbed: dict[str, list[tuple[str, ...]]]
) -> None:
    """Three programs work on one MAINDIR at the same time: the rows are those of one.

    Outcome: each frame has one row in frames.csv that counts and its lines once; a second daemon
    is refused with 75.
    """
    for frame, content in frames.items():
        land(maindir, frame, content)
    with Daemon(maindir, "--rescan-s", "1") as daemon:
        others = [
            subprocess.Popen(
                [str(BIN / "pipnick-watch"), str(maindir), "--once"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            for _ in range(2)
        ]  # fmt: skip
        assert command("pipnick-watch", maindir).returncode == 75
        assert [other.wait(60) for other in others] == [0, 0]
        daemon.wait_done(*frames)
        assert daemon.stop() == 0
    assert night_rows(maindir) == undisturbed
    assert len(rows(maindir / "photometric" / "frames.csv")) == len(frames)


@pytest.mark.parametrize("step", [3600, -3600])
def test_the_wall_clock_steps(
    frames: dict[str, bytes], maindir: Path, tmp_path: Path, step: int
) -> None:
    """The clock jumps by an hour, and times of files lie in the future: the cadence stays.

    Outcome: a frame that makes no settling event is found by the rescans, as before.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler, and no other way to step one process's clock")
    source, library, stepped = (tmp_path / name for name in ("shim.c", "shim.so", "step"))
    source.write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    stepped.write_text("0")
    first, second, third, fourth = frames
    log = maindir.parent / "log"
    with log.open("wb") as file, subprocess.Popen(
        [str(BIN / "pipnick-watch"), str(maindir), "--rescan-s", "1", "--polling", "--no-plots"],
        env={**os.environ, "LD_PRELOAD": str(library), "CLOCK_STEP": str(stepped)},
        stdout=file, stderr=file, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            land(maindir, first, frames[first])
            wait_for(lambda: statuses(maindir) == {first: "done"}, "the first frame")
            stepped.write_text(str(step))
            for frame in (second, third):
                path = land(maindir, frame, frames[frame])
                ahead = time.time() + 7200
                os.utime(path, (ahead, ahead))
            wait_for(lambda: len(statuses(maindir)) == 3, f"two more: {log.read_text()}", 15)
            stepped.write_text(str(-step))
            land(maindir, fourth, frames[fourth])
            wait_for(lambda: len(statuses(maindir)) == 4, f"the last: {log.read_text()}", 15)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
    for row in rows(maindir / "photometric" / "frames.csv"):
        assert 0 <= float(row["latency_s"]) < 30
        assert 0 <= float(row["wait_s"]) < 30


def without(code: int, *words: str | Path) -> list[str]:
    """Give a command line for which ``flock`` answers with this error, or grants all with 0."""
    if platform.machine() not in without_locks.FLOCK:
        pytest.skip(f"the number of flock is not known on {platform.machine()}")
    name, *rest = map(str, words)
    return [sys.executable, without_locks.__file__, str(code), str(BIN / name), *rest]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_is_refused(
    frames: dict[str, bytes], maindir: Path, code: int
) -> None:
    """Where two programs could not be kept apart none begins: one line says why, no row appears."""
    for frame, content in frames.items():
        land(maindir, frame, content)
    for flags in ([], ["--once"]):
        ran = subprocess.run(
            without(code, "pipnick-watch", maindir, "--no-plots", *flags),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ran.returncode == 1
        assert ran.stderr.count("\n") == 1 + ("watching" in ran.stderr)
        assert "this file system has no locks" in ran.stderr
    assert statuses(maindir) == {}


def test_locks_that_keep_nobody_out(
    frames: dict[str, bytes], maindir: Path, undisturbed: dict[str, list[tuple[str, ...]]]
) -> None:
    """As between hosts on some network mounts: three programs at once do no lasting harm.

    Outcome: one may end early, as it cannot write; no frame is lost, and what was doubled in an
    object's CSV is gone after the next start.
    """
    for frame, content in frames.items():
        land(maindir, frame, content)
    line = without(0, "pipnick-watch", maindir, "--once", "--no-plots")
    programs = [
        subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(3)
    ]
    for one in programs:
        said = one.communicate(timeout=90)[1]
        assert one.returncode in (0, 1), said
        assert b"Traceback" not in said
    assert command("pipnick-watch", maindir, "--once", "--no-plots").returncode == 0
    assert night_rows(maindir) == undisturbed
