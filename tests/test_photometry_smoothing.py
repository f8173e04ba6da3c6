"""The matched filter."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from pipnick_watch.photometry.smoothing import FWHM_TO_SIGMA, smooth


@pytest.mark.parametrize("shape", [(64, 64), (101, 77), (20, 150)])
@pytest.mark.parametrize("fwhm", [3.5, 6.0, 14.0])
def test_it_is_a_gaussian(shape: tuple[int, int], fwhm: float) -> None:
    """Frames of any shape are convolved with a Gaussian; beyond the edges there is 0."""
    data = np.random.default_rng(1).normal(0.0, 10.0, shape)
    expected = gaussian_filter(data, fwhm * FWHM_TO_SIGMA, mode="constant", truncate=6.0)
    assert np.abs(smooth(data, fwhm) - expected).max() < 1e-3


@pytest.mark.parametrize("fwhm", [0.8, 1.2, 2.0])
def test_a_narrow_one_has_no_frequencies_that_pixels_cannot_show(fwhm: float) -> None:
    """A single bright pixel becomes the Gaussian without the frequencies beyond."""
    data = np.zeros((96, 96))
    data[48, 48] = 1.0
    found = np.fft.fft2(smooth(data, fwhm))
    wave = np.fft.fftfreq(96)
    squared = wave[:, None] ** 2 + wave[None, :] ** 2
    expected = np.exp(-2.0 * (np.pi * fwhm * FWHM_TO_SIGMA) ** 2 * squared)
    assert np.abs(np.abs(found) - expected).max() < 0.06
    assert np.abs(np.abs(found) - expected).mean() < 0.003


def test_light_is_kept() -> None:
    """The sum over all pixels stays."""
    data = np.zeros((200, 200))
    data[90, 110] = 1.0
    for fwhm in (1.0, 2.0, 4.0, 9.0):
        assert abs(smooth(data, fwhm).sum() - 1.0) < 2e-3
