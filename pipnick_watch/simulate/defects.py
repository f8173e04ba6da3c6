"""What spoils a simulated frame: cosmic rays, hot pixels, clipping, bad columns, a wrong mask."""

import math

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from pipnick_watch.simulate.field import FieldSettings

__all__ = ["add_cosmics", "bleed_and_clip", "garble_columns", "mask_wrongly"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def add_cosmics(settings: FieldSettings, rng: np.random.Generator) -> tuple[FloatArray, BoolArray]:
    """Draw cosmic-ray tracks and hot pixels.

    Returns
    -------
    charge : ndarray, shape (ny, nx)
        Electrons to add.
    mask : ndarray of bool, shape (ny, nx)
        The tracks that MASK knows of.
    """
    shape = settings.optics.shape
    charge = np.zeros(shape)
    mask = np.zeros(shape, dtype=bool)
    for _ in range(settings.n_cosmics):
        length = 1 + math.ceil(rng.exponential(3.0))
        angle = rng.uniform(0, 2 * math.pi)
        steps = np.arange(length)
        row = np.round(rng.uniform(0, shape[0]) + steps * math.sin(angle)).astype(int)
        column = np.round(rng.uniform(0, shape[1]) + steps * math.cos(angle)).astype(int)
        inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
        row, column = row[inside], column[inside]
        charge[row, column] += 10 ** rng.uniform(2.8, 4.0) * rng.uniform(0.5, 1.5, row.size)
        mask[row, column] |= rng.random() < settings.cosmics_masked
    hot = rng.integers(0, shape[0], settings.n_hot), rng.integers(0, shape[1], settings.n_hot)
    charge[hot] += 10 ** rng.uniform(2.8, 4.3, settings.n_hot)
    return charge, mask


def mask_wrongly(settings: FieldSettings, rng: np.random.Generator, stars: Table) -> BoolArray:
    """Mask a few pixels on and between stars, as cosmic-ray finders do in clusters."""
    shape = settings.optics.shape
    mask = np.zeros(shape, dtype=bool)
    if not (settings.mask_errors and len(stars)):
        return mask
    chosen = rng.integers(0, len(stars), settings.mask_errors)
    away = rng.normal(0, settings.optics.fwhm / 2, (2, settings.mask_errors))
    column = np.round(np.asarray(stars["x"])[chosen] + away[0]).astype(int)
    row = np.round(np.asarray(stars["y"])[chosen] + away[1]).astype(int)
    for more_y, more_x in ((0, 0), (0, 1), (1, 0)):
        y, x = row + more_y, column + more_x
        inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
        mask[y[inside], x[inside]] = True
    return mask


def bleed_and_clip(data: FloatArray, settings: FieldSettings) -> tuple[FloatArray, BoolArray]:
    """Clip what the detector cannot hold and let some of it run along the columns.

    Returns
    -------
    data, clipped : ndarray, shape (ny, nx)
        The frame, and its pixels at the detector's limit.
    """
    limit = settings.saturation * 1.03  # the setting has a margin, the detector has not
    excess = np.maximum(data - limit, 0.0)
    data = np.minimum(data, limit)
    for column in np.flatnonzero(excess.any(axis=0)):
        rows = np.flatnonzero(excess[:, column])
        reach = round(settings.bleed * float(excess[:, column].sum()) / limit / 2)
        data[max(rows[0] - reach, 0) : rows[-1] + reach + 1, column] = limit
    return data, data >= limit


def garble_columns(data: FloatArray, settings: FieldSettings, rng: np.random.Generator) -> None:
    """Fill the bad columns with what dividing by a dead column's flat leaves, in place."""
    for column in settings.bad_columns:
        data[:, column] = rng.normal(settings.sky / 2, 600.0, len(data))
