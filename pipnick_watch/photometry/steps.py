"""What is done again and again while a frame is measured: fit, draw, sky, PSF, weeding."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.background import measure_sky
from pipnick_watch.photometry.detection import faint_light
from pipnick_watch.photometry.draw import draw_cores, draw_wings
from pipnick_watch.photometry.fit import fit_sources, neighbourhood
from pipnick_watch.photometry.noise import sky_noise
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.psf_fit import fit_psf
from pipnick_watch.photometry.psf_stars import alike, choose_psf_stars, cut_psf_stars
from pipnick_watch.photometry.rings import correct_by_rings
from pipnick_watch.photometry.saturation import fit_saturated
from pipnick_watch.photometry.shape import measure_shapes
from pipnick_watch.photometry.sources import Scene, Sources
from pipnick_watch.photometry.stamps import Canvas
from pipnick_watch.photometry.state import State
from pipnick_watch.photometry.weed import apart, believable

__all__ = [
    "make_scene",
    "refine_psf",
    "refit",
    "refit_around",
    "resky",
    "settle",
    "too_sharp",
    "weed",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

WEEDINGS = 4  # rounds of dropping what is not believed
TOO_SHARP = 0.8  # pixels of FWHM
SHARPEST_GUESS = 1.08  # pixels of FWHM, where no star shows it: a guess is never below 1.04
FEWEST_ALIKE = 5  # stars that tell which are the odd ones
OUTSHINE = 0.1  # share of the light that odd ones may have at first
TO_SETTLE = 30  # steps of the last fit: crowded cores need many, and few sources take them
AFTER_DROP = 3  # steps of the fit: what has not settled goes on later


def refine_psf(state: State, *, corrected: bool, first: bool = False) -> State:
    """Fit the PSF to the stars that show it."""
    chosen = choose_psf_stars(state.scene, state.psf, state.sources, crowding=0.1 if first else 0.5)
    if len(chosen) == 0:
        return state
    shaped = measure_shapes(state.scene, state.psf, state.sources, state.model, chosen).keep(chosen)
    keep = alike(shaped, first=first)
    # at first nobody knows well which are the odd ones: the fit finds out itself, unless they
    # outshine the stars
    odd = shaped.flux[~keep].sum() > OUTSHINE * shaped.flux.sum()
    if not first or (odd and keep.sum() >= FEWEST_ALIKE):
        chosen = chosen[keep]
    model = None if first else state.model
    stars = cut_psf_stars(state.scene, state.psf, state.sources, chosen, model)
    elliptical = state.settings.photometry.fittype == "ellip"
    fresh = first or not state.psf.correction.any()
    psf, _ = fit_psf(
        stars, state.psf, elliptical=elliptical, corrected=corrected, rounds=7 if fresh else 3
    )
    # a PSF that stars showed is not given up for one that none does
    worse = too_sharp(psf) or (psf.n_stars == 0 and state.psf.n_stars > 0)
    if worse and not first:
        return state
    return replace(state, psf=psf)


def too_sharp(psf: Psf) -> bool:
    """Say whether cosmic rays made this PSF: no star is so sharp."""
    return psf.fwhm < (TOO_SHARP if psf.n_stars else SHARPEST_GUESS)


def refit(state: State, rounds: int) -> State:
    """Fit all sources, and draw them."""
    scene, psf, radius = state.scene, state.psf, state.radius
    canvas, sources = scene.canvas, state.sources
    full = np.flatnonzero(sources.saturated)
    glare, errors, rest = state.glare, state.saturated_errors, state.wings
    if len(full):
        some, errors = fit_saturated(scene, psf, sources.keep(full), state.model - glare)
        sources = sources.put(full, x=some.x, y=some.y, flux=some.flux, converged=some.converged)
        glare = np.zeros(canvas.size)
        draw_cores(glare, canvas, psf, some, radius)
        draw_wings((glare,), canvas, psf, some, radius, scene.rms)
        rest = rest + glare
    plain = np.flatnonzero(~sources.saturated)
    fitted = fit_sources(scene, psf, sources.keep(plain), rest, radius, rounds)
    # in place: what is in the planes has served
    wings, model = state.wings, state.model
    wings[:] = 0.0
    draw_wings((wings,), canvas, psf, fitted, radius, scene.rms)
    np.copyto(model, wings)
    if len(full):
        model += glare
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


def refit_around(
    state: State, new: IntArray, *, dropped: Sources | None = None, around: IntArray | None = None,
    rounds: int = 6,
) -> State:  # fmt: skip
    """Fit some sources and those near them, the others held, and draw them anew.

    With ``mode = "new"`` the sources of the first detection are always held.

    Parameters
    ----------
    new : ndarray of int
        Sources that are not in the model yet.
    dropped : Sources, optional
        Sources that are no longer among them, but still in the model.
    around : ndarray of int, optional
        Other sources to fit, with those near them.
    rounds : int
        Most steps.
    """
    scene, psf, radius = state.scene, state.psf, state.radius
    canvas = scene.canvas
    wanted = new if around is None else np.union1d(new, around)
    some = neighbourhood(state.sources, wanted, 2.0 * radius)
    if dropped is not None and len(dropped):
        everyone = state.sources.join(dropped)
        gone = np.arange(len(state.sources), len(everyone))
        near = neighbourhood(everyone, gone, 2.0 * radius)
        some = np.union1d(some, near[near < len(state.sources)])
    free = ~state.sources.saturated
    if state.settings.photometry.mode == "new":
        free &= state.sources.iteration > 1
    some = some[free[some]]
    old = state.sources.keep(np.setdiff1d(some, new))
    if dropped is not None:
        old = old.join(dropped)
    # in place: whole frames are not copied for a few sources
    model = state.model
    draw_cores(model, canvas, psf, old, radius, -1.0)
    fitted = fit_sources(scene, psf, state.sources.keep(some), model, radius, rounds)
    draw_cores(model, canvas, psf, fitted, radius)
    both = (state.wings, model)
    draw_wings(both, canvas, psf, old, radius, scene.rms, -1.0)
    draw_wings(both, canvas, psf, fitted, radius, scene.rms)
    sources = taken_over(state.sources, some, fitted)
    return replace(state, sources=sources)


def resky(state: State, *, faint: bool = False, step: int = 1) -> State:
    """Measure the sky again, without the sources.

    Parameters
    ----------
    faint : bool
        Whether what is too faint to be a source is left out as well: under a wide PSF the many
        stars below the threshold brighten the sky.
    step : int
        Only every so many-th row and column is looked at.
    """
    canvas, data = state.scene.canvas, state.frame.data
    empty, bad, box = data - canvas.crop(state.model), state.bad, box_side(state.psf)
    if faint:
        bad = bad | faint_light(empty - state.sky.level, bad, state.sky.rms, state.psf.fwhm, box)
    sky = measure_sky(empty, bad, box, prior=state.sky.level, step=step)
    if faint:
        more = correct_by_rings(
            empty - sky.level, bad, sky.rms, canvas, state.sources, state.psf.fwhm
        )
        sky = replace(sky, level=sky.level + more)
    rms, noise = sky_noise(data, state.bad, state.frame.uncert, sky, box)
    scene = make_scene(canvas, data - sky.level, state.bad, rms, sky.median_rms)
    return replace(state, sky=sky, noise=noise, scene=scene)


def weed(state: State, thresh: float) -> State:
    """Drop what is no source, and fit the rest again, until all are believed."""
    for _ in range(WEEDINGS):
        new = np.flatnonzero(np.isnan(state.sources.major))
        sources = measure_shapes(state.scene, state.psf, state.sources, state.model, new)
        state = replace(state, sources=sources)
        keep = believable(state.scene, state.psf, sources, state.sky.rms, thresh)
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
    none = np.zeros(0, dtype=np.int64)
    return refit_around(state, none, dropped=dropped, rounds=AFTER_DROP)


def settle(state: State) -> State:
    """Go on with the sources that have not settled yet; two that end as one are one."""
    for _ in range(WEEDINGS):
        moving = np.flatnonzero(~state.sources.converged & ~state.sources.saturated)
        if len(moving):
            state = refit_around(state, moving[:0], around=moving, rounds=TO_SETTLE)
        keep = apart(state.psf, state.sources)
        if keep.all():
            break
        state = drop(state, keep)
    return state


def make_scene(
    canvas: Canvas, light: FloatArray, bad: BoolArray, rms: FloatArray, typical: float
) -> Scene:
    """Pad what the fit needs.

    Parameters
    ----------
    light, rms : ndarray, shape (ny, nx)
        Frame without sky, and the noise of a sky pixel.
    typical : float
        Of ``rms``.
    """
    light[bad] = 0.0
    variance = canvas.pad(rms)
    variance *= variance
    return Scene(
        canvas=canvas, data=canvas.pad(light), sky_variance=variance, good=canvas.pad(~bad),
        rms=typical,
    )  # fmt: skip


def box_side(psf: Psf) -> int:
    """Side of the sky's boxes: as small as the stars allow."""
    return int(np.clip(6.0 * psf.fwhm, 32, 64))
