"""What are the observer's figures of each frame, as rows of ``<OBJECT>_<FILTER>_frames.csv``."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipnick_watch.lightcurves.assemble import Assembly
from pipnick_watch.lightcurves.geometry import back_through
from pipnick_watch.lightcurves.observer import (
    CLOUD,
    Drift,
    drift_of,
    focus_alarms,
    time_to_edge,
)
from pipnick_watch.lightcurves.standards import zero_point
from pipnick_watch.lightcurves.starlist import FLUXES, StarList
from pipnick_watch.settings import Settings

__all__ = ["frame_rows"]

FloatArray = npt.NDArray[np.float64]
Row = dict[str, Any]

SAFE = 0.8
"""Share of saturation that an exposure should stay below."""


def frame_rows(
    frames: Sequence[StarList], one: Assembly, settings: Settings, band: str,
    shape: tuple[int, int] | None, pointing: tuple[float, float],
) -> list[Row]:  # fmt: skip
    """Make a row for each frame, in the order of time.

    Parameters
    ----------
    frames : sequence of StarList
        All frames of the object and filter, in the order of time.
    one : Assembly
    settings : Settings
    band : str
        The filter, cleaned.
    shape : tuple of int or None
        Rows and columns of a frame; None when unknown.
    pointing : tuple of float
        RA and Dec of the object, degrees.
    """
    camera, done = settings.camera, one.done
    place = {stars.frame: k for k, stars in enumerate(done.frames)}
    number = {done.frames[k].frame: i for i, k in enumerate(one.cube.rows)}
    x, y, turn = _middle(frames, one, place, shape)
    mjd = np.array([stars.mjd_mid for stars in frames])
    drift = drift_of(mjd, x, y, turn, camera.plate_scale)
    seeing = np.array([stars.fwhm for stars in frames]) * camera.plate_scale
    airmass = np.array([stars.airmass for stars in frames])
    zenith = seeing * np.where(airmass >= 1, airmass, 1.0) ** -0.6
    alarms = focus_alarms(zenith)
    first_turn = next((t for t in turn if math.isfinite(t)), 0.0)
    n_variable = one.n_variable
    known = _matched(one, settings)
    rows: list[Row] = []
    for k, stars in enumerate(frames):
        row: Row = {
            "frame": stars.frame, "mjd_mid": stars.mjd_mid, "exptime": stars.exptime,
            "airmass": stars.airmass, "matched": int(stars.frame in number),
            "turn": (turn[k] - first_turn + 180.0) % 360.0 - 180.0,
            "drift_x": drift.x[k], "drift_y": drift.y[k], "drift_rate": drift.rate[k],
            "seeing": seeing[k], "seeing_zenith": zenith[k], "focus_alarm": int(alarms[k]),
            "ellipticity": stars.ellipticity, "pa": stars.pa, "digest": stars.digest,
            "target_kind": one.aim.kind, "flux": FLUXES[one.recipe.choice],
            "n_variable": n_variable, "pointing_ra": pointing[0], "pointing_dec": pointing[1],
        }  # fmt: skip
        if stars.exptime > 0:
            row["sky_rate"] = stars.sky / stars.exptime / camera.plate_scale**2
        row["zero_point"], row["zero_point_err"], row["n_standards"] = zero_point(
            stars, settings.standards, band
        )
        if stars.frame in number:
            row |= known[number[stars.frame]]
            if shape is not None:
                row["edge_hours"], row["edge"] = _edge(
                    number[stars.frame], k, one, drift, (x[k], y[k]), shape, settings
                )
        for name, star in (("target", one.target), ("check", one.check)):
            row[name] = None if star is None else star + 1
        rows.append(row)
    return rows


def _middle(
    frames: Sequence[StarList], one: Assembly, place: dict[str, int], shape: tuple[int, int] | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Follow the target, or the middle of the reference's field, through the frames."""
    if one.aim.place is not None:
        aim = one.aim.place
    elif shape is not None:
        aim = (shape[1] / 2, shape[0] / 2)
    else:
        aim = (0.0, 0.0)
    track = np.full((3, len(frames)), np.nan)
    mappings = [one.done.mappings[place[stars.frame]] for stars in frames]
    matched = [k for k, mapping in enumerate(mappings) if mapping is not None]
    found = [mapping for mapping in mappings if mapping is not None]
    if found:
        track[:2, matched] = back_through(found, *aim).T
        track[2, matched] = [-mapping.turn for mapping in found]
    return track[0], track[1], track[2]


def _matched(one: Assembly, settings: Settings) -> list[Row]:
    """Give what is known of each frame whose stars were recognised, in the order of the cube."""
    cube, curves = one.cube, one.curves
    limit = settings.camera.saturation * settings.camera.gain
    peaks = cube.peak[:, one.recipe.comparisons]
    brightest = np.max(np.where(np.isfinite(peaks), peaks, -np.inf), axis=1, initial=-np.inf)
    brightest = np.where(np.isfinite(brightest), brightest, np.nan) / limit
    shares = [brightest]
    columns: dict[str, npt.NDArray[Any]] = {
        "n_stars": np.isfinite(cube.flux[:, :, 0]).sum(axis=1),
        "n_comparisons": curves.n_comparisons,
        "offset": curves.ensemble.offsets, "offset_err": curves.ensemble.offset_errs,
        "transparency": one.transparency, "transparency_err": one.transparency_err,
        "clouded": (one.transparency > CLOUD).astype(np.int64), "saturation_comparison": brightest,
    }  # fmt: skip
    if one.target is not None:
        columns["saturation_target"] = cube.peak[:, one.target] / limit
        shares.append(columns["saturation_target"])
        columns["target_mag"] = curves.mag[:, one.target]
        columns["target_mag_err"] = curves.mag_err[:, one.target]
        columns["flags"] = one.flags[:, one.target]
    if one.check is not None:
        columns["check_mag"] = curves.mag[:, one.check]
        columns["check_mag_err"] = curves.mag_err[:, one.check]
    top = np.fmax.reduce([np.where(share > 0, share, np.nan) for share in shares])
    columns["safe_exptime"] = np.where(cube.exptime > 0, cube.exptime, np.nan) * SAFE / top
    values = [column.tolist() for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]


def _edge(
    i: int, k: int, one: Assembly, drift: Drift, middle: tuple[float, float],
    shape: tuple[int, int], settings: Settings,
) -> tuple[float, str]:  # fmt: skip
    """Tell when the target, or the middle of the field, would reach something bad."""
    if one.target is None:
        return math.nan, ""
    x, y = float(one.cube.x[i, one.target]), float(one.cube.y[i, one.target])
    place = (x, y) if math.isfinite(x) else middle
    return time_to_edge(place, drift.speed[k].tolist(), shape, settings.camera)
