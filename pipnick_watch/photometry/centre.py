"""Where is the centre of a star whose PSF is lopsided? Where a plain Moffat finds it."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.drift import drift_basis
from pipnick_watch.photometry.psf import Psf

__all__ = ["moffat_centres"]

FloatArray = npt.NDArray[np.float64]

WINDOW_FWHM = 1.1  # half the side of the square that is fitted
ROUNDS = 8
STEP = 1e-3  # of the logarithms of radius and exponent


def moffat_centres(psf: Psf, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Turn the places of the corrected PSF into those of a Moffat fitted to the same stars.

    The correction's odd terms make the PSF lopsided and leave open which of its points is the
    star's place.  A Moffat with free width and exponent, fitted to the PSF itself, settles it: its
    place is what every program that fits a plain Moffat gives.

    Parameters
    ----------
    psf : Psf
    x, y : ndarray, shape (n,)
        Places of the PSF's origin, pixels.

    Returns
    -------
    x, y : ndarray, shape (n,)
    """
    if not psf.correction.any():
        return x, y
    shift = _shift(psf)
    wider = np.exp(drift_basis(x, y, psf.shape) @ psf.log_alpha - psf.log_alpha[0])
    return x + shift[0] * wider, y + shift[1] * wider


def _shift(psf: Psf) -> FloatArray:
    """Fit a plain Moffat to the PSF at the frame's centre: its place from the origin, pixels."""
    half = max(2, round(WINDOW_FWHM * psf.moffat_fwhm))
    dy, dx = (
        side.reshape(1, -1).astype(float) for side in np.mgrid[-half : half + 1, -half : half + 1]
    )
    image = psf.evaluate(dx, dy, *psf.centre)[0]
    plain = replace(psf, correction=np.zeros_like(psf.correction))

    def moffat(p: FloatArray) -> Psf:
        log_alpha = psf.log_alpha + p[3] * (np.arange(len(psf.log_alpha)) == 0)
        return replace(plain, log_alpha=log_alpha, beta=psf.beta * float(np.exp(p[4])))

    p = np.array([0.0, 0.0, 1.0, 0.0, 0.0])
    for _ in range(ROUNDS):
        at = dx - p[0], dy - p[1]
        light, by_x, by_y = moffat(p).evaluate_with_gradient(*at, *psf.centre)[:, 0]
        wider, steeper = (
            (moffat(p + STEP * one).evaluate(*at, *psf.centre)[0] - light) / STEP
            for one in np.eye(5)[3:]
        )
        slopes = np.stack([p[2] * by_x, p[2] * by_y, light, p[2] * wider, p[2] * steeper])
        # the exponent and the width are nearly one parameter: a touch of damping holds them
        matrix = slopes @ slopes.T
        matrix[np.diag_indices(5)] *= 1.0 + 1e-4
        step = np.linalg.solve(matrix, slopes @ (image - p[2] * light))
        p = p + step.clip(-0.3, 0.3)
        if np.abs(step).max() < 1e-4:
            break
    return p[:2].clip(-0.3 * psf.moffat_fwhm, 0.3 * psf.moffat_fwhm)
