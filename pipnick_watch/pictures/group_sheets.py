"""The sheets that a person decides by which groups are one star and which are several."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipnick_watch.frame import Frame
from pipnick_watch.photometry.measurement import Measurement
from pipnick_watch.pictures.frame_view import (
    FrameView,
    draw_frame,
    draw_heading,
    draw_labels,
    draw_marks,
)
from pipnick_watch.pictures.groups import GroupSheets, GroupStamp, prepare_groups
from pipnick_watch.pictures.theme import (
    BLUE,
    DIVERGING,
    GROUND,
    HEIGHT,
    INK,
    PINK,
    SHARPNESS,
    WIDTH,
    YELLOW,
    add_axes,
    add_text,
    facts_line,
    new_figure,
    short_flux,
)
from pipnick_watch.settings import Settings

__all__ = ["ACROSS", "DOWN", "draw_groups", "group_sheets"]

ACROSS, DOWN = 3, 4
"""Groups of one sheet."""

TILE = 138  # side of a cut-out, screen pixels
GAP = 4
NAMED = 12  # members of a group that are named
NUMBERED = 200  # groups of the overview that carry their number
LISTED = 34  # lines of the overview's list


def group_sheets(frame: Frame, measurement: Measurement, settings: Settings) -> list[Figure]:
    """Draw all pictures of a frame's groups, the overview first.

    Parameters
    ----------
    frame : Frame
    measurement : Measurement
    settings : Settings

    Returns
    -------
    list of Figure
        For ``<stem>_groups_1.png`` and so on; one more than the sheets of cut-outs.
    """
    return list(draw_groups(prepare_groups(frame, measurement, settings)))


def draw_groups(picture: GroupSheets) -> Iterator[Figure]:
    """Draw the overview, then the sheets one by one: only one needs to be held at a time."""
    yield _draw_overview(picture)
    on_sheet = ACROSS * DOWN
    sheets = -(-len(picture.stamps) // on_sheet)
    for number in range(sheets):
        stamps = picture.stamps[number * on_sheet : (number + 1) * on_sheet]
        yield _draw_sheet(picture, stamps, number + 1, sheets)


def _draw_overview(picture: GroupSheets) -> Figure:
    """Draw the frame with the first and the later sources, every group outlined and numbered."""
    figure = new_figure()
    sources = picture.overview
    draw_heading(figure, sources, facts_line(sources.facts))
    view = draw_frame(figure, sources)
    places = np.stack([sources.x, sources.y], axis=1)
    later = sources.iter_detected > 1
    small = np.full(len(places), 4.0)
    draw_marks(view, places[~later], small[~later], "o", BLUE)
    draw_marks(view, places[later], small[later], "^", PINK)
    _outline_groups(view, picture)
    kinds = (
        ("○", f"found in the frame {np.count_nonzero(~later)}", BLUE),
        ("△", f"found in the residuals {np.count_nonzero(later)}", PINK),
        ("◯", f"groups of two and more {len(picture.stamps)}", YELLOW),
    )
    for number, (sign, text, colour) in enumerate(kinds):
        add_text(figure, 54.0 + 220.0 * number, 18.0, f"{sign}  {text}", size=9.5, color=colour)
    lines = [_list_members(stamp, 84) for stamp in picture.stamps]
    if len(lines) > LISTED:
        lines = [*lines[: LISTED - 1], f"… and {len(lines) - LISTED + 1} more on the sheets"]
    for number, line in enumerate(lines or ["No groups: every source stands alone."]):
        add_text(figure, 786.0, HEIGHT - 98.0 - 18.0 * number, line, size=9.0)
    return figure


def _outline_groups(view: FrameView, picture: GroupSheets) -> None:
    """Put a circle around the members of each group, and its number beside it."""
    if not picture.stamps:
        return
    centres = np.array([(np.mean(one.x), np.mean(one.y)) for one in picture.stamps])
    reach = np.array(
        [
            np.hypot(one.x - x, one.y - y).max()
            for one, (x, y) in zip(picture.stamps, centres, strict=True)
        ]
    )
    radii = reach * view.scale + 8.0
    draw_marks(view, centres, radii, "o", YELLOW)
    texts = [str(one.group_id) for one in picture.stamps[:NUMBERED]]
    chosen = np.arange(len(texts))
    draw_labels(view, chosen, texts, [YELLOW] * len(texts), centres, radii, 8.0)


def _draw_sheet(
    picture: GroupSheets, stamps: tuple[GroupStamp, ...], number: int, sheets: int
) -> Figure:
    """Draw the cut-outs of some groups: data, model and residual side by side."""
    figure = new_figure()
    line = (
        f"groups, sheet {number} of {sheets}  ·  data, model, residual  ·  "
        "each member with its number and flux_psf in e⁻ (k = 10³, M = 10⁶)"
    )
    draw_heading(figure, picture.overview, line)
    axes = add_axes(figure, (0.0, 0.0, WIDTH, HEIGHT))
    axes.set_axis_off()
    # All cut-outs are one image: three dozen axes would take ten times as long.
    sheet = np.empty((round(HEIGHT * SHARPNESS), round(WIDTH * SHARPNESS), 3))
    sheet[:] = np.array([int(GROUND[at : at + 2], 16) for at in (1, 3, 5)]) / 255.0
    for index, stamp in enumerate(stamps):
        left = 20 + (index % ACROSS) * (WIDTH - 20.0) / ACROSS
        bottom = HEIGHT - 90.0 - TILE - (index // ACROSS) * (TILE + 24.0)
        limit = _paint(sheet, stamp, left, bottom)
        _name_members(axes, stamp, left, bottom)
        add_text(axes, left, bottom + TILE + 5.0, _list_members(stamp, 68), size=8.5)
        add_text(
            axes, left + 3 * TILE + 2 * GAP - 3.0, bottom + 4.0, f"±{short_flux(limit)} e⁻",
            size=7.5, color=INK, ha="right",
            bbox={"facecolor": GROUND, "edgecolor": "none", "alpha": 0.6, "pad": 1.0},
        )  # fmt: skip
    axes.imshow(sheet, origin="lower", extent=(0.0, WIDTH, 0.0, HEIGHT), aspect="auto",
                interpolation="nearest")  # fmt: skip
    axes.set_xlim(0.0, WIDTH)
    axes.set_ylim(0.0, HEIGHT)
    return figure


def _paint(sheet: npt.NDArray[np.float64], stamp: GroupStamp, left: float, bottom: float) -> float:
    """Paint the three cut-outs of a group into the sheet; return the residual's limit."""
    noise = stamp.noise if stamp.noise > 0.0 else 1.0
    peak = max(float(np.max(stamp.model)), 10.0 * noise)
    limit = max(5.0 * noise, 0.03 * peak)
    residual = stamp.data - stamp.model
    tiles = (
        colormaps["magma"](_lifted(stamp.data, noise, peak)),
        colormaps["magma"](_lifted(stamp.model, noise, peak)),
        DIVERGING(0.5 + 0.5 * residual / limit),
    )
    side = round(TILE * SHARPNESS)
    rows, columns = _grid(stamp, side)
    inside = np.ix_(rows >= 0, columns >= 0)
    for number, tile in enumerate(tiles):
        x = round((left + number * (TILE + GAP)) * SHARPNESS)
        y = round(bottom * SHARPNESS)
        part = sheet[y : y + side, x : x + side]
        part[inside] = tile[np.ix_(rows[rows >= 0], columns[columns >= 0])][..., :3]
    return limit


