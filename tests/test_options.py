"""Which frames the options leave out: words within stems, objects and filters."""

import pytest

from pipnick_watch.settings import WatchSettings
from pipnick_watch.watch.options import option_against, useless_words

FRAME = "NGC_4147_V/d1048_red.fits", "NGC_4147", "V"


@pytest.mark.parametrize(
    ("option", "word", "left_out"),
    [
        ("excl_files", "1048", True),
        ("excl_files", "d1048_red", True),  # as the file table has it
        ("excl_files", "D1048_RED.FITS", True),
        ("excl_files", "NGC_4147_V/d1048_red.fits", True),  # as frames.csv has it
        ("excl_files", "NGC_5466_V/d1048_red.fits", False),
        ("excl_files", "4147", False),
        ("excl_files", "d104", True),
        ("excl_files", "d1047", False),
        ("excl_files", ".fits", False),
        ("excl_objs", "ngc", True),
        ("excl_objs", "NGC 4147", True),  # as the observer wrote it
        ("excl_objs", "ngc4147", True),
        ("excl_objs", "NGC_4147", True),
        ("excl_objs", "NGC 4147 (V)", False),
        ("excl_objs", "M13", False),
        ("excl_filts", "v", True),
        ("excl_filts", "BV", False),
        ("excl_filts", "", False),
        ("excl_objs", " _ ", False),
    ],
)
def test_words(option: str, word: str, left_out: bool) -> None:
    """A substring is enough; case, blanks and what a name cannot hold do not count."""
    watch = WatchSettings(**{option: ("zzz", word)})
    assert option_against(watch, *FRAME) == (f"{option} {word}" if left_out else "")


def test_characters_that_a_name_cannot_hold() -> None:
    """An object is recorded with ``_`` for them; the observer's own spelling finds it."""
    watch = WatchSettings(excl_objs=("M13 (centre)",))
    assert option_against(watch, "d1.fits", "M13_CENTRE__2", "V") == "excl_objs M13 (centre)"


def test_words_without_effect() -> None:
    """Each word is judged by itself, and one that is empty is no word."""
    watch = WatchSettings(excl_files=("d1048", "d9"), excl_filts=("", "R"))
    assert useless_words(watch, [FRAME]) == ["--excl_files d9", "--excl_filts R"]
