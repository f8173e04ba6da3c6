"""What a source picture is prepared from."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from picture_cases import make_case, with_flags

from pipnick_watch.photometry.flags import Flag
from pipnick_watch.pictures.picture import (
    FLAGGED,
    GROUPED,
    LARGEST,
    SATURATED_STAR,
    SINGLE,
    prepare_picture,
    source_kinds,
    zscale_limits,
)
from pipnick_watch.settings import Settings


def test_a_picture_of_a_nickel_frame_is_small_enough_to_send():
    """A 1024 × 1024 frame with a thousand sources makes less than 1.35 MB."""
    frame, measurement = make_case((1024, 1024), n_sources=1000)
    picture = prepare_picture(frame, measurement, Settings())
    assert len(pickle.dumps(picture)) < 1.35e6
    assert picture.image.shape == (1024, 1024)


def test_what_arrives_is_what_was_sent():
    """A picture survives the way to another process."""
    frame, measurement = make_case(warnings=("one thing",))
    sent = prepare_picture(frame, measurement, Settings())
    arrived = pickle.loads(pickle.dumps(sent))  # noqa: S301
    assert np.array_equal(arrived.image, sent.image)
    assert np.array_equal(arrived.mask, frame.mask)
    assert arrived.facts == sent.facts
    assert arrived.facts.warnings == ("one thing",)


@pytest.mark.parametrize("shape", [(2500, 1200), (3, 5000), (1, 1101), (1100, 1100)])
def test_a_large_frame_is_averaged_in_blocks(shape):
    """No side is longer than LARGEST, and the mean level stays."""
    frame, measurement = make_case((4, 4), n_sources=0, with_psf=False)
    object.__setattr__(frame, "data", np.random.default_rng(1).normal(50.0, 1.0, shape))
    object.__setattr__(frame, "mask", np.zeros(shape, bool))
    picture = prepare_picture(frame, measurement, Settings())
    assert max(picture.image.shape) <= LARGEST
    assert picture.shape == shape
    level = picture.low + picture.image.mean() / 255.0 * (picture.high - picture.low)
    assert level == pytest.approx(50.0, abs=0.5)


def test_the_brightest_source_comes_first():
    """Sources are in the order of flux, each with its own number."""
    frame, measurement = make_case()
    picture = prepare_picture(frame, measurement, Settings())
    assert (np.diff(picture.flux) <= 0).all()
    flux = dict(zip(measurement.catalogue["id"], measurement.catalogue["flux_psf"], strict=True))
    assert [flux[number] for number in picture.ids] == list(picture.flux)


def test_saturated_goes_before_flagged_before_grouped():
    """Each source has one kind; flags of the whole frame and of far wings do not count."""
    flags = np.array([0, 0, Flag.MASKED, Flag.SATURATED | Flag.MASKED, Flag.UNDERSAMPLED])
    sizes = np.array([1, 2, 2, 2, 1])
    expected = [SINGLE, GROUPED, FLAGGED, SATURATED_STAR, SINGLE]
    assert source_kinds(flags.astype(np.int64), sizes).tolist() == expected


def test_flags_reach_the_picture():
    """The kinds follow their sources into the order of flux."""
    frame, measurement = make_case()
    measurement = with_flags(measurement, {5: Flag.SATURATED})
    picture = prepare_picture(frame, measurement, Settings())
    assert picture.ids[picture.kinds == SATURATED_STAR].tolist() == [6]


@pytest.mark.parametrize("values", [[], [3.0], [3.0] * 50, [0.0, 1e9]])
def test_limits_are_always_apart(values):
    """A constant, a single and no pixel at all still give a range."""
    low, high = zscale_limits(np.array(values))
    assert low < high


def test_an_assumed_fwhm_is_not_shown_as_measured():
    """Where no star showed the PSF the FWHM is unknown, whatever figure was used."""
    frame, measurement = make_case(n_sources=0, with_psf=False)
    assert np.isnan(prepare_picture(frame, measurement, Settings()).facts.fwhm)
    frame, measurement = make_case()
    assert prepare_picture(frame, measurement, Settings()).facts.fwhm == 4.0


def test_pyplot_is_never_loaded():
    """Importing and drawing everything leaves matplotlib.pyplot alone."""
    script = (
        "import sys, pathlib, tempfile\n"
        "from picture_cases import make_case\n"
        "from pipnick_watch import pictures\n"
        "from pipnick_watch.settings import Settings\n"
        "case = (*make_case(n_pairs=2), Settings())\n"
        "figures = [pictures.draw_sources(pictures.prepare_picture(*case))]\n"
        "figures += pictures.group_sheets(*case)\n"
        "folder = pathlib.Path(tempfile.mkdtemp())\n"
        "for number, figure in enumerate(figures):\n"
        "    pictures.write_png(figure, folder / f'{number}.png')\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, check=False)
    assert done.returncode == 0
