"""What does a frame hold? The steps of the measurement, in their order."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipnick_watch.columns import RADII, radius_column
from pipnick_watch.frame import Frame
from pipnick_watch.photometry.apertures import aperture_sums
from pipnick_watch.photometry.background import Sky, measure_sky
from pipnick_watch.photometry.catalogue import make_catalogue
from pipnick_watch.photometry.consolidate import consolidate
from pipnick_watch.photometry.covariance import errors_of
from pipnick_watch.photometry.detection import (
    bootstrap_fwhm,
    fill_masked,
    filtered_peaks,
    sharp_pixels,
    smooth,
)
from pipnick_watch.photometry.fit import Fit, Scene, Sources, fit_sources, normal_equations
from pipnick_watch.photometry.flags import Flag
from pipnick_watch.photometry.groups import friends_of_friends
from pipnick_watch.photometry.measurement import Measurement
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.psf_fit import PsfStars, fallback_psf, fit_psf
from pipnick_watch.photometry.saturation import SaturatedStars, find_saturated
from pipnick_watch.photometry.stamps import Canvas, disk
from pipnick_watch.settings import Settings

__all__ = ["measure"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


def measure(frame: Frame, settings: Settings) -> Measurement:
    """Measure every source of a frame."""
    thresh = settings.photometry.thresh
    data = frame.data
    cores = find_saturated(data, frame.mask, frame.saturation)
    bad = frame.mask | cores.pixels
    sky = measure_sky(data, bad, 64)
    light = data - sky.level
    fwhm = bootstrap_fwhm(light, sky.rms, bad, frame.saturation - sky.median_level)
    found_fwhm = np.isfinite(fwhm)
    if not found_fwhm:
        fwhm = 3.0
    fwhm = float(np.clip(fwhm, 1.2, 20.0))
    psf = fallback_psf(fwhm, data.shape)
    cosmic = sharp_pixels(light, sky.rms, bad, _contrast(psf))
    bad |= cosmic
    canvas = Canvas(shape=data.shape, margin=int(np.ceil(12.0 * fwhm)) + 45)
    sources = _none()
    fit = None
    stars = np.zeros(0, dtype=bool)
    for iteration in (1, 2, 3):
        model = canvas.crop(fit.model) if fit is not None else 0.0
        if fit is not None:
            sky = measure_sky(data - model, bad, 64)
            light = data - sky.level
        new = _detect(light - model, model, bad, sky.rms, psf, thresh, iteration, cores, sources)
        sources = sources.join(new)
        scene = Scene(
            canvas=canvas, data=canvas.pad(np.where(bad, 0.0, light)),
            sky_variance=canvas.pad(sky.rms**2), good=canvas.pad(~bad),
        )  # fmt: skip
        if iteration == 1:
            psf, stars = _psf(scene, psf, sources, None, settings)
        fit = fit_sources(scene, psf, sources)
        sources, psf, fit = _weed(scene, psf, fit, thresh, sky)
        psf, stars = _psf(scene, psf, sources, fit.model, settings)
        fit = fit_sources(scene, psf, sources, rounds=6)
        sources, psf, fit = _weed(scene, psf, fit, thresh, sky)
    assert fit is not None
    return _finish(frame, settings, scene, sky, psf, fit, bad, cores)


def _none() -> Sources:
    z = np.zeros(0)
    return Sources(
        x=z, y=z, flux=z, x_first=z, y_first=z, iteration=np.zeros(0, dtype=np.int64),
        saturated=np.zeros(0, dtype=bool),
    )  # fmt: skip


def _contrast(psf: Psf) -> float:
    zero = np.zeros((1, 1))
    middle = np.array([(psf.shape[1] - 1) / 2.0]), np.array([(psf.shape[0] - 1) / 2.0])
    centre = psf.evaluate(zero, zero, *middle)
    beside = psf.evaluate(zero + 1.0, zero, *middle)
    return 0.75 * float((beside / centre)[0, 0])


def _detect(
    residual: FloatArray, model: FloatArray | float, bad: BoolArray, rms: FloatArray, psf: Psf,
    thresh: float, iteration: int, cores: SaturatedStars, known: Sources,
) -> Sources:  # fmt: skip
    """Find new sources in what the known ones leave."""
    filled = fill_masked(residual, bad, psf.fwhm)
    filtered = smooth(filled, psf.fwhm)
    window = disk(1.5 * psf.fwhm)
    ny, nx = residual.shape
    middle = np.array([(nx - 1) / 2.0]), np.array([(ny - 1) / 2.0])
    light = psf.evaluate(
        window.ox[None, :].astype(float), window.oy[None, :].astype(float), *middle
    )[0]
    kernel = np.exp(-4.0 * np.log(2.0) * (window.ox**2 + window.oy**2) / psf.fwhm**2)
    kernel /= kernel.sum()
    share = float((kernel * light).sum() / light.max())
    threshold = 0.85 * thresh * rms * share
    if iteration > 1:
        threshold = threshold + 0.25 * smooth(np.asarray(model), psf.fwhm)
    iy, ix = filtered_peaks(filtered, threshold, bad & (iteration == 1) & False)
    x, y = ix.astype(float), iy.astype(float)
    flux = filtered[iy, ix] / share / light.max()
    saturated = np.zeros(len(x), dtype=bool)
    if len(cores.x):
        far = np.ones(len(x), dtype=bool)
        for cx, cy, radius in zip(cores.x, cores.y, cores.radius, strict=True):
            far &= np.hypot(x - cx, y - cy) > radius + 1.0 * psf.fwhm
        x, y, flux, saturated = x[far], y[far], flux[far], saturated[far]
        if iteration == 1:
            level = 1.2 * np.array(
                [residual[int(cy), int(cx)] for cx, cy in zip(cores.x, cores.y, strict=True)]
            )
            x = np.concatenate([x, cores.x])
            y = np.concatenate([y, cores.y])
            flux = np.concatenate(
                [flux, np.maximum(level, 10 * thresh * np.median(rms)) / light.max()]
            )
            saturated = np.concatenate([saturated, np.ones(len(cores.x), dtype=bool)])
    inside = (x >= 5) & (y >= 5) & (x < nx - 5) & (y < ny - 5)
    if len(known) and len(x):
        gap = np.hypot(x[:, None] - known.x[None, :], y[:, None] - known.y[None, :]).min(axis=1)
        inside &= gap > 0.6 * psf.fwhm
    x, y, flux, saturated = x[inside], y[inside], flux[inside], saturated[inside]
    return Sources(
        x=x, y=y, flux=flux, x_first=x, y_first=y,
        iteration=np.full(len(x), iteration, dtype=np.int64), saturated=saturated,
    )  # fmt: skip


def _psf(
    scene: Scene, psf: Psf, sources: Sources, model: FloatArray | None, settings: Settings
) -> tuple[Psf, BoolArray]:
    """Fit the PSF to the bright, isolated stars."""
    n = len(sources)
    chosen = np.zeros(n, dtype=bool)
    if n == 0:
        return psf, chosen
    canvas = scene.canvas
    window = disk(2.5 * psf.fwhm + 1)
    order = np.argsort(-sources.flux, kind="stable")
    ok = ~sources.saturated
    far = np.hypot(sources.x[:, None] - sources.x, sources.y[:, None] - sources.y)
    np.fill_diagonal(far, np.inf)
    rival = (far < 2.5 * psf.fwhm) & (
        sources.flux[None, :] > (0.1 if model is None else 0.5) * sources.flux[:, None]
    )
    ok &= ~rival.any(axis=1)
    ix, iy = np.rint(sources.x).astype(np.int64), np.rint(sources.y).astype(np.int64)
    near = disk(1.0 * psf.fwhm)
    ok &= scene.good[canvas.indices(ix, iy, near)].all(axis=1)
    order = order[ok[order]][:60]
    if len(order) == 0:
        return psf, chosen
    one = sources.keep(order)
    index = canvas.indices(ix[order], iy[order], window)
    px, py = window.ox[None, :] + ix[order][:, None], window.oy[None, :] + iy[order][:, None]
    data = scene.data[index]
    own = one.flux[:, None] * psf.evaluate(px - one.x[:, None], py - one.y[:, None], one.x, one.y)
    if model is not None:
        data = data - (model[index] - own)
    variance = scene.sky_variance[index] + np.maximum(own, 0.0)
    variance = np.where(scene.good[index] > 0, variance, np.inf)
    fitted, used = fit_psf(
        PsfStars(data=data, variance=variance, px=px.astype(float), py=py.astype(float),
                 x=one.x, y=one.y, flux=one.flux),
        psf, elliptical=settings.photometry.fittype == "ellip",
    )  # fmt: skip
    chosen[order[used]] = True
    return fitted, chosen


def _weed(scene: Scene, psf: Psf, fit: Fit, thresh: float, sky: Sky) -> tuple[Sources, Psf, Fit]:
    """Drop sources that fitted below the threshold or onto another one, and fit the rest."""
    for _ in range(3):
        sources = fit.sources
        n = len(sources)
        if n == 0:
            break
        ny, nx = sky.rms.shape
        rms = sky.rms[
            np.rint(sources.y).astype(int).clip(0, ny - 1),
            np.rint(sources.x).astype(int).clip(0, nx - 1),
        ]
        keep = sources.flux * psf.peak(sources.x, sources.y) >= thresh * rms
        keep &= (sources.x > 0) & (sources.y > 0) & (sources.x < nx - 1) & (sources.y < ny - 1)
        far = np.hypot(sources.x[:, None] - sources.x, sources.y[:, None] - sources.y)
        fainter = (sources.flux[None, :] > sources.flux[:, None]) | (
            (sources.flux[None, :] == sources.flux[:, None])
            & (np.arange(n)[None, :] < np.arange(n)[:, None])
        )
        keep &= ~((far < 0.55 * psf.fwhm) & fainter).any(axis=1)
        if keep.all():
            break
        fit = fit_sources(scene, psf, sources.keep(keep), rounds=5)
    return fit.sources, psf, fit


def _finish(
    frame: Frame, settings: Settings, scene: Scene, sky: Sky, psf: Psf, fit: Fit, bad: BoolArray,
    cores: SaturatedStars,
) -> Measurement:  # fmt: skip
    """Turn the fit into the tables."""
    canvas, sources = scene.canvas, fit.sources
    order = np.argsort(-sources.flux, kind="stable")
    sources = sources.keep(order)
    n = len(sources)
    ny, nx = canvas.shape
    ix = np.rint(sources.x).astype(np.int64).clip(0, nx - 1)
    iy = np.rint(sources.y).astype(np.int64).clip(0, ny - 1)
    weight = scene.good / np.maximum(scene.sky_variance + np.maximum(fit.model, 0.0), 1e-12)
    residual = scene.data - fit.model
    flags = np.zeros(n, dtype=np.int64)
    ref_radius = max(4.0 * psf.fwhm, 7.0 / frame.camera.plate_scale)
    empty = np.zeros(n)
    if n:
        matrix, _ = normal_equations(canvas, psf, sources, fit.window, weight, residual)
        x_err, y_err, flux_err = errors_of(
            matrix, sources.x, sources.y, sources.flux, 2.2 * fit.window.reach
        )
        index = canvas.indices(ix, iy, fit.window)
        good = scene.good[index]
        npixfit = good.sum(axis=1).astype(np.int64)
        qfit = (np.abs(residual[index]) * good).sum(axis=1) / sources.flux
        padded_at = canvas.indices(ix, iy, disk(0.0))[:, 0]
        cfit = residual[padded_at] / sources.flux
        core = canvas.indices(ix, iy, disk(1.0))
        level = canvas.pad(frame.data)
        peak = level[core].max(axis=1)
        flags[npixfit < len(fit.window.ox)] |= Flag.N_PIXELS_FIT_PARTIAL
        flags[~fit.converged[order]] |= Flag.NO_CONVERGENCE
        flags[fit.near_bound[order]] |= Flag.NEAR_BOUND
        flags[sources.saturated] |= Flag.SATURATED
        near = canvas.indices(ix, iy, disk(psf.fwhm))
        flags[(canvas.pad(frame.mask)[near] > 0).any(axis=1)] |= Flag.MASKED
        edge = fit.window.reach + frame.camera.border
        flags[(ix < edge) | (iy < edge) | (ix >= nx - edge) | (iy >= ny - edge)] |= Flag.NEAR_EDGE
        if psf.integrated:
            flags |= Flag.UNDERSAMPLED
        if psf.n_stars == 0:
            flags |= Flag.PSF_FALLBACK
        own_on = scene.good * residual
        radii = [*RADII, ref_radius]
        sums = aperture_sums(canvas, [own_on], sources.x, sources.y, radii)[0]
        for k, radius in enumerate(radii):
            window = disk(radius + 1.3)
            lo = psf_enclosed(psf, sources, window, radius)
            sums[k] += sources.flux * lo
        whole = np.where(bad, sky.level + canvas.crop(fit.model), frame.data)
        raw = aperture_sums(
            canvas,
            [canvas.pad(whole), canvas.pad(sky.rms**2 + np.maximum(canvas.crop(fit.model), 0))],
            sources.x,
            sources.y,
            [settings.photometry.aperture_radius],
        )
        area = np.pi * settings.photometry.aperture_radius**2
        local = sky.level[iy, ix]
        flux_aper = raw[0, 0] - area * local
        flux_aper_err = np.sqrt(raw[1, 0])
        candidates = ~sources.saturated & (sources.flux / flux_err > 50)
        ratio = sums[-1] / sources.flux
        apcor, apcor_err, n_apcor = 1.0, 0.0, int(candidates.sum())
        if n_apcor:
            some = ratio[candidates]
            apcor = float(np.median(some))
            apcor_err = 1.2533 * 1.4826 * float(np.median(np.abs(some - apcor))) / np.sqrt(n_apcor)
        if n_apcor < 3:
            flags |= Flag.NO_APCOR
        group_id, group_size = friends_of_friends(sources.x, sources.y, 2.0 * psf.fwhm)
    else:
        x_err = y_err = flux_err = qfit = cfit = peak = flux_aper = flux_aper_err = local = empty
        npixfit = group_id = group_size = np.zeros(0, dtype=np.int64)
        sums = np.zeros((len(RADII) + 1, 0))
        apcor, apcor_err = 1.0, float("nan")
    columns = {
        "group_id": group_id, "group_size": group_size, "flags": flags,
        "x_fit": sources.x, "y_fit": sources.y, "flux_psf": sources.flux * apcor,
        "flux_aper": flux_aper, "local_bkg": local, "x_err": x_err, "y_err": y_err,
        "flux_err": flux_err * apcor, "id": np.arange(1, n + 1),
        "iter_detected": sources.iteration, "npixfit": npixfit, "qfit": qfit, "cfit": cfit,
        "flux_aper_err": flux_aper_err, "peak": peak, "bkg_rms": sky.rms[iy, ix],
        **{radius_column(radius): sums[k] for k, radius in enumerate(RADII)},
    }  # fmt: skip
    catalogue = make_catalogue(frame, columns)
    figures: dict[str, float | int | str] = {
        "n_sources": n, "fwhm": psf.fwhm, "ellipticity": psf.ellipticity, "pa": psf.pa,
        "n_psf": psf.n_stars, "sky": sky.median_level, "sky_rms": sky.median_rms,
        "noise": "model", "psf_mismatch": psf.mismatch, "ref_radius": ref_radius,
        "apcor": apcor, "apcor_err": apcor_err,
    }  # fmt: skip
    return Measurement(
        catalogue=catalogue, consolidated=consolidate(frame, catalogue, figures),
        figures=figures, background=sky.level, model=canvas.crop(fit.model), psf=None,
    )  # fmt: skip


def psf_enclosed(psf: Psf, sources: Sources, window, radius: float) -> FloatArray:
    """Share of the model's light within a radius, as its pixels sum it."""
    from pipnick_watch.photometry.apertures import overlap

    out = np.zeros(len(sources))
    for first in range(0, len(sources), 64):
        one = sources.keep(np.arange(len(sources))[first : first + 64])
        ix, iy = np.rint(one.x), np.rint(one.y)
        dx = window.ox[None, :] + (ix - one.x)[:, None]
        dy = window.oy[None, :] + (iy - one.y)[:, None]
        out[first : first + 64] = (
            psf.evaluate(dx, dy, one.x, one.y) * overlap(dx, dy, radius)
        ).sum(axis=1)
    return out
