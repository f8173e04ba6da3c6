"""Light curves of nights through real pixels: simulated frames, measured by the command."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pixel_nights import PixelNight, Score, nickel_night, score, telephoto_night

from conftest import command
from pipnick_watch.lightcurves import CurveFlag


def measured(night: PixelNight, timeout: float) -> tuple[Score, pd.DataFrame, pd.DataFrame]:
    ran = command("pipnick-watch", night.maindir, "--once", "--no-plots", timeout=timeout)
    assert ran.returncode == 0, ran.stderr
    return score(night)


@pytest.fixture(scope="module")
def small(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[PixelNight, Score, pd.DataFrame, pd.DataFrame]:
    """Make a small night with a flip, and a cloud that the target is lost in."""
    maindir = tmp_path_factory.mktemp("pixels")
    night = nickel_night(maindir, 3, n_frames=16, shape=(360, 360), n_stars=45, cloud=5.0)
    return night, *measured(night, 100.0)


def test_a_small_night(small: tuple[PixelNight, Score, pd.DataFrame, pd.DataFrame]) -> None:
    """Stars keep their identity through drift, dither, flip and cloud, and clouds are flagged."""
    _, found, _, _ = small
    assert found.identity >= 0.99
    assert (found.unclouded, found.overclouded) == (0, 0)
    assert found.depth == pytest.approx(found.depth_true, abs=0.004)


def test_a_cloud_does_not_delete_the_target(
    small: tuple[PixelNight, Score, pd.DataFrame, pd.DataFrame],
) -> None:
    """Where the target is too faint to be detected it is measured all the same, with its error."""
    night, _, curve, frames = small
    target = curve[(curve["flags"] & int(CurveFlag.TARGET)) != 0].reset_index(drop=True)
    matched = frames[frames.matched == 1]
    assert list(target.frame) == list(matched.frame)
    forced = (target["flags"] & int(CurveFlag.FORCED)) != 0
    rows = pd.read_csv(night.maindir / "photometric/unconsolidated/SIM.csv")
    for one in target[forced].itertuples():
        near = rows[rows.frame == one.frame]
        assert not (np.hypot(near.x_fit - one.x, near.y_fit - one.y) < 2.0).any()
    assert forced.any()
    light = night.light[[list(night.truths).index(name) for name in target.frame], 0]
    left = target.mag_diff - light
    left -= left[~forced].median()
    assert (np.abs(left) < 4 * target.mag_diff_err)[forced].all()
    assert (target.mag_diff_err[forced] > target.mag_diff_err[~forced].max()).all()


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_night_of_the_nickel(tmp_path: Path, seed: int) -> None:
    """Drift, dither, flip, cloud, bad focus: transit, errors, variables and clouds come out."""
    found, _, _ = measured(nickel_night(tmp_path, seed), 600.0)
    assert found.identity >= 0.99
    assert found.depth == pytest.approx(found.depth_true, abs=0.002)
    assert 0.75 < found.pull < 1.25
    assert found.missed_variables == 0
    assert found.flagged_constants <= 0.01 * found.n_constant
    assert (found.unmatched, found.unclouded, found.overclouded) == (0, 0, 0)


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("seed", "vignetting"), [(11, 0.25), (12, 0.5)])
def test_a_night_of_a_small_camera(tmp_path: Path, seed: int, vignetting: float) -> None:
    """Undersampled stars that wander 270 pixels over a detector without a flat show the transit."""
    found, _, _ = measured(telephoto_night(tmp_path, seed, vignetting=vignetting), 1200.0)
    assert found.identity >= 0.99
    # the grain of the detector leaves an error of a millimagnitude, and not much more
    assert found.depth_err < 0.0013
    assert found.depth == pytest.approx(found.depth_true, abs=3 * found.depth_err)
    assert 0.75 < found.pull < 1.25
    assert found.missed_variables == 0
    assert found.flagged_constants <= 0.01 * found.n_constant
    assert (found.unmatched, found.overclouded) == (0, 0)
