"""SIGKILL at random moments of whatever works on a night: nothing lost, nothing doubled."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from live_night import children

from conftest import BIN, command, land, night_rows, rows, statuses
from pipnick_watch.records.publishing import PREFIX

COMMENTED = "SIM-A_V/d1002_red.fits"
OTHER = "other"


class Night:
    """A MAINDIR to which things happen, and a process that is killed in the middle of them."""

    def __init__(self, maindir: Path, frames: dict[str, bytes], chance: random.Random) -> None:
        self.maindir = maindir
        self.frames = frames
        self.chance = chance
        self.table = maindir / "astrometry_files.tbl"

    def happen(self) -> None:
        """Let a frame arrive, be half written, replaced, renamed, or commented out or in."""
        frame = self.chance.choice(list(self.frames))
        path = self.maindir / "reduced" / frame
        what = self.chance.choice(
            ["arrive", "arrive", "half", "replace", "comment", "remove", "rename", "back"]
        )
        if what == "arrive":
            land(self.maindir, frame, self.frames[frame])
        elif what == "half":
            content = self.frames[frame]
            land(self.maindir, frame, content[: self.chance.randrange(len(content))])
        elif what == "replace":
            path.parent.mkdir(exist_ok=True)
            fresh = path.with_name(".fresh")
            fresh.write_bytes(self.chance.choice(list(self.frames.values())))
            fresh.replace(path)
        elif what == "remove":
            path.unlink(missing_ok=True)
        elif what == "rename" and path.exists():
            path.replace(self.other_name(path))
        elif what == "back" and self.other_name(path).exists():
            self.other_name(path).replace(path)
        else:
            self.comment(frame, out=self.chance.random() < 0.5)

    def other_name(self, path: Path) -> Path:
        """Give the name that a frame has after it was renamed."""
        return path.with_name(path.name.replace("d1", OTHER))

    def comment(self, frame: str, *, out: bool) -> None:
        """Put a ``#`` in front of a frame's row, or take it off, as an editor does."""
        if not self.table.exists():
            return
        lines = self.table.read_text().splitlines()
        for number, line in enumerate(lines):
            if frame in line:
                lines[number] = ("#" if out else "") + line.lstrip("#")
        fresh = self.table.with_name("table~")
        fresh.write_text("\n".join(lines) + "\n")
        fresh.replace(self.table)

    def live_and_die(self, flags: list[str]) -> None:
        """Run the command, let things happen, and kill it, its workers or all of them."""
        with (self.maindir.parent / "log").open("ab") as log, subprocess.Popen(
            [str(BIN / "pipnick-watch"), str(self.maindir), "--no-plots", *flags],
            stdout=log, stderr=log, start_new_session=True,
        ) as process:  # fmt: skip
            end = time.monotonic() + self.chance.uniform(0.4, 2.4)
            while time.monotonic() < end:
                self.happen()
                time.sleep(self.chance.uniform(0.0, 0.4))
            victim = self.chance.choice(["main", "group", "workers"])
            if victim == "workers":
                for child in children(process.pid):
                    if self.chance.random() < 0.7:
                        _kill(child)
                time.sleep(self.chance.uniform(0.0, 0.5))
            if victim == "main":
                _kill(process.pid)
            else:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def end_as(self, frames: dict[str, bytes]) -> None:
        """Bring the frames and the table to how the night ends."""
        for frame, content in frames.items():
            path = land(self.maindir, frame, content)
            self.other_name(path).unlink(missing_ok=True)
        for frame in frames:
            self.comment(frame, out=False)
        assert command("pipnick-watch", self.maindir, "--once", "--no-plots").returncode == 0
        self.comment(COMMENTED, out=True)
        time.sleep(1.1)
        ran = command("pipnick-watch", self.maindir, "--once", "--no-plots")
        assert ran.returncode == 0, ran.stderr


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def check(maindir: Path, expected: dict[str, list[tuple[str, ...]]]) -> None:
    """Assert that the rows are an undisturbed run's, none doubled, and nothing lies about."""
    found = night_rows(maindir)
    for name, wanted in expected.items():
        # an excluded frame has a catalogue only where it was measured before
        if name != "frames.csv" and (name.count("/") == 1 or name in found):
            # a frame that had another name, and was removed under it, keeps its rows
            assert [row for row in found[name] if OTHER not in str(row)] == wanted, name
    folder = maindir / "photometric" / "unconsolidated"
    for path in folder.glob("*.csv"):
        merged = rows(path)
        keys = [(row["frame"], row["id"]) for row in merged]
        assert len(keys) == len(set(keys))
        done = {frame for frame, _ in keys}
        assert {frame for frame in done if statuses(maindir)[frame] != "done"} == set()
        catalogues = [row for one in sorted(folder.glob("*/*.csv")) for row in rows(one)]
        assert sorted(map(str, merged)) == sorted(
            str(row) for row in catalogues if row["frame"] in done
        )
    assert not list(maindir.rglob(PREFIX + "*"))
    assert not list(maindir.rglob(".pw-cookie-*"))


def torture(maindir: Path, frames: dict[str, bytes], seed: int, times: int) -> None:
    """Kill so many times, then compare."""
    chance = random.Random(seed)
    calm = Night(maindir.parent / "calm", frames, chance)
    (calm.maindir / "reduced").mkdir(parents=True)
    calm.end_as(frames)
    expected = night_rows(calm.maindir)
    night = Night(maindir, frames, chance)
    for _ in range(times):
        night.live_and_die(["--once"] if chance.random() < 0.3 else ["--rescan-s", "1"])
    night.end_as(frames)
    check(maindir, expected)
    assert {name: statuses(maindir)[name] for name in frames} == statuses(calm.maindir)


@pytest.mark.parametrize("seed", [1, 2])
def test_twenty_kills(frames: dict[str, bytes], maindir: Path, seed: int) -> None:
    """Daemon, --once, workers and the whole group, while frames come, change and are commented.

    Outcome: the rows of an undisturbed run, none doubled, no left-over temporary files.
    """
    torture(maindir, frames, seed, 20)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [3, 4])
def test_a_hundred_kills(frames: dict[str, bytes], maindir: Path, seed: int) -> None:
    """The same, for longer."""
    torture(maindir, frames, seed, 100)
