"""What can be said on the command line of both commands, and what means nothing together."""

import argparse
import math
import typing
from pathlib import Path

from pipnick_watch import __version__
from pipnick_watch.errors import UsageError
from pipnick_watch.flags import add_settings
from pipnick_watch.settings import PHOTOMETRY_DEFAULTS

__all__ = ["FOLLOWED_DAYS", "photometry_parser", "refuse_what_is_not_heeded", "watch_parser"]

EXIT_CODES = (
    "exit codes: 0 clean; 1 a frame failed (--once); 2 wrong usage; 75 another daemon watches this"
    " MAINDIR; 78 bad settings; 130 Ctrl-C in --once"
)

UNIT_FOLDER = Path("/etc/systemd/system")

FOLLOWED_DAYS = 3.0
"""Nights that have not changed for longer are not followed, unless --since says otherwise."""


def watch_parser() -> argparse.ArgumentParser:
    """Make the parser of ``pipnick-watch``."""
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
    return parser


def photometry_parser() -> argparse.ArgumentParser:
    """Make the parser of ``pipnick_photometry``."""
    parser = _parser("pipnick_photometry", "Measure all frames of a night.")
    parser.add_argument(
        "maindir", nargs="?", type=Path, metavar="MAINDIR", help="the night's folder"
    )
    add_settings(parser, PHOTOMETRY_DEFAULTS)
    return parser


def refuse_what_is_not_heeded(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
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
