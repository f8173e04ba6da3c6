"""What all pictures look like: dark, so that eyes stay adapted; colours that all can tell apart."""

import io
import math
import os
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.text import Text

from pipnick_watch.pictures.picture import FLAGGED, GROUPED, SATURATED_STAR, SINGLE, FrameFacts

__all__ = ["AMBER", "BLUE", "DIM", "DIVERGING", "GREYS", "GROUND", "HEIGHT", "INK", "MARKS"]
__all__ += ["PINK", "POINTS", "SHARPNESS", "TINT", "WIDTH", "YELLOW"]
__all__ += ["add_axes", "add_text", "facts_line", "new_figure", "plain", "short_flux"]

GROUND = "#0d0f12"
INK = "#d5d9de"
DIM = "#8d959e"
BLUE = "#56b4e9"
YELLOW = "#f0d442"
PINK = "#f58fc2"
AMBER = "#ff8a3c"
TINT = (0.48, 0.30, 0.72)
"""Colour, as red, green and blue, that masked pixels are tinted with."""

MARKS = {
    SINGLE: ("single", "o", BLUE),
    GROUPED: ("in a group", "s", YELLOW),
    FLAGGED: ("flagged", "D", PINK),
    SATURATED_STAR: ("saturated", "X", AMBER),
}
"""Name, shape and colour of each kind of source: Okabe and Ito's, lightened for a dark ground."""

GREYS = ListedColormap(np.linspace(0.0, 1.0, 256)[:, np.newaxis] ** 1.4 * np.full(3, 0.92), "night")
"""Greys with a dark sky and no glaring white."""

DIVERGING = LinearSegmentedColormap.from_list("residual", [BLUE, "#101418", AMBER])

WIDTH, HEIGHT = 1366.0, 740.0
"""Of a picture, in screen pixels: a small laptop's screen, less its panel."""

POINTS = 0.72
"""Of a screen pixel: what sizes of text and marks are given in."""

FONT = "DejaVu Sans"  # comes with matplotlib, so that a picture is the same on every machine
SHARPNESS = 1.3
"""Dots of the file for each screen pixel."""


class _Picture(Figure):
    """A figure that a notebook shows as the value of a cell, though pyplot was never asked."""

    def _repr_png_(self) -> bytes:
        drawn = io.BytesIO()
        self.savefig(drawn, format="png", dpi=self.dpi)
        return drawn.getvalue()


def new_figure() -> Figure:
    """Make an empty figure of WIDTH × HEIGHT pixels on the screen; the file has more of them."""
    inch = 72.0 / POINTS
    figure = _Picture(figsize=(WIDTH / inch, HEIGHT / inch), dpi=inch * SHARPNESS, facecolor=GROUND)
    FigureCanvasAgg(figure)
    return figure


def add_axes(figure: Figure, box: tuple[float, float, float, float], size: float = 8.0) -> Axes:
    """Add axes at (left, bottom, width, height) in the screen pixels of :func:`new_figure`."""
    left, bottom, width, height = box
    axes = figure.add_axes((left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT))
    axes.set_facecolor(GROUND)
    axes.tick_params(
        colors=DIM, labelsize=size, labelfontfamily=FONT, length=3.0, width=0.7, pad=2.0
    )
    for spine in axes.spines.values():
        spine.set(color=DIM, linewidth=0.7)
    return axes


def add_text(
    place: Figure | Axes, x: float, y: float, text: str, size: float = 9.0, **look: Any
) -> Text:
    """Write text as it is, never as mathematics: at screen pixels of a figure, data of axes."""
    look.setdefault("color", INK)
    if isinstance(place, Figure):
        x, y = x / WIDTH, y / HEIGHT
    return place.text(
        x, y, plain(text), size=size, family=FONT, parse_math=False, usetex=False, **look
    )


def plain(text: str, longest: int = 1000) -> str:
    """Make text safe to draw: what has no shape in the font becomes ``?``, the middle ``…``."""
    font = get_font(os.fspath(findfont(FontProperties(family=FONT))))
    if len(text) > longest:
        text = f"{text[: longest // 2]}…{text[len(text) - longest // 2 + 1 :]}"
    return "".join(
        sign if sign.isprintable() and font.get_char_index(ord(sign)) else "?" for sign in text
    )


def short_flux(flux: float) -> str:
    """Write a flux in three digits: ``945``, ``12.3k``, ``1.25M``."""
    if not math.isfinite(flux):
        return "nan"
    for factor, unit in ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")):
        value = flux / factor
        if abs(value) < 999.5:
            digits = 0 if factor == 1.0 else 2 - int(abs(value) >= 9.995) - int(abs(value) >= 99.95)
            return f"{value:.{digits}f}{unit}"
    return f"{flux:.2e}"


def facts_line(facts: FrameFacts) -> str:
    """Write the line below the title: time, exposure, airmass, FWHM, sky, number of sources."""
    parts = [_time(facts.mjd_mid)]
    if math.isfinite(facts.exptime):
        parts.append(f"{facts.exptime:.4g} s")
    if math.isfinite(facts.airmass):
        parts.append(f"airmass {facts.airmass:.2f}")
    if math.isfinite(facts.fwhm):
        parts.append(f"FWHM {facts.fwhm:.2f} px = {facts.fwhm * facts.plate_scale:.2f}″")
    if math.isfinite(facts.figure("sky")):
        parts.append(f"sky {facts.figure('sky'):.4g} ± {facts.figure('sky_rms'):.3g} e⁻")
    n_sources = int(facts.figures.get("n_sources", 0))
    parts.append("1 source" if n_sources == 1 else f"{n_sources} sources")
    return "  ·  ".join(parts)


def _time(mjd: float) -> str:
    """Write the middle of the exposure as a date and time, UTC."""
    if not -600_000.0 < mjd < 2_900_000.0:
        return "time unknown"
    moment = datetime(1858, 11, 17) + timedelta(seconds=float(np.rint(mjd * 86400.0)))
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC (mid)"
