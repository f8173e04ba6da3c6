"""What does a frame hold? The steps of the measurement, in their order."""

from dataclasses import replace

import numpy as np

from pipnick_watch.frame import Frame
from pipnick_watch.photometry.background import measure_sky
from pipnick_watch.photometry.detection import bootstrap_fwhm, sharp_pixels
from pipnick_watch.photometry.fit import fit_radius
from pipnick_watch.photometry.measurement import Measurement
from pipnick_watch.photometry.psf import Psf, fallback_psf
from pipnick_watch.photometry.saturation import find_saturated
from pipnick_watch.photometry.search import find_first, find_more
from pipnick_watch.photometry.shape import measure_shapes
from pipnick_watch.photometry.stamps import Canvas
from pipnick_watch.photometry.state import State
from pipnick_watch.photometry.steps import (
    drop,
    make_scene,
    refine_psf,
    refit,
    refit_around,
    resky,
    settle,
    weed,
)
from pipnick_watch.photometry.tabulate import tabulate
from pipnick_watch.photometry.weed import one_of_each_galaxy
from pipnick_watch.settings import Settings

__all__ = ["measure"]

SEARCHES = 3  # of the residuals
BROKEN = 10.0  # standard deviations
FIRST_BOX = 64  # pixels: side of the sky's boxes before the stars are known
UNKNOWN_FWHM = 3.0  # pixels, where nothing shows it
FWHM_RANGE = (1.0, 20.0)
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
    state = refine_psf(state, corrected=False, first=True)
    state = refit(replace(state, radius=fit_radius(state.psf)), rounds=4)
    state = resky(state)
    state = refit(refine_psf(state, corrected=True), rounds=4)
    state = _search(state)
    state = weed(state, settings.photometry.thresh)
    state = drop(state, one_of_each_galaxy(state.psf, state.sources))
    state = settle(state)
    everyone = np.arange(len(state.sources))
    sources = measure_shapes(state.scene, state.psf, state.sources, state.model, everyone)
    state = replace(state, sources=sources)
    if settings.photometry.engine == "photutils":
        # photutils is slow to load: only who asks for it waits
        from pipnick_watch.photometry.reference import tabulate_reference

        return tabulate_reference(state)
    return tabulate(state)


def _first_look(frame: Frame, settings: Settings) -> State:
    """Find the sources that the frame itself shows."""
    data = frame.data
    cores = find_saturated(data, frame.mask, frame.saturation)
    bad = frame.mask | cores.pixels
    sky = measure_sky(data, bad, FIRST_BOX)
    light = data - sky.level
    fwhm = bootstrap_fwhm(light, sky.rms, bad, frame.saturation - sky.median_level)
    fwhm = float(np.clip(fwhm, *FWHM_RANGE)) if np.isfinite(fwhm) else UNKNOWN_FWHM
    psf = fallback_psf(fwhm, (data.shape[0], data.shape[1]))
    # what is far below the sky is broken
    bad |= light < -BROKEN * sky.rms
    bad |= sharp_pixels(light, sky.rms, bad, _contrast(psf))
    sources = find_first(light, bad, sky.rms, psf, settings.photometry.thresh, cores)
    canvas = Canvas(shape=data.shape, margin=int(np.ceil(12.0 * fwhm)) + 45)
    nothing = np.zeros(canvas.size)
    return State(
        frame=frame, settings=settings, bad=bad, sky=sky, noise="model", psf=psf,
        scene=make_scene(canvas, light, bad, sky.rms, sky.median_rms), sources=sources,
        radius=fit_radius(psf), wings=nothing, glare=nothing, model=nothing,
        saturated_errors=np.zeros((int(sources.saturated.sum()), 3)),
    )  # fmt: skip


def _search(state: State) -> State:
    """Search what is left, until nothing new is found."""
    together = state.settings.photometry.mode == "all"
    thresh = state.settings.photometry.thresh
    for turn in range(SEARCHES):
        scene, crop = state.scene, state.scene.canvas.crop
        doubt = DOUBT[0] + DOUBT[1] * state.psf.mismatch
        more = find_more(
            crop(scene.data - state.model), crop(state.model + GLARE * state.glare), state.bad,
            state.sky.rms, state.psf, thresh, turn + 2, state.sources, doubt,
        )  # fmt: skip
        before = len(state.sources)
        if len(more):
            new = np.arange(before, before + len(more))
            state = refit_around(replace(state, sources=state.sources.join(more)), new)
        state = weed(state, EARLY * thresh)
        if len(more) == 0:
            break
        if turn == 0 and together:
            state = resky(state)
            state = refit(refine_psf(state, corrected=True), rounds=3)
        if len(state.sources) == before:
            break
    return state


def _contrast(psf: Psf) -> float:
    """Least light that a pixel beside a star's central one can have, relative to that."""
    zero = np.zeros((1, 1))
    centre = psf.evaluate(zero, zero, *psf.centre)
    beside = psf.evaluate(zero + 1.0, zero, *psf.centre)
    return 0.75 * float((beside / centre)[0, 0])
