"""Where is each source and how bright is it, all sources of the frame fitted at once.

A damped Gauss-Newton fit of x, y and flux.  A source touches only the pixels of its own window,
so the Jacobian is sparse and a step is one sparse solve (the approach of crowdsource, Schlafly et
al. 2018, and of ALLSTAR, Stetson 1987).  Sources that have settled, and whose neighbours have,
are left alone while the others go on.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_array, csr_array, diags_array
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.sources import Scene, Sources
from pipnick_watch.photometry.stamps import Window, disk, pieces

__all__ = ["fit_radius", "fit_sources", "neighbourhood", "normal_matrix"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

FIT_FWHM = 1.2
WALK_FWHM = 0.75  # how far a source may get from where it was found
STRIDE_FWHM = 0.25  # and in one step
DAMPING = 1e-5
LEAST_FLUX = 1e-6  # electrons: steps are divided by the flux
SETTLED = 0.05  # of the standard error: a step this small is the last one


def fit_radius(psf: Psf) -> float:
    """Radius of the window that a source is fitted on, pixels."""
    return max(FIT_FWHM * psf.fwhm, 1.8) + 0.5


def neighbourhood(sources: Sources, some: IntArray, reach: float) -> IntArray:
    """List some sources and those within ``reach`` of them, in order."""
    if len(some) == 0 or len(some) > 0.5 * len(sources):
        return np.arange(len(sources)) if len(some) else some
    places = np.column_stack([sources.x, sources.y])
    near = cKDTree(places).query_ball_point(places[some], reach)
    return np.unique(np.concatenate([np.asarray(one, dtype=np.int64) for one in near]))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Patch:
    """The pixels that some sources are fitted on, numbered through.

    Attributes
    ----------
    window : Window
    ix, iy : ndarray of int, shape (n,)
        Central pixels of the windows.
    pixels : ndarray of int, shape (m,)
        Padded pixels that any window covers.
    local : ndarray of int, shape (n, w)
        Number of each window's pixels in ``pixels``.
    """

    window: Window
    ix: IntArray
    iy: IntArray
    pixels: IntArray
    local: npt.NDArray[np.int32]

    def total(self, values: FloatArray) -> FloatArray:
        """Add up the windows, shape (m,)."""
        light = values.ravel()
        sums = np.bincount(self.local.ravel(), weights=light, minlength=len(self.pixels))
        return sums.astype(np.float64, copy=False)


def _patch(scene: Scene, sources: Sources, radius: float) -> _Patch:
    """Give the pixels of the sources' windows their numbers."""
    window = disk(radius)
    ix, iy = sources.pixel
    index = scene.canvas.indices(ix, iy, window)
    if index.size < 20000:
        pixels, inverse = np.unique(index, return_inverse=True)
        local = inverse.reshape(index.shape).astype(np.int32)
    else:
        touched = np.zeros(scene.canvas.size, dtype=bool)
        touched[index] = True
        pixels = np.flatnonzero(touched)
        number = np.zeros(scene.canvas.size, dtype=np.int32)
        number[pixels] = np.arange(len(pixels), dtype=np.int32)
        local = number[index]
    return _Patch(window=window, ix=ix, iy=iy, pixels=pixels, local=local)


def fit_sources(
    scene: Scene, psf: Psf, sources: Sources, rest: FloatArray, radius: float, rounds: int
) -> Sources:
    """Fit positions and fluxes of all sources together.

    Parameters
    ----------
    scene : Scene
    psf : Psf
    sources : Sources
        First guesses.
    rest : ndarray
        Other light, padded and flat: sources that are held, and wings beyond ``radius``.
    radius : float
        Of the window of each source, pixels.
    rounds : int
        Most steps.
    """
    n = len(sources)
    if n == 0:
        return sources
    patch = _patch(scene, sources, radius)
    data = scene.data[patch.pixels] - rest[patch.pixels]
    held = np.maximum(rest[patch.pixels], 0.0)
    quiet, good = scene.sky_variance[patch.pixels] + held + 1e-12, scene.good[patch.pixels]
    values = np.empty((n, 3, len(patch.window)))
    active = np.arange(n)
    for turn in range(rounds):
        _evaluate(psf, sources, patch, active, values)
        model = patch.total(values[:, 0] * sources.flux[:, None])
        root = np.sqrt(good / (quiet + np.maximum(model, 0.0)))
        matrix, vector = _normal(values, patch.local, root, (data - model) * root, active)
        step, error = _solve(matrix, vector)
        now = sources.keep(active)
        x, y, flux, at_bound = _advance(now, step, psf.fwhm)
        settled = (
            (np.abs(flux - now.flux) < SETTLED * error[:, 0])
            & (np.abs(x - now.x) * now.flux < SETTLED * error[:, 1])
            & (np.abs(y - now.y) * now.flux < SETTLED * error[:, 2])
        )
        sources = sources.put(active, x=x, y=y, flux=flux, near_bound=at_bound, converged=settled)
        if sources.converged.all() or turn == rounds - 1:
            break
        active = neighbourhood(sources, np.flatnonzero(~sources.converged), 2.0 * radius)
    return sources


