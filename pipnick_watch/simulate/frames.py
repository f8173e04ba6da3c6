"""What the detector makes of a simulated field, and what is true of each star in it."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from scipy.spatial import cKDTree

from pipnick_watch.simulate.defects import add_cosmics, bleed_and_clip, garble_columns, mask_wrongly
from pipnick_watch.simulate.detector import response, stuck_charge
from pipnick_watch.simulate.field import FieldSettings, place_stars
from pipnick_watch.simulate.headers import Pointing
from pipnick_watch.simulate.psf import seen_fwhm, share_within, star_image

__all__ = ["SimulatedFrame", "expose", "simulate_field"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

ISOLATION = 3.0
"""FWHM within which an isolated star has no neighbour that matters."""

HARMLESS = 0.005
"""Share of a star's light that all its neighbours together may have and still not matter."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedFrame:
    """A reduced frame, and the truth about it.

    Attributes
    ----------
    data : ndarray of float64, shape (ny, nx)
        Electrons.
    mask : ndarray of bool, shape (ny, nx)
    uncert : ndarray of float64, shape (ny, nx), or None
    expected : ndarray, shape (ny, nx)
        Sky and stars without noise, defects or clipping.
    sky : ndarray, shape (ny, nx)
        Sky and galaxy alone.
    truth : Table
        A row for each star that reaches the frame; see :func:`expose`.
    fwhm : float
        Of the whole PSF at the frame's centre, pixels.
    settings : FieldSettings
    pointing : Pointing
    """

    data: FloatArray
    mask: BoolArray
    uncert: FloatArray | None
    expected: FloatArray
    sky: FloatArray
    truth: Table
    fwhm: float
    settings: FieldSettings
    pointing: Pointing

    def flux_within(self, radius: float) -> FloatArray:
        """Give each star's own light inside a circle around it, electrons, in truth's order."""
        optics = self.settings.optics
        return np.array(
            [
                flux * share_within(optics, x, y, radius)
                for x, y, flux in self.truth.iterrows("x", "y", "flux")
            ]
        )


def simulate_field(
    settings: FieldSettings, seed: int, pointing: Pointing | None = None
) -> SimulatedFrame:
    """Strew stars and take one exposure of them; the same seed gives the same frame."""
    rng = np.random.default_rng(seed)
    return expose(place_stars(settings, rng), settings, rng, pointing)


def expose(
    stars: Table,
    settings: FieldSettings,
    rng: np.random.Generator,
    pointing: Pointing | None = None,
) -> SimulatedFrame:
    """Take one exposure of given stars.

    Parameters
    ----------
    stars : Table
        ``x``, ``y``, ``flux`` and ``pair``, as :func:`place_stars` gives them.
    settings : FieldSettings
        The numbers of stars in it are not looked at.
    rng : Generator
    pointing : Pointing, optional

    Returns
    -------
    SimulatedFrame
        Its ``truth`` has the stars' columns and ``star`` (row in ``stars``), ``peak`` (highest
        pixel of the star alone, electrons), ``noise`` (of the star's central pixel without the
        star, electrons), ``others`` (light of all other stars there), ``photon_err`` (the
        smallest possible error of the flux, from the true PSF), ``masked`` (share of its light
        in pixels that are masked or outside), ``brighter`` (distance of the nearest brighter star,
        FWHM), ``neighbours`` (flux of the stars within 3 FWHM over its own), ``saturated`` and
        ``isolated``.
    """
    shape = settings.optics.shape
    sky = _sky(settings)
    hits, mask = add_cosmics(settings, rng)
    mask |= mask_wrongly(settings, rng, stars)
    mask[:, list(settings.bad_columns)] = True

    seen = response(settings)
    sky = sky * seen
    light = np.zeros(shape)
    rows = []
    for star, (x, y, flux) in enumerate(stars.iterrows("x", "y", "flux")):
        image, where = star_image(settings.optics, x, y, flux)
        if image.size == 0:
            continue
        image = image * seen[where]
        light[where] += image
        column, row = round(x), round(y)
        inside = 0 <= row < shape[0] and 0 <= column < shape[1]
        if not inside:
            continue
        own = image[row - where[0].start, column - where[1].start]
        quiet = sky[where] + settings.read_noise**2
        information = np.sum(image**2 / (quiet + image)) / flux**2
        masked = 1 - np.sum(image[~mask[where]]) / (flux * seen[row, column])
        rows.append((star, image.max(), own, 1 / math.sqrt(information), masked))

    expected = sky + light
    noisy = rng.poisson(np.maximum(expected, 0)) + rng.normal(0, settings.read_noise, shape) + hits
    noisy = noisy + stuck_charge(settings)
    data, clipped = bleed_and_clip(noisy, settings)
    garble_columns(data, settings, rng)
    mask |= clipped
    fwhm = seen_fwhm(settings.optics)
    return SimulatedFrame(
        data=data,
        mask=mask,
        uncert=_uncert(settings, data, expected),
        expected=expected,
        sky=sky,
        truth=_truth(stars, rows, sky, light, settings, fwhm),
        fwhm=fwhm,
        settings=settings,
        pointing=pointing or Pointing(),
    )


