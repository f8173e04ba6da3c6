"""How the light of one simulated star falls on the pixels.

Nothing here is shared with the photometry: a simulator with the fitter's PSF would only show that
the fitter agrees with itself.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

__all__ = ["Optics", "seen_fwhm", "share_within", "star_image", "width"]

FloatArray = npt.NDArray[np.float64]

FAINTEST_WING = 0.01
"""Electrons per pixel at which a star's wing is cut off."""

LOST_LIGHT = 5e-4
"""Share of a star's light that may lie outside its image."""


@dataclass(frozen=True, kw_only=True)
class Optics:
    """An imperfect telescope: a drifting Moffat with some of its light in a comatic blob.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns of the frame; the width grows from its centre.
    fwhm : float
        Of the Moffat at the frame's centre, pixels.
    beta : float
        Exponent of the Moffat; its wings have no end.
    drift : float
        How much wider the Moffat is at the middle of an edge; twice that in a corner.
    coma : float
        Share of the light that is in the blob.
    coma_offset, coma_sigma : float
        Where the blob is and how wide, in FWHM.
    coma_angle : float
        Direction of the blob, degrees from +x towards +y.
    edge_loss : float
        Share of the sensitivity that a pixel lacks at its edges, against its middle.
    ellipticity, pa : float
        1 - minor / major axis of the Moffat, and its direction, degrees from +x towards +y.
    """

    shape: tuple[int, int] = (1024, 1024)
    fwhm: float = 6.0
    beta: float = 3.0
    drift: float = 0.05
    coma: float = 0.06
    coma_offset: float = 0.7
    coma_sigma: float = 0.5
    coma_angle: float = 30.0
    ellipticity: float = 0.0
    pa: float = 0.0
    edge_loss: float = 0.0


def width(optics: Optics, x: float, y: float) -> float:
    """Give the factor by which the PSF at a place is wider than at the frame's centre."""
    half_y, half_x = (max(side - 1, 1) / 2 for side in optics.shape)
    return 1 + optics.drift * ((x / half_x - 1) ** 2 + (y / half_y - 1) ** 2)


def _moffat_scale(optics: Optics, x: float, y: float) -> float:
    """Give the radius scale of the Moffat at a place, pixels."""
    fwhm = optics.fwhm * width(optics, x, y)
    return fwhm / (2 * math.sqrt(2 ** (1 / optics.beta) - 1))


def _moffat(
    optics: Optics, scale: float, dx: npt.NDArray[np.floating], dy: npt.NDArray[np.floating]
) -> FloatArray:
    """Evaluate the Moffat of unit flux per square pixel at offsets from its centre."""
    if optics.ellipticity:
        ratio = math.sqrt(1 - optics.ellipticity)
        cosine, sine = math.cos(math.radians(optics.pa)), math.sin(math.radians(optics.pa))
        squared = ((dx * cosine + dy * sine) * ratio) ** 2 + (
            (dy * cosine - dx * sine) / ratio
        ) ** 2
    else:
        squared = dx**2 + dy**2
    peak = (optics.beta - 1) / (math.pi * scale**2)
    return np.asarray(peak * (1 + squared / scale**2) ** -optics.beta)


def _blob(optics: Optics, x: float, y: float) -> tuple[float, float, float]:
    """Give the blob's offset along x and y, and its sigma, at a place, pixels."""
    fwhm = optics.fwhm * width(optics, x, y)
    angle = math.radians(optics.coma_angle)
    offset = optics.coma_offset * fwhm
    return offset * math.cos(angle), offset * math.sin(angle), optics.coma_sigma * fwhm


def _gaussian_steps(centre: float, sigma: float, first: int, count: int) -> FloatArray:
    """Integrate a Gaussian of unit area over pixels along one axis."""
    edges = np.arange(first, first + count + 1) - 0.5
    return np.diff(special.ndtr((edges - centre) / sigma))


def _image_radius(optics: Optics, scale: float, flux: float) -> int:
    """Say how far out a star's image reaches: nearly all its light, and down into the noise."""
    slope = optics.beta - 1
    for_light = math.sqrt(LOST_LIGHT ** (-1 / slope) - 1)
    peak = max(flux, 0.0) * slope / (math.pi * scale**2)
    for_wing = (peak / FAINTEST_WING) ** (0.5 / optics.beta)
    stretch = 1 / math.sqrt(1 - optics.ellipticity)
    reach: float = scale * stretch * max(for_light, for_wing)
    return math.ceil(reach) + 2


