"""A power cut: what the disk holds at some instant is all that is left."""

import os
import random
import shutil
import signal
import subprocess
import time

import pytest
from recorded_nights import check, put, result_of, rows

from pipnick_watch.records import Records

SIZE = 48 << 20
N_CUTS = 6


@pytest.fixture
def mounts(tmp_path):
    """Give a function that mounts an image of an ext4 file system."""
    mounted = []

    def mount(image):
        folder = image.with_suffix(".mounted")
        folder.mkdir()
        ran = subprocess.run(
            ["mount", "-o", "loop", str(image), str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            pytest.skip(f"no image can be mounted here: {ran.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in filter(os.path.ismount, reversed(mounted)):
        subprocess.run(["umount", str(folder)], check=True)


def test_acknowledged_rows_survive_a_power_cut(tmp_path, mounts):
    """The disk's image is copied while frames are published, and the copy is mounted.

    Outcome: every frame whose publish had returned before the copy began is done, with its
    catalogue and its lines; after a restart everything agrees, and nothing is doubled.
    """
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("there is no mkfs.ext4 here")
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    disk = mounts(image)
    told_by, tells = os.pipe()
    child = os.fork()
    if child == 0:
        publish_for_ever(disk, tells)
    os.close(tells)
    chance = random.Random(7)
    acknowledged = []
    try:
        for cut in range(N_CUTS):
            time.sleep(chance.uniform(0.2, 0.5))
            # between two system calls, or the copy would be of several instants
            os.kill(child, signal.SIGSTOP)
            os.waitpid(child, os.WUNTRACED)
            acknowledged += os.read(told_by, 1 << 20).decode().split("\n")[:-1]
            copy = tmp_path / f"cut{cut}.img"
            shutil.copyfile(image, copy)
            os.kill(child, signal.SIGCONT)
            left = mounts(copy)
            look_at(left, acknowledged)
            subprocess.run(["umount", str(left)], check=True)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def look_at(disk, acknowledged):
    """Assert that what had been acknowledged is there."""
    assert acknowledged
    records = Records(disk, group=True)
    for frame in acknowledged:
        assert records.entry(frame).status == "done", frame
    records.recover()
    check(disk, midway=True)
    for frame in acknowledged:
        assert len(rows(records.catalogue(frame))) == 3
    assert len(rows(records.layout.object_csv("X"))) == 3 * len(records.entries())


def publish_for_ever(disk, tells):
    """Publish frame after frame, and tell of each when it is durable."""
    (disk / "reduced").mkdir()
    records = Records(disk, group=True)
    records.recover()
    number = 0
    while True:
        frame = f"X_V/d{number}_red.fits"
        put(disk, frame)
        records.publish(result_of(frame, str(number), group=True))
        os.write(tells, f"{frame}\n".encode())
        number += 1
        time.sleep(0.005)
