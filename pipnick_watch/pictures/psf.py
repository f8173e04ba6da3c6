"""How the frame's PSF looks: data, model, residual, and the radial profile with its FWHM."""

import math

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from pipnick_watch.photometry.measurement import PsfView
from pipnick_watch.pictures.picture import FrameFacts
from pipnick_watch.pictures.theme import (
    AMBER,
    BLUE,
    DIM,
    DIVERGING,
    INK,
    add_axes,
    add_text,
)

__all__ = ["draw_psf"]

Box = tuple[float, float, float, float]


def draw_psf(figure: Figure, psf: PsfView | None, facts: FrameFacts, box: Box) -> None:
    """Draw the PSF into a part of a figure.

    Parameters
    ----------
    figure : Figure
    psf : PsfView or None
        None: a line says that no star showed it.
    facts : FrameFacts
    box : tuple of float
        Left, bottom, width and height in screen pixels.
    """
    left, bottom, width, height = box
    if psf is None:
        add_text(
            figure, left + width / 2, bottom + height / 2,
            "No PSF: no star of this frame is bright and isolated enough to show it.",
            size=10.0, color=DIM, ha="center",
        )  # fmt: skip
        return
    side = min((width - 24.0) / 3.0, 0.45 * height)
    top = bottom + height - 20.0
    step = (width - side) / 2.0
    peak = _peak(psf.model)
    largest = _peak(np.abs(psf.residual)) / peak
    stamps = (
        ("PSF stars, stacked", psf.data / peak, False),
        ("model", psf.model / peak, False),
        (f"residual, ±{100 * largest:.2g} % of peak", psf.residual / peak, True),
    )
    for number, (title, stamp, diverging) in enumerate(stamps):
        axes = add_axes(figure, (left + number * step, top - side, side, side))
        axes.set(xticks=[], yticks=[])
        if diverging:
            axes.imshow(stamp, origin="lower", cmap=DIVERGING, vmin=-largest, vmax=largest)
        else:
            axes.imshow(_stretched(stamp), origin="lower", cmap="magma", vmin=0.0, vmax=1.0)
        add_text(figure, left + number * step, top + 5.0, title, size=8.5, color=DIM)
    profile = (left + 40.0, bottom + 32.0, width - 40.0, top - side - 46.0 - bottom)
    _draw_profile(figure, psf, facts, profile)


def _draw_profile(figure: Figure, psf: PsfView, facts: FrameFacts, box: Box) -> None:
    """Draw flux per pixel against distance from the centre, as a fraction of the model's peak."""
    axes = add_axes(figure, box)
    peak = _peak(psf.model_profile)
    reach = float(np.max(psf.radius, where=np.isfinite(psf.radius), initial=1.0))
    axes.axhline(0.0, color=DIM, linewidth=0.6)
    half = psf.fwhm / 2.0
    if math.isfinite(half):
        beside = half + 0.1 * reach
        axes.plot([half, half], [0.0, 0.5], color=INK, linewidth=0.9, linestyle="--")
        axes.plot([0.0, beside], [0.5, 0.5], color=INK, linewidth=0.9, linestyle="--")
        arcsec = psf.fwhm * facts.plate_scale
        text = f"FWHM {psf.fwhm:.2f} px = {arcsec:.2f}″"
        add_text(axes, beside + 0.01 * reach, 0.5, text, size=10.0, va="center")
    axes.errorbar(
        psf.radius, psf.profile / peak, yerr=np.abs(psf.profile_err / peak),
        fmt="o", color=BLUE, markersize=3.5, elinewidth=0.8, label="stars", zorder=3,
    )  # fmt: skip
    axes.plot(psf.model_radius, psf.model_profile / peak, color=AMBER, linewidth=1.4)
    axes.set_xlim(0.0, reach * 1.02)
    axes.set_ylim(-0.06, 1.12)
    add_text(axes, 0.98 * reach, 1.02, "● stars", size=9.0, color=BLUE, ha="right", va="center")
    add_text(axes, 0.98 * reach, 0.90, "— model", size=9.0, color=AMBER, ha="right", va="center")
    left, bottom, width, _ = box
    add_text(
        figure, left + width / 2, bottom - 30.0, "distance from the centre, px",
        size=8.5, color=DIM, ha="center",
    )  # fmt: skip


def _peak(values: npt.NDArray[np.float64]) -> float:
    """Return the highest finite value, 1 where there is none above 0."""
    highest = float(np.max(values, where=np.isfinite(values), initial=0.0))
    return highest if highest > 0.0 else 1.0


def _stretched(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Lift the wings: the inverse hyperbolic sine, 0 to 0 and 1 to 1."""
    lifted: npt.NDArray[np.float64] = np.arcsinh(values / 0.03) / np.arcsinh(1.0 / 0.03)
    return lifted
