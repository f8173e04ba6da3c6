"""The simultaneous fit, its errors, and what it draws."""

import dataclasses

import numpy as np
from photometry_scenes import drawn, frame_of, how, plain_psf, sources_at

from pipnick_watch.photometry.background import Sky
from pipnick_watch.photometry.covariance import errors_of, group_flux_errors
from pipnick_watch.photometry.draw import draw_cores, draw_wings
from pipnick_watch.photometry.fit import fit_radius, fit_sources, normal_matrix
from pipnick_watch.photometry.state import State
from pipnick_watch.photometry.steps import settle

CROWD = [(50.2, 60.1, 20000.0), (53.9, 61.3, 15000.0), (57.0, 57.5, 9000.0), (90.4, 30.6, 5000.0)]


def test_blended_sources_come_back_exactly() -> None:
    """Without noise, three blended sources and one alone get their places and fluxes back."""
    psf = plain_psf(4.0)
    truth = sources_at(CROWD)
    scene, _ = drawn(psf, truth)
    rng = np.random.default_rng(1)
    guess = sources_at(
        [(x + rng.normal(0, 0.4), y + rng.normal(0, 0.4), f * 0.8) for x, y, f in CROWD]
    )
    radius = fit_radius(psf)
    wings = np.zeros(scene.canvas.size)
    for _ in range(4):
        guess = fit_sources(scene, psf, guess, wings, radius, 10)
        wings = np.zeros(scene.canvas.size)
        draw_wings((wings,), scene.canvas, psf, guess, radius, scene.rms)
    np.testing.assert_allclose(guess.flux, truth.flux, rtol=2e-3)
    np.testing.assert_allclose(guess.x, truth.x, atol=0.01)
    np.testing.assert_allclose(guess.y, truth.y, atol=0.01)
    assert guess.converged.all()


def test_errors_are_the_scatter() -> None:
    """Over many noise realisations the scatter is what the covariance says, blended or not."""
    psf = plain_psf(4.0, (100, 100))
    places = [(40.2, 50.1, 20000.0), (44.4, 51.3, 15000.0), (70.4, 30.6, 5000.0)]
    truth = sources_at(places)
    radius = fit_radius(psf)
    pulls, sums = [], []
    _, light = drawn(psf, truth)
    for seed in range(60):
        scene, _ = drawn(psf, truth, seed=seed)
        wings = np.zeros(scene.canvas.size)
        draw_wings((wings,), scene.canvas, psf, truth, radius, scene.rms)
        found = fit_sources(scene, psf, truth, wings, radius, 8)
        matrix = normal_matrix(scene, psf, found, light, radius)
        errors = errors_of(matrix, found.x, found.y, found.flux, 2 * radius)
        pulls.append([(found.x - truth.x) / errors[0], (found.flux - truth.flux) / errors[2]])
        pair = group_flux_errors(matrix, [np.array([0, 1])])[0]
        sums.append((found.flux[:2].sum() - truth.flux[:2].sum()) / pair)
    width = np.std(pulls, axis=0)
    assert (width > 0.75).all()
    assert (width < 1.3).all()
    assert 0.75 < np.std(sums) < 1.3


def test_a_pair_is_less_certain_than_a_single_star() -> None:
    """The error of a blended star grows; that of the pair's sum does not."""
    psf = plain_psf(4.0)
    radius = fit_radius(psf)
    alone = sources_at([(60.0, 60.0, 10000.0)])
    pair = sources_at([(60.0, 60.0, 10000.0), (62.8, 60.0, 10000.0)])
    scene, _ = drawn(psf, pair)
    dark = np.zeros(scene.canvas.size)
    one = errors_of(
        normal_matrix(scene, psf, alone, dark, radius), alone.x, alone.y, alone.flux, 20.0
    )
    matrix = normal_matrix(scene, psf, pair, dark, radius)
    two = errors_of(matrix, pair.x, pair.y, pair.flux, 20.0)
    assert two[2][0] > 1.3 * one[2][0]
    assert group_flux_errors(matrix, [np.array([0, 1])])[0] < 1.5 * one[2][0]


