"""How do the fitted sources become the published numbers."""

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from pipnick_watch.columns import RADII, radius_column
from pipnick_watch.photometry.apertures import sum_apertures
from pipnick_watch.photometry.catalogue import make_catalogue
from pipnick_watch.photometry.centre import moffat_centres
from pipnick_watch.photometry.consolidate import consolidate, sum_groups
from pipnick_watch.photometry.correction import ApertureCorrection, measure_correction
from pipnick_watch.photometry.covariance import errors_of
from pipnick_watch.photometry.fit import normal_matrix
from pipnick_watch.photometry.flagging import blended, flag_sources
from pipnick_watch.photometry.flags import Flag
from pipnick_watch.photometry.groups import friends_of_friends
from pipnick_watch.photometry.measurement import Measurement
from pipnick_watch.photometry.psf_view import view_psf
from pipnick_watch.photometry.sources import new_sources
from pipnick_watch.photometry.stamps import disk
from pipnick_watch.photometry.state import State

__all__ = ["tabulate"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Columns = dict[str, npt.NDArray[Any]]

GROUP_FWHM = 2.0
REF_FWHM = 4.0
REF_ARCSEC = 7.0
MOST_LOST = 0.1
MANY = 5  # members from which a group is more likely several stars than one


def tabulate(state: State, given: FloatArray | None = None) -> Measurement:
    """Make a measurement's tables and figures.

    Parameters
    ----------
    state : State
    given : ndarray, shape (n, 3), optional
        Standard errors of x, y and flux to be used where they are not nan.
    """
    scene, psf, sources, sky = state.scene, state.psf, state.sources, state.sky
    camera = state.frame.camera
    plain = np.flatnonzero(~sources.saturated)
    kept = sources.keep(plain)
    matrix = normal_matrix(scene, psf, kept, state.model, state.radius, state.grain[0])
    errors = np.zeros((len(sources), 3))
    errors[plain] = np.column_stack(
        errors_of(matrix, kept.x, kept.y, kept.flux, 2.0 * state.radius)
    )
    errors[sources.saturated] = state.saturated_errors
    if given is not None:
        errors = np.where(np.isfinite(given), given, errors)
    ref_radius = max(REF_FWHM * psf.fwhm, REF_ARCSEC / camera.plate_scale)
    suspect = (sources.major > 0.3) | blended(psf, sources)
    correction = measure_correction(
        scene, psf, sources, state.model, errors[:, 2], ref_radius, suspect
    )
    parent = np.arange(len(sources)) if state.parent is None else state.parent
    columns = _columns(state, errors, correction, parent)
    place = np.full(len(sources), -1, dtype=np.int64)
    place[plain] = np.arange(len(plain))
    merge = partial(_merge, state, matrix=matrix, place=place, scale=correction.factor)
    held = list(np.arange(len(sources))[:, None])
    if (parent != np.arange(len(parent))).any():
        columns, held = merge(columns, held, parent)
    columns |= _numbers(columns)
    merged = None
    if state.settings.photometry.group:
        merged, _ = merge(columns, held, columns["group_id"])
    figures: dict[str, float | int | str] = {
        "n_sources": len(held), "fwhm": psf.fwhm, "ellipticity": psf.ellipticity,
        "pa": psf.pa, "n_psf": psf.n_stars, "sky": sky.median_level, "sky_rms": sky.median_rms,
        "noise": state.noise, "psf_mismatch": psf.mismatch, "ref_radius": ref_radius,
        "apcor": correction.factor, "apcor_err": correction.error,
    }  # fmt: skip
    return Measurement(
        catalogue=make_catalogue(state.frame, columns),
        consolidated=None if merged is None else make_catalogue(state.frame, merged),
        figures=figures, background=sky.level,
        model=scene.canvas.crop(state.model).copy(),
        psf=view_psf(scene, psf, sources, state.model),
        warnings=_warnings(state, correction, merged),
    )  # fmt: skip


def _columns(
    state: State, errors: FloatArray, correction: ApertureCorrection, parent: IntArray
) -> Columns:
    """Compute each source's numbers."""
    scene, psf, sources, model = state.scene, state.psf, state.sources, state.model
    canvas = scene.canvas
    ny, nx = canvas.shape
    ix, iy = sources.pixel
    ix, iy = ix.clip(0, nx - 1), iy.clip(0, ny - 1)
    window = disk(state.radius)
    index = canvas.indices(ix, iy, window)
    good = scene.good[index]
    residual = (scene.data[index] - model[index]) * good
    npixfit = good.sum(axis=1).astype(np.int64)
    aperture = state.settings.photometry.aperture_radius
    x_fit, y_fit = moffat_centres(psf, sources.x, sources.y)
    sums = sum_apertures(scene, psf, sources, model, (*RADII, aperture), (x_fit, y_fit))
    lost = np.asarray(sums.lost > MOST_LOST)
    alone = np.where(lost, np.nan, sums.alone)
    group_id, _ = friends_of_friends(sources.x, sources.y, GROUP_FWHM * psf.fwhm)
    more = state.grain[1] - 1.0
    quiet = scene.sky_variance[canvas.at(ix, iy)]
    centre = int(np.flatnonzero((window.ox == 0) & (window.oy == 0))[0])
    return {
        "group_id": group_id,
        "flags": flag_sources(
            scene, psf, sources, state.bad, npixfit, len(window), np.asarray(lost.any(axis=0)),
            state.frame.camera.border, parent, corrected=correction.measured,
        ),
        "x_fit": x_fit, "y_fit": y_fit, "flux_psf": sources.flux * correction.factor,
        "flux_aper": np.where(lost[-1], np.nan, sums.everything[-1]),
        "flux_aper_err": np.sqrt(sums.variance[-1] + more * quiet * sums.area[-1]),
        "local_bkg": state.sky.level[iy, ix],
        "x_err": errors[:, 0], "y_err": errors[:, 1], "flux_err": errors[:, 2] * correction.factor,
        "iter_detected": sources.iteration, "npixfit": npixfit,
        "qfit": np.abs(residual).sum(axis=1) / sources.flux,
        "cfit": residual[:, centre] / sources.flux,
        "peak": _highest(state.frame.data, ix, iy, max(0.5 * psf.fwhm, 1.0)),
        "bkg_rms": np.sqrt(quiet),
        **{radius_column(radius): alone[k] for k, radius in enumerate(RADII)},
    }  # fmt: skip


def _highest(data: FloatArray, ix: IntArray, iy: IntArray, radius: float) -> FloatArray:
    """Return the highest pixel within ``radius`` of each; what is outside the frame is 0."""
    ny, nx = data.shape
    window = disk(radius)
    column, row = ix[:, None] + window.ox, iy[:, None] + window.oy
    inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
    value = np.where(inside, data[row.clip(0, ny - 1), column.clip(0, nx - 1)], 0.0)
    return np.asarray(value.max(axis=1, initial=0.0))


def _numbers(columns: Columns) -> Columns:
    """Give the rows and their groups numbers without gaps, and count the groups' members."""
    n = len(columns["flux_psf"])
    number = np.empty(n, dtype=np.int64)
    number[np.argsort(-columns["flux_psf"], kind="stable")] = np.arange(1, n + 1)
    group = np.unique(columns["group_id"], return_inverse=True)[1] + 1
    return {"id": number, "group_id": group, "group_size": np.bincount(group)[group]}


def _merge(
    state: State, columns: Columns, held: list[IntArray], label: IntArray, *, matrix: csr_array,
    place: IntArray, scale: float,
) -> tuple[Columns, list[IntArray]]:  # fmt: skip
    """Make one row of those with the same label, and measure its apertures around its own centre.

    Parameters
    ----------
    columns : dict of ndarray
    held : list of ndarray of int
        Sources that each row holds.
    label : ndarray of int
        Of each row.
    matrix : sparse array
    place : ndarray of int
        Which source of the matrix each source is, or -1.
    scale : float
        From fitted flux to ``flux_psf``.

    Returns
    -------
    columns : dict of ndarray
    held : list of ndarray of int
    """
    order = np.argsort(label, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(label[order])) + 1) if len(order) else []
    fitted = [place[one][place[one] >= 0] for one in held]
    merged = consolidate(columns, members, fitted, matrix, scale)
    together = [np.concatenate([held[row] for row in rows]) for rows in members]
    several = np.array([len(rows) > 1 for rows in members], dtype=bool)
    if several.any():
        centres = np.column_stack([merged["x_fit"], merged["y_fit"]])[several]
        aperture = state.settings.photometry.aperture_radius
        sums = sum_groups(
            state.scene, state.psf, state.sources, state.model,
            [together[k] for k in np.flatnonzero(several)], centres, (*RADII, aperture),
        )  # fmt: skip
        for k, radius in enumerate(RADII):
            merged[radius_column(radius)][several] = sums[k]
        _sum_all(state, merged, several, together, sums[-1])
        masked = int(Flag.APERTURE_MASKED)
        flags = merged["flags"][several] & ~masked
        merged["flags"][several] = flags | np.where(np.isnan(sums).any(axis=0), masked, 0)
    return merged, together


