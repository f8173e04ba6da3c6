"""Every knob: flags and TOML become one frozen dataclass.

A knob of ``[photometry]``, ``[watch]`` or ``[plots]`` is declared once, here; the flags of both
commands and the keys of the file are made from the declaration.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipnick_watch.camera import Camera, clean_name
from pipnick_watch.checking import as_kind, as_table, check_keys, fill
from pipnick_watch.errors import SettingsError

__all__ = [
    "PHOTOMETRY_DEFAULTS",
    "SECTIONS",
    "SETTINGS_FILE",
    "PhotometrySettings",
    "PlotSettings",
    "Settings",
    "Standard",
    "Target",
    "WatchSettings",
    "choose_file",
    "load_settings",
]

SETTINGS_FILE = "pipnick-watch.toml"


def knob(default: Any, text: str, **how: Any) -> Any:
    """Declare a setting: its default, its help and how it is spelled and checked.

    ``flags`` are spellings beside ``--the-name``, ``choices`` the values allowed, ``above`` and
    ``least`` the bounds of a number, ``unit`` what it is counted in.
    """
    return field(default=default, metadata={"help": text, **how})


@dataclass(frozen=True, kw_only=True)
class PhotometrySettings:
    """What the numbers depend on, beside the camera."""

    thresh: float = knob(
        8.0,
        "detection threshold: fitted peak over the local background's standard deviation",
        flags=("-th",),
        above=0.0,
    )
    fittype: str = knob("circ", "Moffat to fit", flags=("-f",), choices=("circ", "ellip"))
    group: bool = knob(
        False, "write the consolidated catalogues too: each group as one source", flags=("-g",)
    )
    mode: str = knob(
        "all",
        "fit sources found in the residuals together with all others, or alone",
        flags=("-m",),
        choices=("all", "new"),
    )
    engine: str = knob(
        "simultaneous", "who fits: all sources at once, or photutils group by group",
        choices=("simultaneous", "photutils"),
    )  # fmt: skip
    aperture_radius: float = knob(8.0, "radius of flux_aper", unit="pixels", above=0.0)


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """What is looked at, when, and by how many workers."""

    use_table: bool = knob(
        True, "leave out the frames that are commented out in the file table",
        flags=("-t", "--use_table"),
    )  # fmt: skip
    excl_files: tuple[str, ...] = knob(
        (), "leave out files whose stem contains one of these", flags=("--excl_files",)
    )
    excl_objs: tuple[str, ...] = knob(
        (), "leave out objects whose name contains one of these", flags=("--excl_objs",)
    )
    excl_filts: tuple[str, ...] = knob(
        (), "leave out filters whose name contains one of these", flags=("--excl_filts",)
    )
    workers: int = knob(0, "worker processes; 0: one for each core, four at most", least=0)
    rescan_s: float = knob(10.0, "look through the whole folder this often", unit="s", above=0.0)
    lock_timeout_s: float = knob(
        600.0, "a frame's lock held longer is reported as stuck", unit="s", least=0.0
    )
    short_timeout_s: float = knob(
        300.0, "a frame shorter than its header says fails after this long without growth",
        unit="s", least=0.0,
    )  # fmt: skip
    wait_for_solution_s: float = knob(
        0.0, "let a frame wait this long for its astrometric solution", unit="s", least=0.0
    )
    polling: bool = knob(False, "do not use file events, only look through the folder")


@dataclass(frozen=True, kw_only=True)
class PlotSettings:
    """Which pictures are drawn."""

    final: bool = knob(
        True,
        "draw each frame with its sources and their fluxes",
        flags=("-pf", "--plot_final", "--plot-final"),
    )
    inters: bool = knob(
        False,
        "draw the initial sources and a sheet of every group",
        flags=("-pi", "--plot_inters", "--plot-inters"),
    )
    overview: bool = knob(True, "make the light curves and the page of the night")
    show: bool = knob(False, "open the pictures as they are drawn, where there is a display")


SECTIONS: Mapping[str, type[Any]] = {
    "photometry": PhotometrySettings,
    "watch": WatchSettings,
    "plots": PlotSettings,
}
"""The tables of the file whose keys are flags too."""

PHOTOMETRY_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "watch": {"use_table": False},
    "plots": {"final": False, "overview": False},
}
"""Where upstream's command and function differ from the daemon."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The star that an object is observed for: by position, by pixel, or both.

    Attributes
    ----------
    ra, dec : float or None
        Degrees, ICRS.
    x, y : float or None
        Pixels, 0-based, in ``frame``.
    frame : str
        Path below reduced/; empty for the object's earliest frame.
    """

    ra: float | None = None
    dec: float | None = None
    x: float | None = None
    y: float | None = None
    frame: str = ""


@dataclass(frozen=True, kw_only=True)
class Standard:
    """A photometric standard star: ICRS degrees, and its magnitude in each filter."""

    name: str
    ra: float
    dec: float
    magnitudes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of one MAINDIR."""

    photometry: PhotometrySettings = field(default_factory=PhotometrySettings)
    watch: WatchSettings = field(default_factory=WatchSettings)
    plots: PlotSettings = field(default_factory=PlotSettings)
    camera: Camera = field(default_factory=Camera)
    targets: Mapping[str, Target] = field(default_factory=dict)
    standards: tuple[Standard, ...] = ()

    def fingerprint(self) -> str:
        """Hash what a frame's rows depend on; ``group`` adds a file and changes no row."""
        rows = {
            "photometry": dataclasses.asdict(dataclasses.replace(self.photometry, group=False)),
            "camera": dataclasses.asdict(self.camera),
            "targets": {name: dataclasses.asdict(self.targets[name]) for name in self.targets},
        }
        import hashlib  # where nothing is measured it is not needed

        text = json.dumps(rows, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def choose_file(given: str | os.PathLike[str] | None, maindir: Path | None) -> Path | None:
    """Give the file whose settings hold: the one that was given, else the night's own, if any."""
    if given is not None:
        return Path(given)
    own = None if maindir is None else maindir / SETTINGS_FILE
    return own if own is not None and own.exists() else None


def load_settings(
    path: Path | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Read the settings: a flag wins over the file, the file over the default.

    Parameters
    ----------
    path : Path, optional
        A TOML file; without one the defaults hold.
    flags : mapping, optional
        ``{"photometry": {"thresh": 10.0}, …}``, only what was given on the command line.
    defaults : mapping, optional
        The same, where a command's defaults differ from the usual ones.

    Raises
    ------
    SettingsError
        The file cannot be read, a key is unknown, or a value is impossible.
    """
    where = str(path) if path is not None else "the command line"
    content: dict[str, Any] = {}
    if path is not None:
        import tomllib  # few nights have such a file

        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"{path}: cannot be read as TOML: {error}") from error
    sections = {one.name for one in dataclasses.fields(Settings)}
    for section, kind in SECTIONS.items():
        for misplaced in content.keys() & {one.name for one in dataclasses.fields(kind)}:
            raise SettingsError(f"{where}: {misplaced!r} belongs below a line [{section}]")
    check_keys(content, sections, where, "")
    for section in ("photometry", "watch", "plots"):
        content[section] = {
            **(defaults or {}).get(section, {}),
            **as_table(content.get(section, {}), where, section),
            **(flags or {}).get(section, {}),
        }
    camera = as_table(content.get("camera", {}), where, "camera")
    if camera.get("name", "Nickel") != "Nickel" and "site" not in camera:
        camera = {**camera, "site": None}
    return Settings(
        photometry=fill(PhotometrySettings, content.get("photometry", {}), where, "photometry"),
        watch=fill(WatchSettings, content.get("watch", {}), where, "watch"),
        plots=fill(PlotSettings, content.get("plots", {}), where, "plots"),
        camera=fill(Camera, camera, where, "camera"),
        targets=_targets(content.get("targets", {}), where),
        standards=_standards(content.get("standards", []), where),
    )


def _targets(values: Any, where: str) -> dict[str, Target]:
    targets = {}
    for name, value in as_table(values, where, "targets").items():
        target: Target = fill(Target, value, where, f"targets.{name}")
        for one, other in (("ra", "dec"), ("x", "y")):
            if (getattr(target, one) is None) != (getattr(target, other) is None):
                raise SettingsError(f"{where}: [targets] {name}: give {one} and {other} together")
        if target.ra is None and target.x is None:
            raise SettingsError(f"{where}: [targets] {name}: give ra and dec, or x and y")
        targets[clean_name(name)] = target
    return targets


def _standards(values: Any, where: str) -> tuple[Standard, ...]:
    if not isinstance(values, list):
        raise SettingsError(f"{where}: standards must be a list of {{ name, ra, dec, V = … }}")
    standards = []
    for number, value in enumerate(values, start=1):
        place = f"standards, entry {number}"
        table = dict(as_table(value, where, place))
        fixed = {key: table.pop(key) for key in ("name", "ra", "dec") if key in table}
        if len(fixed) < 3:
            raise SettingsError(f"{where}: {place}: name, ra and dec are needed")
        magnitudes = {key: as_kind(float, table[key], where, f"{place}.{key}") for key in table}
        standards.append(fill(Standard, {**fixed, "magnitudes": magnitudes}, where, place))
    return tuple(standards)