def test_cores_and_wings_make_the_whole() -> None:
    """What is drawn in two parts is the PSF, and can be taken off again."""
    psf = plain_psf(4.0)
    sources = sources_at([(60.3, 59.6, 1e5)])
    scene, light = drawn(psf, sources)
    flat = np.zeros(scene.canvas.size)
    draw_cores(flat, scene.canvas, psf, sources, 6.0)
    draw_wings((flat,), scene.canvas, psf, sources, 6.0, scene.rms)
    near = light > 2.0
    np.testing.assert_allclose(flat[near], light[near], rtol=1e-9)
    draw_cores(flat, scene.canvas, psf, sources, 6.0, -1.0)
    draw_wings((flat,), scene.canvas, psf, sources, 6.0, scene.rms, -1.0)
    assert np.abs(flat).max() < 1e-9


def test_masked_pixels_do_not_count() -> None:
    """A masked, wildly wrong pixel in a star's core changes nothing but its error."""
    psf = plain_psf(4.0)
    truth = sources_at([(60.3, 59.6, 1e4)])
    scene, _ = drawn(psf, truth)
    at = scene.canvas.at(np.array([60]), np.array([60]))
    good, data = scene.good.copy(), scene.data.copy()
    good[at], data[at] = 0.0, 0.0
    scene = dataclasses.replace(scene, good=good, data=data)
    wings = np.zeros(scene.canvas.size)
    found = fit_sources(scene, psf, truth, wings, fit_radius(psf), 8)
    assert abs(found.flux[0] / 1e4 - 1.0) < 0.02


def test_a_source_without_a_good_pixel_does_no_harm() -> None:
    """Where every pixel of a source is masked it stays as it was, and the others are fitted."""
    psf = plain_psf(1.5)
    truth = sources_at([(50.2, 60.1, 20000.0), (90.4, 30.6, 5000.0)])
    scene, _ = drawn(psf, truth)
    radius = fit_radius(psf)
    good = scene.good.reshape(scene.canvas.shape[0] + 2 * scene.canvas.margin, -1).copy()
    row, column = round(truth.y[1]), round(truth.x[1])
    reach, margin = int(radius) + 2, scene.canvas.margin
    good[margin + row - reach : margin + row + reach, margin + column - reach :][:, : 2 * reach] = 0
    masked = dataclasses.replace(scene, good=good.ravel())
    guess = sources_at([(50.5, 60.3, 15000.0), (90.4, 30.6, 5000.0)])
    found = fit_sources(masked, psf, guess, np.zeros(scene.canvas.size), radius, 20)
    np.testing.assert_allclose(found.flux, [20000.0, 5000.0], rtol=0.02)
    np.testing.assert_allclose(found.x, truth.x, atol=0.02)


def test_two_that_settle_on_one_star_are_one() -> None:
    """Where the last steps of the fit bring two sources together, only one is left."""
    psf = plain_psf(5.0)
    scene, _ = drawn(psf, sources_at([(50.0, 50.0, 40000.0)]), seed=5)
    empty = np.zeros((120, 120))
    state = State(
        frame=frame_of(empty), settings=how(), bad=empty > 0, noise="model", psf=psf, scene=scene,
        sky=Sky(level=empty, rms=empty + 10.0, median_level=0.0, median_rms=10.0),
        sources=sources_at([(48.3, 50.0, 20000.0), (51.7, 50.0, 20000.0)]),
        radius=fit_radius(psf), wings=scene.canvas.pad(empty), glare=scene.canvas.pad(empty),
        model=scene.canvas.pad(empty), saturated_errors=np.zeros((0, 3)),
    )  # fmt: skip
    draw_cores(state.model, scene.canvas, psf, state.sources, state.radius)
    settled = settle(state)
    assert len(settled.sources) == 1
    assert abs(settled.sources.flux[0] / 40000.0 - 1.0) < 0.02
