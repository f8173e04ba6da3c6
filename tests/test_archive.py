"""``pipnick-watch --nights GLOB --once`` as a user runs it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from archives import archive_rows, make_archive, n_recorded, start_client, wait_recorded

from conftest import command, land, rows, statuses
from pipnick_watch.columns import CATALOGUE
from pipnick_watch.records import FrameResult, Records
from pipnick_watch.records.cells import line
from pipnick_watch.settings import Settings
from pipnick_watch.watch.forecast import Forecast, count_frames
from pipnick_watch.watch.outbox import Finished, Outbox


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three nights of five frames that nobody has measured."""
    folder = tmp_path_factory.mktemp("archive")
    make_archive(folder, 3, 5)
    return folder


@pytest.fixture
def nights(archive: Path, tmp_path: Path) -> list[Path]:
    """Give a copy of them."""
    return [
        Path(shutil.copytree(night, tmp_path / night.name)) for night in sorted(archive.iterdir())
    ]


@pytest.fixture(scope="module")
def alone(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Give the rows of the nights, each measured by ``MAINDIR --once``."""
    folder = tmp_path_factory.mktemp("alone")
    made = []
    for night in sorted(archive.iterdir()):
        made.append(Path(shutil.copytree(night, folder / night.name)))
        assert command("pipnick-watch", made[-1], "--once", "--no-plots").returncode == 0
    return dict(archive_rows(made))


def _measure(nights: list[Path], *flags: str) -> tuple[int, str]:
    ran = command(
        "pipnick-watch",
        "--nights",
        str(nights[0].parent / "night*"),
        "--once",
        "--no-plots",
        *flags,
    )
    return ran.returncode, ran.stderr


def test_all_nights_are_measured_as_each_alone(
    nights: list[Path], alone: dict[str, object]
) -> None:
    """The rows are those of ``--once`` on each night; a second run finds nothing to do."""
    ours = Settings().fingerprint()
    assert [count_frames(night, ours) for night in nights] == [5, 5, 5]
    code, said = _measure(nights)
    assert code == 0, said
    assert "3 nights: 15 frames done, 0 failed" in said
    assert archive_rows(nights) == alone
    assert all((night / "photometric" / "pipnick_watch.log").is_file() for night in nights)
    code, said = _measure(nights)
    assert code == 0, said
    assert "3 nights: 0 frames done, 0 failed" in said
    assert n_recorded(nights) == 15
    assert [count_frames(night, ours) for night in nights] == [0, 0, 0]
    assert count_frames(nights[0], "another") == 5


def test_only_what_is_stale_is_measured_again(nights: list[Path], alone: dict[str, object]) -> None:
    """With other settings all is measured again, to the rows of a fresh run; else nothing is."""
    code, said = _measure(nights, "--thresh", "20")
    assert code == 0, said
    (nights[2] / "pipnick-watch.toml").write_text("[photometry]\nthresh = 20.0\n")
    code, said = _measure(nights)
    assert "3 nights: 10 frames done" in said, said
    assert archive_rows(nights[:2]) == {name: alone[name] for name in ("night0", "night1")}


def test_a_run_that_was_killed_goes_on(
    nights: list[Path], alone: dict[str, object], tmp_path: Path
) -> None:
    """Killed in the middle and started again, it comes to the same rows, none twice."""
    client = start_client(str(tmp_path / "night*"), "--workers", "1", log=tmp_path / "log")
    wait_recorded(nights, 4)
    os.killpg(client.pid, signal.SIGKILL)
    client.wait()
    done = n_recorded(nights)
    assert done < 15
    code, said = _measure(nights)
    assert code == 0, said
    assert archive_rows(nights) == alone
    assert n_recorded(nights) == 15


def test_ctrl_c_ends_it_between_two_frames(nights: list[Path], tmp_path: Path) -> None:
    """After Ctrl-C it says that the next run goes on, and exits with 130."""
    client = start_client(str(tmp_path / "night*"), "--workers", "1", log=tmp_path / "log")
    wait_recorded(nights, 2)
    client.send_signal(signal.SIGINT)
    assert client.wait(timeout=30) == 130
    assert "the next run goes on from here" in (tmp_path / "log").read_text()


def test_failures_are_listed_at_the_end(nights: list[Path]) -> None:
    """A bad frame, a night with bad settings: the rest is measured, and both are named last."""
    (nights[0] / "reduced" / "bad.fits").write_bytes(b"no FITS at all" * 500)
    (nights[1] / "pipnick-watch.toml").write_text("[photometry]\nthres = 5\n")
    code, said = _measure(nights)
    assert code == 1
    assert len(statuses(nights[0])) == 6
    assert len(statuses(nights[2])) == 5
    last = said.splitlines()[-2:]
    assert any(f"failed: {nights[0]}: bad.fits: " in line for line in last), said
    assert any(f"failed: {nights[1]}: not finished: " in line for line in last), said
    assert any("did you mean 'thresh'" in line for line in last)


def test_since_leaves_out_the_nights_before(nights: list[Path]) -> None:
    """With --since only nights that changed in these days are measured, without it all."""
    old = nights[0]
    past = time.time() - 10 * 86400
    for path in [*old.rglob("*"), old]:
        os.utime(path, (past, past))
    code, said = _measure(nights, "--since", "3")
    assert code == 0, said
    assert "2 nights: 10 frames done" in said
    assert not (old / "photometric").exists()
    code, said = _measure(nights)
    assert "3 nights: 5 frames done" in said, said
    for path in [path for night in nights for path in [*night.rglob("*"), night]]:
        os.utime(path, (past, past))
    code, said = _measure(nights, "--since", "3")
    assert code == 2
    assert "no night has changed in 3 days" in said


def test_a_pattern_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    """No night at all is an error in the command, not a success."""
    ran = command("pipnick-watch", "--nights", str(tmp_path / "*"), "--once")
    assert ran.returncode == 2
    assert "no folder with a reduced/" in ran.stderr


def test_an_objects_csv_is_remade_for_many_frames_at_once(maindir: Path) -> None:
    """Frames that are measured again wait for each other; in the end the newest rows are there."""
    records = Records(maindir)
    records.recover()

    def result(number: int, settings: str) -> FrameResult:
        frame = f"SIM_V/d{number}.fits"
        values = {"frame": frame, "object": "SIM", "filter": "V", "id": number, "flux_psf": 1.0}
        facts = {"sha256": f"{number}", "settings": settings, "n_sources": 1, "fwhm": 5.0,
                 "sky": 300.0}  # fmt: skip
        return FrameResult(
            frame=frame, object="SIM", filter="V", status="done", facts=facts,
            catalogue=line({**values, "flags": len(settings)}, CATALOGUE),
        )  # fmt: skip

    outbox = Outbox(records)
    published = []
    for settings in ("old", "other"):
        published.clear()
        for number in range(40):
            outbox.add(Finished(result=result(number, settings), since=time.monotonic()))
            published.append(len(outbox.publish(hurry=False)))
    assert sum(map(bool, published)) < 20
    outbox.publish(hurry=True)
    assert len(outbox) == 0
    merged = rows(maindir / "photometric" / "unconsolidated" / "SIM.csv")
    assert sorted(int(row["id"]) for row in merged) == list(range(40))
    assert {row["flags"] for row in merged} == {"5"}


QUEUE = """
import sys, threading
from concurrent.futures import Executor, Future
from pathlib import Path
from pipnick_watch.settings import Settings
from pipnick_watch.watch.night import Night

class Busy(Executor):
    def submit(self, fn, /, *args, **kwargs):
        return Future()

wake = threading.Event()
night = Night(Path(sys.argv[1]), Settings(), Busy(), 4, wake=wake.set, once=True)
night.begin()
night.rescan()
n_ready = night.n_left - 4
while night.backlog.n_ready < n_ready or night.exclusions.busy:
    wake.wait(night.step())
night.rescan()
facts = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
print(n_ready, facts["VmHWM"].removesuffix("kB"))
"""
"""A night all of whose frames are queued, the workers never coming to an end."""


@pytest.mark.parametrize(
    ("few", "many"), [(100, 500), pytest.param(1000, 10_000, marks=pytest.mark.long)]
)
def test_the_memory_does_not_grow_with_the_queue(
    tmp_path: Path, frames: dict[str, bytes], few: int, many: int
) -> None:
    """Ten times as many queued frames cost the process a tenth more memory at most."""
    memory = {}
    for size in (few, many):
        maindir = tmp_path / f"queue{size}"
        first = land(maindir, "SIM_V/d0_red.fits", next(iter(frames.values())))
        for number in range(1, size):
            os.link(first, first.with_name(f"d{number}_red.fits"))
        # with what a client loads that measures on a cluster
        code = f"import distributed\n{QUEUE}"
        ran = subprocess.run(
            [sys.executable, "-c", code, str(maindir)], capture_output=True, text=True, check=True
        )
        n_ready, memory[size] = map(int, ran.stdout.split())
        assert n_ready == size - 4
    print(memory)  # noqa: T201  (shown with -rP)
    assert memory[many] < 1.1 * memory[few]


def test_no_time_is_named_before_it_can_be_known() -> None:
    """The forecast says that it is too early, and later what the pace of late comes to."""
    forecast = Forecast(1000)
    forecast.note(3, 997)
    assert str(forecast) == "3 frames done, 997 left, too early to say how long"
    forecast._seen[0] = (time.monotonic() - 100.0, 0)
    forecast.note(200, 800)
    assert forecast.pace == pytest.approx(2.0, rel=0.05)
    assert str(forecast).endswith("about 6.7 min left")
    forecast.note(1000, 0)
    assert str(forecast) == "1000 frames done, 0 left"
