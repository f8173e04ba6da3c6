"""The picture that an observer judges a frame by: its sources, their fluxes, and its PSF."""

import math

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from pipnick_watch.pictures.labels import place_labels
from pipnick_watch.pictures.picture import FrameFacts, SourcePicture
from pipnick_watch.pictures.psf import draw_psf
from pipnick_watch.pictures.theme import (
    AMBER, DIM, GROUND, INK, MARKS, TINT, add_axes, add_text, facts_line, new_figure, plain, short_flux,
)  # fmt: skip

__all__ = ["LABELLED", "WITH_ID", "draw_sources"]

LABELLED = 60
"""At most so many sources carry their flux: the brightest ones."""

WITH_ID = 25
"""Up to so many sources carry their number in the catalogue too."""

POINTS = 0.72  # of a screen pixel
WIDTH, HEIGHT = 1366.0, 740.0  # a small laptop's screen, less its panel
FIELD = (54.0, 62.0, 660.0, 596.0)  # left, bottom, width, height of the frame at most
SIDE = (786.0, 566.0)  # left and width of what stands beside it
MASK_SHARE = 0.45


def draw_sources(picture: SourcePicture) -> Figure:
    """Draw a frame with its sources marked and labelled, and its PSF beside it.

    Parameters
    ----------
    picture : SourcePicture

    Returns
    -------
    Figure
        To be written with ``png.write_png``; pyplot knows nothing of it.
    """
    figure = new_figure(WIDTH, HEIGHT)
    facts = picture.facts
    title = f"{plain(facts.object, 48)}   {plain(facts.filter, 16)}"
    heading = add_text(figure, 20.0, HEIGHT - 33.0, title, size=16.0, weight="bold")
    box = heading.get_window_extent()
    add_text(
        figure, box.x1 / figure.dpi * 100.0 + 18.0, HEIGHT - 33.0, plain(facts.name, 80),
        size=10.0, color=DIM,
    )  # fmt: skip
    add_text(figure, 20.0, HEIGHT - 60.0, facts_line(facts), size=10.5)

    _draw_frame(figure, picture)
    _draw_legend(figure, picture)
    left, width = SIDE
    bottom = 44.0
    _draw_figures(figure, facts, left, HEIGHT - 112.0)
    draw_psf(figure, picture.psf, facts, (left, bottom, width, HEIGHT - 128.0 - bottom))
    _draw_warnings(figure, facts.warnings)
    return figure


def _draw_frame(figure: Figure, picture: SourcePicture) -> None:
    """Draw the frame in zscale with its marks, labels and colour bar."""
    ny, nx = picture.shape
    left, bottom, width, height = FIELD
    scale = min(width / nx, height / ny)
    shown = (max(nx * scale, 8.0), max(ny * scale, 8.0))
    bottom += (height - shown[1]) / 2.0
    axes = add_axes(figure, (left, bottom, *shown))
    axes.imshow(
        _coloured(picture), origin="lower", aspect="auto",
        extent=(-0.5, nx - 0.5, -0.5, ny - 0.5),
        interpolation="antialiased" if scale < 1.0 else "nearest",
    )  # fmt: skip
    axes.set_xlim(-0.5, nx - 0.5)
    axes.set_ylim(-0.5, ny - 0.5)

    radii = _mark_radii(picture, scale)
    _mark_sources(axes, picture, radii)
    _label_sources(axes, picture, radii, scale, shown)
    if len(picture.x) == 0:
        add_text(
            axes, (nx - 1) / 2, (ny - 1) / 2,
            f"No source above {picture.facts.thresh:g} times the noise of the sky",
            size=13.0, ha="center", va="center",
            bbox={"facecolor": GROUND, "edgecolor": DIM, "alpha": 0.85, "pad": 8.0},
        )  # fmt: skip

    bar = add_axes(figure, (left + shown[0] + 10.0, bottom, 12.0, shown[1]))
    greys = ScalarMappable(norm=Normalize(picture.low, picture.high), cmap="gray")
    figure.colorbar(greys, cax=bar)
    add_text(
        figure, left + shown[0] + 10.0, bottom + shown[1] + 5.0, "e⁻ per pixel",
        size=8.0, color=DIM,
    )  # fmt: skip


def _coloured(picture: SourcePicture) -> npt.NDArray[np.uint8]:
    """Make the frame's greys a picture, with the pixels that were left out tinted."""
    colours = np.repeat(picture.image[:, :, np.newaxis], 3, axis=2)
    masked = picture.mask
    tint = np.array(TINT) * 255.0
    colours[masked] = ((1.0 - MASK_SHARE) * colours[masked] + MASK_SHARE * tint).astype(np.uint8)
    return colours


def _mark_radii(picture: SourcePicture, scale: float) -> npt.NDArray[np.float64]:
    """Size the marks, in screen pixels, so that each encloses what is seen of its star."""
    fwhm = float(picture.facts.figures.get("fwhm", math.nan))
    if not (math.isfinite(fwhm) and fwhm > 0.0):
        fwhm = 4.0
    # A Moffat with an exponent of 3 is near enough to tell where a star stops being white.
    core = 0.98 * fwhm
    peak = 2.0 * np.nan_to_num(picture.flux) / (np.pi * core**2)
    white = np.clip(peak / (0.5 * (picture.high - picture.low)), 1.0, None)
    radii = core * np.sqrt(np.cbrt(white) - 1.0) * scale + 3.0
    least, most = (7.0, 22.0) if len(radii) <= 300 else (4.0, 14.0)
    return np.clip(radii, least, most)


