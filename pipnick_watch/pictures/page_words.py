"""What the figures of a night say in plain words: one line, the alarms, and the cards."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipnick_watch.lightcurves.observer import CLOUD, best_quarter
from pipnick_watch.lightcurves.scatter import Performance, performance
from pipnick_watch.pictures.night_sky import (
    altitudes,
    darkness,
    moon_altitudes,
    moonlight,
    rises_through,
)
from pipnick_watch.pictures.page_facts import Curve, clock
from pipnick_watch.settings import Settings

__all__ = ["Alarm", "Card", "alarms", "cadence", "cards", "headline", "number"]

FloatArray = npt.NDArray[np.float64]

LATELY = 5
CHANGED = 0.1
"""Share by which the seeing must change to be called better or worse."""

FULL = 0.9
SOON_H = 1.0
LOW = 25.0
"""Degrees: an object below this (airmass 2.4) is called low."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """Something to act on."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """One of the observer's questions: its name, the answer, what it rests on, is it an alarm."""

    name: str
    answer: str
    details: tuple[str, ...] = ()
    alarm: bool = False


def number(value: float, spec: str, unit: str = "") -> str:
    """Write a number with its unit; a dash when it is not known."""
    if not math.isfinite(value):
        return "—"
    text = f"{value:{spec}}"
    if not text.strip("-+0.%"):  # a nought has no sign
        text = text.lstrip("-+")
    return (text + unit).replace("-", "−")


def cadence(mjd: FloatArray) -> float:
    """Give the usual time between the latest frames, seconds; nan with fewer than two."""
    known = np.sort(mjd[np.isfinite(mjd)])[-21:]
    return float(np.median(np.diff(known))) * 86400.0 if len(known) > 1 else math.nan


def headline(curve: Curve, n_failed: int) -> str:
    """Say in one line how it goes; the age of the last frame is added by the page itself."""
    n = len(curve)
    parts = [f"{curve.object} {curve.filter}: {n} frame{'s' if n != 1 else ''}"]
    seeing = _seeing_words(curve)
    if seeing:
        parts.append(seeing)
    parts.append(_cloud_words(curve))
    if n_failed:
        parts.append(f"{n_failed} frame{'s' if n_failed != 1 else ''} failed")
    return ", ".join(part for part in parts if part)


def _seeing_words(curve: Curve) -> str:
    zenith, seeing = curve.numbers("seeing_zenith"), curve.numbers("seeing")
    known = zenith[np.isfinite(zenith)]
    if len(known) == 0:
        return ""
    now = f"seeing {number(curve.last('seeing'), '.1f', '″')}"
    if len(known) < 2 * LATELY or not np.isfinite(seeing[-1]):
        return now
    lately = float(np.median(known[-LATELY:]))
    before = float(np.median(known[-4 * LATELY : -LATELY]))
    change = lately / before - 1.0
    if abs(change) < CHANGED:
        return f"{now} steady"
    return f"{now}, {abs(change):.0%} {'worse' if change > 0 else 'better'} than before"


def _cloud_words(curve: Curve) -> str:
    loss = curve.numbers("transparency")
    known = np.flatnonzero(np.isfinite(loss))
    if len(known) < 3:
        return ""
    if loss[known[-1]] <= CLOUD:
        return "transparency good"
    start = len(known) - 1
    while start > 0 and loss[known[start - 1]] > CLOUD:
        start -= 1
    since = clock(float(curve.numbers("mjd_mid")[known[start]]))
    return f"transparency down {loss[known[-1]]:.1f} mag since {since} UT"


