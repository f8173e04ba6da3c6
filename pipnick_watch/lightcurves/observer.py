"""What must the observer know of each frame: focus, guiding, clouds, sky and saturation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipnick_watch.camera import Camera

__all__ = [
    "CLOUD",
    "Drift",
    "best_quarter",
    "drift_of",
    "focus_alarms",
    "time_to_edge",
    "transparency_of",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CLOUD = 0.1
"""Loss, in magnitudes, from which a frame counts as clouded."""

WORSE = 1.15
"""Factor by which a FWHM is out of focus against the night's best quarter."""

IN_A_ROW = 3
JUMP = 10.0
"""Arcseconds between frames that are a dither or a flip and no drift."""

TURNED = 5.0
LATELY = 10
"""Frames that the speed of the drift is measured over."""

EXTINCTION = 0.15
"""Magnitudes for each airmass, where the night does not show it."""


def best_quarter(values: FloatArray) -> float:
    """Give the mean of the lowest quarter; nan without values."""
    known = np.sort(values[np.isfinite(values)])
    return float(known[: max(1, math.ceil(len(known) / 4))].mean()) if len(known) else math.nan


def focus_alarms(seeing: FloatArray) -> IntArray:
    """Mark the frames that end three in a row 15 % worse than the night's best quarter.

    Parameters
    ----------
    seeing : ndarray, shape (n_frames,)
        FWHM scaled to the zenith, in the order of time.
    """
    with np.errstate(invalid="ignore"):
        worse = seeing > WORSE * best_quarter(seeing)
    return np.array(
        [int(k + 1 >= IN_A_ROW and bool(worse[k + 1 - IN_A_ROW : k + 1].all()))
         for k in range(len(seeing))], dtype=np.int64,
    )  # fmt: skip


def transparency_of(
    offset: FloatArray, offset_err: FloatArray, airmass: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Turn the frames' zero-points into a loss against the clear part of the night.

    The extinction is fitted to the clearest frames where the airmass changes enough, else a
    usual one is taken; clear is the best quarter of the night.

    Parameters
    ----------
    offset, offset_err : ndarray, shape (n_frames,)
        z_i, magnitudes: larger is fainter.
    airmass : ndarray, shape (n_frames,)
    """
    x = np.where(np.isfinite(airmass) & (airmass >= 1), airmass, 1.0)
    corrected = offset - _extinction(offset, x) * (x - 1.0)
    return corrected - best_quarter(corrected), np.asarray(offset_err)


def _extinction(offset: FloatArray, airmass: FloatArray) -> float:
    known = np.isfinite(offset)
    z, x = offset[known], airmass[known]
    if len(z) < 10 or np.ptp(x) < 0.25:
        return EXTINCTION
    # the clear edge of the points: what lies far below the fit counts for less and less
    weight = np.ones(len(z))
    slope = EXTINCTION
    for _ in range(10):
        slope, level = np.polyfit(x, z, 1, w=weight)
        left = z - (slope * x + level)
        scale = max(1.4826 * float(np.median(np.abs(left))), 0.01)
        weight = np.where(left > scale, 0.1, 1.0) / np.maximum(1.0, np.abs(left) / (2 * scale))
    return float(np.clip(slope, 0.0, 0.8))


@dataclass(frozen=True, kw_only=True, eq=False)
class Drift:
    """Where a star has gone, arcseconds from the first frame, and its speed, arcsec per hour."""

    x: FloatArray
    y: FloatArray
    rate: FloatArray
    speed: FloatArray


def drift_of(
    mjd: FloatArray, x: FloatArray, y: FloatArray, turn: FloatArray, plate_scale: float
) -> Drift:
    """Follow a star over the detector.

    Parameters
    ----------
    mjd, x, y, turn : ndarray, shape (n_frames,)
        In the order of time; nan where a frame was not matched. Pixels and degrees.
    plate_scale : float

    Returns
    -------
    Drift
        ``speed`` has shape (n_frames, 2): pixels per day along x and y.
    """
    n = len(x)
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(mjd))
    rate, speed = np.full(n, np.nan), np.full((n, 2), np.nan)
    first = known[0] if len(known) else 0
    t, place = mjd[known], np.stack([x[known], y[known]], axis=-1)
    steps = np.hypot(*np.diff(place, axis=0).T) * plate_scale
    turned = np.abs((np.diff(turn[known]) + 180.0) % 360.0 - 180.0)
    number = np.arange(len(known))
    jumped = np.flatnonzero((steps > JUMP) | (turned > TURNED)) + 1
    start = np.maximum.accumulate(np.where(np.isin(number, jumped), number, 0))
    # a row for each frame: those that its speed is measured over, the latest last
    run = number[:, None] + np.arange(1 - LATELY, 1)
    inside = run >= start[:, None]
    run = np.maximum(run, 0)
    when = np.where(inside, t[run], 0.0)
    n_inside = inside.sum(axis=1)
    since = np.where(inside, when - (when.sum(axis=1) / np.maximum(n_inside, 1))[:, None], 0.0)
    shown = (n_inside > 2) & ((since**2).sum(axis=1) > 0)
    some = known[shown]
    speed[some] = (since[..., None] * place[run]).sum(axis=1)[shown]
    speed[some] /= (since**2).sum(axis=1)[shown, None]
    rate[some] = np.hypot(*speed[some].T) * plate_scale / 24.0
    if n == 0:
        return Drift(x=x, y=y, rate=rate, speed=speed)
    return Drift(
        x=(x - x[first]) * plate_scale, y=(y - y[first]) * plate_scale, rate=rate, speed=speed
    )


def time_to_edge(
    place: tuple[float, float], speed: Sequence[float], shape: tuple[int, int], camera: Camera
) -> tuple[float, str]:
    """Tell when a star would reach an edge or a bad column at its speed.

    Parameters
    ----------
    place : tuple of float
        x and y, pixels.
    speed : sequence of float
        Pixels per day, along x and y.
    shape : tuple of int
        Rows and columns of the frame.
    camera : Camera

    Returns
    -------
    hours : float
        nan when it stands still, or reaches nothing within a day.
    what : str
    """
    margin = camera.border + 8.0
    goals = [
        (0, margin, "the left edge"), (0, shape[1] - 1 - margin, "the right edge"),
        (1, margin, "the lower edge"), (1, shape[0] - 1 - margin, "the upper edge"),
    ]  # fmt: skip
    if shape == (1024, 1024):
        goals += [(0, float(one), f"bad column {one}") for one in camera.bad_columns]
    best = (math.inf, "")
    for axis, goal, what in goals:
        if not (math.isfinite(speed[axis]) and speed[axis] != 0 and math.isfinite(place[axis])):
            continue
        hours = (goal - place[axis]) / speed[axis] * 24.0
        if 0 <= hours < best[0]:
            best = (float(hours), what)
    return best if best[0] < 24 else (math.nan, "")
