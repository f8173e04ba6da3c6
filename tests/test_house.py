"""The house keeps its shape: imports point one way, and the doors open fast."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pipnick_watch

PACKAGE = Path(pipnick_watch.__file__).parent
ORDER = [
    ("errors", "columns", "logs", "camera", "checking"),
    ("settings",),
    ("header", "outline", "pixels", "times", "frame", "solution"),
    ("photometry",),
    ("records", "lightcurves", "pictures"),
    ("simulate", "export"),
    ("watch",),
    ("flags", "arguments"),
    ("cli", "__main__", "scripting"),
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
FOREIGN = {"watchdog": "watch", "apscheduler": "watch", "filelock": "records"}


def imported(path: Path) -> set[str]:
    """List the modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    """A module imports its own room and the rooms below it, and foreign things where they live."""
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imported(path):
        first, _, rest = name.partition(".")
        if first == "pipnick_watch" and rest.partition(".")[0] in LEVEL and room in LEVEL:
            other = rest.partition(".")[0]
            assert LEVEL[other] <= LEVEL[room], f"{room} imports {other}"
        if first in FOREIGN:
            assert room == FOREIGN[first], f"{room} imports {first}"
        if first == "matplotlib":
            assert room == "pictures"
            assert "pyplot" not in name


def test_the_photometry_needs_no_watch() -> None:
    """Importing the photometry loads neither watchdog, apscheduler nor filelock."""
    code = "import sys, pipnick_watch.photometry; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert not loaded & set(FOREIGN)


def test_help_loads_nothing_heavy() -> None:
    """The command's door imports neither numpy nor astropy."""
    code = "import sys, pipnick_watch.cli; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert not loaded & {"numpy", "scipy", "astropy", "photutils", "matplotlib", "watchdog"}
