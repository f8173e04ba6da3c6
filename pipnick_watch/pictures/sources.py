"""The picture that an observer judges a frame by: its sources, their fluxes, and its PSF."""

import math

import numpy as np
from matplotlib.figure import Figure

from pipnick_watch.photometry.flags import FLAGS, Flag
from pipnick_watch.pictures.frame_view import (
    FrameView,
    draw_frame,
    draw_heading,
    draw_labels,
    draw_marks,
    mark_radii,
)
from pipnick_watch.pictures.picture import FLAGGED, UNMARKED, WHOLE_FRAME, FrameFacts, SourcePicture
from pipnick_watch.pictures.psf import draw_psf
from pipnick_watch.pictures.theme import (
    AMBER,
    DIM,
    HEIGHT,
    INK,
    MARKS,
    TINT,
    add_axes,
    add_text,
    facts_line,
    new_figure,
    plain,
    short_flux,
)

__all__ = ["LABELLED", "WITH_ID", "draw_sources"]

LABELLED = 60
"""At most so many sources carry their flux: the brightest ones."""

WITH_ID = 40
"""Up to so many sources carry their number in the catalogue too."""

SIDE = (786.0, 566.0)  # left and width of what stands beside it


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
    figure = new_figure()
    facts = picture.facts
    draw_heading(figure, picture, facts_line(facts))
    _draw_sources(draw_frame(figure, picture), picture)
    _draw_legend(figure, picture)
    left, width = SIDE
    bottom = 44.0
    _draw_figures(figure, facts, left, HEIGHT - 112.0)
    draw_psf(figure, picture.psf, facts, (left, bottom, width, HEIGHT - 128.0 - bottom))
    _draw_notes(figure, _notes(picture))
    return figure


def _draw_sources(view: FrameView, picture: SourcePicture) -> None:
    """Mark each source by its kind, and write the fluxes of the brightest beside them."""
    places = np.stack([picture.x, picture.y], axis=1)
    radii = mark_radii(picture, view.scale)
    for kind, (_, shape, colour) in MARKS.items():
        chosen = picture.kinds == kind
        draw_marks(view, places[chosen], radii[chosen], shape, colour)
    labelled = np.flatnonzero(np.isfinite(picture.flux))[:LABELLED]
    texts = [short_flux(flux) for flux in picture.flux[labelled]]
    if len(places) <= WITH_ID:
        texts = [f"#{number}  {text}" for number, text in zip(picture.ids, texts, strict=False)]
    colours = [MARKS[int(kind)][2] for kind in picture.kinds[labelled]]
    size = 9.0 if len(places) <= WITH_ID else 8.0
    draw_labels(view, labelled, texts, colours, places, radii, size)


def _draw_legend(figure: Figure, picture: SourcePicture) -> None:
    """Say below the frame what the marks and the numbers mean."""
    axes = add_axes(figure, (0.0, 0.0, 780.0, 40.0))
    axes.set_axis_off()
    axes.set_xlim(0.0, 780.0)
    axes.set_ylim(0.0, 40.0)
    x = 60.0
    for kind, (name, shape, colour) in MARKS.items():
        count = int(np.count_nonzero(picture.kinds == kind))
        colour = colour if count else DIM
        axes.scatter([x], [26.0], s=60.0, marker=shape, facecolors="none", edgecolors=colour)
        add_text(axes, x + 11.0, 26.0, f"{name} {count}", size=9.0, color=colour, va="center")
        x += 132.0
    axes.scatter([x], [26.0], s=70.0, marker="s", color=[(*TINT, 1.0)])
    add_text(axes, x + 11.0, 26.0, "masked", size=9.0, color=DIM, va="center")
    n_sources = len(picture.x)
    if n_sources == 0:
        return
    if n_sources <= WITH_ID:
        text = "labels: number and flux_psf in e⁻"
    elif n_sources <= LABELLED:
        text = "labels: flux_psf in e⁻"
    else:
        text = f"labels: flux_psf of the brightest {LABELLED} in e⁻"
    add_text(axes, 54.0, 8.0, f"{text} (k = 10³, M = 10⁶)", size=8.5, color=DIM, va="center")
    add_text(
        axes,
        774.0,
        8.0,
        _count_flags(picture, 46),
        size=8.5,
        color=MARKS[FLAGGED][2],
        ha="right",
        va="center",
    )


def _count_flags(picture: SourcePicture, longest: int) -> str:
    """Say why sources are flagged, the commonest reason first."""
    counts = {
        str(flag.name): int(np.count_nonzero(picture.flags & int(flag)))
        for flag in Flag
        if not flag & (UNMARKED | Flag.SATURATED)
    }
    text = ""
    for name in sorted(counts, key=lambda name: -counts[name]):
        more = f"{' · ' * bool(text)}{name} {counts[name]}"
        if counts[name] == 0:
            break
        if len(text) + len(more) > longest:
            return f"{text} · …"
        text += more
    return text


def _notes(picture: SourcePicture) -> list[str]:
    """List what a person should know: flags of the whole frame first, then the warnings."""
    present = int(np.bitwise_or.reduce(picture.flags)) & int(WHOLE_FRAME)
    flags = [one.meaning for one in FLAGS if one.bit & present]
    return [*flags, *picture.facts.warnings]


def _draw_figures(figure: Figure, facts: FrameFacts, left: float, y: float) -> None:
    """Write the FWHM large, and the figures that say how far the fluxes can be trusted."""
    if not math.isfinite(facts.fwhm):
        return
    arcsec = facts.fwhm * facts.plate_scale
    add_text(figure, left, y, f"{arcsec:.2f}″", size=24.0, weight="bold")
    upper = (
        ("fwhm", "FWHM {:.2f} px", 1.0), ("ellipticity", "ellipticity {:.2f}", 1.0),
        ("pa", "angle {:.0f}°", 1.0),
    )  # fmt: skip
    lower = (
        ("n_psf", "{:.0f} PSF stars", 1.0), ("psf_mismatch", "mismatch {:.1f} %", 100.0),
        ("apcor", "correction {:.3f}", 1.0), ("ref_radius", "to {:.1f} px", 1.0),
    )  # fmt: skip
    round_psf = facts.figure("ellipticity") < 0.005
    for parts, height, colour in ((upper, y + 14.0, INK), (lower, y - 5.0, DIM)):
        line = "  ·  ".join(
            form.format(factor * facts.figure(name))
            for name, form, factor in parts
            if math.isfinite(facts.figure(name)) and not (round_psf and name == "pa")
        )
        add_text(figure, left + 124.0, height, line, size=9.5, color=colour)


def _draw_notes(figure: Figure, notes: list[str]) -> None:
    """Write notes below the PSF, at most two lines."""
    lines = [plain(one, 88) for one in notes[:2]]
    if len(notes) > 2:
        lines[1] = f"{plain(notes[1], 60)}  (and {len(notes) - 2} more in the log)"
    for number, line in enumerate(lines):
        add_text(figure, SIDE[0], 24.0 - 16.0 * number, line, size=8.5, color=AMBER)
