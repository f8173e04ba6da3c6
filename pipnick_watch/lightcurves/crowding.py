"""How much of the light at a star is its neighbours'."""

import math

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

__all__ = ["neighbours_light", "psf_area"]

FloatArray = npt.NDArray[np.float64]

REACH = 4.0
"""FWHM: what is farther away is part of the sky."""

BETA = 2.5
"""Exponent of the Moffat that stands for the PSF's wings: as broad as they come."""


def psf_area(fwhm: float) -> float:
    """Give the light of a star over that in the pixel at its centre, in pixels."""
    return math.pi / (BETA - 1) * (fwhm / 2) ** 2 / (2 ** (1 / BETA) - 1)


def neighbours_light(x: FloatArray, y: FloatArray, flux: FloatArray, fwhm: float) -> FloatArray:
    """Give the light of other stars in a pixel at each star's centre, as a share of its own.

    Parameters
    ----------
    x, y, flux : ndarray, shape (n_stars,)
        All stars that are known, whether they are wanted or not.
    fwhm : float
        Pixels; where it is unknown nobody has neighbours.
    """
    share = np.zeros(len(x))
    if not (math.isfinite(fwhm) and len(x)):
        return share
    pairs = cKDTree(np.stack([x, y], axis=1)).query_pairs(REACH * fwhm, output_type="ndarray")
    one, other = pairs[:, 0], pairs[:, 1]
    scale = fwhm / 2 / math.sqrt(2 ** (1 / BETA) - 1)
    away = np.hypot(x[one] - x[other], y[one] - y[other]) / scale
    seen = (1 + away**2) ** -BETA
    np.add.at(share, one, seen * flux[other] / flux[one])
    np.add.at(share, other, seen * flux[one] / flux[other])
    return share / psf_area(fwhm)
