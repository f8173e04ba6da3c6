"""``--status``: what it says of daemons that live, died, hang, wait, and were never there."""

import csv
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from conftest import Daemon, command, land, statuses, wait_for
from pipnick_watch.columns import NIGHT_LOG, names
from pipnick_watch.records import Records
from pipnick_watch.watch.status import percentile
from pipnick_watch.watch.tally import Tally


def status(maindir: Path) -> tuple[int, dict[str, Any]]:
    """Give the exit code and what a script reads."""
    ran = command("pipnick-watch", maindir, "--status", "--json")
    return ran.returncode, json.loads(ran.stdout)


def wait_status(maindir: Path, code: int, what: str, seconds: float = 40.0) -> dict[str, Any]:
    """Wait until the status has this exit code."""
    wait_for(lambda: status(maindir)[0] == code, what, seconds)
    return status(maindir)[1]


def write_night(maindir: Path, n_frames: int) -> None:
    """Write the night log of so many frames, a tenth of them failed."""
    (maindir / "photometric").mkdir()
    columns = names(NIGHT_LOG)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="nan", lineterminator="\n")
    writer.writeheader()
    for number in range(n_frames):
        failed = number % 10 == 9
        writer.writerow(
            {
                "frame": f"A_V/d{number}_red.fits", "object": "A", "filter": "V",
                "status": "failed" if failed else "done",
                "reason": "not FITS, says who" if failed else "nan",
                "n_sources": 5, "fwhm": 4 + number % 3, "sky": 100,
                "latency_s": "nan" if failed else number % 100 / 100,
                "csv_bytes": 0, "version": "0", "sha256": f"{number:064x}",
                "recorded_at": f"2024-05-13T0{number // 1000 % 10}:00:{number % 60:02d}.000Z",
            }
        )  # fmt: skip
    (maindir / "photometric" / "frames.csv").write_text(text.getvalue())


def test_a_healthy_daemon(frames: dict[str, bytes], maindir: Path) -> None:
    """It is 0; PID, version, mode, counts, the last frame, its latency and the disk are told."""
    frame, content = next(iter(frames.items()))
    with Daemon(maindir) as daemon:
        land(maindir, frame, content)
        land(maindir, "d9_red.fits", b"no frame" * 1000)
        daemon.wait_done(frame)
        both = {"done": 1, "failed": 1, "excluded": 0}
        wait_for(lambda: status(maindir)[1]["frames"] == both, "both frames in the status")
        known = wait_status(maindir, 0, "health")
        assert known["pid"] == daemon.process.pid
        assert known["mode"] == "events"
        assert known["frames"] == both
        assert known["failed"][0]["frame"] == "d9_red.fits"
        assert known["last"]["frame"] in (frame, "d9_red.fits")
        assert known["latency"]["n"] == 1
        assert known["latency"]["p50"] == known["latency"]["p95"] > 0
        assert 0 < known["disk"]["free"] <= known["disk"]["total"]
        said = command("pipnick-watch", maindir, "--status").stdout
        assert f"watching: PID {daemon.process.pid}" in said
        assert "d9_red.fits: failed: not FITS" in said
        assert daemon.stop() == 0
        assert "the night so far: 1 done, 1 failed, 0 excluded; median FWHM " in daemon.said()
    code, known = status(maindir)
    assert (code, known["state"], known["troubles"]) == (1, "stopped", [])
    assert known["frames"]["done"] == 1


def test_a_waiting_frame_is_named_with_its_reason(frames: dict[str, bytes], maindir: Path) -> None:
    """A locked frame is told with its holder's PID and how long; a stuck lock is trouble."""
    frame, content = next(iter(frames.items()))
    lock = maindir / "reduced" / f"{frame}.lock"
    lock.parent.mkdir()
    lock.touch()
    with (
        subprocess.Popen(["flock", str(lock), "sleep", "600"]) as holder,
        Daemon(maindir, "--lock-timeout-s", "4") as daemon,
    ):
        land(maindir, frame, content)
        wait_for(lambda: bool(status(maindir)[1]["waiting"]), "the waiting frame")
        (waiting,) = status(maindir)[1]["waiting"]
        assert waiting["frame"] == frame
        assert waiting["reason"] == f"locked by PID {waiting['holder']}"
        assert waiting["seconds"] >= 0
        known = wait_status(maindir, 3, "the stuck lock's trouble")
        assert "stuck" in known["troubles"][0]
        assert str(known["waiting"][0]["holder"]) in known["troubles"][0]
        subprocess.run(["pkill", "-P", str(holder.pid)], check=False)
        holder.kill()
        daemon.wait_done(frame)
        wait_status(maindir, 0, "health again")


