"""What is each group of sources as one source."""

from collections.abc import Mapping
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
SUMMED = ("flux_psf", "npixfit")
WEIGHTED = ("x_fit", "y_fit", "local_bkg", "qfit", "cfit", "bkg_rms")


def consolidate(
    columns: Columns, rows_of_matrix: IntArray, matrix: csr_array, scale: float
) -> dict[str, npt.NDArray[Any]]:
    """Merge the members of each group; the apertures are left as those of the brightest member.

    Parameters
    ----------
    columns : mapping
        The catalogue's columns, by name.
    rows_of_matrix : ndarray of int, shape (n,)
        Which source of the normal matrix each row is, or -1.
    matrix : sparse array
        JᵀWJ of the fit.
    scale : float
        From fitted flux to ``flux_psf``.

    Returns
    -------
    dict
        Columns with one row for each group, in the order of ``group_id``.
    """
    group = np.asarray(columns["group_id"])
    flux = np.asarray(columns["flux_psf"], dtype=np.float64)
    order = np.lexsort((np.asarray(columns["id"]), group))
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    brightest = order[starts]
    size = np.diff(np.append(starts, len(order)))
    merged = {name: np.asarray(values)[brightest].copy() for name, values in columns.items()}
    total = np.add.reduceat(flux[order], starts) if len(order) else flux
    for name in SUMMED:
        if len(order):
            merged[name] = np.add.reduceat(np.asarray(columns[name])[order], starts)
    for name in HIGHEST:
        if len(order):
            merged[name] = np.maximum.reduceat(np.asarray(columns[name])[order], starts)
    if len(order):
        merged["flags"] = np.bitwise_or.reduceat(np.asarray(columns["flags"])[order], starts)
    several = np.flatnonzero(size > 1)
    groups = [order[starts[k] : starts[k] + size[k]] for k in several]
    # sources that were fitted alone, saturated ones, are independent of the others
    fitted = [rows_of_matrix[members] for members in groups]
    errors = scale * group_flux_errors(matrix, [there[there >= 0] for there in fitted])
    for k, members, there, together in zip(several, groups, fitted, errors, strict=True):
        weight = flux[members] / total[k]
        for name in WEIGHTED:
            merged[name][k] = (weight * np.asarray(columns[name])[members]).sum()
        for name in ("x_err", "y_err"):
            merged[name][k] = np.hypot.reduce(weight * np.asarray(columns[name])[members])
        error = np.asarray(columns["flux_err"], dtype=np.float64)[members]
        merged["flux_err"][k] = np.hypot.reduce(np.append(error[there < 0], together))
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
