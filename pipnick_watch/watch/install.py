"""``--install-service``: the units for systemd, with the paths and the user of this machine."""

import glob
import grp
import os
import pwd
import re
import shlex
import string
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from pipnick_watch.errors import UsageError

__all__ = ["escape_path", "install_service", "unit_text"]

NIGHT_UNIT = "pipnick-watch@.service"
NIGHTS_UNIT = "pipnick-watch.service"
PLAIN = frozenset(string.ascii_letters + string.digits + ":_.")


def install_service(
    maindir: Path | None,
    nights: str | None,
    *,
    flags: Sequence[str] = (),
    writable: Sequence[Path] = (),
    apply: Path | None = None,
) -> int:
    """Print the unit for one night or for all, or write it, and say what is to be done next.

    Parameters
    ----------
    maindir : Path or None
        A night, which the template unit then stands for.
    nights : str or None
        Or a pattern of nights.
    flags : sequence of str
        Further flags for the service.
    writable : sequence of Path
        Folders beside the night that it writes to.
    apply : Path, optional
        The folder that the unit is written to; without it the unit is printed.

    Returns
    -------
    int
        0.

    Raises
    ------
    UsageError
        Neither a night nor a pattern is given, or the unit cannot be written.
    """
    if (maindir is None) == (nights is None):
        raise UsageError("--install-service wants MAINDIR, or --nights GLOB")
    name = NIGHT_UNIT if nights is None else NIGHTS_UNIT
    where = Path(os.path.abspath(maindir)) if maindir is not None else _fixed(nights or "")  # noqa: PTH100
    text = unit_text(where, nights, flags, writable)
    instance = name if nights else f"pipnick-watch@{escape_path(where)}.service"
    start = f"systemctl enable --now {shlex.quote(instance)}"
    if "\nUser=root\n" in text:
        sys.stderr.write(
            f"# {where} belongs to root, and so the service runs as root; better give it to a user"
            " who may write there (chown -R), then do this again\n"
        )
    if apply is None:
        sys.stdout.write(text)
        again = shlex.join([str(_command()), *sys.argv[1:], "--apply"])
        sys.stderr.write(
            f"\n# Next, as root:\n{again}\nsystemctl daemon-reload && {start}\n"
        )  # fmt: skip
        return 0
    path = apply / name
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        hint = "make it first" if isinstance(error, FileNotFoundError) else "run this as root"
        raise UsageError(
            f"{path.parent}: cannot be written to: {error.strerror}; {hint}"
        ) from error
    sys.stdout.write(f"{path} is written. Next, as root:\nsystemctl daemon-reload\n{start}\n")
    return 0


def unit_text(
    where: Path, nights: str | None, flags: Sequence[str] = (), writable: Sequence[Path] = ()
) -> str:
    """Fill in a unit for this machine.

    Parameters
    ----------
    where : Path
        The night; or the part of the pattern that is the same for all nights.
    nights : str or None
        The pattern; None for the template unit.
    flags : sequence of str
        Further flags for the service.
    writable : sequence of Path
        Folders beside the night that it writes to.
    """
    name = NIGHT_UNIT if nights is None else NIGHTS_UNIT
    text = (resources.files("pipnick_watch.watch") / "units" / name).read_text(encoding="utf-8")
    user, group = _owner([where] if nights is None else [*_newest_first(nights), where])
    command = _command()
    what = "%f" if nights is None else f"--nights {_argument(_absolute(nights))}"
    room = "-%f" if nights is None else _quoted(f"-{where}")
    filled = {
        "ExecStart": " ".join([_argument(str(command)), what, *map(_argument, flags)]),
        "User": f"{user}\nGroup={group}",
        "ReadWritePaths": " ".join([room, *(_quoted(f"-{folder}") for folder in writable)]),
    }
    if nights is not None:
        filled["Description"] = f"Live photometry of the nights in {_percent(str(where))}"
        filled["RequiresMountsFor"] = _quoted(str(where))
    return "".join(_filled(line, filled) for line in text.splitlines(keepends=True))


def _filled(line: str, values: Mapping[str, str]) -> str:
    """Put this machine's value where a line of the unit has another; each key stands once."""
    for key, value in values.items():
        if line.startswith(f"{key}="):
            return f"{key}={value}\n"
    return line


def escape_path(path: Path) -> str:
    """Write a path as the instance of a unit, as ``systemd-escape --path`` does."""
    text = str(path).strip("/")
    if not text:
        return "-"
    escaped = []
    for number, byte in enumerate(os.fsencode(text)):
        char = chr(byte)
        if char == "/":
            escaped.append("-")
        elif char in PLAIN and (number or char != "."):
            escaped.append(char)
        else:
            escaped.append(f"\\x{byte:02x}")
    return "".join(escaped)


def _command() -> Path:
    """Find the command that this interpreter's installation has."""
    return Path(sys.executable).parent / "pipnick-watch"


def _absolute(pattern: str) -> str:
    kept = "/" if pattern.endswith("/") else ""
    return os.path.abspath(pattern).rstrip("/") + kept  # noqa: PTH100


def _fixed(pattern: str) -> Path:
    """Give the folder above the first part of a pattern that is no plain name."""
    parts = Path(_absolute(pattern)).parts
    plain = next((n for n, part in enumerate(parts) if re.search(r"[*?\[]", part)), len(parts))
    return Path(*parts[:plain])


def _newest_first(pattern: str) -> list[Path]:
    """List the nights that there are already."""
    found = [Path(name) for name in glob.glob(_absolute(pattern))]  # noqa: PTH207
    return sorted(found, key=lambda night: night.stat().st_mtime, reverse=True)


def _owner(places: Sequence[Path]) -> tuple[str, str]:
    """Name the user and group that the first of these nights belongs to: who may write there."""
    inside = [folder for place in places for folder in (place / "reduced", place)]
    above = places[-1].parents
    about = next((one for one in (*inside, *above) if one.exists()), Path("/")).stat()
    try:
        user = pwd.getpwuid(about.st_uid).pw_name
    except KeyError:
        user = str(about.st_uid)
    try:
        group = grp.getgrgid(about.st_gid).gr_name
    except KeyError:
        group = str(about.st_gid)
    return user, group


def _percent(text: str) -> str:
    return text.replace("%", "%%")


def _argument(text: str) -> str:
    """Write one word of a command so that systemd passes it on as it is."""
    return _quoted(text.replace("$", "$$"))


def _quoted(text: str) -> str:
    """Write one word so that systemd reads it as it is."""
    text = _percent(text)
    if re.fullmatch(r"[\w@%$:,./=*?\[\]+-]+", text, flags=re.ASCII):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
