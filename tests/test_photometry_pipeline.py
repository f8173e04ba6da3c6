"""A whole frame: what measuring it promises."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from photometry_scenes import as_frame, field, frame_of, how
from scipy.spatial import cKDTree

from conftest import NIGHTS
from pipnick_watch.camera import Camera
from pipnick_watch.columns import CATALOGUE, NIGHT_LOG, names
from pipnick_watch.frame import Frame, read_frame
from pipnick_watch.photometry import Measurement, measure
from pipnick_watch.photometry.flags import Flag
from pipnick_watch.settings import Settings
from pipnick_watch.simulate import FieldSettings, Optics, simulate_field

FIGURES = names(NIGHT_LOG)[names(NIGHT_LOG).index("n_sources") : names(NIGHT_LOG).index("airmass")]


def matched(measured: Measurement, truth) -> tuple[np.ndarray, np.ndarray]:
    """Pair true stars with sources: rows of both."""
    tree = cKDTree(np.column_stack([measured.catalogue["x_fit"], measured.catalogue["y_fit"]]))
    apart, row = tree.query(np.column_stack([truth["x"], truth["y"]]))
    near = apart < 1.5
    return np.flatnonzero(near), row[near]


def real_frame(name: str, tmp_path: Path) -> Frame:
    """Read one of the real frames."""
    import gzip

    found = sorted(NIGHTS.rglob(f"{name}*")) if NIGHTS.exists() else []
    if not found:
        pytest.skip("the real frames are not beside the checkout (../shared/nights)")
    raw = found[0].read_bytes()
    path = tmp_path / f"{name}.fits"
    path.write_bytes(gzip.decompress(raw) if found[0].suffix == ".gz" else raw)
    return read_frame(path, path.name, Settings())


@pytest.mark.parametrize("fittype", ["circ", "ellip"])
def test_a_simulated_field(fittype: str) -> None:
    """Bright stars are found once, with fluxes right to the errors, and every column is there."""
    simulated = field(seed=11, n_cosmics=10)
    measured = measure(as_frame(simulated), how(fittype=fittype, group=True))
    catalogue = measured.catalogue
    assert catalogue.colnames == names(CATALOGUE)
    assert set(measured.figures) == set(FIGURES)
    assert abs(measured.figures["fwhm"] / simulated.fwhm - 1.0) < 0.03
    truth = simulated.truth
    inside = (truth["x"] > 12) & (truth["x"] < 308) & (truth["y"] > 12) & (truth["y"] < 308)
    bright = truth[inside & (truth["peak"] > 15 * truth["noise"]) & (truth["brighter"] > 1.0)]
    stars, rows = matched(measured, bright)
    assert len(stars) >= 0.95 * len(bright)
    isolated = np.asarray(bright["isolated"])[stars]
    true = simulated.flux_within(measured.figures["ref_radius"])
    true = true[np.flatnonzero(np.isin(truth["star"], bright["star"]))][stars]
    ratio = np.asarray(catalogue["flux_psf"])[rows] / true
    assert abs(np.median(ratio[isolated]) - 1.0) < 0.01
    assert (catalogue["flux_psf"] > 0).all()
    assert np.isfinite(catalogue["flux_err"]).all()
    assert list(catalogue["group_id"]) == sorted(catalogue["group_id"])
    assert len(measured.consolidated) == len(set(catalogue["group_id"]))


def test_the_same_frame_gives_the_same_bytes() -> None:
    """Measuring twice gives identical tables."""
    frame = as_frame(field(seed=4, n_cosmics=5))
    one, two = measure(frame, how()), measure(frame, how())
    for name in names(CATALOGUE):
        a, b = np.asarray(one.catalogue[name]), np.asarray(two.catalogue[name])
        assert a.tobytes() == b.tobytes(), name
    assert one.figures == two.figures


@pytest.mark.parametrize(
    "data",
    [
        np.full((60, 70), 100.0),
        np.zeros((1, 50)),
        np.random.default_rng(1).normal(300.0, 20.0, (200, 200)),
        np.full((64, 64), 2e5),
        np.random.default_rng(2).normal(0.0, 1e-3, (64, 64)),
    ],
    ids=["constant", "one row", "noise", "saturated", "tiny numbers"],
)
def test_a_frame_without_a_source_is_empty(data: np.ndarray) -> None:
    """No source gives an empty catalogue with all columns, and no warning."""
    measured = measure(frame_of(data), how())
    assert len(measured.catalogue) == 0
    assert measured.consolidated is None
    assert measured.catalogue.colnames == names(CATALOGUE)
    assert measured.figures["n_sources"] == 0


def test_the_only_source_turns_out_to_be_none() -> None:
    """When what was found is given up again and nothing is left, the catalogue is empty."""
    settings = FieldSettings(
        optics=Optics(fwhm=2.4, shape=(33, 64)), n_stars=1, faintest=20.0, brightest=30000.0,
        n_cosmics=7, uncert="true",
    )  # fmt: skip
    frame = as_frame(simulate_field(settings, 752279))
    assert len(measure(frame, how(mode="new", fittype="ellip")).catalogue) == 0


def test_everything_masked() -> None:
    """A frame that is masked all over is empty."""
    measured = measure(frame_of(np.ones((80, 80)), np.ones((80, 80), dtype=bool)), how())
    assert len(measured.catalogue) == 0


def test_one_star_alone() -> None:
    """A single star is measured, and its rows say that the flux scale is the model's own."""
    simulated = field(seed=2, n_stars=0, n_pairs=0)
    y, x = np.mgrid[:320, :320]
    light = 60000.0 * np.exp(-((x - 150.3) ** 2 + (y - 140.7) ** 2) / (2 * 2.0**2)) / 25.0
    measured = measure(frame_of(simulated.data + light), how())
    assert len(measured.catalogue) == 1
    assert measured.catalogue["flags"][0] & Flag.NO_APCOR
    assert abs(measured.catalogue["x_fit"][0] - 150.3) < 0.05
    assert measured.warnings


