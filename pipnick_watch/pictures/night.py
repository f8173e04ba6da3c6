"""The night at a glance: how high the objects stand, darkness, Moon, seeing and clouds of all."""

import math
from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipnick_watch.camera import Site
from pipnick_watch.pictures.lightcurve import (
    EPOCH,
    label,
    legend,
    night_figure,
    note,
    time_axis,
    times_of,
)
from pipnick_watch.pictures.night_sky import altitudes, darkness, moon_altitudes
from pipnick_watch.pictures.page_facts import Curve
from pipnick_watch.pictures.theme import AMBER, BLUE, DIM, INK, PINK, YELLOW

__all__ = ["draw_night"]

Look = tuple[Curve, str, str]
"""A curve, its colour and its mark."""

LOOKS = ((BLUE, "o"), (YELLOW, "s"), (PINK, "^"), (AMBER, "D"), ("#7fd6b0", "v"), (INK, "P"))
MOST_NAMED = 6


def draw_night(curves: Sequence[Curve], site: Site | None) -> Figure:
    """Draw altitudes, seeing, transparency and sky of the night's objects and filters.

    Parameters
    ----------
    curves : sequence of Curve
        The latest first.
    site : Site or None
        Without one the first panel says so.
    """
    figure, panels = night_figure("The night", [2.2, 1.5, 1.5, 1.5])
    looks = [(curve, *look) for curve, look in zip(curves, cycle(LOOKS), strict=False)]
    _draw_frames(panels, looks)
    times = [curve.numbers("mjd_mid") for curve in curves]
    mjd = np.concatenate(times) if times else np.empty(0)
    mjd = mjd[np.isfinite(mjd)]
    if site is None or len(mjd) == 0:
        note(panels[0], "no frames yet" if site else "the camera's profile has no site")
        time_axis(panels[-1], times_of(mjd))
    else:
        _draw_heights(panels, looks, float(mjd.max()), site)
    names = ("altitude °", "FWHM ″ zenith", "transp. mag", "sky e⁻/s/arcsec²")
    for panel, name in zip(panels, names, strict=True):
        label(panel, name)
    for panel in panels[:2]:
        if panel.get_legend_handles_labels()[0]:
            legend(panel, room=0.15 if panel is panels[0] else 0.4)
    return figure


def _draw_frames(panels: Sequence[Axes], looks: Sequence[Look]) -> None:
    """Draw what each frame showed, below the altitudes."""
    for k, (curve, colour, mark) in enumerate(looks):
        t = times_of(curve.numbers("mjd_mid"))
        name = f"{curve.object} {curve.filter}"[:24] if k < MOST_NAMED else None
        for axes, values in (
            (panels[1], curve.numbers("seeing_zenith")),
            (panels[2], -curve.numbers("transparency")),
            (panels[3], curve.numbers("sky_rate")),
        ):
            axes.plot(t, values, mark, ms=3.2, color=colour, label=name)


def _draw_heights(panels: Sequence[Axes], looks: Sequence[Look], now: float, site: Site) -> None:
    """Draw the altitudes of Moon and objects in the night of the latest frame."""
    dark = darkness(now, site)
    start, end = dark.sunset, dark.sunrise
    if not (math.isfinite(start) and math.isfinite(end)):
        start, end = now - 0.4, now + 0.1
    grid = np.linspace(start, end, 150)
    t, axes = times_of(grid), panels[0]
    axes.plot(t, moon_altitudes(grid, site), "--", lw=1.2, color=DIM, label="Moon")
    drawn: set[str] = set()
    for curve, colour, _ in looks:
        ra, dec = curve.last("pointing_ra"), curve.last("pointing_dec")
        if curve.object in drawn or not math.isfinite(ra + dec) or len(drawn) >= MOST_NAMED:
            continue
        drawn.add(curve.object)
        height = altitudes(grid, ra, dec, site)
        axes.plot(t, height, lw=1.6, color=colour, label=curve.object[:20])
    for panel in panels:
        for at in (dark.dusk, dark.dawn):
            if math.isfinite(at):
                panel.axvline(at - EPOCH, color=AMBER, lw=0.8, ls=":")
        panel.axvline(now - EPOCH, color=INK, lw=0.7, alpha=0.6)
    axes.set_ylim(0, 90)
    time_axis(panels[-1], t)
