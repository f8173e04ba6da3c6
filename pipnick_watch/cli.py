"""The doors: two commands and their exit codes. The only room that ends a process.

Everything heavy is imported inside the commands, so that ``--help`` answers at once.
"""

import argparse
import dataclasses
import os
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipnick_watch import __version__, logs
from pipnick_watch.errors import PipnickWatchError, SettingsError, UsageError
from pipnick_watch.settings import (
    PHOTOMETRY_DEFAULTS,
    SECTIONS,
    SETTINGS_FILE,
    Settings,
    load_settings,
)

__all__ = ["photometry_command", "watch_command"]

EXIT_CODES = """\
exit codes: 0 clean; 1 a frame failed (--once); 2 wrong usage; 75 another daemon watches this
MAINDIR; 78 bad settings; 130 Ctrl-C in --once"""

NO_MAINDIR = (
    "MAINDIR is missing: the folder that holds reduced/; it goes before options of several words"
)

UNIT_FOLDER = Path("/etc/systemd/system")


def watch_command(arguments: Sequence[str] | None = None) -> None:
    """Run ``pipnick-watch``."""
    parser = _parser("pipnick-watch", "Measure the frames of a night as they land, or all at once.")
    parser.add_argument(
        "maindir", nargs="?", type=Path, metavar="MAINDIR", help="the night's folder"
    )
    doing = parser.add_mutually_exclusive_group()
    doing.add_argument("--once", action="store_true", help="measure what is there, then exit")
    doing.add_argument(
        "--demo", nargs="?", const="", metavar="DIR",
        help="play a simulated night into DIR (default: a new folder) and watch it",
    )  # fmt: skip
    doing.add_argument(
        "--status", action="store_true",
        help="say how the daemon of MAINDIR fares: exit 0 healthy, 1 not running, 3 in trouble",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="with --status: for scripts")
    doing.add_argument(
        "--install-service", action="store_true",
        help="print the systemd unit for MAINDIR or --nights, with this machine's paths and user",
    )  # fmt: skip
    parser.add_argument(
        "--apply", nargs="?", type=Path, const=UNIT_FOLDER, metavar="DIR",
        help=f"with --install-service: write it (into DIR; default: {UNIT_FOLDER})",
    )  # fmt: skip
    doing.add_argument(
        "--export", nargs="+", type=Path, metavar=("FILE.parquet", "MAINDIR"),
        help="write the objects' rows of these nights as a Parquet data set (needs pyarrow)",
    )  # fmt: skip
    parser.add_argument(
        "--nights", metavar="GLOB",
        help="follow every night folder that matches and appears, as '/data/*/'; with --once: "
        "measure what is in all of them, then exit",
    )  # fmt: skip
    parser.add_argument(
        "--dask", metavar="ADDRESS",
        help="with --once: measure on the Dask cluster of this scheduler (needs distributed)",
    )  # fmt: skip
    parser.add_argument(
        "--since", type=float, default=3.0, metavar="DAYS",
        help="with --nights: take up nights that have changed since then (default: 3)",
    )  # fmt: skip
    parser.add_argument(
        "--metrics", type=Path, metavar="FILE",
        help="keep numbers for Prometheus' textfile collector in FILE (needs prometheus_client)",
    )  # fmt: skip
    _add_settings(parser, {})
    _end(parser, arguments, _watch)


def photometry_command(arguments: Sequence[str] | None = None) -> None:
    """Run ``pipnick_photometry``, upstream's command."""
    parser = _parser("pipnick_photometry", "Measure all frames of a night.")
    parser.add_argument(
        "maindir", nargs="?", type=Path, metavar="MAINDIR", help="the night's folder"
    )
    _add_settings(parser, PHOTOMETRY_DEFAULTS)
    _end(parser, arguments, _photometry)


