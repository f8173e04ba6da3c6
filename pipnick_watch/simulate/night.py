"""A simulated Nickel night, played into a folder as frames land in a real one."""

import dataclasses
import fcntl
import logging
import math
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
from astropy.table import Table

from pipnick_watch.errors import UsageError
from pipnick_watch.settings import SETTINGS_FILE
from pipnick_watch.simulate.field import FieldSettings, move_stars, place_stars
from pipnick_watch.simulate.files import frame_bytes, write_frame, write_slowly
from pipnick_watch.simulate.frames import SimulatedFrame, expose
from pipnick_watch.simulate.headers import Pointing
from pipnick_watch.simulate.psf import Optics

__all__ = ["CLUSTER", "FIELD", "airmass_at", "play_night", "prepare_night"]

log = logging.getLogger(__name__)

FIELD, CLUSTER = "SIM-FIELD", "SIM-CLUSTER"
"""The night's two objects."""

START = datetime(2024, 5, 13, 4, 32, 47, 120000, tzinfo=UTC)
CADENCE_S = 95.0
PLACES = {FIELD: (201.4152, -8.8245), CLUSTER: (182.5263, 18.5427)}
VARIABLE_AT = (0.42, 0.56)
"""Place of the variable star, in widths and heights of the frame."""

DRIFT = (0.35, -0.2)
"""Pixels along x and y from each frame to the next."""

AMPLITUDE = 0.35
"""Magnitudes from the variable's mean to its extremes."""

EXTINCTION = {"V": 0.15, "B": 0.25}
"""Magnitudes for each airmass."""

HOLD_S = 3.0
CHUNKS = 10

Manner = Literal["at once", "slowly", "locked", "renamed"]

SEQUENCE: tuple[tuple[str, str, Manner], ...] = (
    (FIELD, "V", "at once"),
    (FIELD, "B", "renamed"),
    (FIELD, "V", "at once"),
    (CLUSTER, "V", "at once"),
    (FIELD, "V", "slowly"),
    (CLUSTER, "B", "at once"),
    (CLUSTER, "V", "locked"),
    (FIELD, "V", "at once"),
    (FIELD, "B", "at once"),
    (FIELD, "V", "renamed"),
    (CLUSTER, "B", "at once"),
    (FIELD, "V", "at once"),
)
"""Object, filter and way of landing of each frame."""


@dataclass(frozen=True, kw_only=True)
class _Shot:
    """One planned frame."""

    path: Path
    manner: Manner
    frame: SimulatedFrame


def prepare_night(maindir: Path, *, shape: tuple[int, int] = (512, 512)) -> None:
    """Make the folder that frames land in, and the settings that name the variable star.

    Raises
    ------
    UsageError
        The folder holds a night that is not a simulated one.
    """
    x, y = _variable(shape)
    text = (
        f"# A simulated night: the variable star of {FIELD}'s field.\n"
        f'[targets]\n"{FIELD}" = {{ x = {x:.1f}, y = {y:.1f} }}\n'
    )
    settings, reduced = maindir / SETTINGS_FILE, maindir / "reduced"
    ours = {f"{name}_{band}" for name, band, _ in SEQUENCE}
    others = {one.name for one in reduced.iterdir()} - ours if reduced.is_dir() else set()
    if others or (settings.exists() and settings.read_text(encoding="utf-8") != text):
        raise UsageError(f"{maindir}: holds another night; give a new folder for the simulated one")
    reduced.mkdir(parents=True, exist_ok=True)
    settings.write_text(text, encoding="utf-8")


def play_night(
    maindir: Path,
    *,
    seconds: float = 25.0,
    shape: tuple[int, int] = (512, 512),
    seed: int = 20240513,
    stop: threading.Event | None = None,
) -> list[Path]:
    """Play twelve frames of two objects in two filters, with a variable star among them.

    One frame is written slowly under its own name, one stays under a ``flock`` for three seconds
    after it is whole while others land, two come by a rename from a hidden name.

    Parameters
    ----------
    maindir : Path
        The frames land in its ``reduced/<OBJECT>_<FILTER>/``.
    seconds : float
        How long the night takes; 0 writes the frames as fast as they are made.
    shape : tuple of int
        Rows and columns of a frame.
    seed : int
        The same seed gives the same files.
    stop : threading.Event, optional
        When it is set the night ends early, with whole frames only.

    Returns
    -------
    list of Path
        The frames that were written, in order.
    """
    stop = stop or threading.Event()
    hold = min(HOLD_S, seconds / 8)
    pace = seconds / len(SEQUENCE)
    stars = _stars(shape, seed)
    written: list[Path] = []
    releases: list[threading.Timer] = []
    for number in range(len(SEQUENCE)):
        if stop.is_set():
            break
        shot = _shot(maindir, stars, shape, seed, number)
        log.info("frame %d of %d lands: %s", number + 1, len(SEQUENCE), shot.path.name)
        if shot.manner == "locked":
            releases.append(_write_locked(shot, hold))
        elif shot.manner == "slowly":
            for _ in write_slowly(shot.frame, shot.path, chunks=CHUNKS):
                stop.wait(pace / CHUNKS)
        elif shot.manner == "renamed":
            write_frame(shot.frame, shot.path)
        else:
            shot.path.parent.mkdir(parents=True, exist_ok=True)
            shot.path.write_bytes(frame_bytes(shot.frame))
        written.append(shot.path)
        if shot.manner != "slowly":
            stop.wait(pace)
    for release in releases:
        release.join()
    return written


