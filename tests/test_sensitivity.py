"""What a place on the detector takes from a star is given back, in every seeing."""

import numpy as np
import pytest

from pipnick_watch.lightcurves.comparison import magnitudes
from pipnick_watch.lightcurves.cube import Cube
from pipnick_watch.lightcurves.ensemble import solve_ensemble
from pipnick_watch.lightcurves.sensitivity import flatten
from pipnick_watch.lightcurves.starlist import FLUXES

NOISE = 0.003


def wandering(seed: int, *, vignetting: float, blurring: float) -> Cube:
    """Make 90 frames of 60 stars that drift by 300 pixels while the seeing comes and goes.

    ``vignetting`` and ``blurring`` are the magnitudes that are lost at the edge: always, and in a
    frame with a seeing of e times the typical one.
    """
    rng = np.random.default_rng(seed)
    n_frames, n_stars = 90, 60
    phase = np.linspace(0, 1, n_frames)[:, None]
    fwhm = 1.4 * np.exp(0.2 * np.sin(7 * phase[:, 0]) + 0.05 * rng.normal(size=n_frames))
    x = rng.uniform(0, 700, n_stars) - 300 * phase
    y = rng.uniform(0, 500, n_stars) + 40 * phase
    x[:, 0], y[:, 0] = 420 - 300 * phase[:, 0], 330 + 40 * phase[:, 0]
    away = ((x - 200) ** 2 + (y - 250) ** 2) / 300**2
    lost = (vignetting + blurring * np.log(fwhm / 1.4)[:, None]) * away
    flux = 10 ** (5 - 0.4 * (rng.uniform(0, 2, n_stars) + lost + rng.normal(0, NOISE, x.shape)))
    plain = np.ones(x.shape)
    return Cube(
        rows=list(range(n_frames)), stars=np.arange(n_stars),
        flux=np.repeat(flux[..., None], len(FLUXES), axis=2), flux_err=NOISE * flux, peak=plain,
        bkg_rms=plain, x=x, y=y, ra=plain * np.nan, dec=plain * np.nan,
        flags=np.zeros(x.shape, dtype=np.int64), exptime=np.full(n_frames, 60.0),
        airmass=np.full(n_frames, 1.2), fwhm=fwhm, crowding=np.zeros(n_stars), psf_area=5.0,
        odd=np.zeros(x.shape),
    )  # fmt: skip


@pytest.mark.parametrize(("vignetting", "blurring"), [(0.2, 0.0), (0.0, 0.1), (0.3, 0.1)])
def test_the_target_is_flat(vignetting: float, blurring: float) -> None:
    """The target, which the surface is not fitted to, has no slow change left."""
    cube = wandering(1, vignetting=vignetting, blurring=blurring)
    assert _slow(cube) > NOISE
    assert _slow(flatten(cube, 1e9, np.array([0]), 1)) < 0.5 * NOISE


def test_a_flat_field_stays_as_it_is() -> None:
    """Where there is nothing to see nothing is taken off."""
    cube = wandering(2, vignetting=0.0, blurring=0.0)
    assert flatten(cube, 1e9, np.array([0]), 1).bent is None


def _slow(cube: Cube) -> float:
    """Give the scatter of the target's means over nine frames."""
    mag, error = magnitudes(cube, 1)
    ensemble = solve_ensemble(mag[:, 1:], error[:, 1:] ** 2)
    means = (mag[:, 0] - ensemble.offsets).reshape(10, 9).mean(axis=1)
    return float(np.std(means))
