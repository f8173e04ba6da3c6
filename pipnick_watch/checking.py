"""Whether a value that a person wrote fits the setting that it is for.

``where`` is the file, or the command line, and ``place`` the section and key in it: what a
complaint begins with.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from pipnick_watch.errors import SettingsError

__all__ = ["as_kind", "as_table", "check_keys", "fill"]


def as_table(value: Any, where: str, place: str) -> dict[str, Any]:
    """Take a value as a table of TOML."""
    if not isinstance(value, dict):
        raise SettingsError(f"{where}: [{place}] must be a table, not {value!r}")
    return value


def check_keys(values: Mapping[str, Any], known: set[str], where: str, place: str) -> None:
    """Refuse a key that is not known, and name the nearest one that is."""
    for key in values:
        if key not in known:
            import difflib

            near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.0)
            inside = f" in [{place}]" if place else ""
            raise SettingsError(f"{where}: unknown key {key!r}{inside}; did you mean {near[0]!r}?")


def fill(kind: type[Any], values: Any, where: str, place: str) -> Any:
    """Make the dataclass from a TOML table, checking every key and value."""
    table = as_table(values, where, place)
    hints = typing.get_type_hints(kind)
    fields = {one.name: one for one in dataclasses.fields(kind)}
    check_keys(table, set(fields), where, place)
    checked = {}
    for key, value in table.items():
        checked[key] = as_kind(hints[key], value, where, f"{place}.{key}")
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


def as_kind(hint: Any, value: Any, where: str, place: str) -> Any:
    """Check one value against its declared type."""
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = next(one for one in typing.get_args(hint) if one is not type(None))
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return fill(hint, value, where, place)
    if typing.get_origin(hint) is Mapping:
        return value
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise SettingsError(f"{where}: {place} must be a list, not {value!r}")
        return tuple(as_kind(inner, one, where, place) for one in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        kinds = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}
        raise SettingsError(f"{where}: {place} must be {kinds[hint]}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(f"{where}: {place} must be a finite number, not {value!r}")
    return value
