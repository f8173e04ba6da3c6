"""Light curves of a night whose truth is known, made from catalogues as photometry leaves them."""

import dataclasses
import itertools
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from lightcurve_nights import SHAPE, Truth, night, publish

from pipnick_watch import lightcurves
from pipnick_watch.columns import CATALOGUE, names
from pipnick_watch.lightcurves import CurveFlag
from pipnick_watch.records import FrameResult, Records
from pipnick_watch.settings import Settings, Standard, Target
from pipnick_watch.simulate import move_stars


def settings_for(truth: Truth) -> Settings:
    """Name the target by a pixel of the earliest frame, as a person reads it off: not exactly."""
    first = move_stars(truth.stars, SHAPE, shift=(-30, 20))
    x, y = float(first["x"][0]), float(first["y"][0])
    return Settings(targets={"SIM": Target(x=x + 1.2, y=y - 0.8)})


def read(maindir: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = maindir / "photometric" / "lightcurves"
    return pd.read_csv(folder / "SIM_V.csv"), pd.read_csv(folder / "SIM_V_frames.csv")


def both(maindir: Path) -> tuple[bytes, bytes]:
    folder = maindir / "photometric" / "lightcurves"
    return (folder / "SIM_V.csv").read_bytes(), (folder / "SIM_V_frames.csv").read_bytes()


def identities(truth: Truth, curve: pd.DataFrame) -> pd.Series:
    """Give the true star of each point."""
    who = {}
    for result, stars in zip(truth.results, truth.sources, strict=True):
        for line, star in zip(result.catalogue.splitlines(), stars, strict=True):
            cells = line.split(",")
            who[result.frame, round(float(cells[3]), 3), round(float(cells[4]), 3)] = star
    places = zip(curve.frame, curve.x, curve.y, strict=True)
    return pd.Series([who.get(place, -9) for place in places], index=curve.index)


def depth_of(truth: Truth, frames: pd.DataFrame) -> float:
    inside = truth.light[:, 0] > 0
    weight = frames.target_mag_err**-2
    return float(
        np.average(frames.target_mag[inside], weights=weight[inside])
        - np.average(frames.target_mag[~inside], weights=weight[~inside])
    )


@pytest.fixture(scope="module", params=[1, 11])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Truth, pd.DataFrame, pd.DataFrame]:
    truth = night(seed=request.param)
    maindir = tmp_path_factory.mktemp("curves") / "night"
    publish(maindir, truth.results)
    lightcurves.update(maindir, "SIM", "V", settings_for(truth))
    return truth, *read(maindir)


def test_stars_keep_their_identity(made: tuple[Truth, pd.DataFrame, pd.DataFrame]) -> None:
    """Through drift, dither, flip, cloud and bad focus, 99 % of all points are the right star's."""
    truth, curve, frames = made
    assert frames.matched.all()
    true = identities(truth, curve)
    usual = true.groupby(curve.star).agg(lambda one: one.mode()[0])
    assert (true == curve.star.map(usual)).mean() >= 0.99
    assert usual.is_unique
    n_detected = sum(len(stars) for stars in truth.sources)
    assert len(curve) >= 0.98 * n_detected


def test_the_transit_has_its_depth(made: tuple[Truth, pd.DataFrame, pd.DataFrame]) -> None:
    """A transit of 20 mmag comes out within 2 mmag, and its edges are where they were."""
    truth, curve, frames = made
    assert depth_of(truth, frames) == pytest.approx(0.020, abs=0.002)
    target = curve[(curve["flags"] & int(CurveFlag.TARGET)) != 0]
    assert target.star.nunique() == 1
    assert (identities(truth, target) == 0).all()
    inside = truth.light[:, 0] > 0
    level = frames.target_mag[~inside].median()
    edge = int(np.flatnonzero(inside)[0])
    assert frames.target_mag[edge] - level > 0.010
    assert frames.target_mag[edge - 1] - level < 0.010


