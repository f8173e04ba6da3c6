"""What is said where: the console for people and the journal, a rotating file for later."""

import contextlib
import logging
import logging.handlers
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from pipnick_watch.errors import UsageError

__all__ = ["LEVELS", "about", "adjust_global_logger", "open_log_file", "start_logging"]

LEVELS = {
    1: logging.CRITICAL,
    2: logging.ERROR,
    3: logging.WARNING,
    4: logging.INFO,
    5: logging.DEBUG,
}
"""Upstream's numbers of verbosity."""

_JOURNAL = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}
_CHATTER = ("matplotlib", "PIL", "apscheduler", "asyncio")


_about: ContextVar[str] = ContextVar("about", default="")


class _Line(logging.Formatter):
    """One record as one line; what came from a file cannot steer the terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        if record.name == "py.warnings":  # comes with the source line below it
            record.message = " ".join(record.message.split())
        record.message = _in_print(_about.get() + record.message)
        return super().formatMessage(record)


def _in_print(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(ord(char)) for char in text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


class _JournalLine(_Line):
    """The priority that journald takes from the start of a line, and no time: it has its own."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{_JOURNAL.get(record.levelname, 6)}>{super().format(record)}"


class _File(logging.handlers.RotatingFileHandler):
    """A log file that a full disk silences instead of filling the console with tracebacks."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


@contextlib.contextmanager
def about(night: str, file: logging.Handler | None = None) -> Iterator[None]:
    """Begin each line with a night's name, and write it into that night's log file too."""
    root = logging.getLogger()
    token = _about.set(f"{night}: ")
    if file is not None:
        root.addHandler(file)
    try:
        yield
    finally:
        _about.reset(token)
        if file is not None:
            root.removeHandler(file)


def open_log_file(file: Path) -> logging.Handler:
    """Open a log file, always written at DEBUG, five files of 5 MB at most.

    Raises
    ------
    OSError
        It cannot be made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    log_file = _File(file, maxBytes=5_000_000, backupCount=4, encoding="utf-8")
    log_file.setLevel(logging.DEBUG)
    log_file.setFormatter(
        _Line("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    )
    return log_file


def start_logging(level: int, file: Path | None) -> None:
    """Set up logging for a command: never called on import.

    Parameters
    ----------
    level : int
        Of the console.
    file : Path or None
        The log file; see :func:`open_log_file`.
    """
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(level)
    if os.environ.get("JOURNAL_STREAM"):
        console.setFormatter(_JournalLine("%(message)s"))
    else:
        console.setFormatter(_Line("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    handlers: list[logging.Handler] = [console]
    trouble = ""
    if file is not None:
        try:
            handlers.append(open_log_file(file))
        except OSError as error:
            trouble = f"{file}: no log file is written: {error.strerror}"
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logging.captureWarnings(True)
    for name in _CHATTER:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Each event of each file: the watch says itself what it makes of them.
    logging.getLogger("watchdog").setLevel(logging.WARNING)
    logging.getLogger("filelock").setLevel(logging.WARNING)
    if trouble:
        logging.getLogger(__name__).warning("%s", trouble)


def adjust_global_logger(log_level: str = "INFO", name: str = "all_others") -> None:
    """Send what is logged to the console, and all of it to a file.

    The handlers of the root logger are replaced. The file is ``log_<name>.log`` in the working
    directory, with the last part of a dotted name; it is written at DEBUG and rotates.

    Parameters
    ----------
    log_level : {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
        Of the console.
    name : str
        The caller's ``__name__``.

    Raises
    ------
    UsageError
        There is no such level.
    """
    level = {logging.getLevelName(one): one for one in LEVELS.values()}.get(str(log_level).upper())
    if level is None:
        raise UsageError(f"{log_level!r}: no such level; DEBUG, INFO, WARNING, ERROR or CRITICAL")
    last = name.rpartition(".")[2].replace("/", "_")
    start_logging(level, Path(f"log_{last}.log"))
