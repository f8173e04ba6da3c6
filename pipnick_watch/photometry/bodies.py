"""Which sources are parts of a galaxy? Those whose light has no peak of its own.

Many stars together can draw any smooth light. A star has a peak, though: behind a filter that
takes off what is smooth stars keep their flux, and parts of a galaxy lose it.
"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from pipnick_watch.photometry.groups import friends_of_friends, neighbour_pairs
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.smoothing import FWHM_TO_SIGMA
from pipnick_watch.photometry.sources import Scene, Sources

__all__ = ["find_bodies"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]

LINK = 5.0, 2.0  # pixels, and FWHM: how near the parts of a body are to each other at most
BROAD = 1.0  # excess of a source's minor axis from which it is looked at
SMOOTH = 0.4  # share of its light that a source's peak may have at most to be part of a body
CUSP = 0.85  # and one at the centre of a body
CENTRE_FWHM = 1.2
SURE = 2.0  # standard errors of that share
PASSES = 8
SHARP_FWHM = 1.4  # of the Gaussian that the filter takes off
NEAR_FWHM = 3.0  # which others are fitted with a source,
BOX_FWHM = 2.0  # on the pixels this near to it
SYSTEMATIC = 0.02  # of the light: what the PSF may miss


def find_bodies(scene: Scene, psf: Psf, sources: Sources, model: FloatArray) -> IntArray:
    """Say which source stands for each: itself, or the brightest part of the body it belongs to.

    Parameters
    ----------
    scene : Scene
    psf : Psf
    sources : Sources
        With their shapes measured.
    model : ndarray
        All of them, padded and flat.

    Returns
    -------
    ndarray of int, shape (n,)
        Rows of ``sources``.
    """
    parent = np.arange(len(sources))
    if len(sources) < 2:
        return parent
    rows = np.flatnonzero(_parts(_Look(scene, psf, sources, model)))
    group, _ = friends_of_friends(sources.x[rows], sources.y[rows], _link(psf.fwhm))
    for one in np.unique(group):
        members = rows[group == one]
        parent[members] = members[np.argmax(sources.flux[members])]
    return parent


def _parts(look: "_Look") -> BoolArray:
    """Say which sources are parts of bodies: first those without a peak, then those beside them."""
    sources, fwhm = look.sources, look.psf.fwhm
    part = np.zeros(len(sources), dtype=bool)
    crowded = np.zeros(len(sources), dtype=bool)
    crowded[neighbour_pairs(sources.x, sources.y, _link(fwhm))] = True
    asked = np.flatnonzero(crowded & (sources.minor > BROAD) & ~sources.saturated)
    most = np.full(len(sources), SMOOTH)
    for _ in range(PASSES):
        new = asked[[look.peaked_share(int(row), part) < most[row] for row in asked]]
        if len(new) == 0:
            break
        part[new] = True
        # only where something has changed: a look takes a millisecond
        central = _central(sources, part, fwhm)
        central = central[(most[central] < CUSP) & ~sources.saturated[central]]
        most[central] = CUSP
        near = np.union1d(look.beside(new, _link(fwhm)), central)
        asked = near[~part[near]]
    return part


def _central(sources: Sources, part: BoolArray, fwhm: float) -> IntArray:
    """List the sources at the centres of bodies: the cusp of a galaxy is peaked as well."""
    rows = np.flatnonzero(part)
    group, _ = friends_of_friends(sources.x[rows], sources.y[rows], _link(fwhm))
    weight = np.bincount(group, sources.flux[rows])[1:]
    x, y = (
        np.bincount(group, sources.flux[rows] * at[rows])[1:] / weight
        for at in (sources.x, sources.y)
    )
    away = np.hypot(sources.x[:, None] - x, sources.y[:, None] - y)
    return np.flatnonzero((away < CENTRE_FWHM * fwhm).any(axis=1))


def _link(fwhm: float) -> float:
    """Give the distance, pixels, up to which two parts are one body's."""
    return max(LINK[0], LINK[1] * fwhm)


class _Look:
    """Sources and the pixels around them, behind a filter that takes off what is smooth."""

    def __init__(self, scene: Scene, psf: Psf, sources: Sources, model: FloatArray) -> None:
        self.psf, self.sources = psf, sources
        self.data, self.model, self.variance = (
            scene.canvas.crop(plane) for plane in (scene.data, model, scene.sky_variance)
        )
        self.good = scene.canvas.crop(scene.good)
        self.tree = cKDTree(np.column_stack([sources.x, sources.y]))

    def beside(self, rows: IntArray, reach: float) -> IntArray:
        """List the unsaturated sources within ``reach`` pixels of some, and those, in order."""
        within = self.tree.query_ball_point(self.tree.data[rows], reach)
        near = np.unique(np.concatenate([np.asarray(one, dtype=np.int64) for one in within]))
        return np.asarray(near[~self.sources.saturated[near]])

    def peaked_share(self, row: int, part: BoolArray) -> float:
        """Measure which share of a source's flux its peak has at most.

        The source and those near it that are not ``part`` of a body are fitted together.
        """
        fwhm, sources = self.psf.fwhm, self.sources
        x, y = float(sources.x[row]), float(sources.y[row])
        (ny, nx), half = self.data.shape, int(BOX_FWHM * fwhm) + 1
        box = (
            slice(max(round(y) - half, 0), min(round(y) + half + 1, ny)),
            slice(max(round(x) - half, 0), min(round(x) + half + 1, nx)),
        )
        py, px = np.mgrid[box].astype(np.float32)
        near = self.beside(np.array([row]), NEAR_FWHM * fwhm)
        one = sources.keep(near)
        dx = px.ravel() - one.x.astype(np.float32)[:, None]
        dy = py.ravel() - one.y.astype(np.float32)[:, None]
        light = self.psf.evaluate(dx, dy, one.x, one.y).reshape(len(near), *px.shape)
        total, good = self.model[box], self.good[box]
        image = np.where(good, self.data[box] - total, 0.0) + np.tensordot(one.flux, light, 1)
        noise = self.variance[box] + np.maximum(total, 0.0) + (SYSTEMATIC * total) ** 2 + 1e-12
        weight = ((np.hypot(px - x, py - y) < BOX_FWHM * fwhm) & good) / np.sqrt(noise)
        stars = ~part[near] | (near == row)
        sharp = (_without_smooth(light[stars], fwhm) * weight).reshape(stars.sum(), -1)
        matrix = (sharp @ sharp.T).astype(np.float64)
        diagonal = np.diag_indices(len(sharp))
        # what no good pixel shows has any flux
        matrix[diagonal] = matrix[diagonal] * (1.0 + 1e-6) + 1e-9 * matrix.max() + 1e-30
        inverse = np.linalg.inv(matrix)
        own = int(np.flatnonzero(near[stars] == row)[0])
        flux = inverse[own] @ (sharp @ (_without_smooth(image, fwhm) * weight).ravel())
        return float((flux + SURE * np.sqrt(inverse[own, own])) / sources.flux[row])


def _without_smooth(images: Floats, fwhm: float) -> Floats:
    """Take what is smooth off the last two axes."""
    sigma = SHARP_FWHM * fwhm * FWHM_TO_SIGMA
    smooth = gaussian_filter(images, [0.0] * (images.ndim - 2) + [sigma] * 2, mode="nearest")
    return np.asarray(images - smooth)
