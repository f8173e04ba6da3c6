"""How every knob becomes a flag, and how flags and the settings file become settings."""

import argparse
import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipnick_watch.errors import SettingsError
from pipnick_watch.settings import SECTIONS, SETTINGS_FILE, Settings, choose_file, load_settings

__all__ = ["add_settings", "read_settings", "spell_settings"]


def add_settings(
    parser: argparse.ArgumentParser, defaults: Mapping[str, Mapping[str, Any]]
) -> None:
    """Make a flag of every knob, as it was declared; its help shows this command's default."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE",
        help=f"settings in TOML (default: MAINDIR/{SETTINGS_FILE}, where there is one)",
    )  # fmt: skip
    for section, kind in SECTIONS.items():
        group = parser.add_argument_group(f"[{section}]")
        hints = typing.get_type_hints(kind)
        for one in dataclasses.fields(kind):
            default = defaults.get(section, {}).get(one.name, one.default)
            _add_flag(group, section, one, hints[one.name], default)
    both = {"plots.final": False, "plots.inters": False}
    group.add_argument("--no-plots", nargs=0, action=_Several, const=both, help="draw nothing")


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


def read_settings(
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
    return load_settings(choose_file(options.config, maindir), flags, defaults)


def spell_settings(options: argparse.Namespace) -> list[str]:
    """Write the flags that set what was set on the command line, those of several words last."""
    config: Path | None = options.config
    flags = [] if config is None else ["--config", str(config.resolve())]
    lists: list[str] = []
    for name, value in vars(options).items():
        _, dot, key = name.partition(".")
        word = key.replace("_", "-")
        if not dot:
            continue
        if isinstance(value, bool):
            flags.append(f"--{word}" if value else f"--no-{word}")
        elif isinstance(value, list):
            lists += [f"--{word}", *value]
        else:
            flags += [f"--{word}", str(value)]
    return [*flags, *lists]


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
