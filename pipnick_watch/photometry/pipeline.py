"""What does a frame hold? The steps of the measurement, in their order."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipnick_watch.frame import Frame
from pipnick_watch.photometry.background import Sky, measure_sky
from pipnick_watch.photometry.detection import bootstrap_fwhm, sharp_pixels
from pipnick_watch.photometry.draw import draw_cores, draw_wings
from pipnick_watch.photometry.fit import fit_radius, fit_sources, neighbourhood
from pipnick_watch.photometry.measurement import Measurement
from pipnick_watch.photometry.psf import Psf, fallback_psf
from pipnick_watch.photometry.psf_fit import fit_psf
from pipnick_watch.photometry.psf_stars import choose_psf_stars, cut_psf_stars
from pipnick_watch.photometry.saturation import SaturatedCores, find_saturated, fit_saturated
from pipnick_watch.photometry.search import find_first, find_more
from pipnick_watch.photometry.shape import measure_shapes
from pipnick_watch.photometry.sources import Scene, Sources
from pipnick_watch.photometry.stamps import Canvas
from pipnick_watch.photometry.tabulate import tabulate
from pipnick_watch.photometry.weed import believable, one_of_each_galaxy
from pipnick_watch.settings import Settings

__all__ = ["measure"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

SEARCHES = 3
GLARE = 3.0  # how much less a saturated star's model is trusted
WEEDINGS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """What is known of a frame at some step."""

    frame: Frame
    settings: Settings
    bad: BoolArray
    sky: Sky
    psf: Psf
    scene: Scene
    sources: Sources
    radius: float
    wings: FloatArray
    glare: FloatArray
    model: FloatArray
    saturated_errors: FloatArray


def measure(frame: Frame, settings: Settings) -> Measurement:
    """Measure every source of a frame."""
    thresh = settings.photometry.thresh
    data = frame.data
    cores = find_saturated(data, frame.mask, frame.saturation)
    bad = frame.mask | cores.pixels
    sky = measure_sky(data, bad, 64)
    light = data - sky.level
    fwhm = bootstrap_fwhm(light, sky.rms, bad, frame.saturation - sky.median_level)
    fwhm = float(np.clip(fwhm, 1.0, 20.0)) if np.isfinite(fwhm) else 3.0
    psf = fallback_psf(fwhm, data.shape)
    bad |= sharp_pixels(light, sky.rms, bad, contrast(psf))
    sources = find_first(light, bad, sky.rms, psf, thresh, cores)
    canvas = Canvas(shape=data.shape, margin=int(np.ceil(12.0 * fwhm)) + 45)
    nothing = np.zeros(canvas.size)
    state = State(
        frame=frame, settings=settings, bad=bad, sky=sky, psf=psf,
        scene=make_scene(canvas, data, sky, bad), sources=sources, radius=fit_radius(psf),
        wings=nothing, glare=nothing, model=nothing, saturated_errors=np.zeros((0, 3)),
    )  # fmt: skip
    state = refine_psf(state, corrected=False, first=True)
    state = refit(replace(state, radius=fit_radius(state.psf)), rounds=4)
    state = resky(state)
    state = refit(refine_psf(state, corrected=True), rounds=4)
    for iteration in range(2, 2 + SEARCHES):
        crop = canvas.crop
        more = find_more(
            crop(state.scene.data - state.model), crop(state.model + GLARE * state.glare), bad,
            state.sky.rms, state.psf, thresh, iteration, state.sources, doubt(state.psf),
        )  # fmt: skip
        before = len(state.sources)
        if len(more):
            new = np.arange(before, before + len(more))
            state = refit_around(replace(state, sources=state.sources.join(more)), new)
        state = weed(state, 0.8 * thresh)
        if len(more) == 0:
            break
        if iteration == 2:
            state = resky(state)
            state = refit(refine_psf(state, corrected=True), rounds=3)
        if len(state.sources) == before:
            break
    state = weed(state, thresh)
    state = drop(state, one_of_each_galaxy(state.psf, state.sources))
    everyone = np.arange(len(state.sources))
    sources = measure_shapes(state.scene, state.psf, state.sources, state.model, everyone)
    return tabulate(replace(state, sources=sources))


def doubt(psf: Psf) -> float:
    """Share of the subtracted light that the PSF's faults may leave in one place."""
    return 0.03 + 4.0 * psf.mismatch


def refine_psf(state: State, *, corrected: bool, first: bool = False) -> State:
    """Fit the PSF to the stars that show it."""
    chosen = choose_psf_stars(
        state.scene, state.psf, state.sources, crowding=0.1 if first else 0.5,
        suspect=np.zeros(len(state.sources), dtype=bool),
    )  # fmt: skip
    if len(chosen) == 0:
        return state
    model = None if first else state.model
    stars = cut_psf_stars(state.scene, state.psf, state.sources, chosen, model)
    elliptical = state.settings.photometry.fittype == "ellip"
    fresh = first or not state.psf.correction.any()
    psf, _ = fit_psf(
        stars, state.psf, elliptical=elliptical, corrected=corrected, rounds=8 if fresh else 4
    )
    return replace(state, psf=psf)


