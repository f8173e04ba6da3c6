"""The doors: two commands and their exit codes. The only room that ends a process.

Everything heavy is imported inside the commands, so that ``--help`` answers at once.
"""

import argparse
import math
import os
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipnick_watch import __version__
from pipnick_watch.errors import PipnickWatchError, UsageError
from pipnick_watch.flags import add_settings, read_settings, spell_settings
from pipnick_watch.settings import PHOTOMETRY_DEFAULTS, Settings

__all__ = ["photometry_command", "watch_command"]

EXIT_CODES = """\
exit codes: 0 clean; 1 a frame failed (--once); 2 wrong usage; 75 another daemon watches this
MAINDIR; 78 bad settings; 130 Ctrl-C in --once"""

NO_MAINDIR = (
    "MAINDIR is missing: the folder that holds reduced/; it goes before options of several words"
)

UNIT_FOLDER = Path("/etc/systemd/system")

FOLLOWED_DAYS = 3.0
"""Nights that have not changed for longer are not followed, unless --since says otherwise."""


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
        "--since", type=_days, metavar="DAYS",
        help="with --nights: take up nights that have changed since then "
        f"(default: {FOLLOWED_DAYS:g}; with --once: all)",
    )  # fmt: skip
    parser.add_argument(
        "--metrics", type=Path, metavar="FILE",
        help="keep numbers for Prometheus' textfile collector in FILE (needs prometheus_client)",
    )  # fmt: skip
    add_settings(parser, {})
    _end(parser, arguments, _watch)


def photometry_command(arguments: Sequence[str] | None = None) -> None:
    """Run ``pipnick_photometry``, upstream's command."""
    parser = _parser("pipnick_photometry", "Measure all frames of a night.")
    parser.add_argument(
        "maindir", nargs="?", type=Path, metavar="MAINDIR", help="the night's folder"
    )
    add_settings(parser, PHOTOMETRY_DEFAULTS)
    _end(parser, arguments, _photometry)


def _watch(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    _refuse_what_is_not_heeded(options, parser)
    if options.demo is not None:
        from pipnick_watch.watch.demo import run_demo

        if options.maindir is not None:
            parser.error("--demo plays its own night: give its folder as --demo DIR, no MAINDIR")
        folder = Path(options.demo) if options.demo else None
        return run_demo(folder, ["--verbosity", str(options.verbosity)])
    if options.export is not None:
        return _export(options, parser)
    if options.install_service:
        from pipnick_watch.watch.install import install_service

        read_settings(options, None, parser, {})  # what is wrong is said now, not in the journal
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


def _refuse_what_is_not_heeded(
    options: argparse.Namespace, parser: argparse.ArgumentParser
) -> None:
    """Complain of an option that would be ignored beside the others, before anything is done."""
    read_only = options.status or options.export is not None
    follows = not (options.once or read_only or options.demo is not None)
    nights = options.nights is not None
    for flag, heeded, why in (
        ("--json", options.status, "is for --status"),
        ("--apply", options.install_service, "is for --install-service"),
        ("--redo", options.once, "is for --once"),
        ("--dask", options.once, "is for --once: a night that is followed needs one machine"),
        ("--since", nights and not read_only, "is for --nights, followed or with --once"),
        ("--metrics", follows, "is for a daemon"),
        ("--nights", not options.maindir, "finds its MAINDIRs by itself: give no MAINDIR"),
    ):
        given = getattr(options, flag.removeprefix("--")) not in (None, False, [])
        if given and not heeded:
            parser.error(f"{flag} {why}")


def _status(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from pipnick_watch.watch.status_words import tell, tell_nights

    if options.nights is not None:
        return tell_nights(options.nights, as_json=options.json)
    return tell(_maindir(options, parser), as_json=options.json)


def _nights(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Follow the nights that match; each has its settings, the flags hold for all of them."""
    from pipnick_watch.watch.nights import run_nights

    def settings_of(maindir: Path) -> Settings:
        return read_settings(options, maindir, parser, {})

    shared = read_settings(options, None, parser, {})
    _start_logging(options, None)
    return run_nights(
        options.nights,
        settings_of,
        workers=shared.watch.workers,
        since_days=FOLLOWED_DAYS if options.since is None else options.since,
        metrics=options.metrics,
    )


def _archive(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Measure the nights that match, or MAINDIR, and exit; each has its settings."""
    import glob

    from pipnick_watch.watch.archive import run_archive
    from pipnick_watch.watch.changes import days_unchanged

    if options.nights is None:
        found = [_maindir(options, parser)]
    elif options.redo:
        parser.error("--redo is for one MAINDIR")
    else:
        found = sorted({Path(name).resolve() for name in glob.glob(options.nights)})  # noqa: PTH207
    maindirs = [maindir for maindir in found if (maindir / "reduced").is_dir()]
    if not maindirs:
        raise UsageError(f"{options.nights or found[0]}: no folder with a reduced/ in it")
    if options.since is not None:
        maindirs = [maindir for maindir in maindirs if days_unchanged(maindir) <= options.since]
        if not maindirs:
            raise UsageError(f"{options.nights}: no night has changed in {options.since:g} days")

    def settings_of(maindir: Path) -> Settings:
        return read_settings(options, maindir, parser, {})

    shared = read_settings(options, None, parser, {})
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
    """Give the flags that an installed service keeps."""
    flags = [] if options.metrics is None else ["--metrics", str(options.metrics.resolve())]
    if options.nights is not None:
        since = FOLLOWED_DAYS if options.since is None else options.since
        flags += ["--since", f"{since:g}"]
    return [*flags, *spell_settings(options)]


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
    return maindir, read_settings(options, maindir, parser, defaults)


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
    from pipnick_watch import logs

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
        "--redo", nargs="+", default=[], metavar="FRAME",
        help="measure these frames again: path below reduced/, or the file's name",
    )  # fmt: skip
    parser.add_argument(
        "-vv", "--very_verbose", "--very-verbose", action="store_true",
        help="say everything: --verbosity 5",
    )  # fmt: skip
    parser.add_argument(
        "--verbosity", type=int, choices=range(1, 6), default=4,
        help="1 critical, 2 errors, 3 warnings, 4 information (default), 5 everything",
    )  # fmt: skip
    return parser


def _days(text: str) -> float:
    days = float(text)
    if math.isnan(days) or days <= 0:
        raise argparse.ArgumentTypeError(f"{text} is no number of days")
    return days


def _end(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    act: Callable[[argparse.Namespace, argparse.ArgumentParser], int],
) -> None:
    """Parse, act, and end the process with the right code and, for trouble, one line."""
    if sys.stderr is None:  # closed by whoever started us: the log file has it all the same
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
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
