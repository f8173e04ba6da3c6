"""A real systemd in namespaces, on a throw-away copy of this machine's file system."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SYSTEMD = Path("/usr/lib/systemd/systemd")
CGROUPS = [Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")]
USER = "pipnick"
ALL = ("-m", "-p", "-u", "-i", "-n", "-C")
"""Every namespace that a machine has."""

PLACES = sorted(
    {
        Path(__file__).parents[1], Path(sys.prefix), Path(sys.base_prefix),
        *(Path(one) for one in os.environ.get("PYTHONPATH", "").split(":") if one),
    }
)  # fmt: skip
"""What the program that is tested consists of."""

BOOT = r"""
set -eu
base=$1; shift
mount --make-rprivate /
mount -t tmpfs tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" overlay "$base/root"
cd "$base/root"
for place in "$@"; do   # what lies on other file systems, where the overlay has nothing
    if [ ! -e ".$place" ] || [ -z "$(ls -A ".$place")" ]; then
        mkdir -p ".$place"; mount --bind "$place" ".$place"
        mount -o remount,bind,ro ".$place"
    fi
    while [ "$place" != / ]; do chmod o+rx ".$place" || true; place=$(dirname "$place"); done
done
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs dev
for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "dev/${node%:*}" c 1 "${node#*:}"
done
mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p data old
mount -t tmpfs -o mode=755 tmpfs data   # file events come from it; from an overlay they may not
grep -q "^USER:" etc/passwd || echo "USER:x:4242:4242::/nonexistent:/bin/false" >> etc/passwd
grep -q "^USER:" etc/group || echo "USER:x:4242:" >> etc/group
rm -rf etc/systemd/system/*.wants
for unit in systemd-tmpfiles-setup.service systemd-tmpfiles-clean.timer tmp.mount; do
    ln -sf /dev/null "etc/systemd/system/$unit"   # nothing here is to be swept
done
printf '[Unit]\nRequires=basic.target\nAfter=basic.target\n' > etc/systemd/system/test.target
pivot_root . old
cd /
umount -l /old
exec env -i container=unshare PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /usr/lib/systemd/systemd --unit=test.target
""".replace("USER", USER)


class Machine:
    """A booted systemd; commands run in it as root."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def run(self, *command: str | Path, check: bool = True) -> str:
        """Run a command in it and give its standard output."""
        ran = subprocess.run(
            ["nsenter", "-t", str(self.pid), *ALL, *map(str, command)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if check and ran.returncode:
            raise AssertionError(f"{command}: {ran.returncode}: {ran.stderr or ran.stdout}")
        return ran.stdout

    def show(self, unit: str, name: str) -> str:
        """Give one property of a unit."""
        return self.run("systemctl", "show", "-P", name, unit).strip()

    def journal(self, unit: str, *flags: str) -> str:
        """Give what a unit has said."""
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit, *flags, check=False)

    def path(self, path: str | Path) -> Path:
        """Give where a path of it is to be found from outside."""
        return Path(f"/proc/{self.pid}/root") / str(path).lstrip("/")


def _why_not() -> str:
    """Say why no systemd can be booted here; empty when one can."""
    if os.geteuid() != 0:
        return "booting systemd in namespaces needs root"
    for needed in ("unshare", "nsenter", "systemctl", "journalctl", "pivot_root"):
        if shutil.which(needed) is None:
            return f"{needed} is not installed"
    if not SYSTEMD.exists():
        return f"{SYSTEMD} is not installed"
    if _cgroup() is None:
        return "no cgroup2 hierarchy that may be written to"
    return ""


def _cgroup() -> Path | None:
    return next(
        (
            one for one in CGROUPS
            if (one / "cgroup.procs").exists() and os.access(one / "cgroup.procs", os.W_OK)
        ),
        None,
    )  # fmt: skip


@contextlib.contextmanager
def booted(base: Path) -> Iterator[Machine]:
    """Boot systemd; everything that is changed in it is gone afterwards."""
    reason = _why_not()
    if reason:
        pytest.skip(reason)
    above = _cgroup()
    assert above is not None
    group = above / f"pipnick-watch-test-{os.getpid()}"
    group.mkdir()
    process = subprocess.Popen(
        ["unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--fork",
         "--kill-child=KILL", "sh", "-c", BOOT, "boot", str(base), *map(str, PLACES)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())),
    )  # fmt: skip
    try:
        yield Machine(_wait_running(process))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(OSError):
            (group / "cgroup.kill").write_text("1")
        process.communicate(timeout=20)
        _remove(group)


def _wait_running(process: "subprocess.Popen[bytes]") -> int:
    """Wait until systemd has started its target, and give its PID."""
    end = time.monotonic() + 40.0
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    state = "nothing"
    while time.monotonic() < end and process.poll() is None:
        pids = children.read_text().split() if children.exists() else []
        if pids:
            pid = int(pids[0])
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired, OSError):
                if "systemd" in Path(f"/proc/{pid}/comm").read_text():
                    state = Machine(pid).run("systemctl", "is-system-running", check=False).strip()
                    if state in ("running", "degraded"):
                        return pid
        time.sleep(0.1)
    if process.poll() is None:
        process.kill()
    said = process.communicate()[0].decode(errors="replace").strip().splitlines()
    pytest.skip(f"systemd does not boot in namespaces here ({state}): {said[-1:]}")


def _remove(group: Path) -> None:
    """Remove the cgroups, the innermost first."""
    for _ in range(50):
        for folder in sorted(group.rglob("*/"), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        with contextlib.suppress(OSError):
            group.rmdir()
        if not group.exists():
            return
        time.sleep(0.1)