def alarms(curve: Curve, failed: Sequence[str]) -> list[Alarm]:
    """List what asks for an action, the most urgent first."""
    found = []
    share = max(_or_zero(_now(curve, "saturation_target")), 0.0)
    if share > FULL:
        safe = number(curve.last("safe_exptime"), ".0f", " s")
        found.append(f"The target is at {share:.0%} of saturation: expose {safe} at most")
    if curve.numbers("focus_alarm")[-1] > 0:
        best = best_quarter(curve.numbers("seeing_zenith"))
        now = _now(curve, "seeing_zenith")
        found.append(
            f"Three frames in a row are out of focus: {now:.1f}″ at the zenith, the night's best"
            f" quarter had {best:.1f}″"
        )
    hours = _now(curve, "edge_hours")
    if hours < SOON_H:
        found.append(f"The target reaches {curve.text('edge')} in {hours * 60:.0f} min")
    if _now(curve, "clouded") > 0:
        found.append(f"Clouds: {_now(curve, 'transparency'):.1f} mag are lost")
    if _now(curve, "matched") < 1:
        found.append("The last frame's stars were not recognised: is the field right?")
    if failed:
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        found.append(f"Failed: {failed[0]}{more}, see the table")
    return [Alarm(text=text) for text in found]


def cards(curve: Curve, settings: Settings) -> list[Card]:
    """Answer the observer's questions, in the order in which they matter."""
    return [
        _saturation(curve),
        _focus(curve),
        _guiding(curve),
        _clouds(curve),
        _target(curve),
        _rest(curve, settings),
        _zero_point(curve),
    ]


def _now(curve: Curve, name: str) -> float:
    """Give the last row's number, nan when it is missing there."""
    values = curve.numbers(name)
    return float(values[-1]) if len(values) else math.nan


def _or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _saturation(curve: Curve) -> Card:
    target, others = curve.last("saturation_target"), curve.last("saturation_comparison")
    top = max(_or_zero(target), _or_zero(others))
    return Card(
        name="Saturation",
        answer=number(top, ".0%") if top > 0 else "—",
        details=(
            f"target {number(target, '.0%')}, brightest comparison {number(others, '.0%')}",
            f"80% would be reached with {number(curve.last('safe_exptime'), '.0f', ' s')}"
            f" (now {number(curve.last('exptime'), '.4g', ' s')})",
        ),
        alarm=top > FULL,
    )


def _focus(curve: Curve) -> Card:
    best = best_quarter(curve.numbers("seeing_zenith"))
    alarm = bool(_now(curve, "focus_alarm") > 0)
    return Card(
        name="Focus and seeing",
        answer=number(curve.last("seeing"), ".2f", "″"),
        details=(
            f"at the zenith {number(curve.last('seeing_zenith'), '.2f', '″')},"
            f" best quarter {number(best, '.2f', '″')}",
            f"ellipticity {number(curve.last('ellipticity'), '.2f')}"
            f" at {number(curve.last('pa'), '.0f', '°')}",
        ),
        alarm=alarm,
    )


def _guiding(curve: Curve) -> Card:
    x, y = curve.last("drift_x"), curve.last("drift_y")
    hours, what = _now(curve, "edge_hours"), curve.text("edge")
    goal = f"reaches {what} in {hours:.1f} h" if math.isfinite(hours) else "no edge within a day"
    return Card(
        name="Guiding",
        answer=number(curve.last("drift_rate"), ".0f", "″/h"),
        details=(f"since the first frame {number(x, '+.1f', '″')} in x,"
                 f" {number(y, '+.1f', '″')} in y", goal),
        alarm=hours < SOON_H,
    )  # fmt: skip


def _clouds(curve: Curve) -> Card:
    loss, error = curve.last("transparency"), curve.last("transparency_err")
    rate = curve.last("sky_rate")
    clouded = curve.numbers("clouded")
    n_clouded = int(np.nansum(clouded)) if len(clouded) else 0
    return Card(
        name="Transparency and sky",
        answer=f"{number(-loss + 0.0, '+.2f')} mag",
        details=(
            f"± {number(error, '.3f')} against the clear part of the night;"
            f" {n_clouded} frame{'s' if n_clouded != 1 else ''} clouded",
            f"sky {number(rate, '.2f')} e⁻/s/arcsec²",
        ),
        alarm=bool(_now(curve, "clouded") > 0),
    )