def _grid(stamp: GroupStamp, side: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Say which row and column of a cut-out each dot of a square tile shows; -1 for none."""
    high, wide = stamp.data.shape
    dots = np.floor((np.arange(side) + 0.5) / side * max(high, wide)).astype(np.int64)
    return np.where(dots < high, dots, -1), np.where(dots < wide, dots, -1)


def _lifted(values: npt.NDArray[np.float32], noise: float, peak: float) -> npt.NDArray[np.float64]:
    """Stretch by the inverse hyperbolic sine: noise is seen, and the peak is 1."""
    soft = 3.0 * noise
    lifted = np.arcsinh(values.astype(np.float64) / soft) / math.asinh(peak / soft)
    return np.clip(0.06 + 0.94 * lifted, 0.0, 1.0)


def _name_members(axes: Axes, stamp: GroupStamp, left: float, bottom: float) -> None:
    """Mark the members in all three cut-outs: numbers in the data, fluxes in the model."""
    scale = TILE / max(stamp.data.shape)
    places = np.stack([stamp.x - stamp.x0 + 0.5, stamp.y - stamp.y0 + 0.5], axis=1) * scale
    names = [str(number) for number in stamp.ids[:NAMED]]
    fluxes = [short_flux(flux) for flux in stamp.flux[:NAMED]]
    for number, texts in enumerate((names, fluxes, [])):
        corner = (left + number * (TILE + GAP), bottom)
        spots = places + np.array(corner)
        axes.scatter(spots[:, 0], spots[:, 1], s=16.0, marker="+", color=BLUE, linewidths=0.8)
        view = FrameView(axes, 1.0, (float(TILE), float(TILE)), corner)
        radii = np.full(len(spots), 4.0)
        draw_labels(view, np.arange(len(texts)), texts, [INK] * len(texts), spots, radii, 7.5)


def _list_members(stamp: GroupStamp, longest: int) -> str:
    """Write a group's number, its flux, and the numbers and fluxes of its members."""
    total = short_flux(float(np.sum(stamp.flux)))
    text = f"group {stamp.group_id}: {len(stamp.ids)} sources, {total} in all"
    members = list(zip(stamp.ids, stamp.flux, strict=True))
    for done, (number, flux) in enumerate(members, start=1):
        more = f"  ·  #{number} {short_flux(flux)}"
        room = longest if done == len(members) else longest - 8
        if len(text) + len(more) > room:
            return f"{text}  ·  +{len(members) - done + 1}"
        text += more
    return text