def _sum_all(
    state: State, merged: Columns, several: BoolArray, held: list[IntArray], seen: FloatArray
) -> None:
    """Sum all light in the apertures of merged rows, and count the pixels of their fits, in place.

    ``seen`` is nan where too much of it is masked.
    """
    scene, sources = state.scene, state.sources
    rows = np.flatnonzero(several)
    x, y = (np.asarray(merged[name], dtype=np.float64)[rows] for name in ("x_fit", "y_fit"))
    # whose light it is does not matter: all of it counts
    places = new_sources(x, y, np.ones(len(rows)), 1)
    radius = state.settings.photometry.aperture_radius
    sums = sum_apertures(scene, state.psf, places, state.model, (radius,))
    merged["flux_aper"][rows] = np.where(np.isnan(seen), np.nan, sums.everything[0])
    more = (state.grain[1] - 1.0) * merged["bkg_rms"][rows] ** 2 * sums.area[0]
    merged["flux_aper_err"][rows] = np.sqrt(sums.variance[0] + more)
    window = disk(state.radius)
    for k in rows:
        pixels = scene.canvas.indices(*sources.keep(held[k]).pixel, window)
        merged["npixfit"][k] = scene.good[np.unique(pixels)].sum()


def _warnings(
    state: State, correction: ApertureCorrection, merged: Columns | None
) -> tuple[str, ...]:
    """Say in words what a person should know."""
    found = []
    if len(state.sources) and state.psf.n_stars == 0:
        found.append("no star shows the PSF: a standard shape is used, and all rows are flagged")
    elif len(state.sources) and not correction.measured:
        found.append(
            f"{correction.n_stars} stars give the aperture correction: it is the model's own"
        )
    large = np.zeros(0) if merged is None else np.asarray(merged["group_size"])
    large = large[large > MANY]
    if len(large):
        found.append(
            f"{len(large)} groups of more than {MANY} sources, up to {large.max()}, are merged:"
            " those are real stars; see the unconsolidated catalogue"
        )
    return tuple(found)
