"""Where the centre of a lopsided star is said to be."""

from dataclasses import replace

import numpy as np
import pytest

from pipnick_watch.photometry.centre import moffat_centres
from pipnick_watch.photometry.psf import fallback_psf


def test_a_plain_moffat_stays_where_it_is() -> None:
    """Without a correction the places are not touched."""
    psf = fallback_psf(6.0, (500, 500))
    x = np.array([100.0, 400.0])
    assert moffat_centres(psf, x, x) == (x, x)


@pytest.mark.parametrize("fwhm", [1.8, 4.0, 9.0])
def test_the_centre_is_a_moffats(fwhm: float) -> None:
    """Photutils' Moffat, fitted to the lopsided PSF, finds the place that is given."""
    from astropy.modeling.fitting import TRFLSQFitter
    from photutils.psf import MoffatPSF

    plain = fallback_psf(fwhm, (101, 101))
    correction = np.zeros_like(plain.correction)
    correction[[2, 3, 5]] = 1.2, -0.6, 0.9  # odd terms: a blob on one side
    psf = replace(plain, correction=correction)
    half = round(1.1 * fwhm)
    yy, xx = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
    image = psf.evaluate(xx.reshape(1, -1), yy.reshape(1, -1), *psf.centre).reshape(xx.shape)
    model = MoffatPSF(flux=1.0, alpha=psf.alpha, beta=psf.beta)
    for name in ("alpha", "beta"):
        model.fixed[name] = False
    fitted = TRFLSQFitter()(model, xx, yy, image)
    x, y = moffat_centres(psf, np.array([50.0]), np.array([50.0]))
    assert np.hypot(fitted.x_0.value, fitted.y_0.value) > 0.03 * fwhm
    assert x[0] - 50 == pytest.approx(fitted.x_0.value, abs=0.005 * fwhm)
    assert y[0] - 50 == pytest.approx(fitted.y_0.value, abs=0.005 * fwhm)