def test_errors_are_honest(made: tuple[Truth, pd.DataFrame, pd.DataFrame]) -> None:
    """The scatter of constant stars is what their errors say, within 25 %."""
    truth, curve, _ = made
    true = identities(truth, curve)
    constant = curve[~true.isin([0, 1, 2]) & np.isfinite(curve.mag_diff_err)]
    pulls = []
    for _, star in constant.groupby("star"):
        if len(star) >= 30:
            weight = star.mag_diff_err**-2
            mean = np.average(star.mag_diff, weights=weight)
            pulls.append(float(np.sqrt(np.mean(((star.mag_diff - mean) / star.mag_diff_err) ** 2))))
    assert 0.75 < np.median(pulls) < 1.25


def test_variables_are_flagged_and_constants_are_not(
    made: tuple[Truth, pd.DataFrame, pd.DataFrame],
) -> None:
    """Both variables carry VARIABLE, and at most one constant star in a hundred."""
    truth, curve, frames = made
    true = identities(truth, curve)
    usual = true.groupby(curve.star).agg(lambda one: one.mode()[0])
    flagged = curve.star[(curve["flags"] & int(CurveFlag.VARIABLE)) != 0].unique()
    found = set(usual[flagged])
    assert {1, 2} <= found
    assert len(found - {0, 1, 2}) <= max(1, 0.01 * len(usual))
    assert not curve.comparison[curve.star.isin(flagged)].any()
    assert (frames.n_variable == len(flagged)).all()


def test_clouds_and_focus_are_told_apart(made: tuple[Truth, pd.DataFrame, pd.DataFrame]) -> None:
    """Frames that lost 0.15 mag or more are flagged as clouded, clear and blurred ones are not."""
    truth, _, frames = made
    assert (frames.clouded[truth.clouds > 0.15] == 1).all()
    assert (frames.clouded[truth.clouds < 0.05] == 0).all()
    blurred = len(frames) // 5
    assert frames.seeing[blurred] == pytest.approx(9.5 * 0.37, rel=1e-3)
    assert frames.clouded[blurred] == 0
    worst = np.abs(frames.transparency - truth.clouds).max()
    assert worst < 0.05