def test_undersampled_stars_of_another_camera() -> None:
    """Stars of 1.5 pixels are found, flagged, and their light is right."""
    simulated = field(seed=8, fwhm=1.5, faintest=25.0)
    camera = dataclasses.replace(Camera(), name="Other", site=None, bad_columns=(), plate_scale=1.5)
    frame = dataclasses.replace(as_frame(simulated), camera=camera)
    measured = measure(frame, how())
    assert (np.asarray(measured.catalogue["flags"]) & Flag.UNDERSAMPLED).all()
    assert abs(measured.figures["fwhm"] / simulated.fwhm - 1.0) < 0.05
    stars, rows = matched(measured, simulated.truth)
    true = simulated.flux_within(measured.figures["ref_radius"])[stars]
    isolated = np.asarray(simulated.truth["isolated"])[stars]
    ratio = np.asarray(measured.catalogue["flux_psf"])[rows] / true
    assert abs(np.median(ratio[isolated]) - 1.0) < 0.02


def test_mode_new_holds_the_first_sources() -> None:
    """With mode='new' the sources found first are not moved by those found later."""
    frame = as_frame(field(seed=9, n_pairs=8, n_stars=15))
    measured = measure(frame, how(mode="new"))
    assert (np.asarray(measured.catalogue["iter_detected"]) >= 1).all()
    assert (measured.catalogue["flux_psf"] > 0).all()


def test_swapping_uncert_changes_little() -> None:
    """Upstream's UNCERT, a true one and none give the same fluxes to 0.3 %, errors to 15 %."""
    simulated = field(seed=6)
    frame = as_frame(simulated)
    true = np.sqrt(np.maximum(simulated.expected, 0) + 10.7**2)
    check_swap(frame, true)


def test_swapping_uncert_on_a_real_frame(tmp_path: Path) -> None:
    """The same on a real frame, whose own UNCERT is a tenth of the noise."""
    frame = real_frame("d1047", tmp_path)
    true = np.sqrt(np.maximum(frame.data, 0.0) + frame.camera.read_noise**2)
    check_swap(frame, true)


def check_swap(frame: Frame, true: np.ndarray) -> None:
    """Measure a frame with three kinds of UNCERT, and compare."""
    tables = {}
    for kind, uncert in (("true", true), ("upstream", np.full_like(true, 3.0)), ("none", None)):
        measured = measure(dataclasses.replace(frame, uncert=uncert), how())
        assert measured.figures["noise"] == ("uncert" if kind == "true" else "model")
        tables[kind] = measured.catalogue
    ids = [tuple(np.round(table["x_fit"])) for table in tables.values()]
    assert ids[0] == ids[1] == ids[2]
    for kind in ("upstream", "none"):
        flux = np.asarray(tables[kind]["flux_psf"]) / np.asarray(tables["true"]["flux_psf"])
        error = np.asarray(tables[kind]["flux_err"]) / np.asarray(tables["true"]["flux_err"])
        assert abs(np.median(flux) - 1.0) < 0.003
        assert np.abs(error - 1.0).max() < 0.15