def test_scanning_is_trouble_unless_it_was_asked_for(maindir: Path) -> None:
    """With --polling a daemon that only scans is healthy, and says that it scans."""
    with Daemon(maindir, "--polling"):
        known = wait_status(maindir, 0, "health")
        assert known["mode"] == "scanning"
        assert "--polling" in known["why"]


def test_a_missing_folder_is_trouble(maindir: Path) -> None:
    """While reduced/ is away it is 3, and 0 when it is there again."""
    with Daemon(maindir, "--rescan-s", "1"):
        wait_status(maindir, 0, "health")
        (maindir / "reduced").rename(maindir / "away")
        known = wait_status(maindir, 3, "the missing folder's trouble")
        assert known["state"] == "waiting for reduced/"
        (maindir / "away").rename(maindir / "reduced")
        wait_status(maindir, 0, "health again")


def test_a_stopped_process_is_trouble_and_a_killed_one_does_not_run(maindir: Path) -> None:
    """A process that says nothing for half a minute is 3; after kill -9 it is 1 at once."""
    path = maindir / "photometric" / ".pipnick-watch" / "status.json"
    with Daemon(maindir) as daemon:
        wait_status(maindir, 0, "health")
        daemon.process.send_signal(signal.SIGSTOP)
        said = json.loads(path.read_text())
        path.write_text(json.dumps({**said, "written": said["written"] - 60}))
        code, known = status(maindir)
        assert code == 3
        assert "no sign of life" in known["troubles"][0]
        daemon.kill()
    assert status(maindir)[0] == 1
    assert "gone without a word" in command("pipnick-watch", maindir, "--status").stdout
    # Nor does it run when its PID was given to another process.
    path.write_text(json.dumps({**said, "pid": 1}))
    assert status(maindir)[0] == 1


def test_another_machine_is_judged_by_its_sign_of_life(maindir: Path) -> None:
    """Over a shared disk the PID tells nothing: a fresh file is alive, an old one is not."""
    path = maindir / "photometric" / ".pipnick-watch" / "status.json"
    path.parent.mkdir(parents=True)
    said = {"place": "another boot", "host": "dome", "pid": 812, "state": "watching"}
    path.write_text(json.dumps({**said, "wall": time.time()}))
    assert status(maindir)[0] == 0
    path.write_text(json.dumps({**said, "wall": time.time() - 60}))
    assert status(maindir)[0] == 1


def test_without_any_daemon(frames: dict[str, bytes], maindir: Path) -> None:
    """Where none has run it is 1; what --once has done is counted all the same."""
    ran = command("pipnick-watch", maindir, "--status")
    assert ran.returncode == 1
    assert "no daemon has been here" in ran.stdout
    frame, content = next(iter(frames.items()))
    land(maindir, frame, content)
    assert command("pipnick-watch", maindir, "--once").returncode == 0
    code, known = status(maindir)
    assert (code, known["frames"]["done"], known["latency"]["n"]) == (1, 1, 1)
    assert command("pipnick-watch", maindir / "nowhere", "--status").returncode == 2


def test_a_damaged_file_is_as_none(maindir: Path) -> None:
    """A status file that a power cut has emptied, or of another version, is no error."""
    state = maindir / "photometric" / ".pipnick-watch"
    state.mkdir(parents=True)
    for text in ("", "{", '{"pid": 0, "unheard_of": 1}', "[]"):
        (state / "status.json").write_text(text)
        assert command("pipnick-watch", maindir, "--status").returncode == 1


