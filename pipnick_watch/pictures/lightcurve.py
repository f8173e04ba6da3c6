"""The light curve of one object and filter, with what it stands on: seeing, clouds, drift."""

import math
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from pipnick_watch.lightcurves.scatter import performance
from pipnick_watch.pictures.page_facts import Curve
from pipnick_watch.pictures.theme import AMBER, BLUE, DIM, GROUND, INK, PINK, YELLOW, plain

__all__ = ["draw_curve", "legend", "night_axes", "night_figure", "times_of"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

FONT = "DejaVu Sans"
EPOCH = 40587.0  # MJD of matplotlib's day 0
TEN_MINUTES = 10.0 / 1440.0


def night_figure(title: str, heights: list[float]) -> tuple[Figure, list[Axes]]:
    """Make a figure of panels above each other that share their time axis.

    It is narrow and its letters are large: a phone shows it whole.
    """
    figure = Figure(figsize=(7.6, 1.0 + sum(heights)), dpi=140, facecolor=GROUND)
    FigureCanvasAgg(figure)
    total = 1.0 + sum(heights)
    axes: list[Axes] = []
    top = 1.0 - 0.45 / total
    for height in heights:
        box = (0.125, top - (height - 0.12) / total, 0.855, (height - 0.12) / total)
        panel = figure.add_axes(box, sharex=axes[0] if axes else None)
        night_axes(panel)
        axes.append(panel)
        top -= height / total
    for panel in axes[:-1]:
        panel.tick_params(labelbottom=False)
    figure.text(
        0.125, 1.0 - 0.27 / total, plain(title, 90), size=12, color=INK, family=FONT,
        parse_math=False, weight="bold",
    )  # fmt: skip
    return figure, axes


def night_axes(axes: Axes) -> None:
    """Give axes the look of the night."""
    axes.set_facecolor(GROUND)
    axes.tick_params(colors=DIM, labelsize=10, labelfontfamily=FONT, length=3.0, width=0.7)
    axes.grid(visible=True, color=DIM, alpha=0.22, linewidth=0.6)
    for spine in axes.spines.values():
        spine.set(color=DIM, linewidth=0.7)


def times_of(mjd: FloatArray) -> FloatArray:
    """Turn MJD into what matplotlib counts times in."""
    return mjd - EPOCH


def label(axes: Axes, text: str) -> None:
    """Name what a panel shows, on its left."""
    axes.set_ylabel(text, color=INK, size=10, family=FONT, labelpad=4)


def draw_curve(curve: Curve) -> Figure:
    """Draw the target and a check star, and below the seeing, the transparency and the drift."""
    figure, panels = night_figure(_title(curve), [2.9, 1.35, 1.35, 1.35])
    t = times_of(curve.numbers("mjd_mid"))
    clouded = curve.numbers("clouded") > 0
    _draw_target(panels[0], curve, t, clouded)
    _draw_seeing(panels[1], curve, t)
    _draw_clouds(panels[2], curve, t, clouded)
    _draw_drift(panels[3], curve, t)
    time_axis(panels[-1], t)
    return figure


def time_axis(axes: Axes, t: FloatArray) -> None:
    """Put hours UT on the time axis."""
    known = t[np.isfinite(t)]
    if len(known):
        margin = max(0.03 * float(np.ptp(known)), 2.0 / 1440.0)
        axes.set_xlim(float(known.min()) - margin, float(known.max()) + margin)
    locator = AutoDateLocator(tz=UTC, minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    style = ConciseDateFormatter(locator, tz=UTC, show_offset=False)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(style)
    date = ""
    if len(known):
        first = datetime.fromtimestamp(float(known.min()) * 86400.0, tz=UTC)
        date = f" of {first:%Y-%m-%d}"
    axes.set_xlabel(f"UT{date}", color=INK, size=10, family=FONT)


def _title(curve: Curve) -> str:
    kind = curve.text("target_kind")
    who = {"target": "target", "candidate": "candidate"}.get(kind, "no target")
    return f"{curve.object} {curve.filter}: {who}, {len(curve)} frames"


def _draw_target(axes: Axes, curve: Curve, t: FloatArray, clouded: BoolArray) -> None:
    mjd = curve.numbers("mjd_mid")
    target, error = curve.numbers("target_mag"), curve.numbers("target_mag_err")
    check, check_err = curve.numbers("check_mag"), curve.numbers("check_mag_err")
    level = _median(target)
    good = np.isfinite(target) & np.isfinite(error)
    if math.isfinite(level):
        for chosen, face, say in (
            (good & ~clouded, BLUE, "target"),
            (good & clouded, GROUND, "clouded"),
        ):
            if chosen.any():
                axes.errorbar(
                    t[chosen], (target - level)[chosen], error[chosen], fmt="o", ms=4.2, mfc=face,
                    mec=BLUE, ecolor=BLUE, elinewidth=0.8, alpha=0.9, label=say,
                )  # fmt: skip
        centre, mean = _binned(mjd, target - level, error)
        if len(centre) > 2:
            axes.plot(times_of(centre), mean, "s", ms=6, mfc="none", mec=INK, label="10 min")
    good = np.isfinite(check) & np.isfinite(check_err)
    base = _median(check)
    # the check star below the target, so that both are seen
    reach = np.nanpercentile(np.abs(target - level), 95) if math.isfinite(level) else 0.0
    spread = np.nanpercentile(np.abs(check - base), 95) if math.isfinite(base) else 0.0
    below = 1.4 * (float(reach) + float(spread)) + 0.004 if math.isfinite(level) else 0.0
    if good.any():
        axes.errorbar(
            t[good], (check - base)[good] + below, check_err[good], fmt="D", ms=3.2, color=YELLOW,
            elinewidth=0.7, alpha=0.8, label=f"check star (+{below:.3f})",
        )  # fmt: skip
    seen = np.concatenate([target - level, check - base + below])
    seen = seen[np.isfinite(seen)]
    if len(seen):
        low, high = np.percentile(seen, [0.5, 99.5])
        margin = 0.12 * (high - low) + 0.004
        axes.set_ylim(high + margin, low - margin)
        legend(axes, 9.0, 0.08)
    else:
        note(axes, "no target: " + curve.text("target_kind"))
    label(axes, "Δ mag")
    own = performance(mjd, target, error)
    if math.isfinite(own.achieved):
        text = f"scatter {own.achieved * 1e3:.1f} mmag, predicted {own.predicted * 1e3:.1f}"
        axes.text(0.01, 0.03, text, transform=axes.transAxes, color=INK, size=10, family=FONT)


def note(axes: Axes, text: str) -> None:
    """Say in the middle of a panel why it is empty."""
    axes.text(
        0.5, 0.5, plain(text, 80), transform=axes.transAxes, color=DIM, size=11, family=FONT,
        ha="center", va="center", parse_math=False,
    )  # fmt: skip


def _draw_seeing(axes: Axes, curve: Curve, t: FloatArray) -> None:
    seeing, zenith = curve.numbers("seeing"), curve.numbers("seeing_zenith")
    alarm = curve.numbers("focus_alarm") > 0
    axes.plot(t, seeing, "o", ms=3, color=DIM, label="as seen")
    axes.plot(t, zenith, "o", ms=3.4, color=BLUE, label="at the zenith")
    if alarm.any():
        axes.plot(t[alarm], zenith[alarm], "X", ms=5, color=AMBER, label="focus?")
    _upto(axes, np.concatenate([seeing, zenith]), 1.0)
    legend(axes)
    label(axes, "FWHM ″")


def _draw_clouds(axes: Axes, curve: Curve, t: FloatArray, clouded: BoolArray) -> None:
    loss = curve.numbers("transparency")
    axes.plot(t, -loss, "-", lw=0.8, color=DIM)
    axes.plot(t[~clouded], -loss[~clouded], "o", ms=3.4, color=BLUE, label="clear")
    if clouded.any():
        axes.plot(t[clouded], -loss[clouded], "s", ms=4, color=PINK, label="clouded")
    low = np.nanmin(-loss) if np.isfinite(loss).any() else 0.0
    axes.set_ylim(min(-0.3, 1.1 * float(low)), 0.06)
    legend(axes)
    label(axes, "transp. mag")


def _draw_drift(axes: Axes, curve: Curve, t: FloatArray) -> None:
    for name, mark, colour in (("x", "o", BLUE), ("y", "s", YELLOW)):
        axes.plot(t, curve.numbers(f"drift_{name}"), mark, ms=3.2, color=colour, label=name)
    legend(axes)
    label(axes, "drift ″")


def legend(axes: Axes, size: float = 8.5, room: float = 0.2) -> None:
    """Draw a legend along the top, in a strip that the points leave to it.

    Parameters
    ----------
    axes : Axes
        All is plotted.
    size : float
    room : float
        Height of the strip, as a share of what is there.
    """
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + room * (high - low))
    axes.legend(
        loc="upper right", ncols=4, fontsize=size, frameon=False, labelcolor=INK,
        handletextpad=0.3, columnspacing=1.0, borderaxespad=0.2, borderpad=0.1,
    )  # fmt: skip


def _upto(axes: Axes, values: FloatArray, least: float) -> None:
    known = values[np.isfinite(values)]
    if len(known):
        low, high = np.percentile(known, [1, 99])
        margin = max(0.25 * (high - low), 0.1 * least)
        axes.set_ylim(max(low - margin, 0.0), high + margin)


def _binned(mjd: FloatArray, mag: FloatArray, error: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Average over ten minutes, weighted."""
    known = np.isfinite(mjd) & np.isfinite(mag) & np.isfinite(error)
    if known.sum() < 3:
        return np.empty(0), np.empty(0)
    mjd, mag, weight = mjd[known], mag[known], error[known] ** -2
    _, place = np.unique(np.floor((mjd - mjd[0]) / TEN_MINUTES), return_inverse=True)
    total = np.bincount(place, weight)
    return np.bincount(place, weight * mjd) / total, np.bincount(place, weight * mag) / total


def _median(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan
