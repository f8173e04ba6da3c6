"""The simultaneous fit against photutils."""

import numpy as np
from photometry_scenes import as_frame, field, how

from pipnick_watch.photometry import measure
from pipnick_watch.photometry.flags import Flag


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
