"""What are several sources as one row? A group of stars, or the parts of a galaxy."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from pipnick_watch.photometry.apertures import EDGE, overlap
from pipnick_watch.photometry.covariance import group_flux_errors
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.sources import Scene, Sources
from pipnick_watch.photometry.stamps import by_distance, disk

__all__ = ["consolidate", "sum_groups"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Columns = Mapping[str, npt.NDArray[Any]]

MOST_LOST = 0.1  # of the light in masked pixels: an aperture that lost more is nan
HIGHEST = ("iter_detected", "peak")
SUMMED = ("flux_psf",)
WEIGHTED = ("x_fit", "y_fit", "local_bkg", "qfit", "cfit", "bkg_rms")


def consolidate(
    columns: Columns, members: Sequence[IntArray], fitted: Sequence[IntArray], matrix: csr_array,
    scale: float,
) -> dict[str, npt.NDArray[Any]]:  # fmt: skip
    """Merge rows; the apertures are left as those of the brightest member.

    Parameters
    ----------
    columns : mapping
        The catalogue's columns, by name.
    members : sequence of ndarray of int
        Rows that become one, for each row of the result.
    fitted : sequence of ndarray of int
        Which sources of the normal matrix each row of ``columns`` holds; a saturated star none.
    matrix : sparse array
        JᵀWJ of the fit.
    scale : float
        From fitted flux to ``flux_psf``.

    Returns
    -------
    dict
        Columns with one row for each of ``members``, in their order.
    """
    flux = np.asarray(columns["flux_psf"], dtype=np.float64)
    brightest = np.array([one[np.argmax(flux[one])] for one in members], dtype=np.int64)
    merged = {name: np.asarray(values)[brightest].copy() for name, values in columns.items()}
    several = [k for k, one in enumerate(members) if len(one) > 1]
    sums = [np.concatenate([fitted[row] for row in members[k]]) for k in several]
    errors = scale * group_flux_errors(matrix, sums)
    for k, together in zip(several, errors, strict=True):
        rows = members[k]
        part = {name: np.asarray(values)[rows] for name, values in columns.items()}
        weight = flux[rows] / flux[rows].sum()
        for name in SUMMED:
            merged[name][k] = part[name].sum()
        for name in HIGHEST:
            merged[name][k] = part[name].max()
        for name in WEIGHTED:
            merged[name][k] = (weight * part[name]).sum()
        for name in ("x_err", "y_err"):
            merged[name][k] = np.hypot.reduce(weight * part[name])
        merged["flags"][k] = np.bitwise_or.reduce(part["flags"])
        # sources that were fitted alone, saturated ones, are independent of the others
        alone = np.array([len(fitted[row]) == 0 for row in rows])
        merged["flux_err"][k] = np.hypot.reduce(np.append(part["flux_err"][alone], together))
    return merged


def sum_groups(
    scene: Scene, psf: Psf, sources: Sources, model: FloatArray, groups: list[IntArray],
    centres: FloatArray, radii: tuple[float, ...],
) -> FloatArray:  # fmt: skip
    """Sum the light of each group within radii of its centre, other groups subtracted.

    Parameters
    ----------
    groups : list of ndarray
        Members of each group.
    centres : ndarray, shape (n_groups, 2)
        Their x and y.

    Returns
    -------
    ndarray, shape (n_radii, n_groups)
        nan where masked pixels hold more than 10 % of the light.
    """
    out = np.zeros((len(radii), len(groups)))
    window = by_distance(disk(max(radii) + EDGE))
    away = np.hypot(window.ox, window.oy)
    limits = [np.searchsorted(away, [radius - EDGE, radius + EDGE]) for radius in radii]
    for k, members in enumerate(groups):
        ix, iy = np.rint(centres[k : k + 1]).astype(np.int64).T
        index = scene.canvas.indices(ix, iy, window)[0]
        x, y = sources.x[members], sources.y[members]
        own = sources.flux[members] @ psf.evaluate(
            window.ox[None, :] + (ix - x)[:, None], window.oy[None, :] + (iy - y)[:, None], x, y
        )
        good = scene.good[index]
        planes = np.stack([(scene.data[index] - model[index]) * good + own, own, own * good])
        dx, dy = window.ox + (ix - centres[k, 0]), window.oy + (iy - centres[k, 1])
        for j, (radius, (first, last)) in enumerate(zip(radii, limits, strict=True)):
            share = overlap(dx[first:last], dy[first:last], radius)
            light, inside, seen = planes[:, :first].sum(axis=1) + planes[:, first:last] @ share
            out[j, k] = light if seen >= (1.0 - MOST_LOST) * inside else np.nan
    return out
