"""What is known of a frame at some step of its measurement."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipnick_watch.frame import Frame
from pipnick_watch.photometry.background import Sky
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.sources import Scene, Sources
from pipnick_watch.settings import Settings

__all__ = ["State"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """The measurement so far.

    Attributes
    ----------
    frame : Frame
    settings : Settings
    bad : ndarray of bool, shape (ny, nx)
        Pixels left out: masked, saturated, cosmic rays.
    sky : Sky
    noise : {"uncert", "model"}
        Where the noise of a sky pixel comes from.
    psf : Psf
    scene : Scene
    sources : Sources
    radius : float
        Of the windows that sources are fitted on, pixels.
    wings, glare, model : ndarray
        Padded and flat: light of the sources beyond their windows, light of the saturated ones,
        light of all. ``wings`` and ``model`` are changed in place.
    saturated_errors : ndarray, shape (n_saturated, 3)
        Standard errors of x, y and flux.
    grain : tuple of float
        Factors of the sky's variance: in sums over the PSF, and over the aperture.
    parent : ndarray of int, shape (n,), optional
        Which source stands for each: parts of a galaxy have one for all.
    """

    frame: Frame
    settings: Settings
    bad: npt.NDArray[np.bool_]
    sky: Sky
    noise: str
    psf: Psf
    scene: Scene
    sources: Sources
    radius: float
    wings: FloatArray
    glare: FloatArray
    model: FloatArray
    saturated_errors: FloatArray
    grain: tuple[float, ...] = (1.0, 1.0)
    parent: IntArray | None = None
