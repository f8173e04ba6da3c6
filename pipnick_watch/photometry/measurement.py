"""What measuring one frame gives."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.table import Table

__all__ = ["Measurement", "PsfView"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PsfView:
    """The frame's PSF as a person judges it.

    Attributes
    ----------
    data, model, residual : ndarray, shape (n, n)
        Stack of the PSF stars (each scaled to flux 1, recentred), the fitted model at the same
        place, and their difference.
    radius, profile, profile_err : ndarray, shape (m,)
        Radial profile of the stack, pixels and flux per pixel.
    model_radius, model_profile : ndarray, shape (k,)
        The model's profile on a fine grid.
    fwhm : float
        Pixels.
    """

    data: FloatArray
    model: FloatArray
    residual: FloatArray
    radius: FloatArray
    profile: FloatArray
    profile_err: FloatArray
    model_radius: FloatArray
    model_profile: FloatArray
    fwhm: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurement:
    """A frame's sources and figures.

    Attributes
    ----------
    catalogue : Table
        A row for each source, all columns of ``columns.CATALOGUE`` in their order, without
        ``ra`` and ``dec`` filled (nan).
    consolidated : Table or None
        The same columns, a row for each group, when the settings ask for it.
    figures : mapping
        ``n_sources`` … ``apcor_err`` of ``columns.NIGHT_LOG``, by name.
    background : ndarray, shape (ny, nx)
        The sky that was taken off, electrons per pixel.
    model : ndarray, shape (ny, nx)
        All fitted sources, electrons per pixel; ``data - background - model`` is the residual.
    psf : PsfView or None
        None when no star showed the PSF.
    warnings : tuple of str
        What a person should know, one line each.
    """

    catalogue: Table
    consolidated: Table | None
    figures: Mapping[str, float | int | str]
    background: FloatArray
    model: FloatArray
    psf: PsfView | None
    warnings: tuple[str, ...] = ()
