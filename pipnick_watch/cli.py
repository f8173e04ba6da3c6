"""The doors: two commands and their exit codes. The only room that ends a process.

Everything heavy is imported inside the commands, so that ``--help`` answers at once.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipnick_watch.arguments import (
    FOLLOWED_DAYS,
    photometry_parser,
    refuse_what_is_not_heeded,
    watch_parser,
)
from pipnick_watch.errors import PipnickWatchError, UsageError
from pipnick_watch.flags import read_settings, spell_settings
from pipnick_watch.settings import PHOTOMETRY_DEFAULTS, Settings

__all__ = ["photometry_command", "watch_command"]

NO_MAINDIR = (
    "MAINDIR is missing: the folder that holds reduced/; it goes before options of several words"
)


def watch_command(arguments: Sequence[str] | None = None) -> None:
    """Run ``pipnick-watch``."""
    parser = watch_parser()
    _end(parser, arguments, _watch)


def photometry_command(arguments: Sequence[str] | None = None) -> None:
    """Run ``pipnick_photometry``, upstream's command."""
    parser = photometry_parser()
    _end(parser, arguments, _photometry)


def _watch(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    refuse_what_is_not_heeded(options, parser)
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
