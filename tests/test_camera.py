"""How a camera spells its headers, and how names are made safe."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipnick_watch.camera import NICKEL_SITE, Camera, Keywords, clean_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("NGC 4147", "NGC4147"),
        ("NGC_4147          ", "NGC_4147"),
        ("pg1323-085", "PG1323-085"),
        ("HD 209458 b", "HD209458B"),
        ("a/b", "A_B"),
        ("../../x", "_.._X"),
        ("-rf", "RF"),
        ("+.-dot", "DOT"),
        ("", "UNKNOWN"),
        (" \t\n", "UNKNOWN"),
        ("...", "UNKNOWN"),
        ("μ Cep", "_CEP"),
        ("x" * 300, "X" * 64),
    ],
)
def test_clean_name(text: str, name: str) -> None:
    """Names of the header are cleaned as the design says."""
    assert clean_name(text) == name


@given(st.text())
def test_any_name(text: str) -> None:
    """Whatever the text, the name is safe in a path and in a table, and is its own clean name."""
    name = clean_name(text)
    assert re.fullmatch(r"[A-Z0-9_][A-Z0-9_.+-]{0,63}", name)
    assert clean_name(name) == name


def test_nickel_is_the_default() -> None:
    """Without settings the camera is the Nickel's, in electrons, at Lick."""
    camera = Camera()
    assert (camera.gain, camera.read_noise, camera.plate_scale) == (1.0, 10.7, 0.37)
    assert camera.bad_columns == (255, 256, 783, 784, 1002)
    assert camera.site == NICKEL_SITE
    assert camera.keywords == Keywords()
    assert camera.keywords.start[0] == "DATE-BEG"