def refit(state: State, rounds: int) -> State:
    """Fit all sources, and draw them."""
    scene, psf, radius = state.scene, state.psf, state.radius
    canvas, sources = scene.canvas, state.sources
    full = np.flatnonzero(sources.saturated)
    glare, errors = state.glare, state.saturated_errors
    if len(full):
        some, errors = fit_saturated(scene, psf, sources.keep(full), state.model - glare)
        sources = sources.put(full, x=some.x, y=some.y, flux=some.flux, converged=some.converged)
        glare = np.zeros(canvas.size)
        draw_cores(glare, canvas, psf, some, radius)
        draw_wings(glare, canvas, psf, some, radius, scene.rms)
    plain = np.flatnonzero(~sources.saturated)
    fitted = fit_sources(scene, psf, sources.keep(plain), state.wings + glare, radius, rounds)
    wings = np.zeros(canvas.size)
    draw_wings(wings, canvas, psf, fitted, radius, scene.rms)
    model = wings + glare
    draw_cores(model, canvas, psf, fitted, radius)
    return replace(
        state, sources=taken_over(sources, plain, fitted), wings=wings, glare=glare, model=model,
        saturated_errors=errors,
    )  # fmt: skip


def taken_over(sources: Sources, rows: IntArray, fitted: Sources) -> Sources:
    """Put what was fitted in its place."""
    return sources.put(
        rows, x=fitted.x, y=fitted.y, flux=fitted.flux, converged=fitted.converged,
        near_bound=fitted.near_bound,
    )  # fmt: skip


def refit_around(state: State, changed: IntArray, dropped: Sources | None = None) -> State:
    """Fit the sources near those that are new, the others held, and draw them anew.

    Parameters
    ----------
    changed : ndarray of int
        Sources that were not fitted before.
    dropped : Sources, optional
        Sources that are no longer among them, but still in the model.
    """
    scene, psf, radius = state.scene, state.psf, state.radius
    canvas = scene.canvas
    some = neighbourhood(state.sources, changed, 2.0 * radius)
    if dropped is not None and len(dropped):
        both = state.sources.join(dropped)
        gone = np.arange(len(state.sources), len(both))
        near = neighbourhood(both, gone, 2.0 * radius)
        some = np.union1d(some, near[near < len(state.sources)])
    some = some[~state.sources.saturated[some]]
    old = state.sources.keep(np.setdiff1d(some, changed))
    if dropped is not None:
        old = old.join(dropped)
    wings, model = state.wings.copy(), state.model.copy()
    draw_cores(model, canvas, psf, old, radius, -1.0)
    held = model.copy()
    fitted = fit_sources(scene, psf, state.sources.keep(some), held, radius, 6)
    draw_cores(model, canvas, psf, fitted, radius)
    for flat in (wings, model):
        draw_wings(flat, canvas, psf, old, radius, scene.rms, -1.0)
        draw_wings(flat, canvas, psf, fitted, radius, scene.rms)
    sources = taken_over(state.sources, some, fitted)
    return replace(state, sources=sources, wings=wings, model=model)


def resky(state: State) -> State:
    """Measure the sky again, without the sources."""
    canvas, data = state.scene.canvas, state.frame.data
    sky = measure_sky(
        data - canvas.crop(state.model), state.bad, box_side(state.psf), prior=state.sky.level
    )
    return replace(state, sky=sky, scene=make_scene(canvas, data, sky, state.bad))


def weed(state: State, thresh: float) -> State:
    """Drop what is no source, and fit the rest again, until all are believed."""
    for _ in range(WEEDINGS):
        new = np.flatnonzero(np.isnan(state.sources.major))
        sources = measure_shapes(state.scene, state.psf, state.sources, state.model, new)
        state = replace(state, sources=sources)
        keep = believable(state.scene, state.psf, sources, state.sky.rms, thresh, 0.3)
        if keep.all():
            break
        state = drop(state, keep)
    return state


def drop(state: State, keep: BoolArray) -> State:
    """Keep some sources only, and fit those near the dropped ones again."""
    if keep.all():
        return state
    dropped = state.sources.keep(~keep)
    state = replace(state, sources=state.sources.keep(keep))
    return refit_around(state, np.zeros(0, dtype=np.int64), dropped)


def make_scene(canvas: Canvas, data: FloatArray, sky: Sky, bad: BoolArray) -> Scene:
    """Pad what the fit needs."""
    light = data - sky.level
    light[bad] = 0.0
    return Scene(
        canvas=canvas, data=canvas.pad(light), sky_variance=canvas.pad(sky.rms**2),
        good=canvas.pad(~bad), rms=sky.median_rms,
    )  # fmt: skip


def box_side(psf: Psf) -> int:
    """Side of the sky's boxes: as small as the stars allow."""
    return int(np.clip(6.0 * psf.fwhm, 32, 64))


def contrast(psf: Psf) -> float:
    """Least light that a pixel beside a star's central one can have, relative to that."""
    zero = np.zeros((1, 1))
    centre = psf.evaluate(zero, zero, *psf.centre)
    beside = psf.evaluate(zero + 1.0, zero, *psf.centre)
    return 0.75 * float((beside / centre)[0, 0])