def _write_locked(shot: _Shot, hold: float) -> threading.Timer:
    """Write a frame while holding its lock, as the astrometry does, and let go later."""
    shot.path.parent.mkdir(parents=True, exist_ok=True)
    lock = shot.path.with_name(f"{shot.path.name}.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    shot.path.write_bytes(frame_bytes(shot.frame))
    release = threading.Timer(hold, lock.close)
    release.start()
    return release


def _variable(shape: tuple[int, int]) -> tuple[float, float]:
    return VARIABLE_AT[0] * shape[1], VARIABLE_AT[1] * shape[0]


def _settings(object_name: str, shape: tuple[int, int]) -> FieldSettings:
    """Describe an object's field; the number of stars goes with the area."""
    area = shape[0] * shape[1] / 512**2
    plain = FieldSettings(
        optics=Optics(shape=shape, fwhm=5.0), faintest=8.0, gradient=0.1, moonlight=0.05,
        n_cosmics=round(8 * area), n_hot=2, mask_errors=2, bad_columns=(shape[1] // 4,),
    )  # fmt: skip
    if object_name == FIELD:
        return dataclasses.replace(plain, n_stars=round(30 * area), n_pairs=2, n_saturated=1)
    return dataclasses.replace(
        plain, n_stars=round(15 * area), n_cluster=round(260 * area), core_radius=shape[1] / 12,
        tidal_radius=shape[1] / 2,
    )  # fmt: skip


def _stars(shape: tuple[int, int], seed: int) -> dict[str, Table]:
    """Strew both objects' stars, give each a colour, and add the variable to the field."""
    rng = np.random.default_rng(seed)
    fields = {name: place_stars(_settings(name, shape), rng) for name in (FIELD, CLUSTER)}
    x, y = _variable(shape)
    field = fields[FIELD]
    crowding = np.hypot(field["x"] - x, field["y"] - y) < 30
    fields[FIELD] = field[~crowding]
    fields[FIELD].add_row({"x": x, "y": y, "flux": 6e5, "pair": 0})
    for stars in fields.values():
        stars["colour"] = rng.normal(0.6, 0.25, len(stars))
    return fields


def _shot(
    maindir: Path, fields: dict[str, Table], shape: tuple[int, int], seed: int, number: int
) -> _Shot:
    """Expose the night's n-th frame: drift, seeing, extinction and the variable's phase."""
    name, band, manner = SEQUENCE[number]
    moment = START + timedelta(seconds=CADENCE_S * number)
    ra, dec = PLACES[name]
    airmass = airmass_at(ra, dec, moment)
    magnitudes = np.full(len(fields[name]), EXTINCTION[band] * (airmass - 1))
    if band == "B":
        magnitudes += fields[name]["colour"]
    if name == FIELD:
        magnitudes[-1] += AMPLITUDE * math.sin(2 * math.pi * number / len(SEQUENCE))
    drift = DRIFT[0] * number, DRIFT[1] * number
    stars = move_stars(fields[name], shape, shift=drift, dimming=magnitudes)
    settings = _settings(name, shape)
    seeing = settings.optics.fwhm * airmass**0.6 * (1 + 0.05 * math.sin(number))
    settings = dataclasses.replace(
        settings,
        sky=settings.sky * (0.6 if band == "B" else 1.0),
        optics=dataclasses.replace(settings.optics, fwhm=seeing),
    )
    pointing = Pointing(
        object=name, filter=band, start=moment, exptime=60.0, airmass=round(airmass, 6), ra=ra,
        dec=dec, number=1001 + number,
    )  # fmt: skip
    frame = expose(stars, settings, np.random.default_rng([seed, number]), pointing)
    path = maindir / "reduced" / f"{name}_{band}" / f"d{1001 + number}_red.fits"
    return _Shot(path=path, manner=manner, frame=frame)


def airmass_at(ra: float, dec: float, moment: datetime) -> float:
    """Give the airmass at the Nickel, to a few parts in a thousand.

    Sidereal time after Meeus (1998), Astronomical Algorithms, eq. 12.4, to first order.
    """
    days = (moment - datetime(2000, 1, 1, 12, tzinfo=UTC)).total_seconds() / 86400
    hour_angle = math.radians(280.46062 + 360.98564737 * days - 121.637 - ra)
    latitude, declination = math.radians(37.343), math.radians(dec)
    sine = math.sin(latitude) * math.sin(declination)
    sine += math.cos(latitude) * math.cos(declination) * math.cos(hour_angle)
    return 1 / sine