def _mark_sources(
    axes: Axes, picture: SourcePicture, radii: npt.NDArray[np.float64]
) -> None:
    """Put a mark around each source."""
    for kind, (_, shape, colour) in MARKS.items():
        chosen = picture.kinds == kind
        axes.scatter(
            picture.x[chosen], picture.y[chosen], s=(2.0 * POINTS * radii[chosen]) ** 2,
            marker=shape, facecolors="none", edgecolors=colour, linewidths=1.1,
        )  # fmt: skip


def _label_sources(
    axes: Axes,
    picture: SourcePicture,
    radii: npt.NDArray[np.float64],
    scale: float,
    field: tuple[float, float],
) -> None:
    """Write the fluxes of the brightest sources beside them."""
    chosen = np.flatnonzero(np.isfinite(picture.flux))[:LABELLED]
    texts = [short_flux(picture.flux[index]) for index in chosen]
    if len(picture.x) <= WITH_ID:
        texts = [
            f"#{picture.ids[index]}  {text}" for index, text in zip(chosen, texts, strict=True)
        ]
    size = 9.0 if len(picture.x) <= WITH_ID else 8.0
    places = np.stack([picture.x + 0.5, picture.y + 0.5], axis=1) * scale
    boxes = np.array([(len(text) * 0.64 * size / POINTS + 4.0, 1.5 * size) for text in texts])
    centres, distant = place_labels(chosen, boxes.reshape(-1, 2), places, radii, field)
    for index, text, centre, far in zip(chosen, texts, centres, distant, strict=True):
        x, y = centre / scale - 0.5
        colour = MARKS[int(picture.kinds[index])][2]
        if far:
            start = places[index] + radii[index] * _towards(places[index], centre)
            axes.plot(*np.transpose([start / scale - 0.5, (x, y)]), color=colour, linewidth=0.6)
        add_text(
            axes, x, y, text, size=size, color=colour, ha="center", va="center", zorder=4,
            bbox={"facecolor": GROUND, "edgecolor": "none", "alpha": 0.6, "pad": 1.0},
        )  # fmt: skip


def _towards(
    start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the direction from one place to another, of length 1."""
    step = end - start
    direction: npt.NDArray[np.float64] = step / max(float(np.hypot(*step)), 1e-9)
    return direction


def _draw_legend(figure: Figure, picture: SourcePicture) -> None:
    """Say below the frame what the marks and the numbers mean."""
    axes = add_axes(figure, (0.0, 0.0, 740.0, 40.0))
    axes.set_axis_off()
    axes.set_xlim(0.0, 740.0)
    axes.set_ylim(0.0, 40.0)
    x = 60.0
    for kind, (name, shape, colour) in MARKS.items():
        count = int(np.count_nonzero(picture.kinds == kind))
        colour = colour if count else DIM
        axes.scatter([x], [26.0], s=60.0, marker=shape, facecolors="none", edgecolors=colour)
        add_text(axes, x + 11.0, 26.0, f"{name} {count}", size=9.0, color=colour, va="center")
        x += 125.0
    axes.scatter([x], [26.0], s=70.0, marker="s", color=[(*TINT, 1.0)])
    add_text(axes, x + 11.0, 26.0, "masked", size=9.0, color=DIM, va="center")
    n_sources = len(picture.x)
    if n_sources <= WITH_ID:
        text = "labels: number in the catalogue, flux_psf in e⁻"
    elif n_sources <= LABELLED:
        text = "labels: flux_psf in e⁻"
    else:
        text = f"labels: flux_psf of the brightest {LABELLED} in e⁻"
    add_text(axes, 54.0, 8.0, f"{text} (k = 10³, M = 10⁶)", size=8.5, color=DIM, va="center")


def _draw_figures(figure: Figure, facts: FrameFacts, left: float, y: float) -> None:
    """Write the FWHM large, and the figures that say how far the fluxes can be trusted."""
    number = {
        name: float(facts.figures.get(name, math.nan))
        for name in ("fwhm", "ellipticity", "pa", "n_psf", "psf_mismatch", "apcor", "ref_radius")
    }
    if math.isfinite(number["fwhm"]):
        arcsec = number["fwhm"] * facts.plate_scale
        add_text(figure, left, y, f"{arcsec:.2f}″", size=24.0, weight="bold")
    upper = (
        ("fwhm", "FWHM {:.2f} px", 1.0), ("ellipticity", "ellipticity {:.2f}", 1.0),
        ("pa", "angle {:.0f}°", 1.0),
    )  # fmt: skip
    lower = (
        ("n_psf", "{:.0f} PSF stars", 1.0), ("psf_mismatch", "mismatch {:.1f} %", 100.0),
        ("apcor", "correction {:.3f}", 1.0), ("ref_radius", "to {:.1f} px", 1.0),
    )  # fmt: skip
    for parts, height, colour in ((upper, y + 14.0, INK), (lower, y - 5.0, DIM)):
        line = "  ·  ".join(
            form.format(factor * number[name])
            for name, form, factor in parts
            if math.isfinite(number[name])
        )
        add_text(figure, left + 124.0, height, line, size=9.5, color=colour)


def _draw_warnings(figure: Figure, warnings: tuple[str, ...]) -> None:
    """Write what a person should know, at most two lines."""
    lines = [plain(one, 100) for one in warnings[:2]]
    if len(warnings) > 2:
        lines[1] = f"{plain(warnings[1], 80)}  (and {len(warnings) - 2} more in the log)"
    for number, line in enumerate(lines):
        add_text(figure, SIDE[0], 26.0 - 16.0 * number, line, size=8.5, color=AMBER)
