"""How large is the error of a point, honestly."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipnick_watch.camera import Camera

__all__ = ["ErrorModel", "calibrate_errors", "scintillation"]

FloatArray = npt.NDArray[np.float64]

SCALES = np.linspace(0.8, 2.0, 25)
FLOORS = np.concatenate([[0.0], np.geomspace(3e-4, 0.1, 60)])
LEAST_STARS = 6
MAGNITUDE = 2.5 / np.log(10.0)
SCALE_HEIGHT = 8000.0  # metres
YOUNG = 1.56  # median of the sites that Osborn et al. compare
SEA_LEVEL = 0.0


@dataclass(frozen=True, kw_only=True)
class ErrorModel:
    """What the formal errors are multiplied by, and what is added in quadrature (mag)."""

    scale: float
    floor: float

    def variance(self, formal: FloatArray) -> FloatArray:
        """Turn formal variances into honest ones, mag²."""
        return self.scale**2 * formal + self.floor**2


def scintillation(camera: Camera, exptime: FloatArray, airmass: FloatArray) -> FloatArray:
    """Estimate the scintillation of a star, mag.

    Young's formula (1967, AJ 72, 747) with the factor of Osborn et al. (2015, MNRAS 452, 1707,
    eq. 7). An unknown airmass is taken as 1.2, an unknown exposure gives 0.

    Parameters
    ----------
    camera : Camera
        Its telescope's diameter and site.
    exptime, airmass : ndarray
        Seconds, and 1 at the zenith.
    """
    height = camera.site.height if camera.site is not None else SEA_LEVEL
    x = np.where(np.isfinite(airmass) & (airmass >= 1), airmass, 1.2)
    t = np.where(exptime > 0, exptime, np.inf)
    variance = (
        1e-5 * YOUNG**2 * camera.aperture_m ** (-4 / 3) / t * x**3
        * np.exp(-2 * height / SCALE_HEIGHT)
    )  # fmt: skip
    return np.asarray(MAGNITUDE * np.sqrt(variance))


def calibrate_errors(formal: FloatArray, scatter: FloatArray) -> ErrorModel:
    """Find scale and floor that make the errors of most stars equal to their scatter.

    Parameters
    ----------
    formal, scatter : ndarray, shape (n_stars,)
        Formal error and observed scatter of stars that most of are constant, mag.
    """
    known = (formal > 0) & (scatter > 0) & np.isfinite(formal + scatter)
    formal, scatter = formal[known], scatter[known]
    if len(formal) == 0:
        return ErrorModel(scale=1.0, floor=0.0)
    scales = SCALES if len(formal) >= LEAST_STARS else np.ones(1)
    model = scales[:, None, None] ** 2 * formal**2 + FLOORS[None, :, None] ** 2
    np.log(model, out=model)
    model *= -0.5
    model += np.log(scatter)
    misfit = np.abs(model, out=model).sum(axis=2)
    # where the stars cannot tell, the formal errors stand
    misfit += 0.05 * np.abs(np.log(scales))[:, None] * len(formal) ** 0.5
    i, j = np.unravel_index(int(np.argmin(misfit)), misfit.shape)
    return ErrorModel(scale=float(scales[i]), floor=float(FLOORS[j]))