@pytest.mark.parametrize("name", ["d1047", "d1048", "d1074"])
def test_real_frames_have_no_nonsense(name: str, tmp_path: Path) -> None:
    """No two sources within half a FWHM, no negative flux, no nan error; no listed cosmic ray."""
    measured = measure(real_frame(name, tmp_path), how())
    catalogue = measured.catalogue
    places = np.column_stack([catalogue["x_fit"], catalogue["y_fit"]])
    assert cKDTree(places).query(places, k=2)[0][:, 1].min() > 0.5 * measured.figures["fwhm"]
    assert (catalogue["flux_psf"] > 0).all()
    for column in ("flux_err", "x_err", "y_err", "flux_aper_err"):
        assert np.isfinite(catalogue[column]).all()
    if name == "d1047":
        for x, y in ((72, 996), (937, 472)):
            assert np.hypot(catalogue["x_fit"] - x, catalogue["y_fit"] - y).min() > 10


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cosmic_rays_without_stars_are_no_stars(seed: int) -> None:
    """Under clouds, where cosmic rays are all that a frame shows, nothing is found."""
    rng = np.random.default_rng(seed)
    data = rng.normal(300.0, 20.0, (400, 400))
    for _ in range(60):
        x, y = rng.integers(20, 380, 2)
        angle, along = rng.uniform(0.0, np.pi), np.arange(rng.integers(1, 8))
        track = (y + along * np.sin(angle)).astype(int), (x + along * np.cos(angle)).astype(int)
        data[track] += 10.0 ** rng.uniform(2.5, 4.3) * rng.uniform(0.4, 1.0, len(along))
    measured = measure(frame_of(data), how())
    assert len(measured.catalogue) == 0
    assert measured.figures["n_psf"] == 0


def test_a_round_halo_is_no_ring_of_stars() -> None:
    """Bright stars with a halo that no Moffat has are one source each; a companion stays another.

    A fifth of the light is in a Gaussian two and a half times as wide as the core's.
    """
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:400, :400].astype(float)
    places = [(80.2, 90.4), (300.7, 80.1), (90.5, 310.3), (310.1, 300.8), (200.3, 190.6)]
    light = np.zeros(x.shape)
    stars = [(px, py, 1.5e6) for px, py in places] + [(300.7 + 12.0, 80.1, 3e4)]
    for px, py, flux in stars:
        square = (x - px) ** 2 + (y - py) ** 2
        for share, sigma in ((0.8, 2.1), (0.2, 5.3)):
            light += flux * share * np.exp(-0.5 * square / sigma**2) / (2 * np.pi * sigma**2)
    measured = measure(frame_of(rng.poisson(light + 300.0) + rng.normal(0.0, 10.7, x.shape)), how())
    assert len(measured.catalogue) == len(stars)


def test_what_is_broader_than_the_psf_is_flagged_and_no_star_is() -> None:
    """Small galaxies, round and elongated, and pairs too close to part are EXTENDED."""
    rng = np.random.default_rng(11)
    y, x = np.mgrid[:400, :400]
    data = rng.normal(300.0, 20.0, x.shape)
    stars, broad = [], []

    def add(at: tuple[float, float], flux: float, fwhm: float, stretch: float = 1.0) -> None:
        alpha = fwhm / 2 / np.sqrt(2**0.4 - 1)
        squared = ((x - at[0]) / stretch) ** 2 + (y - at[1]) ** 2
        light = (1 + squared / alpha**2) ** -2.5
        data[:] += rng.poisson(flux * light / light.sum())

    for k, at in enumerate((30.0 + 57 * i, 30.0 + 57 * j) for j in range(7) for i in range(7)):
        if k % 8 == 3:
            broad.append(at)
            kind = k // 8 % 3
            if kind == 0:
                add(at, 60000.0, 7.5)
            elif kind == 1:
                add(at, 60000.0, 5.5, stretch=1.35)
            else:
                add((at[0] - 1.3, at[1] - 1.3), 40000.0, 5.5)
                add((at[0] + 1.3, at[1] + 1.3), 40000.0, 5.5)
        else:
            stars.append(at)
            add(at, float(rng.uniform(2e4, 3e5)), 5.5)
    table = measure(frame_of(data), how()).catalogue
    place = np.column_stack([table["x_fit"], table["y_fit"]])
    extended = (np.asarray(table["flags"]) & int(Flag.EXTENDED)) > 0
    assert len(broad) == 6
    for at in stars:
        assert not extended[np.hypot(*(place - at).T).argmin()]
    for at in broad:
        near = np.hypot(*(place - at).T) < 6.0
        assert near.sum() == 1
        assert extended[near].all()


def test_the_stars_of_a_cluster_are_not_taken_for_galaxies(tmp_path: Path) -> None:
    """In NGC 4147 faint stars broaden the others; few of its sources are EXTENDED for that."""
    flags = np.asarray(measure(real_frame("d1048_red", tmp_path), Settings()).catalogue["flags"])
    assert ((flags & int(Flag.EXTENDED)) > 0).mean() < 0.2
