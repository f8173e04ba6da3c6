"""Which frames the options ``--excl_…`` leave out, and which are focus frames."""

import re
from collections.abc import Callable, Iterable

from pipnick_watch.records import without_suffix
from pipnick_watch.settings import WatchSettings

__all__ = ["is_focus", "option_against", "useless_words"]

FOCUS = "FOCUS"

Place = tuple[str, str, str]
"""A frame's path below ``reduced/``, its object and its filter, the latter two as recorded."""


def option_against(watch: WatchSettings, name: str, object_: str, filter_: str) -> str:
    """Say which option leaves a frame out, as ``excl_objs M 13``; empty when none does."""
    place = name, object_, filter_
    for flag, words, matches in _options(watch):
        for word in words:
            if matches(word, place):
                return f"{flag} {word.strip()}"
    return ""


def useless_words(watch: WatchSettings, places: Iterable[Place]) -> list[str]:
    """List the words, with their options, that leave out none of these frames."""
    places = list(places)
    return [
        f"--{flag} {word.strip()}"
        for flag, words, matches in _options(watch)
        for word in words
        if word.strip() and not any(matches(word, place) for place in places)
    ]


def _options(
    watch: WatchSettings,
) -> list[tuple[str, tuple[str, ...], Callable[[str, Place], bool]]]:
    return [
        ("excl_files", watch.excl_files, lambda word, place: _in_stem(word, place[0])),
        ("excl_objs", watch.excl_objs, lambda word, place: _in_name(word, place[1])),
        ("excl_filts", watch.excl_filts, lambda word, place: _in_name(word, place[2])),
    ]


def _in_stem(word: str, name: str) -> bool:
    """Tell whether a file's stem contains a word: ``d1047_red``, as the file table has it.

    Whatever the case and the blanks; a whole name with its suffix will do, or a path.
    """
    text = without_suffix(name)
    bare = _bare(without_suffix(word))
    return bool(bare) and bare in _bare(text if "/" in word else text.rpartition("/")[2])


def _bare(text: str) -> str:
    return "".join(text.split()).casefold()


def _in_name(word: str, name: str) -> bool:
    """Tell whether an object's or a filter's name contains a word.

    Names are recorded without blanks, with ``_`` for characters that are not safe in a path; and
    for blanks too, where the reduction wrote the header. So none of these count.
    """
    bare = _plain(word)
    return bool(bare) and bare in _plain(name)


def _plain(text: str) -> str:
    return re.sub(r"[^A-Z0-9.+-]", "", text.upper())


def is_focus(object_: str) -> bool:
    """Tell whether a frame of this object was taken to focus the telescope."""
    return FOCUS in object_
