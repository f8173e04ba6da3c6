"""Galaxies are one row, and stars stay stars."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from photometry_scenes import as_frame, field, how
from photutils.aperture import CircularAperture
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from pipnick_watch.photometry.flags import Flag
from pipnick_watch.photometry.measurement import Measurement
from pipnick_watch.photometry.pipeline import measure
from pipnick_watch.simulate import FieldSettings, Optics, SimulatedFrame, simulate_field

FWHM = 5.0
CENTRE = (170.0, 150.0)
EXTENDED = int(Flag.EXTENDED)


def galaxy(size: float, axis: float, bright: float, index: float = 1.0) -> np.ndarray:
    """Draw a Sérsic profile as it is seen through the atmosphere, electrons per pixel."""
    y, x = np.mgrid[:320, :320]
    away = np.hypot(x - CENTRE[0], (y - CENTRE[1]) / axis)
    light = bright * np.exp(-((away / size) ** (1.0 / index)))
    return np.asarray(gaussian_filter(light, FWHM / 2.3548))


def with_light(clean: SimulatedFrame, light: np.ndarray) -> SimulatedFrame:
    """Add light and its photons' noise to a frame."""
    noisy = np.random.default_rng(7).poisson(light)
    return dataclasses.replace(clean, data=clean.data + noisy)


def near_centre(measured: Measurement, within: float) -> np.ndarray:
    """List the rows near the galaxy's centre."""
    table = measured.catalogue
    return np.flatnonzero(np.hypot(table["x_fit"] - CENTRE[0], table["y_fit"] - CENTRE[1]) < within)


@pytest.mark.parametrize(
    ("size", "axis", "bright"), [(8.0, 0.9, 4000.0), (15.0, 0.6, 3000.0), (14.0, 0.35, 8000.0)]
)
def test_a_galaxy_is_one_row(size: float, axis: float, bright: float) -> None:
    """A galaxy is not taken apart into stars: one EXTENDED row at its centre has its light."""
    light = galaxy(size, axis, bright)
    measured = measure(as_frame(with_light(field(seed=4, fwhm=FWHM, n_stars=20), light)), how())
    rows = near_centre(measured, 2.0 * size)
    assert len(rows) == 1
    row = measured.catalogue[rows[0]]
    assert row["flags"] & EXTENDED
    assert np.hypot(row["x_fit"] - CENTRE[0], row["y_fit"] - CENTRE[1]) < FWHM
    y, x = np.mgrid[:320, :320]
    inside = np.hypot(x - row["x_fit"], y - row["y_fit"]) < 8.0
    # its faint outskirts are sky
    assert row["flux_aper"] == pytest.approx(light[inside].sum(), rel=0.15)
    assert row["flux_psf"] > 0.9 * row["flux_aper"]
    table = measured.catalogue
    assert sorted(table["id"]) == list(range(1, len(table) + 1))
    assert measured.figures["n_sources"] == len(table)


def test_the_cusp_of_an_elliptical_galaxy_is_no_star() -> None:
    """A galaxy that rises to a point (Sérsic index 4) is one row as well, flagged EXTENDED."""
    light = galaxy(0.01, 0.8, 400000.0, index=4.0)
    measured = measure(as_frame(with_light(field(seed=4, fwhm=FWHM, n_stars=20), light)), how())
    rows = near_centre(measured, 12.0)
    assert len(rows) == 1
    assert measured.catalogue["flags"][rows[0]] & EXTENDED


@pytest.mark.parametrize(("flux", "offset"), [(300000.0, (11.0, 6.0)), (100000.0, (-14.0, 9.0))])
def test_a_star_in_front_of_a_galaxy_keeps_its_row(
    flux: float, offset: tuple[float, float]
) -> None:
    """A supernova beside a galaxy's core is a row of its own, and no part of the galaxy."""
    clean = field(seed=4, fwhm=FWHM, n_stars=20)
    y, x = np.mgrid[:320, :320]
    at = CENTRE[0] + offset[0], CENTRE[1] + offset[1]
    alpha = FWHM / 2 / np.sqrt(2 ** (1 / 3) - 1)
    star = (1 + ((x - at[0]) ** 2 + (y - at[1]) ** 2) / alpha**2) ** -3.0
    star *= flux / star.sum()
    measured = measure(as_frame(with_light(clean, galaxy(10.0, 0.8, 4000.0) + star)), how())
    table = measured.catalogue
    row = table[np.hypot(table["x_fit"] - at[0], table["y_fit"] - at[1]).argmin()]
    assert np.hypot(row["x_fit"] - at[0], row["y_fit"] - at[1]) < 1.0
    assert not row["flags"] & EXTENDED
    assert len(near_centre(measured, 25.0)) == 2


