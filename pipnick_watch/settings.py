"""Every knob: flags and TOML become one frozen dataclass.

A knob of ``[photometry]``, ``[watch]`` or ``[plots]`` is declared once, here; the flags of both
commands and the keys of the file are made from the declaration.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipnick_watch.camera import Camera, clean_name
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
    _check_keys(content, sections, where, "")
    for section in ("photometry", "watch", "plots"):
        content[section] = {
            **(defaults or {}).get(section, {}),
            **_table(content.get(section, {}), where, section),
            **(flags or {}).get(section, {}),
        }
    camera = _table(content.get("camera", {}), where, "camera")
    if camera.get("name", "Nickel") != "Nickel" and "site" not in camera:
        camera = {**camera, "site": None}
    return Settings(
        photometry=_fill(PhotometrySettings, content.get("photometry", {}), where, "photometry"),
        watch=_fill(WatchSettings, content.get("watch", {}), where, "watch"),
        plots=_fill(PlotSettings, content.get("plots", {}), where, "plots"),
        camera=_fill(Camera, camera, where, "camera"),
        targets=_targets(content.get("targets", {}), where),
        standards=_standards(content.get("standards", []), where),
    )


def _targets(values: Any, where: str) -> dict[str, Target]:
    targets = {}
    for name, value in _table(values, where, "targets").items():
        target: Target = _fill(Target, value, where, f"targets.{name}")
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
        table = dict(_table(value, where, place))
        fixed = {key: table.pop(key) for key in ("name", "ra", "dec") if key in table}
        if len(fixed) < 3:
            raise SettingsError(f"{where}: {place}: name, ra and dec are needed")
        magnitudes = {key: _value(float, table[key], where, f"{place}.{key}") for key in table}
        standards.append(_fill(Standard, {**fixed, "magnitudes": magnitudes}, where, place))
    return tuple(standards)


def _table(value: Any, where: str, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingsError(f"{where}: [{place}] must be a table, not {value!r}")
    return value


def _check_keys(values: Mapping[str, Any], known: set[str], where: str, place: str) -> None:
    for key in values:
        if key not in known:
            import difflib

            near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.0)
            inside = f" in [{place}]" if place else ""
            raise SettingsError(f"{where}: unknown key {key!r}{inside}; did you mean {near[0]!r}?")


def _fill(kind: type[Any], values: Any, where: str, place: str) -> Any:
    """Make the dataclass from a TOML table, checking every key and value."""
    table = _table(values, where, place)
    hints = typing.get_type_hints(kind)
    fields = {one.name: one for one in dataclasses.fields(kind)}
    _check_keys(table, set(fields), where, place)
    checked = {}
    for key, value in table.items():
        checked[key] = _value(hints[key], value, where, f"{place}.{key}")
        _check_bounds(checked[key], fields[key].metadata, where, f"{place}.{key}")
    try:
        return kind(**checked)
    except TypeError as error:
        raise SettingsError(f"{where}: [{place}]: {error}") from error


def _check_bounds(value: Any, metadata: Mapping[str, Any], where: str, place: str) -> None:
    choices = metadata.get("choices")
    if choices and value not in choices:
        raise SettingsError(f"{where}: {place} = {value!r}: choose from {', '.join(choices)}")
    if "above" in metadata and not value > metadata["above"]:
        raise SettingsError(
            f"{where}: {place} = {value!r}: must be more than {metadata['above']:g}"
        )
    if "least" in metadata and not value >= metadata["least"]:
        raise SettingsError(f"{where}: {place} = {value!r}: must be {metadata['least']:g} or more")


def _value(hint: Any, value: Any, where: str, place: str) -> Any:
    """Check one value against its declared type."""
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = next(one for one in typing.get_args(hint) if one is not type(None))
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return _fill(hint, value, where, place)
    if typing.get_origin(hint) is Mapping:
        return value
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise SettingsError(f"{where}: {place} must be a list, not {value!r}")
        return tuple(_value(inner, one, where, place) for one in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        kinds = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}
        raise SettingsError(f"{where}: {place} must be {kinds[hint]}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(f"{where}: {place} must be a finite number, not {value!r}")
    return value
