"""Frames that are written, renamed, replaced and removed while they are looked at."""

import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from live_night import Live
from solutions import solve

from conftest import command, land, night_rows, rows, statuses
from pipnick_watch.watch.workers import WorkerPool


def log_rows(maindir: Path, frame: str) -> list[dict[str, str]]:
    """Give all rows of one frame in frames.csv."""
    return [row for row in rows(maindir / "photometric" / "frames.csv") if row["frame"] == frame]


def catalogue(maindir: Path, frame: str) -> list[dict[str, str]]:
    """Give the rows of a frame's catalogue."""
    folder, name = frame.split("/")
    stem = name.removesuffix("_red.fits")
    return rows(maindir / "photometric/unconsolidated" / folder / f"{stem}_photsrcs.csv")


def test_a_frame_that_grows_is_measured_once_when_whole(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool,
    undisturbed: dict[str, list[tuple[str, ...]]],
) -> None:  # fmt: skip
    """Slow growth, a hole first and the data later, half a block and a whole block short.

    Outcome: each waits with a stated reason, is measured once when it is complete, and the rows
    are --once's.
    """
    slow, sparse, half, block = frames
    with Live(maindir, pool) as live:
        paths = {name: maindir / "reduced" / name for name in frames}
        for path in paths.values():
            path.parent.mkdir(exist_ok=True)
        land(maindir, half, frames[half][:-1440])
        land(maindir, block, frames[block][:-2880])
        with paths[slow].open("wb") as one, paths[sparse].open("wb") as two:
            content = frames[sparse]
            two.write(content[:5760])
            two.truncate(len(content))
            two.flush()
            for part in range(12):
                size = len(frames[slow])
                one.write(frames[slow][part * size // 12 : (part + 1) * size // 12])
                one.flush()
                two.seek(max(5760, part * len(content) // 12))
                two.write(content[two.tell() : (part + 1) * len(content) // 12])
                two.flush()
                live.run(0.2)
            assert not statuses(maindir)
            assert "incomplete" in live.reason(half)
            assert "incomplete" in live.reason(block)
        live.until_done(slow, sparse)
        for name in (half, block):
            with paths[name].open("ab") as file:
                file.write(frames[name][-1440 if name == half else -2880 :])
        live.until_done(*frames)
        live.run(1.0)
        assert [len(log_rows(maindir, name)) for name in frames] == [1, 1, 1, 1]
    assert night_rows(maindir) == undisturbed


def test_a_frame_that_is_never_finished_is_failed_in_the_end(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool
) -> None:
    """Without growth for short_timeout_s it is failed as incomplete, and done when it is whole."""
    frame, content = next(iter(frames.items()))
    with Live(maindir, pool, short_timeout_s=1.0, rescan_s=0.5) as live:
        path = land(maindir, frame, content[: len(content) // 2])
        live.until_done(frame, status="failed")
        assert log_rows(maindir, frame)[-1]["reason"].startswith("incomplete: ")
        live.run(1.5)
        assert len(log_rows(maindir, frame)) == 1
        with path.open("ab") as file:
            file.write(content[len(content) // 2 :])
        live.until_done(frame)


@pytest.mark.parametrize("how", ["in place", "by rename", "cut and rewritten"])
def test_a_frame_that_is_rewritten_without_end_is_never_a_mixture(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool, how: str
) -> None:
    """Two contents take turns under one name while it is read: old or new rows, never a mix.

    Outcome: every recorded hash is one of the two, and when it ends the rows are the last one's.
    """
    import hashlib

    frame, other = list(frames)[:2]
    contents = [frames[frame], frames[other]]
    path = land(maindir, frame, contents[0])
    stop = threading.Event()

    def rewrite() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            if how == "by rename":
                fresh = path.with_name(".fresh")
                fresh.write_bytes(contents[turn % 2])
                fresh.replace(path)
            elif how == "in place":
                with path.open("r+b") as file:
                    for start in range(0, len(contents[0]), 2880):
                        file.write(contents[turn % 2][start : start + 2880])
            else:
                path.write_bytes(contents[turn % 2])
            stop.wait(0.03 * (turn % 5))
        path.write_bytes(contents[1])

    writer = threading.Thread(target=rewrite)
    with Live(maindir, pool, rescan_s=1.0) as live:
        writer.start()
        live.run(5.0)
        stop.set()
        writer.join()
        wanted = hashlib.sha256(contents[1]).hexdigest()
        live.until(
            lambda: (
                bool(log_rows(maindir, frame)) and log_rows(maindir, frame)[-1]["sha256"] == wanted
            ),
            "the last content's rows",
        )
    hashes = {hashlib.sha256(content).hexdigest() for content in contents}
    assert {row["sha256"] for row in log_rows(maindir, frame)} <= hashes
    found = rows(maindir / "photometric/unconsolidated/SIM-A.csv")
    assert found == catalogue(maindir, frame)
    assert {row["frame"] for row in found} == {frame}


def test_a_frame_replaced_while_it_is_measured_is_measured_again_at_once(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool
) -> None:
    """An event during the measurement is not lost: no rescan is needed for the new content."""
    import hashlib

    frame, other = list(frames)[:2]
    with Live(maindir, pool, rescan_s=600.0) as live:
        land(maindir, frame, frames[frame])
        live.until(lambda: frame in live.night.measuring, "the measurement")
        fresh = maindir / "reduced" / Path(frame).parent / ".fresh"
        fresh.write_bytes(frames[other])
        fresh.replace(maindir / "reduced" / frame)
        wanted = hashlib.sha256(frames[other]).hexdigest()
        live.until(
            lambda: (
                bool(log_rows(maindir, frame)) and log_rows(maindir, frame)[-1]["sha256"] == wanted
            ),
            "the new content's rows",
            seconds=10,
        )


def test_renamed_removed_and_replaced_frames(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    """A renamed frame's rows move with it, a removed one's stay, a replaced one's are superseded.

    The renamed one is not measured again. A touch, and a copy over itself, change nothing.
    """
    moved, gone, replaced, other = frames
    caplog.set_level("INFO")
    with Live(maindir, pool, rescan_s=0.5) as live:
        for frame, content in frames.items():
            land(maindir, frame, content)
        live.until_done(*frames)
        before = catalogue(maindir, gone)
        new = "SIM-A_V/d2001_red.fits"
        (maindir / "reduced" / moved).rename(maindir / "reduced" / new)
        (maindir / "reduced" / gone).unlink()
        land(maindir, replaced, frames[other])
        (maindir / "reduced" / other).touch()
        live.until_done(new)
        assert f"{new}: was renamed; its rows move with it" in caplog.messages
        live.until(lambda: len(log_rows(maindir, replaced)) >= 2, "the new reduction's row")
        live.until_quiet()
        live.run(1.5)
        found = rows(maindir / "photometric/unconsolidated/SIM-A.csv")
        assert {row["frame"] for row in found} == {new, gone}
        assert [row for row in found if row["frame"] == gone] == before
        measured = {row["measure_s"] for row in log_rows(maindir, other)}
        assert len(measured) == 1
        # what was another object's is this one's now
        assert log_rows(maindir, replaced)[-1]["object"] == "SIMB"
    ran = command("pipnick-watch", maindir, "--once", "--no-plots")
    assert "0 frames done" in ran.stderr, ran.stderr


def test_a_frame_that_vanishes_at_every_stage(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool
) -> None:
    """Removed while it settles, waits, is queued or measured: forgotten, or its rows are whole."""
    frame, content = next(iter(frames.items()))
    good = list(frames)[3]
    with Live(maindir, pool) as live:
        for pause in (0.0, 0.002, 0.01, 0.03, 0.06, 0.1):
            path = land(maindir, frame, content)
            end = time.monotonic() + pause
            while time.monotonic() < end:
                live.turn(0.001)
            os.unlink(path)
        live.until_quiet()
        assert set(statuses(maindir)) <= {frame}
        land(maindir, good, frames[good])
        live.until_done(good)
        live.until_quiet()
    if frame in statuses(maindir):
        assert catalogue(maindir, frame)


def test_a_failed_frame_whose_time_alone_changes_is_not_measured_for_ever(
    frames: dict[str, bytes], maindir: Path
) -> None:
    """--once over a bad frame that was touched, and with other settings, ends."""
    content = next(iter(frames.values()))
    start = content.index(b"XTENSION")
    headers = content[: content.index(b" END ") // 2880 * 2880 + 2880]
    not_numbers = b"\xff" * (start - len(headers))
    path = land(maindir, "bad/d1_red.fits", headers + not_numbers)
    assert command("pipnick-watch", maindir, "--once", "--no-plots").returncode == 1
    assert "finite" in log_rows(maindir, "bad/d1_red.fits")[-1]["reason"]
    path.touch()
    for flags in ((), ("--thresh", "9"), ("--thresh", "9")):
        ran = command("pipnick-watch", maindir, "--once", "--no-plots", *flags, timeout=30)
        assert ran.returncode == 1, ran.stderr


def without(found: dict[str, list[tuple[str, ...]]], *frames: str) -> object:
    """Leave out of a night's rows those of frames.csv that old names have."""
    log = [row for row in found["frames.csv"] if row[0] not in frames]
    return {**found, "frames.csv": log}


def test_renamed_frames_come_to_what_once_gives_and_are_not_measured_again(
    frames: dict[str, bytes], maindir: Path, tmp_path: Path
) -> None:
    """A new name, another folder, a solution that stays behind: the rows are a fresh --once's."""
    for frame, content in frames.items():
        land(maindir, frame, content)
        solve(maindir, frame)
    assert command("pipnick-watch", maindir, "--once", "-g", "--no-plots").returncode == 0
    renamed, moved, *_ = frames
    names = {renamed: "SIM-A_V/d77_red.fits", moved: "else where/=d,1002_red.fits"}
    (maindir / "reduced" / "else where").mkdir()
    for old, new in names.items():
        (maindir / "reduced" / old).rename(maindir / "reduced" / new)
    ran = command("pipnick-watch", maindir, "--once", "-g", "--no-plots")
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("was renamed; its rows move with it") == 2
    fresh = tmp_path / "fresh" / "night"
    for frame, content in frames.items():
        land(fresh, names.get(frame, frame), content)
        solve(fresh, frame)
    assert command("pipnick-watch", fresh, "--once", "-g", "--no-plots").returncode == 0
    assert without(night_rows(maindir), *names) == night_rows(fresh)
    ran = command("pipnick-watch", maindir, "--once", "-g", "--no-plots")
    assert "0 frames done" in ran.stderr, ran.stderr


def test_a_renamed_frame_whose_catalogue_is_gone_is_measured(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool
) -> None:
    """With nothing to take over, and with a name that is there still, it is measured."""
    old, copied, *_ = frames
    new, copy = "SIM-A_V/d77_red.fits", "SIM-A_V/d78_red.fits"
    with Live(maindir, pool, rescan_s=600.0) as live:
        for frame in (old, copied):
            land(maindir, frame, frames[frame])
        live.until_done(old, copied)
        (maindir / "photometric/unconsolidated/SIM-A_V/d1001_photsrcs.csv").unlink()
        (maindir / "reduced" / old).rename(maindir / "reduced" / new)
        shutil.copy2(maindir / "reduced" / copied, maindir / "reduced" / copy)
        live.until_done(new, copy)
        live.until_quiet()
    assert statuses(maindir) == {old: "excluded", copied: "done", new: "done", copy: "done"}
    assert all(catalogue(maindir, frame) for frame in (new, copied, copy))
