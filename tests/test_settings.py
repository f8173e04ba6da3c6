"""Settings: declared once, checked in one place, flags before the file before the default."""

import dataclasses
from pathlib import Path

import pytest

from pipnick_watch.errors import SettingsError
from pipnick_watch.settings import PHOTOMETRY_DEFAULTS, SECTIONS, Settings, Target, load_settings


def toml(folder: Path, text: str) -> Path:
    path = folder / "pipnick-watch.toml"
    path.write_text(text)
    return path


def test_a_flag_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    """Each place may leave the others' keys alone."""
    file = toml(tmp_path, "[photometry]\nthresh = 10\ngroup = true\n[watch]\nuse_table = true\n")
    settings = load_settings(file, {"photometry": {"thresh": 12.0}}, PHOTOMETRY_DEFAULTS)
    assert settings.photometry.thresh == 12.0
    assert settings.photometry.group is True
    assert settings.watch.use_table is True
    assert settings.plots.final is False
    assert settings.photometry.aperture_radius == 8.0


def test_without_a_file_the_documented_defaults_hold() -> None:
    """The daemon's defaults, and where upstream's command differs."""
    settings = load_settings()
    assert settings == Settings()
    assert (settings.watch.use_table, settings.plots.final) == (True, True)
    upstream = load_settings(None, None, PHOTOMETRY_DEFAULTS)
    assert (upstream.watch.use_table, upstream.plots.final) == (False, False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[photometry]\ntresh = 3\n", "thresh"),
        ("[potometry]\nthresh = 3\n", "photometry"),
        ("thresh = 3\n", "'thresh' belongs below a line [photometry]"),
        ("[camera]\ngains = 2.0\n", "gain"),
        ("[photometry]\nthresh = 0\n", "more than 0"),
        ("[photometry]\nthresh = 'much'\n", "a number"),
        ("[photometry]\nfittype = 'square'\n", "circ, ellip"),
        ("[watch]\nexcl_objs = 'M13'\n", "a list"),
        ("[watch]\nworkers = 1.5\n", "a whole number"),
        ("[watch]\nuse_table = 1\n", "true or false"),
        ("[photometry]\nthresh = inf\n", "finite"),
        ("[photometry\n", "pipnick-watch.toml"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_file_and_key(
    tmp_path: Path, text: str, says: str
) -> None:
    """An unknown key names the nearest valid one; a wrong value says what it must be."""
    with pytest.raises(SettingsError) as raised:
        load_settings(toml(tmp_path, text))
    line = str(raised.value)
    assert says in line
    assert "pipnick-watch.toml" in line
    assert "\n" not in line


def test_a_target_may_be_given_by_place_by_pixel_or_both(tmp_path: Path) -> None:
    """Its name is cleaned as the object's is."""
    file = toml(
        tmp_path,
        '[targets]\n"hat-p-32" = { ra = 31.0427, dec = 46.6878 }\n"NGC 1" = { x = 1.0, y = 2.0 }\n',
    )
    settings = load_settings(file)
    assert settings.targets["HAT-P-32"] == Target(ra=31.0427, dec=46.6878)
    assert settings.targets["NGC1"].x == 1.0


def test_the_fingerprint_changes_with_what_rows_depend_on_and_only_then() -> None:
    """Not with the pictures, the workers or the consolidated file."""
    usual = Settings()
    flags = {"photometry": {"group": True}, "watch": {"workers": 3}, "plots": {"inters": True}}
    assert load_settings(None, flags).fingerprint() == usual.fingerprint()
    for key, value in (("thresh", 9.0), ("fittype", "ellip"), ("mode", "new")):
        other = load_settings(None, {"photometry": {key: value}})
        assert other.fingerprint() != usual.fingerprint()


def test_every_knob_has_its_help() -> None:
    """What a flag's help says is declared with the setting."""
    for kind in SECTIONS.values():
        for one in dataclasses.fields(kind):
            assert one.metadata["help"], one.name
