"""What is derived from a night's rows: made anew in a worker where it is out of date."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from pipnick_watch import lightcurves
from pipnick_watch.pictures import (
    curve_picture,
    draw_lightcurve,
    draw_overview,
    night_picture,
    write_page,
)
from pipnick_watch.records import Layout, Records
from pipnick_watch.settings import Settings
from pipnick_watch.watch.process import limited

__all__ = ["make_overview"]


def make_overview(maindir: Path, settings: Settings) -> None:
    """Make what is derived from the rows: light curves, their pictures, the page."""
    records = Records(maindir)
    pairs = {(one.object, one.filter) for one in records.entries().values() if one.status == "done"}
    outdated = set(lightcurves.outdated(records, settings))
    with limited(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is odd in a night shows in its flags
        for name, band in sorted(outdated):
            lightcurves.update(maindir, name, band, settings)
        if settings.plots.final:
            _draw_curves(records.layout, sorted(pairs | outdated), outdated, settings)
        write_page(maindir, settings)


def _draw_curves(
    layout: Layout, pairs: Sequence[tuple[str, str]], outdated: set[tuple[str, str]],
    settings: Settings,
) -> None:  # fmt: skip
    """Draw the light curves that changed, those that have no picture, and the night."""
    changed = False
    for name, band in pairs:
        if (name, band) in outdated or not curve_picture(layout, name, band).exists():
            changed |= draw_lightcurve(layout.maindir, name, band)
    if changed or (pairs and not night_picture(layout).exists()):
        draw_overview(layout.maindir, settings)