def _target(curve: Curve) -> Card:
    kind = curve.text("target_kind")
    if kind not in ("target", "candidate"):
        return Card(name="Target", answer="none", details=(kind,) if kind else ())
    mjd = curve.numbers("mjd_mid")
    own = performance(mjd, curve.numbers("target_mag"), curve.numbers("target_mag_err"))
    check = performance(mjd, curve.numbers("check_mag"), curve.numbers("check_mag_err"))
    return Card(
        name="Target" if kind == "target" else "Candidate",
        answer=f"± {_milli(own.achieved)}",
        details=(
            f"predicted {_milli(own.predicted)}; check star {_milli(check.achieved)}"
            f" of {_milli(check.predicted)}",
            _ten_minutes(own),
            f"{int(_or_zero(curve.last('n_comparisons')))} comparison stars,"
            f" {curve.text('flux')}, {int(_or_zero(curve.last('n_variable')))} variable",
        ),
    )


def _ten_minutes(own: Performance) -> str:
    predicted = f"predicted {_milli(own.predicted_10min)}"
    if not math.isfinite(own.achieved_10min):
        return f"in 10 min {predicted}"
    return f"in 10 min {_milli(own.achieved_10min)}, {predicted}"


def _milli(value: float) -> str:
    return number(value * 1000.0, ".1f", " mmag")


def _rest(curve: Curve, settings: Settings) -> Card:
    """Say what is left of the night, counted from the last frame."""
    site, mjd = settings.camera.site, curve.last("mjd_mid")
    name = "Rest of the night"
    if site is None or not math.isfinite(mjd):
        return Card(name=name, answer="—", details=("the camera's profile has no site",))
    dark = darkness(mjd, site)
    end = dark.dawn if math.isfinite(dark.dawn) else dark.sunrise
    details = [
        f"dusk {clock(dark.dusk)}, dawn {clock(dark.dawn)}, sunrise {clock(dark.sunrise)} UT",
        f"Moon {moonlight(mjd):.0%} lit, {_moon_words(mjd, end, settings)}",
    ]
    ra, dec = curve.last("pointing_ra"), curve.last("pointing_dec")
    if math.isfinite(ra + dec):
        grid = np.linspace(mjd, max(end, mjd + 1e-3), 200)
        height = altitudes(grid, ra, dec, site)
        low = rises_through(grid, -height, -LOW)
        details.append(
            f"the object stands {height[0]:.0f}° high"
            + (f", below {LOW:.0f}° from {clock(low)}" if math.isfinite(low) else "")
        )
        end = min(end, low) if math.isfinite(low) else end
    hours = (end - mjd) * 24.0
    pace = cadence(curve.numbers("mjd_mid"))
    if not hours > 0:
        return Card(name=name, answer="over", details=tuple(details))
    left = int(hours * 3600 / pace) if math.isfinite(pace) and pace > 0 else 0
    if left:
        details.insert(0, f"about {left} more frames at this cadence ({pace:.0f} s)")
    return Card(name=name, answer=f"{hours:.1f} h", details=tuple(details))


def _moon_words(mjd: float, end: float, settings: Settings) -> str:
    site = settings.camera.site
    assert site is not None
    grid = np.linspace(mjd, max(end, mjd + 1e-3), 200)
    height = moon_altitudes(grid, site)
    if height[0] > 0:
        sets = rises_through(grid, -height, 0.0)
        return f"{height[0]:.0f}° high" + (f", sets {clock(sets)}" if math.isfinite(sets) else "")
    rises = rises_through(grid, height, 0.0)
    return f"down, rises {clock(rises)}" if math.isfinite(rises) else "down until dawn"


def _zero_point(curve: Curve) -> Card:
    value, error = curve.last("zero_point"), curve.last("zero_point_err")
    n = int(_or_zero(curve.last("n_standards")))
    if not math.isfinite(value):
        return Card(name="Zero-point", answer="—", details=("no [standards] in these frames",))
    return Card(
        name="Zero-point",
        answer=f"{value:.3f} ± {error:.3f}",
        details=(f"{curve.filter}, {n} standard star{'s' if n != 1 else ''}",),
    )