def _watch(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if options.demo is not None:
        from pipnick_watch.watch.demo import run_demo

        if options.maindir is not None:
            parser.error("--demo plays its own night: give its folder as --demo DIR, no MAINDIR")
        folder = Path(options.demo) if options.demo else None
        return run_demo(folder, ["--verbosity", str(options.verbosity)])
    if options.export is not None:
        return _export(options, parser)
    if options.nights is not None and options.maindir:
        parser.error("--nights finds its MAINDIRs by itself: give no MAINDIR")
    if options.dask is not None and not options.once:
        parser.error("--dask is for --once: a night that is followed needs one machine")
    if options.install_service:
        from pipnick_watch.watch.install import install_service

        return install_service(
            options.maindir,
            options.nights,
            flags=_service_flags(options),
            writable=[] if options.metrics is None else [options.metrics.resolve().parent],
            apply=options.apply,
        )
    if options.status:
        return _status(options, parser)
    if options.once and (options.nights is not None or options.dask is not None):
        return _archive(options, parser)
    if options.nights is not None:
        return _nights(options, parser)
    maindir, settings = _prepare(options, parser, {})
    if options.once:
        return _once(maindir, settings, options, "pipnick_watch.log")
    from pipnick_watch.watch.daemon import run_daemon

    _start_logging(options, maindir / "photometric" / "pipnick_watch.log")
    return run_daemon(maindir, settings, options.metrics)


def _status(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from pipnick_watch.watch.status import tell, tell_nights

    if options.nights is not None:
        return tell_nights(options.nights, as_json=options.json)
    return tell(_maindir(options, parser), as_json=options.json)


def _nights(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Follow the nights that match; each has its settings, the flags hold for all of them."""
    from pipnick_watch.watch.nights import run_nights

    def settings_of(maindir: Path) -> Settings:
        return _settings(options, maindir, parser, {})

    shared = _settings(options, None, parser, {})
    _start_logging(options, None)
    return run_nights(
        options.nights,
        settings_of,
        workers=shared.watch.workers,
        since_days=options.since,
        metrics=options.metrics,
    )


def _archive(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Measure the nights that match, or MAINDIR, and exit; each has its settings."""
    import glob

    from pipnick_watch.watch.archive import run_archive

    if options.nights is None:
        found = [_maindir(options, parser)]
    elif options.redo:
        parser.error("--redo is for one MAINDIR")
    else:
        found = sorted({Path(name).resolve() for name in glob.glob(options.nights)})  # noqa: PTH207
    maindirs = [maindir for maindir in found if (maindir / "reduced").is_dir()]
    if not maindirs:
        raise UsageError(f"{options.nights or found[0]}: no folder with a reduced/ in it")

    def settings_of(maindir: Path) -> Settings:
        return _settings(options, maindir, parser, {})

    shared = _settings(options, None, parser, {})
    _start_logging(options, None)
    return run_archive(
        maindirs,
        settings_of,
        workers=shared.watch.workers,
        dask=options.dask,
        redo=options.redo,
    )


def _export(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from pipnick_watch.export import export

    file, *maindirs = options.export
    maindirs += [] if options.maindir is None else [options.maindir]
    if not maindirs:
        parser.error("--export FILE.parquet MAINDIR…: the nights are missing")
    for maindir in maindirs:
        _check_folder(maindir)
    _start_logging(options, None)
    export(file, maindirs)
    return 0


def _service_flags(options: argparse.Namespace) -> list[str]:
    """Give the flags that an installed service keeps; its settings belong into a file."""
    flags = [] if options.metrics is None else ["--metrics", str(options.metrics.resolve())]
    return flags if options.nights is None else [*flags, "--since", f"{options.since:g}"]


def _photometry(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    maindir, settings = _prepare(options, parser, PHOTOMETRY_DEFAULTS)
    return _once(maindir, settings, options, "pipnick_photometry.log")


def _once(maindir: Path, settings: Settings, options: argparse.Namespace, log: str) -> int:
    from pipnick_watch.watch.once import run_once

    if not (maindir / "reduced").is_dir():
        raise UsageError(f"{maindir / 'reduced'}: no such folder; the frames are looked for there")
    _start_logging(options, maindir / "photometric" / log)
    return run_once(maindir, settings, redo=options.redo)


def _prepare(
    options: argparse.Namespace,
    parser: argparse.ArgumentParser,
    defaults: Mapping[str, Mapping[str, Any]],
) -> tuple[Path, Settings]:
    """Check the folder and the settings, before anything is imported or written."""
    maindir = _maindir(options, parser)
    return maindir, _settings(options, maindir, parser, defaults)


def _settings(
    options: argparse.Namespace,
    maindir: Path | None,
    parser: argparse.ArgumentParser,
    defaults: Mapping[str, Mapping[str, Any]],
) -> Settings:
    """Read the settings of a MAINDIR, or those of the flags and ``--config`` alone."""
    flags: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for name, value in vars(options).items():
        section, dot, key = name.partition(".")
        if dot:
            flags[section][key] = value
    try:
        load_settings(None, flags)
    except SettingsError as error:
        parser.error(str(error).removeprefix("the command line: "))
    file: Path | None = options.config
    if file is None and maindir is not None and (maindir / SETTINGS_FILE).exists():
        file = maindir / SETTINGS_FILE
    return load_settings(file, flags, defaults)


def _maindir(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Path:
    """Give the MAINDIR that has to be there, links resolved."""
    maindir: Path | None = options.maindir
    if maindir is None:
        parser.error(NO_MAINDIR)
    _check_folder(maindir)
    return maindir.resolve()


def _check_folder(maindir: Path) -> None:
    if not maindir.is_dir():
        raise UsageError(f"{maindir}: no such folder; MAINDIR is the folder that holds reduced/")


def _start_logging(options: argparse.Namespace, file: Path | None) -> None:
    level = logs.LEVELS[5 if options.very_verbose else options.verbosity]
    logs.start_logging(level, file)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message: str) -> typing.NoReturn:
        self.exit(UsageError.exit_code, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser(name: str, about: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=name,
        usage=f"{name} MAINDIR [options]",
        description=about,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pipnick-watch {__version__}")
    parser.add_argument(
        "--config", type=Path, metavar="FILE",
        help=f"settings in TOML (default: MAINDIR/{SETTINGS_FILE}, where there is one)",
    )  # fmt: skip
    parser.add_argument(
        "--redo", nargs="+", default=[], metavar="FRAME",
        help="measure these frames again: path below reduced/, or the file's name",
    )  # fmt: skip
    parser.add_argument(
        "-vv", "--very_verbose", "--very-verbose", action="store_true",
        help="say everything: --verbosity 5",
    )  # fmt: skip
    parser.add_argument(
        "--verbosity", type=int, choices=sorted(logs.LEVELS), default=4,
        help="1 critical, 2 errors, 3 warnings, 4 information (default), 5 everything",
    )  # fmt: skip
    return parser


def _add_settings(
    parser: argparse.ArgumentParser, defaults: Mapping[str, Mapping[str, Any]]
) -> None:
    """Make a flag of every knob, as it was declared; its help shows this command's default."""
    for section, kind in SECTIONS.items():
        group = parser.add_argument_group(f"[{section}]")
        hints = typing.get_type_hints(kind)
        for one in dataclasses.fields(kind):
            default = defaults.get(section, {}).get(one.name, one.default)
            _add_flag(group, section, one, hints[one.name], default)
    both = {"plots.final": False, "plots.inters": False}
    group.add_argument("--no-plots", nargs=0, action=_Several, const=both, help="draw nothing")


class _Several(argparse.Action):
    """Sets several settings at once."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        for name, value in self.const.items():
            setattr(namespace, name, value)


class _Words(argparse.Action):
    """Collects words, separated by blanks or commas."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        words = [word.strip() for value in values for word in value.split(",") if word.strip()]
        setattr(namespace, self.dest, [*getattr(namespace, self.dest, []), *words])


def _add_flag(
    group: argparse._ArgumentGroup,
    section: str,
    one: "dataclasses.Field[Any]",
    hint: Any,
    default: Any,
) -> None:
    metadata = one.metadata
    spelled = "--" + one.name.replace("_", "-")
    flags = dict.fromkeys((*metadata.get("flags", ()), spelled))
    unit = f", {metadata['unit']}" if "unit" in metadata else ""
    shown = f" (default: {default}{unit})"
    how: dict[str, Any] = {
        "dest": f"{section}.{one.name}",
        "default": argparse.SUPPRESS,
        "help": metadata["help"],
    }
    if hint is bool:
        how["action"] = "store_true"
        no = [f"--no-{flag[2:]}" for flag in flags if flag.startswith("--")]
        group.add_argument(
            *no, dest=how["dest"], default=argparse.SUPPRESS, action="store_false",
            help=argparse.SUPPRESS,
        )  # fmt: skip
        if default:
            how["help"] += f" (default; {no[-1]} turns it off)"
    elif hint in (int, float, str):
        how |= {"type": hint, "choices": metadata.get("choices"), "help": how["help"] + shown}
        if not metadata.get("choices"):
            how["metavar"] = {int: "N", float: "X", str: "WORD"}[hint]
    else:
        how |= {"action": _Words, "nargs": "+", "metavar": "WORD"}
    group.add_argument(*flags, **how)


def _end(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    act: Callable[[argparse.Namespace, argparse.ArgumentParser], int],
) -> None:
    """Parse, act, and end the process with the right code and, for trouble, one line."""
    options = parser.parse_args(arguments)
    # One thread for each process, set before numpy is imported: the workers are the parallelism.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    try:
        code = act(options, parser)
    except PipnickWatchError as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        code = error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write(f"{parser.prog}: interrupted\n")
        code = 130
    except BrokenPipeError:
        code = 1
    sys.exit(code)