def test_drift_and_flip_are_seen(made: tuple[Truth, pd.DataFrame, pd.DataFrame]) -> None:
    """The drift's speed and the flip's turn come out."""
    _, _, frames = made
    speed = np.hypot(1.1, 0.7) * 0.37 * 3600 / 95
    assert frames.drift_rate.dropna().median() == pytest.approx(speed, rel=0.03)
    assert np.abs(frames.turn[: len(frames) // 2]).max() < 0.05
    assert np.abs(np.abs(frames.turn[len(frames) // 2 :]) - 179.7).max() < 0.05


@pytest.mark.parametrize("n_spots", [0, 40])
def test_live_shuffled_and_once_give_the_same_bytes(tmp_path: Path, n_spots: int) -> None:
    """Whatever order the frames came in, and however often the curve was made meanwhile."""
    truth = night(18, 120, seed=5, n_spots=n_spots)
    settings = settings_for(truth)
    results = list(truth.results)
    shuffled = random.Random(3).sample(results, len(results))
    made = []
    for name, order, every in (("once", results, 99), ("live", results, 1), ("mixed", shuffled, 4)):
        maindir = tmp_path / name
        records = publish(maindir, [])
        for number, result in enumerate(order, start=1):
            records.publish(result)
            if number % every == 0:
                assert lightcurves.outdated(records, settings) == [("SIM", "V")]
                lightcurves.update(maindir, "SIM", "V", settings)
        lightcurves.update(maindir, "SIM", "V", settings)
        assert lightcurves.outdated(records, settings) == []
        made.append(both(maindir))
    assert made[0] == made[1] == made[2]


def test_what_makes_a_curve_out_of_date(tmp_path: Path) -> None:
    """Another target, a frame left out, a lost file: each is noticed; no frame, no curve."""
    truth = night(6, 80, seed=2)
    settings = settings_for(truth)
    records = publish(tmp_path, truth.results)
    assert lightcurves.outdated(records, settings) == [("SIM", "V")]
    lightcurves.update(tmp_path, "SIM", "V", settings)
    assert lightcurves.outdated(records, settings) == []
    assert lightcurves.outdated(records, Settings()) == [("SIM", "V")]
    lightcurves.curve_path(records.layout, "SIM", "V").unlink()
    assert lightcurves.outdated(records, settings) == [("SIM", "V")]
    lightcurves.update(tmp_path, "SIM", "V", settings)
    records.exclude({truth.results[2].frame: "commented out"})
    assert lightcurves.outdated(records, settings) == [("SIM", "V")]
    summary = lightcurves.update(tmp_path, "SIM", "V", settings)
    assert summary.n_frames == 5
    records.exclude({result.frame: "commented out" for result in truth.results})
    assert lightcurves.outdated(records, settings) == [("SIM", "V")]
    lightcurves.update(tmp_path, "SIM", "V", settings)
    assert lightcurves.outdated(records, settings) == []
    assert list((tmp_path / "photometric" / "lightcurves").iterdir()) == []


def test_another_field_is_not_guessed(tmp_path: Path) -> None:
    """A frame of another field, one without stars and one with two are said not to be matched."""
    truth = night(8, 150, seed=7)
    other = night(1, 150, seed=8).results[0]
    foreign = dataclasses.replace(truth.results[3], catalogue=renamed(other.catalogue, 1003))
    empty = dataclasses.replace(truth.results[5], catalogue="")
    results = [*truth.results]
    results[3], results[5] = foreign, empty
    publish(tmp_path, results)
    lightcurves.update(tmp_path, "SIM", "V", settings_for(truth))
    curve, frames = read(tmp_path)
    assert list(frames.matched) == [1, 1, 1, 0, 1, 0, 1, 1]
    assert not curve.frame.isin([foreign.frame, empty.frame]).any()
    assert np.isnan(frames.target_mag[3])


def renamed(catalogue: str, number: int) -> str:
    return catalogue.replace("SIM_V/d1000_red.fits", f"SIM_V/d{number}_red.fits")


def test_fixed_spots_of_the_detector_are_no_stars(tmp_path: Path) -> None:
    """More hot pixels than stars, and a slow drift: the stars are followed all the same."""
    truth = night(20, 45, seed=4, n_spots=60, flip=False)
    publish(tmp_path, truth.results)
    lightcurves.update(tmp_path, "SIM", "V", settings_for(truth))
    curve, frames = read(tmp_path)
    assert frames.matched.all()
    true = identities(truth, curve)
    assert (true >= 0).mean() > 0.97
    assert frames.drift_x.iloc[-1] == pytest.approx(1.1 * 19 * 0.37, abs=0.3)


def test_uneven_sensitivity_is_no_transit(tmp_path: Path) -> None:
    """A field that drifts over 15 % of vignetting shows the transit and no trend."""
    truth = night(40, 200, seed=6, vignetting=0.15, drift=5.0, flip=False)
    publish(tmp_path, truth.results)
    lightcurves.update(tmp_path, "SIM", "V", settings_for(truth))
    _, frames = read(tmp_path)
    assert depth_of(truth, frames) == pytest.approx(0.020, abs=0.003)


def test_strong_vignetting_is_no_cloud_and_makes_no_variables(tmp_path: Path) -> None:
    """A field that drifts far over an unflattened detector: few variables, the right cloud."""
    truth = night(60, 320, seed=6, vignetting=0.22, drift=6.0, flip=False, centre=(511.0, 511.0))
    publish(tmp_path, truth.results)
    lightcurves.update(tmp_path, "SIM", "V", settings_for(truth))
    curve, frames = read(tmp_path)
    flagged = curve.star[(curve["flags"] & int(CurveFlag.VARIABLE)) != 0].unique()
    assert len(flagged) <= 3 + 0.01 * curve.star.nunique()
    assert np.abs(frames.transparency - truth.clouds).max() < 0.06
    assert depth_of(truth, frames) == pytest.approx(0.020, abs=0.003)


def test_one_frame_and_few_stars_do_not_fail(tmp_path: Path) -> None:
    """One frame, frames of two stars, and frames of none have files too."""
    for name, n_frames, n_stars in (("one", 1, 100), ("few", 4, 8)):
        truth = night(n_frames, n_stars, seed=3)
        maindir = tmp_path / name
        publish(maindir, truth.results)
        lightcurves.update(maindir, "SIM", "V", settings_for(truth))
        _, frames = read(maindir)
        assert len(frames) == n_frames
    empty = [dataclasses.replace(one, catalogue="") for one in night(2, 30, seed=3).results]
    publish(tmp_path / "none", empty)
    summary = lightcurves.update(tmp_path / "none", "SIM", "V", Settings())
    assert (summary.n_frames, summary.n_stars) == (2, 0)


def test_standards_give_a_zero_point(tmp_path: Path) -> None:
    """Standard stars with positions in a frame's catalogue give its zero-point and its error."""
    truth = night(3, 100, seed=9)
    results = [with_sky(result) for result in truth.results]
    ra, dec = (names(CATALOGUE).index(name) for name in ("ra", "dec"))
    places = [line.split(",") for line in results[0].catalogue.splitlines()]
    by_flux = sorted(places, key=lambda cells: -float(cells[5]))[:5]
    standards = tuple(
        Standard(
            name=f"S{number}", ra=float(cells[ra]), dec=float(cells[dec]),
            magnitudes={"V": 24.5 - 2.5 * np.log10(float(cells[5]) / 60.0)},
        )
        for number, cells in enumerate(by_flux)
    )  # fmt: skip
    publish(tmp_path, results)
    lightcurves.update(tmp_path, "SIM", "V", Settings(standards=standards))
    _, frames = read(tmp_path)
    assert frames.zero_point[0] == pytest.approx(24.5, abs=0.01)
    assert frames.n_standards[0] == 5
    assert 0 < frames.zero_point_err[0] < 0.02


def with_sky(result: FrameResult) -> FrameResult:
    """Add positions to a catalogue, as a solution would: north up, 0.37 arcsec a pixel."""
    ra, dec = (names(CATALOGUE).index(name) for name in ("ra", "dec"))
    number = int(result.frame.removesuffix("_red.fits")[-3:])
    lines = []
    for line in result.catalogue.splitlines():
        cells = line.split(",")
        x, y = float(cells[3]), float(cells[4])
        x, y = x - 1.1 * number, y + 0.7 * number
        cells[ra] = f"{180.0 - (x - 500) * 0.37 / 3600:.7f}"
        cells[dec] = f"{(y - 500) * 0.37 / 3600:.7f}"
        lines.append(",".join(cells) + "\n")
    return dataclasses.replace(result, catalogue="".join(lines))


def test_a_target_by_position_needs_a_solution(tmp_path: Path) -> None:
    """By RA and Dec the target is found where positions exist, else the reason is said."""
    truth = night(5, 100, seed=9)
    first = move_stars(truth.stars, SHAPE, shift=(-30, 20))
    x, y = float(first["x"][0]), float(first["y"][0])
    target = Target(ra=180.0 - (x - 500) * 0.37 / 3600, dec=(y - 500) * 0.37 / 3600)
    settings = Settings(targets={"SIM": target})
    publish(tmp_path / "without", truth.results)
    summary = lightcurves.update(tmp_path / "without", "SIM", "V", settings)
    assert "solution" in summary.target
    publish(tmp_path / "with", [with_sky(result) for result in truth.results])
    summary = lightcurves.update(tmp_path / "with", "SIM", "V", settings)
    assert summary.target == "target"
    curve, _ = read(tmp_path / "with")
    mine = curve[(curve["flags"] & int(CurveFlag.TARGET)) != 0]
    assert (identities(truth, mine) == 0).all()


def test_every_flag_has_a_meaning() -> None:
    """The table of flags names each bit once."""
    assert set(lightcurves.CURVE_FLAGS) == set(CurveFlag)
    for one, other in itertools.combinations(CurveFlag, 2):
        assert one & other == 0


def test_records_are_only_read(tmp_path: Path) -> None:
    """Making a light curve changes nothing else on disk."""
    truth = night(4, 60, seed=1)
    records = publish(tmp_path, truth.results)
    before = records.layout.frames_csv.read_bytes()
    lightcurves.update(tmp_path, "SIM", "V", settings_for(truth))
    assert records.layout.frames_csv.read_bytes() == before
    assert isinstance(records, Records)


def test_a_cosmic_ray_is_no_eclipse(tmp_path: Path) -> None:
    """A point whose residual is far larger than usual is flagged, and its error takes that in."""
    truth = night(20, 120, seed=12)
    qfit, flux = (names(CATALOGUE).index(name) for name in ("qfit", "flux_psf"))
    rng = np.random.default_rng(12)
    results, hit = [], truth.results[4].frame
    for result, stars in zip(truth.results, truth.sources, strict=True):
        lines = []
        for line, star in zip(result.catalogue.splitlines(), stars, strict=True):
            cells = line.split(",")
            cells[qfit] = f"{0.02 * rng.uniform(0.8, 1.2):.5f}"
            if result.frame == hit and star == 0:
                cells[qfit] = "0.15"
                cells[flux] = str(float(cells[flux]) * 1.12)
            lines.append(",".join(cells) + "\n")
        results.append(dataclasses.replace(result, catalogue="".join(lines)))
    publish(tmp_path, results)
    lightcurves.update(tmp_path, "SIM", "V", settings_for(truth))
    curve, frames = read(tmp_path)
    spoiled = curve[(curve["flags"] & int(CurveFlag.SPOILED)) != 0]
    assert list(spoiled.frame) == [hit]
    assert (spoiled["flags"] & int(CurveFlag.TARGET)).all()
    assert spoiled.mag_diff_err.iloc[0] > 0.1
    assert depth_of(truth, frames) == pytest.approx(0.020, abs=0.004)


def solved(truth: Truth) -> list[FrameResult]:
    """Add the true positions on the sky to the catalogues, as good solutions would."""
    ra, dec = (names(CATALOGUE).index(name) for name in ("ra", "dec"))
    first = move_stars(truth.stars, SHAPE, shift=(-30, 20))
    results = []
    for result, stars in zip(truth.results, truth.sources, strict=True):
        lines = []
        for line, star in zip(result.catalogue.splitlines(), stars, strict=True):
            cells = line.split(",")
            cells[ra] = f"{180.0 - (first['x'][star] - 500) * 0.37 / 3600:.7f}"
            cells[dec] = f"{(first['y'][star] - 500) * 0.37 / 3600:.7f}"
            lines.append(",".join(cells) + "\n")
        results.append(dataclasses.replace(result, catalogue="".join(lines)))
    return results


def test_without_a_target_the_star_where_the_telescope_pointed_is_shown(tmp_path: Path) -> None:
    """No target is named: the star nearest to the header's RA and Dec is marked as candidate."""
    truth = night(6, 100, seed=9)
    first = move_stars(truth.stars, SHAPE, shift=(-30, 20))
    x, y = float(first["x"][0]), float(first["y"][0])
    header = fits.Header({"RA": 180.0 - (x + 6 - 500) * 0.37 / 3600,
                          "DEC": (y - 4 - 500) * 0.37 / 3600})  # fmt: skip
    publish(tmp_path, solved(truth))
    for result in truth.results:
        path = tmp_path / "reduced" / result.frame
        path.parent.mkdir(exist_ok=True)
        fits.PrimaryHDU(np.zeros(SHAPE, np.float32), header).writeto(path)
    summary = lightcurves.update(tmp_path, "SIM", "V", Settings())
    assert summary.target == "candidate"
    curve, frames = read(tmp_path)
    mine = curve[(curve["flags"] & int(CurveFlag.CANDIDATE)) != 0]
    assert (identities(truth, mine) == 0).all()
    assert len(mine) == 6
    assert not (curve["flags"] & int(CurveFlag.TARGET)).any()
    assert np.isfinite(frames.target_mag).all()
