"""What does a frame hold? The steps of the measurement, in their order."""

from dataclasses import replace

import numpy as np

from pipnick_watch.columns import RADII
from pipnick_watch.frame import Frame
from pipnick_watch.photometry.background import measure_sky
from pipnick_watch.photometry.bodies import find_bodies
from pipnick_watch.photometry.detection import bootstrap_fwhm, sharp_pixels
from pipnick_watch.photometry.fit import fit_radius
from pipnick_watch.photometry.grain import measure_grain
from pipnick_watch.photometry.measurement import Measurement
from pipnick_watch.photometry.psf import Psf, fallback_psf
from pipnick_watch.photometry.saturation import find_saturated
from pipnick_watch.photometry.search import find_first, find_more
from pipnick_watch.photometry.shape import measure_shapes
from pipnick_watch.photometry.stamps import Canvas, disk
from pipnick_watch.photometry.state import State
from pipnick_watch.photometry.steps import (
    make_scene,
    refine_psf,
    refit,
    refit_around,
    resky,
    settle,
    too_sharp,
    weed,
)
from pipnick_watch.photometry.tabulate import REF_ARCSEC, tabulate
from pipnick_watch.settings import Settings

__all__ = ["measure"]

SEARCHES = 3  # of the residuals
BROKEN = 10.0  # standard deviations
FIRST_BOX = 64  # pixels: side of the sky's boxes before the stars are known
LARGE = 500  # pixels: a frame with so many a side shows its sky in every second one
SHARPEST = 1.2  # pixels of FWHM that a star may have at least
WRONG_GUESS = 1.4  # ratio of the stars' FWHM to the first guess, either way
UNKNOWN_FWHM = 3.0  # pixels, where nothing shows it
MARGIN_FWHM = 9.0  # of the canvas around the frame
FWHM_RANGE = (1.0, 20.0)
REACH_FWHM = 5.0  # how far a new source changes what is left
EARLY = 0.8  # of the threshold, while neighbours are still being found
GLARE = 3.0  # how much less a saturated star's model is trusted
DOUBT = (0.03, 4.0)  # of subtracted light: always, and for each unit of the PSF's mismatch


def measure(frame: Frame, settings: Settings) -> Measurement:
    """Measure every source of a frame.

    Parameters
    ----------
    frame : Frame
    settings : Settings

    Returns
    -------
    Measurement
        With an empty catalogue when there is no source.
    """
    state = _first_look(frame, settings)
    guess = state.psf.fwhm
    state = refine_psf(state, corrected=False, first=True)
    if too_sharp(state.psf):
        # cosmic rays, and perhaps a few stars that they outvoted
        state = _first_look(frame, settings, UNKNOWN_FWHM)
        again = refine_psf(state, corrected=False, first=True)
        state = state if too_sharp(again.psf) else again
    elif state.psf.n_stars and not 1.0 / WRONG_GUESS < state.psf.fwhm / guess < WRONG_GUESS:
        # the filter was of the wrong width: look again
        state = _first_look(frame, settings, state.psf.fwhm)
        state = refine_psf(state, corrected=False, first=True)
    state = refit(replace(state, radius=fit_radius(state.psf)), rounds=3)
    # with the first sources held, the sky that they were fitted on is the last one
    held = settings.photometry.mode == "new"
    state = resky(state, faint=held, step=1 if held else _step(frame))
    state = refit(refine_psf(state, corrected=True), rounds=3)
    state = _search(state)
    state = weed(state, settings.photometry.thresh)
    state = settle(state)
    everyone = np.arange(len(state.sources))
    sources = measure_shapes(state.scene, state.psf, state.sources, state.model, everyone)
    parent = find_bodies(state.scene, state.psf, sources, state.model)
    areas = _fitted_area(state), np.pi * settings.photometry.aperture_radius**2
    grain = measure_grain(state.scene, state.model, areas)
    state = replace(state, sources=sources, parent=parent, grain=grain)
    if settings.photometry.engine == "photutils":
        # photutils is slow to load: only who asks for it waits
        from pipnick_watch.photometry.reference import tabulate_reference

        return tabulate_reference(state)
    return tabulate(state)


