"""The simultaneous fit against photutils."""

import numpy as np
import pytest
from photometry_scenes import as_frame, drawn, field, frame_of, how, plain_psf, sources_at

from pipnick_watch.photometry import measure
from pipnick_watch.photometry.background import measure_sky
from pipnick_watch.photometry.covariance import errors_of
from pipnick_watch.photometry.draw import draw_wings
from pipnick_watch.photometry.fit import fit_radius, fit_sources, normal_matrix
from pipnick_watch.photometry.flags import Flag
from pipnick_watch.photometry.reference import fit_with_photutils
from pipnick_watch.photometry.state import State


def test_engines_agree() -> None:
    """On isolated stars both engines give the same flux within a tenth of the error bar."""
    frame = as_frame(field(seed=21, n_stars=20, faintest=25.0))
    ours = measure(frame, how()).catalogue
    theirs = measure(frame, how(engine="photutils")).catalogue
    assert len(ours) == len(theirs)
    unclean = int(Flag.BLENDED | Flag.NEAR_EDGE | Flag.MASKED | Flag.SATURATED)
    alone = (ours["group_size"] == 1) & ((np.asarray(ours["flags"]) & unclean) == 0)
    a = np.asarray(ours["flux_psf"])[alone]
    b = np.asarray(theirs["flux_psf"])[alone]
    error = np.asarray(ours["flux_err"])[alone]
    assert alone.sum() >= 8
    scale = np.median(b / a)
    assert abs(scale - 1.0) < 0.002
    assert np.median(np.abs(b / scale - a) / error) < 0.1


@pytest.mark.parametrize(
    ("seed", "tolerance"),
    # photutils counts a pixel that two windows share twice: with noise that is another weighting
    [(None, 0.1), (1, 0.6)],
    ids=["without noise", "with noise"],
)
def test_engines_agree_inside_a_group(seed: int | None, tolerance: float) -> None:
    """A close group that is alone in the frame gets the same fluxes and places from both."""
    psf = plain_psf(4.0)
    truth = sources_at([(57.2, 60.4, 40000.0), (61.3, 61.0, 25000.0), (60.1, 64.9, 12000.0)])
    scene, light = drawn(psf, truth, seed=seed)
    radius = fit_radius(psf)
    guess = truth.put(np.arange(3), x=truth.x + 0.2, y=truth.y - 0.2, flux=0.9 * truth.flux)
    ours = guess
    for _ in range(4):
        wings = np.zeros(scene.canvas.size)
        draw_wings((wings,), scene.canvas, psf, ours, radius, scene.rms)
        ours = fit_sources(scene, psf, ours, wings, radius, 10)
    data = scene.canvas.crop(scene.data)
    state = State(
        frame=frame_of(data), settings=how(), bad=np.zeros(data.shape, dtype=bool),
        sky=measure_sky(np.zeros(data.shape), np.zeros(data.shape, dtype=bool), 60), noise="model",
        psf=psf, scene=scene, sources=guess, radius=radius, wings=wings, glare=0.0 * wings,
        model=light, saturated_errors=np.zeros((0, 3)),
    )  # fmt: skip
    theirs = fit_with_photutils(state)
    matrix = normal_matrix(scene, psf, ours, light, radius)
    errors = errors_of(matrix, ours.x, ours.y, ours.flux, 2.0 * radius)
    for name, one, error in zip(
        ("x_fit", "y_fit", "flux_fit"), (ours.x, ours.y, ours.flux), errors, strict=True
    ):
        assert (np.abs(np.asarray(theirs[name]) - one) < tolerance * error).all(), name


def test_a_frame_is_not_fitted_with_the_psf_of_another() -> None:
    """After sharp frames the close pairs of a blurred one come out as our own fit has them."""

    def pairs(fwhm: float, engine: str) -> np.ndarray:
        frame = as_frame(field(seed=10, fwhm=fwhm, n_stars=10, faintest=20.0, n_pairs=6))
        return np.asarray(measure(frame, how(engine=engine)).catalogue["flux_psf"])

    for fwhm in (3.0, 6.0):
        ratio = pairs(fwhm, "photutils") / pairs(fwhm, "simultaneous")
        assert np.abs(ratio - 1.0).max() < 0.1