def _sky(settings: FieldSettings) -> FloatArray:
    """Make the sky: a slope, a broad bump of moonlight, a galaxy."""
    rows, columns = settings.optics.shape
    v, u = np.linspace(-1, 1, rows)[:, None], np.linspace(-1, 1, columns)
    bump = np.exp(-((u - 0.4) ** 2 + (v + 0.7) ** 2) / 0.8)
    sky = settings.sky * (1 + settings.gradient * (u + v) / 4 + settings.moonlight * bump)
    if settings.galaxy:
        (x, y), size = settings.galaxy_place, 0.04 * columns
        squared = (np.arange(columns) - x) ** 2 + ((np.arange(rows)[:, None] - y) / 0.6) ** 2
        sky = sky + settings.galaxy * np.exp(-np.sqrt(squared + settings.optics.fwhm**2) / size)
    return np.asarray(sky)


def _uncert(settings: FieldSettings, data: FloatArray, expected: FloatArray) -> FloatArray | None:
    if settings.uncert == "none":
        return None
    if settings.uncert == "true":
        return np.sqrt(np.maximum(expected, 0) + settings.read_noise**2)
    # Measured on the Nickel's reduced frames: bias and flat frames, no photons, no read noise.
    return np.hypot(2.97, 0.0016 * data)


def _truth(
    stars: Table,
    rows: list[tuple[int, float, float, float, float]],
    sky: FloatArray,
    light: FloatArray,
    settings: FieldSettings,
    fwhm: float,
) -> Table:
    """Gather what is true of each star inside the frame."""
    measured = np.array(rows, dtype=float).reshape(-1, 5)
    star = measured[:, 0].astype(np.int64)
    truth = stars[star]
    truth["star"] = star
    truth["peak"] = measured[:, 1]
    at = np.round(truth["y"]).astype(int), np.round(truth["x"]).astype(int)
    truth["others"] = np.maximum(light[at] - measured[:, 2], 0.0)
    truth["noise"] = np.sqrt(sky[at] + settings.read_noise**2 + truth["others"])
    truth["photon_err"] = measured[:, 3]
    truth["masked"] = measured[:, 4]
    brighter, neighbours = _neighbourhood(stars, star, fwhm)
    truth["brighter"] = brighter
    truth["neighbours"] = neighbours
    truth["saturated"] = truth["peak"] + truth["others"] + sky[at] >= settings.saturation
    truth["isolated"] = (
        (neighbours < HARMLESS)
        & (truth["others"] < 0.05 * truth["peak"])
        & (truth["masked"] < 0.1)
        & ~truth["saturated"]
    )
    return truth


def _neighbourhood(
    stars: Table, star: npt.NDArray[np.int64], fwhm: float
) -> tuple[FloatArray, FloatArray]:
    """Find the nearest brighter star, in FWHM, and the light of all within 3 FWHM."""
    places = np.column_stack([stars["x"], stars["y"]])
    flux = np.asarray(stars["flux"])
    brighter = np.full(len(stars), np.inf)
    neighbours = np.zeros(len(stars))
    for one, other in cKDTree(places).query_pairs(ISOLATION * fwhm):
        apart = math.dist(places[one], places[other]) / fwhm
        faint = one if flux[one] < flux[other] else other
        brighter[faint] = min(brighter[faint], apart)
        neighbours[one] += flux[other] / flux[one]
        neighbours[other] += flux[one] / flux[other]
    return brighter[star], neighbours[star]