def _first_look(frame: Frame, settings: Settings, fwhm: float | None = None) -> State:
    """Find the sources that the frame itself shows; without a FWHM it is guessed."""
    data = frame.data
    cores = find_saturated(data, frame.mask, frame.saturation)
    bad = frame.mask | cores.pixels
    sky = measure_sky(data, bad, FIRST_BOX, step=_step(frame))
    light = data - sky.level
    shape = data.shape[0], data.shape[1]
    # what is far below the sky is broken
    bad |= light < -BROKEN * sky.rms
    if fwhm is None:
        # what is sharper than any star would outvote a few stars
        sharp = sharp_pixels(light, sky.rms, bad, _contrast(fallback_psf(SHARPEST, shape)))
        fwhm = bootstrap_fwhm(light, sky.rms, bad | sharp, frame.saturation - sky.median_level)
        fwhm = fwhm if np.isfinite(fwhm) else UNKNOWN_FWHM
    fwhm = float(np.clip(fwhm, *FWHM_RANGE))
    psf = fallback_psf(fwhm, shape)
    bad |= sharp_pixels(light, sky.rms, bad, _contrast(psf))
    sources = find_first(light, bad, sky.rms, psf, settings.photometry.thresh, cores)
    reach = max(
        MARGIN_FWHM * fwhm, REF_ARCSEC / frame.camera.plate_scale, max(RADII),
        settings.photometry.aperture_radius,
    )  # fmt: skip
    canvas = Canvas(shape=shape, margin=int(np.ceil(reach)) + 25)
    return State(
        frame=frame, settings=settings, bad=bad, sky=sky, noise="model", psf=psf,
        scene=make_scene(canvas, light, bad, sky.rms, sky.median_rms), sources=sources,
        radius=fit_radius(psf), wings=np.zeros(canvas.size), glare=np.zeros(canvas.size),
        model=np.zeros(canvas.size),
        saturated_errors=np.zeros((int(sources.saturated.sum()), 3)),
    )  # fmt: skip


def _search(state: State) -> State:
    """Search what is left, until nothing new is found."""
    together = state.settings.photometry.mode == "all"
    thresh = state.settings.photometry.thresh
    where = (slice(None), slice(None))
    for turn in range(SEARCHES):
        scene = state.scene
        data, model, glare = (
            scene.canvas.crop(one)[where] for one in (scene.data, state.model, state.glare)
        )
        more = find_more(
            data - model, model + GLARE * glare, state.bad[where], state.sky.rms[where], state.psf,
            thresh, turn + 2, (where[1].start or 0, where[0].start or 0), state.sources,
            DOUBT[0] + DOUBT[1] * state.psf.mismatch,
        )  # fmt: skip
        before = len(state.sources)
        if len(more):
            new = np.arange(before, before + len(more))
            joined = replace(state, sources=state.sources.join(more))
            state = refit_around(joined, new, rounds=4)
        state = weed(state, EARLY * thresh)
        if turn == 0 and together:
            state = resky(state, faint=True)
            state = refit(refine_psf(state, corrected=True), rounds=3)
        if len(more) == 0 or len(state.sources) in {0, before}:
            break
        where = _around(state, turn + 2)
    return state


def _around(state: State, iteration: int) -> tuple[slice, slice]:
    """Frame the sources of one detection pass: elsewhere nothing has changed since."""
    recent = state.sources.iteration == iteration
    if not recent.any():
        recent = np.ones(len(state.sources), dtype=bool)
    margin = REACH_FWHM * state.psf.fwhm
    x, y = state.sources.x[recent], state.sources.y[recent]
    return (
        slice(max(int(y.min() - margin), 0), max(int(y.max() + margin) + 1, 1)),
        slice(max(int(x.min() - margin), 0), max(int(x.max() + margin) + 1, 1)),
    )


def _step(frame: Frame) -> int:
    """Every so many-th row and column tells enough of a sky that is measured again later."""
    return 2 if min(frame.data.shape) > LARGE else 1


def _fitted_area(state: State) -> float:
    """Count the pixels that a fit to a faint source sums, as if all had one weight."""
    window, (x, y) = disk(state.radius), state.psf.centre
    light = state.psf.evaluate(window.ox[None, :] + 0.0, window.oy[None, :] + 0.0, x, y)
    return float(light.sum() ** 2 / (light**2).sum())


def _contrast(psf: Psf) -> float:
    """Least light that a pixel beside a star's central one can have, relative to that."""
    centre, beside = psf.evaluate(np.array([[0.0, 1.0]]), np.zeros((1, 2)), *psf.centre)[0]
    return 0.75 * float(beside / centre)
