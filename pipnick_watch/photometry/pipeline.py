"""What does a frame hold? The steps of the measurement, in their order."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipnick_watch.frame import Frame
from pipnick_watch.photometry.background import Sky, measure_sky
from pipnick_watch.photometry.detection import bootstrap_fwhm, sharp_pixels
from pipnick_watch.photometry.fit import Fit, Scene, Sources, fit_sources, render
from pipnick_watch.photometry.measurement import Measurement
from pipnick_watch.photometry.psf import Psf, fallback_psf
from pipnick_watch.photometry.psf_fit import fit_psf
from pipnick_watch.photometry.psf_stars import choose_psf_stars, cut_psf_stars
from pipnick_watch.photometry.saturation import SaturatedStars, find_saturated
from pipnick_watch.photometry.search import find_first, find_more, new_sources
from pipnick_watch.photometry.shape import measure_shapes
from pipnick_watch.photometry.stamps import Canvas
from pipnick_watch.photometry.tabulate import tabulate
from pipnick_watch.photometry.weed import believable
from pipnick_watch.settings import Settings

__all__ = ["measure"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """What is known of a frame at some step."""

    frame: Frame
    bad: BoolArray
    cores: SaturatedStars
    sky: Sky
    psf: Psf
    scene: Scene
    fit: Fit
    model: FloatArray
    psf_stars: IntArray


def measure(frame: Frame, settings: Settings) -> Measurement:
    """Measure every source of a frame."""
    how = settings.photometry
    thresh = how.thresh
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
    scene = make_scene(canvas, data, sky, bad)
    elliptical = how.fittype == "ellip"
    model = None
    for turn in range(3):
        suspect = np.zeros(len(sources), dtype=bool)
        chosen = choose_psf_stars(
            scene, psf, sources, crowding=0.1 if turn == 0 else 0.5, suspect=suspect
        )
        if len(chosen):
            stars = cut_psf_stars(scene, psf, sources, chosen, model)
            psf, used = fit_psf(stars, psf, elliptical=elliptical, corrected=turn > 0)
            chosen = chosen[used]
        fit = fit_sources(scene, psf, sources, rounds=6)
        model = render(canvas, psf, fit.sources, scene.rms)
        doubt = 0.03 + 4.0 * psf.mismatch
        if turn == 2:
            break
        sky = measure_sky(data - canvas.crop(model), bad, box_side(psf), prior=sky.level)
        scene = make_scene(canvas, data, sky, bad)
        more = find_more(
            canvas.crop(scene.data - model),
            canvas.crop(model),
            bad,
            sky.rms,
            psf,
            thresh,
            turn + 2,
            cores,
            doubt,
        )
        sources = fit.sources.join(more)
        fit = fit_sources(scene, psf, sources, rounds=6)
        model = render(canvas, psf, fit.sources, scene.rms)
        shapes = measure_shapes(scene, psf, fit, model)
        keep = believable(scene, psf, fit, sky.rms, 0.8 * thresh, 0.3, shapes)
        sources = fit.sources.keep(keep)
        if not keep.all():
            fit = fit_sources(scene, psf, sources, rounds=4)
            sources = fit.sources
            model = render(canvas, psf, sources, scene.rms)
    for _ in range(3):
        shapes = measure_shapes(scene, psf, fit, model)
        keep = believable(scene, psf, fit, sky.rms, thresh, 0.3, shapes)
        if keep.all():
            break
        fit = fit_sources(scene, psf, fit.sources.keep(keep), rounds=4)
        model = render(canvas, psf, fit.sources, scene.rms)
    return tabulate(frame, settings, scene, sky, psf, fit, model, bad, shapes)


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