def star_image(
    optics: Optics, x: float, y: float, flux: float
) -> tuple[FloatArray, tuple[slice, slice]]:
    """Spread a star's light over the pixels of the frame.

    Each pixel of the core is an integral (Gauss–Legendre nodes in both directions); far from the
    core the value at the pixel's centre serves.

    Parameters
    ----------
    optics : Optics
    x, y : float
        Centre, 0-based pixels; may lie outside the frame.
    flux : float
        Total light, electrons, out to infinity.

    Returns
    -------
    image : ndarray
        Expected electrons per pixel; empty when the star does not reach the frame.
    where : tuple of slice
        Rows and columns of the frame that the image covers.
    """
    scale = _moffat_scale(optics, x, y)
    radius = _image_radius(optics, scale, flux)
    core = math.ceil(max(2.5 * optics.fwhm, 8.0))
    column, row = round(x), round(y)
    rows = np.arange(max(row - radius, 0), max(min(row + radius + 1, optics.shape[0]), 0))
    columns = np.arange(max(column - radius, 0), max(min(column + radius + 1, optics.shape[1]), 0))
    if not (rows.size and columns.size):
        return np.zeros((0, 0)), (slice(0, 0), slice(0, 0))
    image = _moffat(optics, scale, columns - x, rows[:, None] - y)

    near_rows = np.flatnonzero(np.abs(rows - row) <= core)
    near_columns = np.flatnonzero(np.abs(columns - column) <= core)
    if near_rows.size and near_columns.size:
        order = 2 if scale > 4 else 3 if scale > 2 else 6
        nodes, weights = np.polynomial.legendre.leggauss(order)
        # the pixel as a whole keeps its sensitivity
        weights = weights * (1 - optics.edge_loss * nodes**4) / (1 - optics.edge_loss / 5)
        fine_y = (rows[near_rows, None] + nodes / 2).ravel() - y
        fine_x = (columns[near_columns, None] + nodes / 2).ravel() - x
        fine = _moffat(optics, scale, fine_x, fine_y[:, None])
        blocks = fine.reshape(near_rows.size, order, near_columns.size, order)
        image[np.ix_(near_rows, near_columns)] = np.einsum(
            "iajb,a,b->ij", blocks, weights / 2, weights / 2, optimize=True
        )

    if optics.coma:
        off_x, off_y, sigma = _blob(optics, x, y)
        image *= 1 - optics.coma
        image += optics.coma * np.outer(
            _gaussian_steps(y + off_y, sigma, int(rows[0]), rows.size),
            _gaussian_steps(x + off_x, sigma, int(columns[0]), columns.size),
        )
    image *= flux
    where = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return image, where


def share_within(optics: Optics, x: float, y: float, radius: float) -> float:
    """Give the share of a star's light inside a circle around it.

    Parameters
    ----------
    optics : Optics
    x, y : float
        Centre of the star and of the circle, pixels.
    radius : float
        Pixels; infinity gives 1.
    """
    scale = _moffat_scale(optics, x, y)
    angles = (np.arange(64) + 0.5) * (math.pi / 64)
    ratio = 1 - optics.ellipticity
    stretched = ratio * np.cos(angles) ** 2 + np.sin(angles) ** 2 / ratio
    lost = (1 + radius**2 * stretched / scale**2) ** (1 - optics.beta)
    moffat = float(np.mean((1 - lost) / stretched))
    if not optics.coma:
        return moffat
    off_x, off_y, sigma = _blob(optics, x, y)
    away = (off_x**2 + off_y**2) / sigma**2
    blob = float(special.chndtr(min(radius / sigma, 1e3) ** 2, 2, away))
    return (1 - optics.coma) * moffat + optics.coma * blob


def seen_fwhm(optics: Optics) -> float:
    """Measure the FWHM of the whole PSF, blob included, at the frame's centre.

    Returns
    -------
    float
        Diameter of the circle with the area of the half-maximum contour, pixels.
    """
    centre_y, centre_x = ((side - 1) / 2 for side in optics.shape)
    scale = _moffat_scale(optics, centre_x, centre_y)
    grid = np.linspace(-1.5 * optics.fwhm, 1.5 * optics.fwhm, 601)
    image = (1 - optics.coma) * _moffat(optics, scale, grid, grid[:, None])
    off_x, off_y, sigma = _blob(optics, centre_x, centre_y)
    squared = (grid - off_x) ** 2 + (grid[:, None] - off_y) ** 2
    image += optics.coma * np.exp(-squared / (2 * sigma**2)) / (2 * math.pi * sigma**2)
    area = np.count_nonzero(image >= image.max() / 2) * (grid[1] - grid[0]) ** 2
    return 2 * math.sqrt(area / math.pi)