def normal_matrix(
    scene: Scene, psf: Psf, sources: Sources, model: FloatArray, radius: float
) -> csr_array:
    """Build JᵀWJ, shape (3n, 3n); the parameters are (flux, x × flux, y × flux) of each source."""
    n = len(sources)
    if n == 0:
        return csr_array((0, 0))
    patch = _patch(scene, sources, radius)
    values = np.empty((n, 3, len(patch.window)))
    _evaluate(psf, sources, patch, np.arange(n), values)
    at = patch.pixels
    root = np.sqrt(scene.good[at] / (scene.sky_variance[at] + np.maximum(model[at], 0.0) + 1e-12))
    return _normal(values, patch.local, root, np.zeros(len(at)), np.arange(n))[0]


def _evaluate(
    psf: Psf, sources: Sources, patch: _Patch, which: IntArray, values: FloatArray
) -> None:
    """Evaluate the PSF and its slopes in the windows of some sources, into ``values``."""
    window = patch.window
    for piece in pieces(len(which), len(window)):
        rows = which[piece]
        x, y = sources.x[rows], sources.y[rows]
        parts = psf.evaluate_with_gradient(
            window.ox[None, :] + (patch.ix[rows] - x)[:, None],
            window.oy[None, :] + (patch.iy[rows] - y)[:, None],
            x, y,
        )  # fmt: skip
        for k in range(3):
            values[rows, k] = parts[k]


def _normal(
    values: FloatArray, local: npt.NDArray[np.int32], root: FloatArray, residual: FloatArray,
    which: IntArray,
) -> tuple[csr_array, FloatArray]:  # fmt: skip
    """Build JᵀWJ and JᵀWr of some sources."""
    n, m = len(which), local.shape[1]
    if n == len(local):
        at, some = local, values
    else:
        at, some = local[which], values[which]
    weighted = some * root[at][:, None, :]
    vector = (weighted @ residual[at][:, :, None])[:, :, 0]
    start = np.arange(0, 3 * n * m + 1, m, dtype=np.int32)
    columns = np.repeat(at[:, None, :], 3, axis=1).ravel()
    jacobian = csr_array((weighted.ravel(), columns, start), shape=(3 * n, len(root)))
    return csr_array(jacobian @ jacobian.T), vector


def _solve(matrix: csr_array, vector: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the damped step and each parameter's error were the others known, shapes (n, 3)."""
    diagonal = matrix.diagonal()
    unseen = diagonal <= 0
    if unseen.any():  # all their pixels are masked: they stay as they are
        matrix = csr_array(matrix + diags_array(unseen.astype(float)))
    scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    row = np.repeat(np.arange(len(scale)), np.diff(matrix.indptr))
    scaled = matrix.data * scale[row] * scale[matrix.indices]
    scaled[row == matrix.indices] += DAMPING
    # symmetric: its rows are its columns
    columns = csc_array((scaled, matrix.indices, matrix.indptr), shape=matrix.shape)
    factors = splu(
        columns, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    step = scale * factors.solve(scale * vector.ravel())
    return step.reshape(-1, 3), scale.reshape(-1, 3)


def _advance(
    now: Sources, step: FloatArray, fwhm: float
) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
    """Take a step, with limits on each part of it; say who is at the end of its leash."""
    stride, bound = STRIDE_FWHM * fwhm + 0.1, WALK_FWHM * fwhm + 0.5
    flux = np.maximum(np.maximum(now.flux + step[:, 0], 0.2 * now.flux), LEAST_FLUX)
    x = now.x + (step[:, 1] / now.flux).clip(-stride, stride)
    y = now.y + (step[:, 2] / now.flux).clip(-stride, stride)
    far = np.hypot(x - now.x_first, y - now.y_first)
    shrink = np.minimum(1.0, bound / np.maximum(far, 1e-12))
    x = now.x_first + (x - now.x_first) * shrink
    y = now.y_first + (y - now.y_first) * shrink
    return x, y, flux, np.asarray(shrink < 1.0)