def test_a_long_night_is_read_without_anything_heavy(maindir: Path) -> None:
    """With 10,000 frames all is counted, and neither numpy nor astropy is loaded for it."""
    write_night(maindir, 10_000)
    code = (
        "import sys\nfrom pathlib import Path\nfrom pipnick_watch.watch.status_words import tell\n"
        f"print(tell(Path({str(maindir)!r}), as_json=True), *sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *text, last = ran.stdout.splitlines()
    known = json.loads("\n".join(text))
    assert known["frames"] == {"done": 9000, "failed": 1000, "excluded": 0}
    assert known["latency"]["n"] == 9000
    assert not {"numpy", "astropy", "watchdog", "filelock", "apscheduler"} & set(last.split())


def test_a_torn_last_row_hides_no_other(maindir: Path) -> None:
    """What a power cut left of a row is not counted, and the rows before it are."""
    write_night(maindir, 100)
    log = maindir / "photometric" / "frames.csv"
    whole = log.read_text()
    last = whole.rstrip("\n").rpartition("\n")[2]
    for length in (3, len(last) // 2, len(last)):
        log.write_text(whole + last.replace("d99", "d100")[:length])
        assert status(maindir)[1]["frames"] == {"done": 90, "failed": 10, "excluded": 0}


def test_the_tally_of_a_long_night(maindir: Path) -> None:
    """Counts, medians and percentiles are those of the rows, and only new rows are read."""
    write_night(maindir, 1000)
    tally = Tally(Records(maindir))
    assert tally.refresh()
    assert not tally.refresh()
    assert tally.frames() == {"done": 900, "failed": 100, "excluded": 0}
    latency = tally.latency()
    assert (latency["n"], latency["p50"], latency["p95"]) == (900, 0.48, 0.94)
    assert latency["buckets"]["0.5"] == 460
    first, *rest = tally.summary({"no PSF star": 7})
    assert "900 done, 100 failed, 0 excluded; median FWHM 5.00 px, sky 100 e-" in first
    assert rest[-1].strip() == "7 × no PSF star"


def test_percentiles() -> None:
    """The value that the fraction does not exceed; nan for none."""
    values = [1.0, 2.0, 3.0, 4.0]
    assert [percentile(values, fraction) for fraction in (0.25, 0.5, 0.95, 1.0)] == [1, 2, 4, 4]
    assert percentile([], 0.5) != percentile([], 0.5)


def test_the_file_is_not_written_without_need(frames: dict[str, bytes], maindir: Path) -> None:
    """An idle daemon writes it every ten seconds, not every second."""
    path = maindir / "photometric" / ".pipnick-watch" / "status.json"
    with Daemon(maindir, "--no-plots") as daemon:
        frame, content = next(iter(frames.items()))
        land(maindir, frame, content)
        daemon.wait_done(frame)
        wait_for(lambda: json.loads(path.read_text())["frames"].get("done") == 1, "the count")
        seen = set()
        end = time.monotonic() + 5
        while time.monotonic() < end:
            seen.add(path.stat().st_mtime_ns)
            time.sleep(0.05)
        assert len(seen) <= 2
        assert statuses(maindir)[frame] == "done"


def test_metrics_are_kept(frames: dict[str, bytes], maindir: Path, tmp_path: Path) -> None:
    """--metrics writes what Prometheus' own parser reads, and a missing folder is refused."""
    from prometheus_client.parser import text_string_to_metric_families

    file = tmp_path / "night.prom"
    frame, content = next(iter(frames.items()))
    with Daemon(maindir, "--metrics", str(file)) as daemon:
        land(maindir, frame, content)
        daemon.wait_done(frame)
        wait_for(lambda: file.exists() and 'status="done"} 1.0' in file.read_text(), "the metrics")
        found = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(file.read_text())
            for sample in family.samples
        }
    where = str(maindir)
    assert found["pipnick_watch_frames", where, "done"] == 1
    assert found["pipnick_watch_watch_events", where] == 1
    assert found["pipnick_watch_latency_seconds_count", where] == 1
    assert found["pipnick_watch_latency_seconds_bucket", "+Inf", where] == 1
    assert found["pipnick_watch_disk_free_bytes", where] > 0
    assert abs(found["pipnick_watch_last_recorded_timestamp_seconds", where] - time.time()) < 60
    ran = command("pipnick-watch", maindir, "--metrics", tmp_path / "nowhere" / "x.prom")
    assert ran.returncode == 2