@pytest.mark.parametrize("more", [{"n_pairs": 12}, {"n_cluster": 150, "core_radius": 40.0}])
def test_stars_close_together_are_no_galaxy(more: dict[str, Any]) -> None:
    """Pairs that can be told apart, and the stars of a cluster's core, stay as many rows."""
    truth = field(seed=10, fwhm=4.0, n_stars=20, faintest=20.0, **more)
    table = measure(as_frame(truth), how()).catalogue
    stars = truth.truth[truth.truth["peak"] > 12.0 * truth.truth["noise"]]
    stars = stars[(stars["brighter"] > 1.0) & (stars["masked"] < 0.1)]
    places = cKDTree(np.column_stack([table["x_fit"], table["y_fit"]]))
    apart, _ = places.query(np.column_stack([stars["x"], stars["y"]]))
    assert len(stars) > 25
    assert (apart < 2.0).mean() > 0.95
    assert ((table["flags"] & EXTENDED) > 0).mean() < 0.12


def test_a_galaxy_is_one_row_of_its_group() -> None:
    """The consolidated catalogue has the galaxy's light once, as the other has."""
    light = galaxy(8.0, 0.9, 4000.0)
    frame = as_frame(with_light(field(seed=4, fwhm=FWHM, n_stars=20), light))
    measured = measure(frame, how(group=True))
    one = measured.catalogue[near_centre(measured, 16.0)[0]]
    assert measured.consolidated is not None
    merged = measured.consolidated
    same = merged[merged["group_id"] == one["group_id"]]
    assert len(same) == 1
    if one["group_size"] == 1:
        for name in ("flux_psf", "flux_aper", "flux_r10", "x_fit"):
            assert same[name][0] == pytest.approx(one[name], rel=1e-6)


def test_a_galaxy_under_masked_pixels_is_no_trouble() -> None:
    """Stripes of a galaxy may be masked, up to its centre; who has lost an aperture says so."""
    frame = as_frame(with_light(field(seed=4, fwhm=FWHM, n_stars=20), galaxy(12.0, 0.7, 4000.0)))
    for columns in (slice(150, 172), slice(160, 180), slice(169, 320)):
        mask = frame.mask.copy()
        mask[:, columns] = True
        measured = measure(dataclasses.replace(frame, mask=mask), how(group=True))
        for table in (measured.catalogue, measured.consolidated):
            assert table is not None
            assert np.isfinite(table["flux_err"]).all()
            assert (table["flux_psf"] > 0).all()
            sums = [table[name] for name in table.colnames if name.startswith("flux_r")]
            lost = np.isnan([*sums, table["flux_aper"]]).any(axis=0)
            flagged = (table["flags"] & int(Flag.APERTURE_MASKED)) > 0
            assert list(lost) == list(flagged)


def test_a_bright_galaxy_does_not_take_the_psf_away() -> None:
    """Where a galaxy is brighter than all stars the FWHM stays that of the stars."""
    for seed in (1000, 1003):
        settings = FieldSettings(
            optics=Optics(fwhm=4.0, shape=(320, 320)), n_stars=25, faintest=8.0, galaxy=8000.0
        )
        truth = simulate_field(settings, seed)
        measured = measure(as_frame(truth), how())
        assert measured.figures["n_psf"] > 0
        assert measured.figures["fwhm"] == pytest.approx(truth.fwhm, rel=0.1)


@pytest.mark.parametrize("more", [{"n_pairs": 12}, {"n_cluster": 500, "core_radius": 60.0}])
def test_the_aperture_of_merged_rows_holds_all_light_in_it(more: dict[str, Any]) -> None:
    """``flux_aper`` of a consolidated row is the plain sum less the sky, neighbours included."""
    truth = field(seed=10, fwhm=4.0, n_stars=20, faintest=20.0, **more)
    frame = as_frame(truth)
    measured = measure(frame, how(group=True))
    assert measured.consolidated is not None
    merged = measured.consolidated[measured.consolidated["group_size"] > 1]
    assert len(merged) > 3
    for row in merged[(merged["flags"] & int(Flag.MASKED)) == 0]:
        circle = CircularAperture((row["x_fit"], row["y_fit"]), 8.0)
        light = circle.do_photometry(frame.data - measured.background)[0][0]
        assert row["flux_aper"] == pytest.approx(light, abs=0.3 * row["flux_aper_err"])
