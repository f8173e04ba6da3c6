"""Which stars are saturated, which pixels their fit must leave out, and how bright they are."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import (
    binary_dilation,
    distance_transform_edt,
    find_objects,
    label,
    maximum_filter,
)

from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.sources import Scene, Sources
from pipnick_watch.photometry.stamps import disk

__all__ = ["SaturatedCores", "find_saturated", "fit_saturated"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
SQUARE = np.ones((3, 3), dtype=bool)

NEAR = 0.7  # of the saturation level: a masked run that touches such a core is part of it
ROUND = 0.75  # a star is where the core is this wide, compared to where it is widest
RING_FWHM = 1.5  # how far beyond the core the fit of a saturated star goes
RIM = 0.04  # of the saturation level: least light around a star's core
MISFIT = 0.05  # of its light: the wings are not known better


@dataclass(frozen=True, kw_only=True, eq=False)
class SaturatedCores:
    """Saturated cores.

    Attributes
    ----------
    pixels : ndarray of bool, shape (ny, nx)
        To leave out.
    x, y, radius : ndarray, shape (n,)
        Centre and radius of each star's core, pixels.
    """

    pixels: BoolArray
    x: FloatArray
    y: FloatArray
    radius: FloatArray


def find_saturated(data: FloatArray, mask: BoolArray, level: float) -> SaturatedCores:
    """Find saturated cores.

    Charge that bled along a column belongs to the core, but a star is only where the core is
    widest.

    Parameters
    ----------
    data, mask : ndarray, shape (ny, nx)
    level : float
        Electrons, sky included.
    """
    bright = data >= NEAR * level
    none = np.zeros(0)
    if not bright.any():
        return SaturatedCores(pixels=np.zeros_like(mask), x=none, y=none, radius=none)
    touching = mask & binary_dilation(bright & ~mask, structure=SQUARE)
    seed = (data >= level) | touching | (bright & mask)
    pixels = binary_dilation(seed, structure=SQUARE)
    blobs, _ = label(pixels, structure=SQUARE)
    places: list[tuple[float, float, float]] = []
    sky = float(np.median(data[::16, ::16]))
    for k, where in enumerate(find_objects(blobs), start=1):
        core = (blobs[where] == k) & seed[where]
        if not (core & bright[where]).any():
            continue
        depth = distance_transform_edt(np.pad(core, 1))[1:-1, 1:-1]
        top = (depth >= ROUND * depth.max()) & (depth == maximum_filter(depth, size=5))
        places += [
            (x + where[1].start, y + where[0].start, radius)
            for x, y, radius in _apart(depth, top)
            if _shines(
                data, seed, x + where[1].start, y + where[0].start, radius, sky + RIM * level
            )
        ]
    table = np.array(places, dtype=np.float64).reshape(-1, 3)
    return SaturatedCores(pixels=pixels, x=table[:, 0], y=table[:, 1], radius=table[:, 2] + 1.0)


def _shines(
    data: FloatArray, core: BoolArray, x: float, y: float, radius: float, least: float
) -> bool:
    """Say whether there is light around a core: a cosmic ray has none."""
    reach = int(np.ceil(radius + 1.5))
    rows = slice(max(round(y) - reach, 0), round(y) + reach + 1)
    columns = slice(max(round(x) - reach, 0), round(x) + reach + 1)
    iy, ix = np.mgrid[rows, columns][
        :, : data[rows, columns].shape[0], : data[rows, columns].shape[1]
    ]
    rim = (np.hypot(ix - x, iy - y) <= radius + 1.5) & ~core[rows, columns]
    return bool(rim.any()) and float(np.percentile(data[rows, columns][rim], 80.0)) > least


def _apart(depth: FloatArray, top: BoolArray) -> list[tuple[float, float, float]]:
    """Give centre and radius of each summit, the deepest first, none within another's core."""
    summits, count = label(top, structure=SQUARE)
    found = []
    for k in range(1, count + 1):
        iy, ix = np.nonzero(summits == k)
        found.append((float(ix.mean()), float(iy.mean()), float(depth[iy, ix].max())))
    kept: list[tuple[float, float, float]] = []
    for one in sorted(found, key=lambda place: (-place[2], place[1], place[0])):
        if all(np.hypot(one[0] - x, one[1] - y) > one[2] + radius + 2.0 for x, y, radius in kept):
            kept.append(one)
    return kept


def fit_saturated(
    scene: Scene, psf: Psf, sources: Sources, others: FloatArray
) -> tuple[Sources, FloatArray]:
    """Fit saturated stars one by one to what is left of their wings.

    Parameters
    ----------
    sources : Sources
        Saturated ones only.
    others : ndarray
        Light of all other sources, padded and flat.

    Returns
    -------
    sources : Sources
    errors : ndarray, shape (n, 3)
        Standard errors of x, y and flux.
    """
    canvas = scene.canvas
    errors = np.zeros((len(sources), 3))
    for k in range(len(sources)):
        one = sources.keep(np.array([k]))
        ix, iy = one.pixel
        window = disk(min(one.core[0] + RING_FWHM * psf.fwhm + 1.0, canvas.margin - 1.0))
        index = canvas.indices(ix, iy, window)[0]
        data, good = scene.data[index] - others[index], scene.good[index]
        for _ in range(6):
            parts = psf.evaluate_with_gradient(
                window.ox[None, :] + (ix - one.x)[:, None],
                window.oy[None, :] + (iy - one.y)[:, None],
                one.x, one.y,
            )  # fmt: skip
            light, by_x, by_y = (part[0] for part in parts)
            own = one.flux[0] * light
            noise = scene.sky_variance[index] + np.maximum(others[index], 0.0) + own
            root = np.sqrt(good / (noise + (MISFIT * own) ** 2))
            columns = np.stack([light, one.flux[0] * by_x, one.flux[0] * by_y]) * root
            matrix = columns @ columns.T
            # the core's own centre is known to about a pixel
            matrix[1, 1] += 1.0
            matrix[2, 2] += 1.0
            matrix[0, 0] += 1e-12
            away = np.array([0.0, one.x[0] - one.x_first[0], one.y[0] - one.y_first[0]])
            step = np.linalg.solve(matrix, columns @ ((data - own) * root) - away)
            flux = max(one.flux[0] + step[0], 0.3 * one.flux[0])
            one = one.put(
                np.array([0]), flux=np.array([flux]),
                x=one.x + step[1].clip(-1.0, 1.0), y=one.y + step[2].clip(-1.0, 1.0),
            )  # fmt: skip
        sources = sources.put(
            np.array([k]), x=one.x, y=one.y, flux=one.flux, converged=np.array([True])
        )
        spread = np.sqrt(np.diag(np.linalg.inv(matrix)))
        errors[k] = spread[1], spread[2], spread[0]
    return sources, errors
