"""How a frame looks: zscale, masked pixels tinted, a colour bar, and how large its marks are."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from pipnick_watch.pictures.labels import place_labels
from pipnick_watch.pictures.picture import USUAL_FWHM, SourcePicture
from pipnick_watch.pictures.theme import (
    DIM,
    GREYS,
    GROUND,
    HEIGHT,
    POINTS,
    TINT,
    WIDTH,
    add_axes,
    add_text,
    plain,
)

__all__ = ["FrameView", "draw_frame", "draw_heading", "draw_labels", "draw_marks", "mark_radii"]

FIELD = (54.0, 62.0, 660.0, 596.0)  # left, bottom, width, height of the frame at most
MASK_SHARE = 0.45


class FrameView(NamedTuple):
    """Where marks and labels go.

    Attributes
    ----------
    axes : Axes
    scale : float
        Screen pixels for each unit of the axes.
    field : tuple of float
        Width and height, in screen pixels, that labels may use.
    corner : tuple of float
        Lower left corner of that field, in units of the axes.
    """

    axes: Axes
    scale: float
    field: tuple[float, float]
    corner: tuple[float, float] = (-0.5, -0.5)


def draw_heading(figure: Figure, picture: SourcePicture, line: str) -> None:
    """Write object, filter and name of the frame, and a line of facts below."""
    facts = picture.facts
    title = plain(f"{plain(facts.object, 40)}   {facts.filter}", 46)
    heading = add_text(figure, 20.0, HEIGHT - 33.0, title, size=16.0, weight="bold")
    end = heading.get_window_extent().x1 / figure.dpi * 72.0 / POINTS + 18.0
    room = int((WIDTH - 10.0 - end) / 13.5)
    add_text(figure, end, HEIGHT - 33.0, plain(facts.name, room), size=10.0, color=DIM)
    add_text(figure, 20.0, HEIGHT - 60.0, line, size=10.5)


def draw_frame(figure: Figure, picture: SourcePicture) -> FrameView:
    """Draw the frame in zscale with its colour bar at the left of a figure."""
    ny, nx = picture.shape
    left, bottom, width, height = FIELD
    scale = min(width / nx, height / ny)
    shown = (max(nx * scale, 8.0), max(ny * scale, 8.0))
    bottom += (height - shown[1]) / 2.0
    axes = add_axes(figure, (left, bottom, *shown))
    rows, columns = (
        side * block for side, block in zip(picture.image.shape, picture.blocks, strict=True)
    )
    axes.imshow(
        _coloured(picture), origin="lower", aspect="auto",
        extent=(-0.5, columns - 0.5, -0.5, rows - 0.5),
        interpolation="antialiased" if scale < 1.0 else "nearest",
    )  # fmt: skip
    axes.set_xlim(-0.5, nx - 0.5)
    axes.set_ylim(-0.5, ny - 0.5)
    # Beside a long, narrow frame there is room for labels: not on the sides that carry ticks.
    right = (width - shown[0]) * (shown[0] < 0.7 * width)
    above = FIELD[1] + height - bottom - shown[1]
    edge = left + (width if right else shown[0]) + 10.0
    lowest, tall = (bottom, shown[1]) if shown[1] > 0.4 * height else (FIELD[1], height)
    bar = add_axes(figure, (edge, lowest, 12.0, tall))
    figure.colorbar(ScalarMappable(Normalize(picture.low, picture.high), GREYS), cax=bar)
    add_text(figure, edge, lowest + tall + 5.0, "e⁻ per pixel", size=8.0, color=DIM)
    if len(picture.x) == 0:
        add_text(
            axes, (nx - 1) / 2, (ny - 1) / 2,
            f"No source above {picture.facts.thresh:g} times the noise of the sky",
            size=13.0, ha="center", va="center",
            bbox={"facecolor": GROUND, "edgecolor": DIM, "alpha": 0.85, "pad": 8.0},
        )  # fmt: skip
    return FrameView(axes, scale, (shown[0] + right, shown[1] + above))


def mark_radii(picture: SourcePicture, scale: float) -> npt.NDArray[np.float64]:
    """Size the marks, in screen pixels: around what is seen of a star, not over the next one."""
    fwhm = picture.facts.fwhm if picture.facts.fwhm > 0.0 else USUAL_FWHM
    # A Moffat with an exponent of 3 is near enough to tell where a star stops being white.
    core = 0.98 * fwhm
    flux = np.nan_to_num(picture.flux, posinf=0.0, neginf=0.0)
    peak = 2.0 * flux / (np.pi * core**2)
    white = np.clip(peak / (0.5 * (picture.high - picture.low)), 1.0, None)
    enclosing = np.clip(core * np.sqrt(np.cbrt(white) - 1.0) * scale + 3.0, 7.0, 22.0)
    if len(enclosing) < 2:
        return enclosing
    places = np.stack([picture.x, picture.y], axis=1)
    nearest = np.asarray(cKDTree(places).query(places, k=2)[0])[:, 1] * scale
    spacing = scale * np.sqrt(picture.shape[0] * picture.shape[1] / len(places))
    return np.clip(enclosing, None, np.clip(0.55 * nearest, 3.2, max(0.5 * spacing, 2.5)))


def draw_marks(
    view: FrameView,
    places: npt.NDArray[np.float64],
    radii: npt.NDArray[np.float64],
    shape: str,
    colour: str,
) -> None:
    """Put marks of one kind around sources; a dark edge keeps them apart from white stars.

    ``places`` are in units of the axes, shape (n, 2); ``radii`` screen pixels, shape (n,).
    """
    widths = np.clip(radii / 6.0, 0.7, 1.2)
    for line, ink in ((list(widths + 1.2), GROUND), (list(widths), colour)):
        view.axes.scatter(
            places[:, 0], places[:, 1], s=(2.0 * POINTS * radii) ** 2, marker=shape,
            facecolors="none", edgecolors=ink, linewidths=line,
        )  # fmt: skip


def draw_labels(
    view: FrameView,
    chosen: npt.NDArray[np.int64],
    texts: list[str],
    colours: list[str],
    places: npt.NDArray[np.float64],
    radii: npt.NDArray[np.float64],
    size: float,
) -> None:
    """Write texts beside the chosen ones of all marks, the first ones choosing their place first.

    ``places`` are in units of the axes, shape (m, 2); ``radii`` screen pixels, shape (m,).
    """
    corner = np.array(view.corner)
    spots = (places - corner) * view.scale
    boxes = np.array([(len(text) * 0.64 * size / POINTS + 4.0, 1.5 * size) for text in texts])
    centres, distant = place_labels(chosen, boxes.reshape(-1, 2), spots, radii, view.field)
    for mark, text, colour, centre, far in zip(
        chosen, texts, colours, centres, distant, strict=True
    ):
        x, y = centre / view.scale + corner
        if far:
            step = centre - spots[mark]
            start = spots[mark] + step * radii[mark] / np.hypot(*step)
            line = np.stack([start, centre]) / view.scale + corner
            view.axes.plot(*line.T, color=colour, linewidth=0.6, clip_on=False)
        add_text(
            view.axes, x, y, text, size=size, color=colour, ha="center", va="center", zorder=4,
            bbox={"facecolor": GROUND, "edgecolor": "none", "alpha": 0.7, "pad": 1.0},
        )  # fmt: skip


def _coloured(picture: SourcePicture) -> npt.NDArray[np.uint8]:
    """Make the frame's greys a picture, with the pixels that were left out tinted."""
    colours: npt.NDArray[np.uint8] = GREYS(np.arange(256), bytes=True)[picture.image, :3]
    masked = picture.mask
    tint = np.array(TINT) * 255.0
    colours[masked] = ((1.0 - MASK_SHARE) * colours[masked] + MASK_SHARE * tint).astype(np.uint8)
    return colours
