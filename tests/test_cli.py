"""The two commands: their help, their flags, their exit codes."""

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest

from conftest import BIN, command, land, statuses
from pipnick_watch import __version__, cli
from pipnick_watch.settings import PHOTOMETRY_DEFAULTS, SECTIONS, Settings

BOTH = (cli.watch_command, cli.photometry_command)


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    """Give what a command line's settings are, nothing being run."""
    (tmp_path / "reduced").mkdir()

    def of(act: object, *words: str) -> Settings:
        seen: list[Settings] = []

        def take(maindir: Path, settings: Settings, *_: object) -> int:
            seen.append(settings)
            return 0

        monkeypatch.setattr(cli, "_once", take)
        once = ["--once"] if act is cli.watch_command else []
        with pytest.raises(SystemExit) as ended:
            act([str(tmp_path), *once, *words])  # type: ignore[operator]
        assert ended.value.code == 0
        return seen[0]

    return of


@pytest.mark.parametrize("name", ["pipnick-watch", "pipnick_photometry"])
def test_help_names_every_setting_and_the_exit_codes(name: str) -> None:
    """Each key of the three tables is a flag of both commands."""
    ran = command(name, "--help")
    assert ran.returncode == 0
    for kind in SECTIONS.values():
        for one in dataclasses.fields(kind):
            assert f"--{one.name.replace('_', '-')}" in ran.stdout
    for flag in ("-t", "--excl_files", "--excl_objs", "--excl_filts", "-th", "-g", "-m", "-f",
                 "-pf", "--plot_final", "-pi", "--plot_inters", "-vv", "--verbosity"):  # fmt: skip
        assert re.search(rf"(^|[ ,]){flag}[ ,\n]", ran.stdout), flag
    assert "exit codes: 0 clean" in ran.stdout


def test_help_shows_each_commands_own_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    """The daemon honours comments and draws; upstream's command does neither unless asked."""
    shown = []
    for act in BOTH:
        with pytest.raises(SystemExit):
            act(["--help"])
        shown.append(" ".join(capsys.readouterr().out.split()))
    for text in ("--no-use-table turns it off", "--no-final turns it off"):
        assert text in shown[0]
        assert text not in shown[1]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Both say pipnick-watch and the version."""
    for act in BOTH:
        with pytest.raises(SystemExit) as ended:
            act(["--version"])
        assert ended.value.code == 0
        assert capsys.readouterr().out == f"pipnick-watch {__version__}\n"


@pytest.mark.parametrize("act", BOTH)
@pytest.mark.parametrize(
    ("words", "section", "key", "value"),
    [
        (["-t"], "watch", "use_table", True),
        (["--use_table"], "watch", "use_table", True),
        (["--no-use-table"], "watch", "use_table", False),
        (["--excl_files", "d1", "d2,d3"], "watch", "excl_files", ("d1", "d2", "d3")),
        (["--excl-objs", "M 13", "--excl_objs", "x"], "watch", "excl_objs", ("M 13", "x")),
        (["--excl_filts", "B, R", ",", "V"], "watch", "excl_filts", ("B", "R", "V")),
        (["-th", "10.0"], "photometry", "thresh", 10.0),
        (["--thresh", "10"], "photometry", "thresh", 10.0),
        (["-g"], "photometry", "group", True),
        (["-m", "new"], "photometry", "mode", "new"),
        (["-f", "ellip"], "photometry", "fittype", "ellip"),
        (["-pf"], "plots", "final", True),
        (["-pi"], "plots", "inters", True),
        (["--plot_inters"], "plots", "inters", True),
        (["-pi", "--no-plots"], "plots", "inters", False),
        (["--no-plots"], "plots", "final", False),
        (["--workers", "3"], "watch", "workers", 3),
        (["--aperture-radius", "5"], "photometry", "aperture_radius", 5.0),
        (["--show"], "plots", "show", True),
    ],
)
def test_flags(
    settings_of: object, act: object, words: list[str], section: str, key: str, value: object
) -> None:
    """One definition serves both commands; underscores and hyphens are the same."""
    settings = settings_of(act, *words)  # type: ignore[operator]
    assert getattr(getattr(settings, section), key) == value


def test_defaults_of_upstreams_command(settings_of: object) -> None:
    """Comments are not acted on and nothing is drawn, unless the night's file says so."""
    settings = settings_of(cli.photometry_command)  # type: ignore[operator]
    for section, keys in PHOTOMETRY_DEFAULTS.items():
        for key, value in keys.items():
            assert getattr(getattr(settings, section), key) == value


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["/nowhere"], 2, "no such folder"),
        (["{0}"], 2, "reduced"),
        (["{0}", "--config", "/nowhere.toml"], 78, "nowhere.toml"),
        (["{0}", "--thresh", "0"], 2, "more than 0"),
        (["{0}", "--thresh", "nan"], 2, "thresh"),
        (["{0}", "--fitype", "circ"], 2, "--fitype"),
        (["{0}", "--verbosity", "0"], 2, "--verbosity"),
        (["{0}", "--excl_objs"], 2, "--excl_objs"),
        (["--excl_objs", "M13", "{0}"], 2, "MAINDIR is missing"),
    ],
)
def test_wrong_use(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    says: str,
) -> None:
    """One line that says what, and the code that the help lists; nothing is written."""
    with pytest.raises(SystemExit) as ended:
        cli.photometry_command([word.format(tmp_path) for word in words])
    assert ended.value.code == code
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{0}", "--since", "3"], "--since is for --nights"),
        (["--status", "--nights", "{0}/*/", "--since", "3"], "--since is for --nights"),
        (["--nights", "{0}/*/", "--once", "--since", "nan"], "--since"),
        (["--nights", "{0}/*/", "{0}"], "give no MAINDIR"),
        (["{0}", "--redo", "d1_red.fits"], "--redo is for --once"),
        (["{0}", "--once", "--metrics", "{0}/x.prom"], "--metrics is for a daemon"),
        (["{0}", "--json"], "--json is for --status"),
        (["{0}", "--apply"], "--apply is for --install-service"),
        (["{0}", "--dask", "tcp://head:8786"], "--dask is for --once"),
    ],
)
def test_what_would_be_ignored_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    """An option that means nothing beside the others ends with one line and 2."""
    with pytest.raises(SystemExit) as ended:
        cli.watch_command([word.format(tmp_path) for word in words])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_bad_settings_end_with_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the file and the nearest valid key."""
    (tmp_path / "reduced").mkdir()
    (tmp_path / "pipnick-watch.toml").write_text("[photometry]\ntresh = 9\n")
    with pytest.raises(SystemExit) as ended:
        cli.watch_command([str(tmp_path), "--once"])
    assert ended.value.code == 78
    assert "thresh" in capsys.readouterr().err


def test_nobody_listens(frames: dict[str, bytes], maindir: Path) -> None:
    """With all three streams closed a night is measured all the same."""
    land(maindir, "X_V/d1_red.fits", next(iter(frames.values())))
    ran = subprocess.run(
        ["/bin/sh", "-c", '"$0" "$1" <&- >&- 2>&-', str(BIN / "pipnick_photometry"), str(maindir)],
        timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0
    assert statuses(maindir) == {"X_V/d1_red.fits": "done"}
