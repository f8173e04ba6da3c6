"""The units: valid, closed, and filled in for this machine."""

import os
import pwd
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import BIN, REPOSITORY, command
from pipnick_watch.watch.install import escape_path, unit_text

UNITS = REPOSITORY / "systemd"
NAMES = ["pipnick-watch@.service", "pipnick-watch.service"]


def installed(tmp_path: Path, *arguments: str | Path) -> tuple[Path, str]:
    """Have a unit written, and give it and what was said."""
    ran = command("pipnick-watch", "--install-service", *arguments, "--apply", tmp_path)
    assert ran.returncode == 0, ran.stderr
    (unit,) = tmp_path.glob("*.service")
    return unit, ran.stdout


def verify(unit: Path) -> str:
    """Give what systemd has to say against a unit: its exit code is 0 whatever it says."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    ran = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    return ran.stderr


def exposure(unit: Path) -> float:
    """Give the exposure that ``systemd-analyze security`` finds, from 0 to 10."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    ran = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True
    )
    last = ran.stdout.strip().splitlines()[-1]
    return float(last.partition(": ")[2].split()[0])


@pytest.mark.parametrize("name", NAMES)
def test_the_units_are_valid_and_closed(name: str) -> None:
    """Systemd finds no fault with them, and an exposure of at most 1.5."""
    assert verify(UNITS / name) == ""
    assert exposure(UNITS / name) <= 1.5


def test_a_night_s_unit_is_filled_in(maindir: Path, tmp_path: Path) -> None:
    """The template has this installation's command, the night's owner, and is valid."""
    (tmp_path / "units").mkdir()
    unit, said = installed(tmp_path / "units", maindir)
    text = unit.read_text()
    assert f"ExecStart={BIN / 'pipnick-watch'} %f\n" in text
    assert f"User={pwd.getpwuid(os.stat(maindir).st_uid).pw_name}\n" in text
    assert "ReadWritePaths=-%f\n" in text
    assert verify(unit) == ""
    assert exposure(unit) <= 1.5
    first, second = said.splitlines()[-2:]
    assert first == "systemctl daemon-reload"
    assert second.startswith("systemctl enable --now")
    assert escape_path(maindir) in second


def test_the_unit_for_all_nights_is_filled_in(tmp_path: Path) -> None:
    """Patterns with blanks, dollars and percents reach the command as they are."""
    data = tmp_path / "da ta$HOME%n"
    (data / "2024-05-13" / "reduced").mkdir(parents=True)
    (tmp_path / "units").mkdir()
    unit, said = installed(tmp_path / "units", "--nights", f"{data}/*/")
    text = unit.read_text()
    written = str(data).replace("%", "%%")
    assert f'--nights "{written.replace("$", "$$")}/*/" --since 3\n' in text
    assert f'RequiresMountsFor="{written}"\n' in text
    assert f'ReadWritePaths="-{written}"\n' in text
    assert verify(unit) == ""
    assert said.splitlines()[-1] == "systemctl enable --now pipnick-watch.service"


def test_without_apply_it_is_printed(maindir: Path) -> None:
    """The unit goes to standard output, and what to do next to standard error."""
    ran = command("pipnick-watch", "--install-service", maindir)
    assert ran.returncode == 0
    assert ran.stdout == unit_text(maindir, None)
    assert "--apply\n" in ran.stderr
    assert "systemctl enable --now" in ran.stderr
    assert not list(maindir.glob("*.service"))


def test_metrics_of_a_service_may_be_written(maindir: Path, tmp_path: Path) -> None:
    """The folder of --metrics is opened in the unit's box, and the flag is kept."""
    text = command(
        "pipnick-watch", "--install-service", maindir, "--metrics", tmp_path / "night.prom"
    ).stdout
    assert f"%f --metrics {tmp_path}/night.prom\n" in text
    assert f"ReadWritePaths=-%f -{tmp_path}\n" in text


def test_settings_that_are_given_are_the_service_s(maindir: Path, tmp_path: Path) -> None:
    """Flags of settings and --config stand in the unit's command; bad ones are refused at once."""
    config = tmp_path / "all nights.toml"
    config.write_text("[photometry]\nthresh = 9.0\n")
    ran = command(
        "pipnick-watch", "--install-service", maindir, "--polling", "--rescan-s", "5", "--no-final",
        "--excl_objs", "FOCUS", "my star", "--config", config,
    )  # fmt: skip
    command_line = next(line for line in ran.stdout.splitlines() if line.startswith("ExecStart="))
    head, _, tail = command_line.partition("%f ")
    assert head.endswith("/pipnick-watch ")
    assert shlex.split(tail) == [
        "--config", str(config), "--polling", "--rescan-s", "5.0", "--no-final",
        "--excl-objs", "FOCUS", "my star",
    ]  # fmt: skip
    config.write_text("[photometry]\ntresh = 9.0\n")
    assert (
        command("pipnick-watch", "--install-service", maindir, "--config", config).returncode == 78
    )
    ran = command("pipnick-watch", "--install-service", maindir, "--workers", "-1")
    assert (ran.returncode, ran.stdout) == (2, "")


def test_a_missing_folder_for_units_is_named(maindir: Path, tmp_path: Path) -> None:
    """It says what is missing, and does not send anybody to root."""
    ran = command("pipnick-watch", "--install-service", maindir, "--apply", tmp_path / "nowhere")
    assert ran.returncode == 2
    assert "make it first" in ran.stderr
    assert "root;" not in ran.stderr.partition("cannot be written to")[2]


def test_neither_or_both_are_refused(maindir: Path) -> None:
    """Without a night or a pattern, or with both, it ends with 2 and one line."""
    for arguments in ((), (maindir, "--nights", "/data/*/")):
        ran = command("pipnick-watch", "--install-service", *arguments)
        assert ran.returncode == 2
        assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize("path", ["/", "/data/2024-05-13", "/d ä/.x/a.b:c_d", "/.hidden/x"])
def test_paths_are_escaped_as_systemd_does(path: str) -> None:
    """The instance's name is what systemd-escape makes of the path."""
    if shutil.which("systemd-escape") is None:
        pytest.skip("systemd-escape is not installed")
    ran = subprocess.run(["systemd-escape", "-p", path], capture_output=True, text=True, check=True)
    assert escape_path(Path(path)) == ran.stdout.strip()
