"""A real Dask scheduler and real workers, started as a user does."""

import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from archives import (
    Cluster,
    archive_rows,
    end,
    free_port,
    make_archive,
    n_recorded,
    running_cluster,
    start_client,
    wait_recorded,
)

from conftest import command
from pipnick_watch.errors import UsageError
from pipnick_watch.watch import member
from pipnick_watch.watch.cluster import Cluster as DaskCluster

N_NIGHTS, N_FRAMES = 3, 6


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three nights of six frames that nobody has measured."""
    folder = tmp_path_factory.mktemp("archive")
    make_archive(folder, N_NIGHTS, N_FRAMES)
    return folder


@pytest.fixture(scope="module")
def local(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Give the rows that this machine comes to without Dask."""
    folder = tmp_path_factory.mktemp("local")
    nights = _copy(archive, folder)
    ran = command("pipnick-watch", "--nights", folder / "night*", "--once", "--no-plots")
    assert ran.returncode == 0, ran.stderr
    return dict(archive_rows(nights))


@pytest.fixture
def nights(archive: Path, tmp_path: Path) -> list[Path]:
    """Give a copy of the archive."""
    return _copy(archive, tmp_path)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give a scheduler and two workers."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def _copy(archive: Path, folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    return [Path(shutil.copytree(one, folder / one.name)) for one in sorted(archive.iterdir())]


def _measure(nights: list[Path], cluster: Cluster) -> tuple[int, str]:
    pattern = nights[0].parent / "night*"
    ran = command(
        "pipnick-watch", "--nights", pattern, "--once", "--no-plots", "--dask", cluster.address
    )
    return ran.returncode, ran.stderr


def test_a_cluster_gives_the_rows_of_one_machine(
    nights: list[Path], cluster: Cluster, local: dict[str, object]
) -> None:
    """Two workers measure an archive to the same rows as the local run."""
    code, said = _measure(nights, cluster)
    assert code == 0, said
    assert "3 nights: 18 frames done, 0 failed" in said
    assert archive_rows(nights) == local


def test_the_client_killed_and_started_again(
    nights: list[Path], cluster: Cluster, local: dict[str, object], tmp_path: Path
) -> None:
    """A client that is killed in mid-run leaves nothing doubled, lost or torn."""
    client = start_client(str(tmp_path / "night*"), "--dask", cluster.address, log=tmp_path / "log")
    wait_recorded(nights, 3)
    os.killpg(client.pid, signal.SIGKILL)
    client.wait()
    code, said = _measure(nights, cluster)
    assert code == 0, said
    assert archive_rows(nights) == local
    assert n_recorded(nights) == N_NIGHTS * N_FRAMES


def test_a_worker_killed_in_mid_run(
    nights: list[Path], cluster: Cluster, local: dict[str, object], tmp_path: Path
) -> None:
    """What a worker had when it was killed is measured by another, and no frame is charged."""
    client = start_client(str(tmp_path / "night*"), "--dask", cluster.address, log=tmp_path / "log")
    wait_recorded(nights, 3)
    end(cluster.workers[0])
    assert n_recorded(nights) < N_NIGHTS * N_FRAMES
    assert client.wait(timeout=100) == 0
    cluster.start_worker()
    cluster.wait_ready()
    said = (tmp_path / "log").read_text()
    assert "try 1 of 3" not in said
    assert archive_rows(nights) == local


def test_what_kills_a_process_costs_no_worker(cluster: Cluster) -> None:
    """A task that kills its process fails as on one machine, and the workers go on."""
    with DaskCluster(cluster.address) as pool:
        fatal = [pool.submit(os._exit, 1) for _ in range(3)]
        good = [pool.submit(len, "four") for _ in range(3)]
        assert all(isinstance(one.exception(60), BrokenProcessPool) for one in fatal)
        assert [one.result(60) for one in good] == [4, 4, 4]
        assert pool.n_workers == 4


def test_what_cannot_be_used_is_refused_before_the_first_frame(
    nights: list[Path], cluster: Cluster
) -> None:
    """No scheduler: one line, exit 2, and nothing is written."""
    ran = command("pipnick-watch", nights[0], "--once", "--dask", f"tcp://127.0.0.1:{free_port()}")
    assert ran.returncode == 2
    assert "no scheduler answers there" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    ran = command("pipnick-watch", nights[0], "--dask", cluster.address)
    assert ran.returncode == 2
    assert "--dask is for --once" in ran.stderr
    with DaskCluster(cluster.address) as pool, pytest.raises(UsageError, match="does not see"):
        pool.check_folder(nights[0] / "only-here")
    assert not (nights[0] / "photometric" / "frames.csv").exists()


def test_a_worker_with_another_version_is_refused(nights: list[Path], cluster: Cluster) -> None:
    """One worker with another pipnick-watch: one line names both, exit 2, nothing is measured."""
    preload = cluster.folder / "other_version.py"
    preload.write_text("from pipnick_watch.watch import member\nmember.__version__ = '0.0.7'\n")
    worker = cluster.start_worker("--preload", str(preload), "--no-nanny")
    cluster.wait_ready()
    code, said = _measure(nights, cluster)
    end(worker)
    assert code == 2
    assert "differs: pipnick-watch is 0.0.7 there and" in said
    assert len(said.splitlines()) == 1
    assert n_recorded(nights) == 0


def test_differing_versions_are_named() -> None:
    """Each package that differs is named with both versions; what is missing is said."""
    here = member.versions()
    assert member.difference(here, dict(here)) == ""
    there = {**here, "pipnick-watch": "0.0.7"}
    del there["photutils"]
    said = member.difference(here, there)
    assert f"pipnick-watch is 0.0.7 there and {here['pipnick-watch']} here" in said
    assert "photutils is missing there" in said
    with pytest.raises(member.MismatchError, match=r"pipnick-watch is .* there and 0\.0\.7 here"):
        member.do({**here, "pipnick-watch": "0.0.7"}, len, ((),))


@pytest.mark.long
def test_a_larger_archive_gives_the_same_rows(cluster: Cluster, tmp_path: Path) -> None:
    """Six nights of thirty frames: a cluster comes to the rows of this machine."""
    here = make_archive(tmp_path / "here", 6, 30)
    there = _copy(tmp_path / "here", tmp_path / "there")
    ran = command(
        "pipnick-watch", "--nights", tmp_path / "here" / "*", "--once", "--no-plots", timeout=600
    )
    assert ran.returncode == 0, ran.stderr
    code, said = _measure(there, cluster)
    assert code == 0, said
    assert "6 nights: 180 frames done, 0 failed" in said
    assert archive_rows(there) == archive_rows(here)


@pytest.mark.long
def test_a_scheduler_that_is_started_again(
    nights: list[Path], local: dict[str, object], tmp_path: Path
) -> None:
    """With scheduler and workers all killed and started again, the same client goes on."""
    with running_cluster(tmp_path) as lost:
        client = start_client(
            str(tmp_path / "night*"), "--dask", lost.address, log=tmp_path / "log"
        )
        wait_recorded(nights, 3)
        for process in (*lost.workers, lost.scheduler):
            end(process)
        assert n_recorded(nights) < N_NIGHTS * N_FRAMES
        lost.start_scheduler()
        lost.start_worker()
        assert client.wait(timeout=100) == 0
    said = (tmp_path / "log").read_text()
    assert "try 1 of 3" not in said
    assert archive_rows(nights) == local
