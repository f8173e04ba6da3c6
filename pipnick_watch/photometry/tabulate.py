"""How do the fitted sources become the published numbers?"""

import numpy as np
import numpy.typing as npt

from pipnick_watch.columns import RADII, radius_column
from pipnick_watch.frame import Frame
from pipnick_watch.photometry.apertures import sum_apertures
from pipnick_watch.photometry.background import Sky
from pipnick_watch.photometry.catalogue import make_catalogue
from pipnick_watch.photometry.consolidate import consolidate
from pipnick_watch.photometry.correction import measure_correction
from pipnick_watch.photometry.covariance import errors_of
from pipnick_watch.photometry.fit import normal_matrix
from pipnick_watch.photometry.flags import Flag
from pipnick_watch.photometry.groups import friends_of_friends
from pipnick_watch.photometry.measurement import Measurement
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.stamps import disk
from pipnick_watch.photometry.weed import light_of_others
from pipnick_watch.settings import Settings

__all__ = ["tabulate"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def tabulate(state) -> Measurement:
    """Make the tables."""
    frame, settings, scene, sky = state.frame, state.settings, state.scene, state.sky
    psf, model, sources = state.psf, state.model, state.sources
    canvas = scene.canvas
    window = disk(state.radius)
    plain = np.flatnonzero(~sources.saturated)
    matrix = normal_matrix(scene, psf, sources.keep(plain), model, state.radius)
    n = len(sources)
    ny, nx = canvas.shape
    ix, iy = sources.pixel
    ix, iy = ix.clip(0, nx - 1), iy.clip(0, ny - 1)
    errors = np.zeros((n, 3))
    errors[plain] = np.column_stack(
        errors_of(
            matrix, sources.x[plain], sources.y[plain], sources.flux[plain], 2.0 * state.radius
        )
    )
    errors[sources.saturated] = state.saturated_errors
    x_err, y_err, flux_err = errors.T
    ref_radius = max(4.0 * psf.fwhm, 7.0 / frame.camera.plate_scale)
    suspect = (sources.major > 0.3) | (
        light_of_others(psf, sources) > 0.1 * sources.flux * psf.peak(sources.x, sources.y)
    )
    correction = measure_correction(scene, psf, sources, model, flux_err, ref_radius, suspect)
    index = canvas.indices(ix, iy, window)
    good = scene.good[index]
    residual = scene.data - model
    npixfit = good.sum(axis=1).astype(np.int64)
    radius = settings.photometry.aperture_radius
    sums = sum_apertures(scene, psf, sources, model, (*RADII, radius))
    lost = sums.lost > 0.1
    alone = np.where(lost, np.nan, sums.alone)
    everything = np.where(lost, np.nan, sums.everything)
    flags = np.zeros(n, dtype=np.int64)

    def raise_flag(which: npt.NDArray[np.bool_] | bool, flag: Flag) -> None:
        flags[np.broadcast_to(which, n)] |= int(flag)

    raise_flag(npixfit < len(window), Flag.N_PIXELS_FIT_PARTIAL)
    raise_flag(~sources.converged, Flag.NO_CONVERGENCE)
    raise_flag(sources.near_bound, Flag.NEAR_BOUND)
    raise_flag(sources.saturated, Flag.SATURATED)
    raise_flag(psf.integrated, Flag.UNDERSAMPLED)
    raise_flag(psf.n_stars == 0, Flag.PSF_FALLBACK)
    raise_flag(not correction.measured, Flag.NO_APCOR)
    raise_flag(lost.any(axis=0), Flag.APERTURE_MASKED)
    raise_flag((sources.major > 0.5) & ~sources.saturated, Flag.EXTENDED)
    core = canvas.indices(ix, iy, disk(max(psf.fwhm, 1.5)))
    raise_flag((scene.good[core] < 1).any(axis=1), Flag.MASKED)
    edge = frame.camera.border + window.reach
    raise_flag((ix < edge) | (iy < edge) | (ix >= nx - edge) | (iy >= ny - edge), Flag.NEAR_EDGE)
    group_id, group_size = friends_of_friends(sources.x, sources.y, 2.0 * psf.fwhm)
    raise_flag(
        light_of_others(psf, sources) > 0.1 * sources.flux * psf.peak(sources.x, sources.y),
        Flag.BLENDED,
    )
    raw = canvas.pad(frame.data)
    inner = canvas.indices(ix, iy, disk(1.5))
    order = np.argsort(-sources.flux, kind="stable")
    number = np.empty(n, dtype=np.int64)
    number[order] = np.arange(1, n + 1)
    columns = {
        "group_id": group_id, "group_size": group_size, "flags": flags,
        "x_fit": sources.x, "y_fit": sources.y,
        "flux_psf": sources.flux * correction.factor,
        "flux_aper": everything[-1], "local_bkg": sky.level[iy, ix],
        "x_err": x_err, "y_err": y_err, "flux_err": flux_err * correction.factor,
        "id": number, "iter_detected": sources.iteration, "npixfit": npixfit,
        "qfit": (np.abs(residual[index]) * good).sum(axis=1) / sources.flux,
        "cfit": residual[canvas.at(ix, iy)] / sources.flux,
        "flux_aper_err": np.sqrt(sums.variance[-1]),
        "peak": raw[inner].max(axis=1, initial=0.0), "bkg_rms": sky.rms[iy, ix],
        **{radius_column(one): alone[k] for k, one in enumerate(RADII)},
    }  # fmt: skip
    catalogue = make_catalogue(frame, columns)
    figures: dict[str, float | int | str] = {
        "n_sources": n, "fwhm": psf.fwhm, "ellipticity": psf.ellipticity, "pa": psf.pa,
        "n_psf": psf.n_stars, "sky": sky.median_level, "sky_rms": sky.median_rms,
        "noise": "model", "psf_mismatch": psf.mismatch, "ref_radius": ref_radius,
        "apcor": correction.factor, "apcor_err": correction.error,
    }  # fmt: skip
    return Measurement(
        catalogue=catalogue, consolidated=consolidate(frame, catalogue, figures),
        figures=figures, background=sky.level, model=canvas.crop(model), psf=None,
    )  # fmt: skip
