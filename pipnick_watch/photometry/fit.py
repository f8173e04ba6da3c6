"""Where is each source and how bright is it, all sources of the frame fitted at once.

A damped Gauss-Newton fit of x, y and flux.  A source touches only the pixels of its own window,
so the Jacobian is sparse and a step is one sparse solve (the approach of crowdsource, Schlafly et
al. 2018, and of ALLSTAR, Stetson 1987).  Sources that have settled, and whose neighbours have,
are left alone while the others go on.
"""

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from pipnick_watch.photometry.normal import Normal, find_pairs, make_normal
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.sources import Scene, Sources
from pipnick_watch.photometry.stamps import Window, disk, offsets

__all__ = ["fit_radius", "fit_sources", "neighbourhood", "normal_matrix"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]

FIT_FWHM = 1.2
WALK_FWHM = 0.75  # how far a source may get from where it was found
STRIDE_FWHM = 0.25  # and in one step
DAMPING = 1e-5
LEAST_FLUX = 1e-6  # electrons: steps are divided by the flux
FIRST_LEAP = 4  # step from which those that creep are lengthened,
CREEP = 0.5  # as those that are more than this share of the last one,
LONGEST_SHARE = 0.8  # to the sum of those that would follow, of this share at most,
STRAIGHT = 0.1  # and that leave the last one's direction by less than this (squared)
FEW = 40  # sources for which the matrix is not worth being sparse
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
    # from row to row: what is near in the frame is near in memory
    order = np.argsort(sources.y, kind="stable")
    sources = sources.keep(order)
    canvas, window = scene.canvas, disk(radius)
    ix, iy = sources.pixel
    index = canvas.indices(ix, iy, window)
    pairs = find_pairs(*canvas.nearest(ix, iy), window)
    held, good = rest.take(index), scene.good.take(index).astype(np.float32)
    data = scene.data.take(index) - held
    quiet = scene.sky_variance.take(index) + np.maximum(held, 0.0) + 1e-12
    # what the sources put on each pixel is added up on a plane, which is left as it was found
    plane, light = canvas.blank, np.zeros(index.shape)
    active, before = np.arange(n), np.zeros((n, 3))
    for turn in range(rounds):
        some = slice(None) if len(active) == n else active
        now, at = sources.keep(some), index[some]
        parts = _evaluate(psf, now, ix[some], iy[some], window)
        new = parts[0] * now.flux[:, None]
        np.add.at(plane, at.ravel(), (new - light[some]).ravel())
        light[some] = new
        total = plane.take(at)
        noise = (quiet[some] + np.maximum(total, 0.0)).astype(np.float32)
        columns = _columns(parts, data[some] - total, good[some] / np.sqrt(noise))
        step, error = _solve(make_normal(columns, pairs.among(active, n)))
        if turn >= FIRST_LEAP:
            step, before[active] = _leap(step, before[active], error)
        x, y, flux, at_bound = _advance(now, step, psf.fwhm)
        settled = (
            (np.abs(flux - now.flux) < SETTLED * error[:, 0])
            & (np.abs(x - now.x) * now.flux < SETTLED * error[:, 1])
            & (np.abs(y - now.y) * now.flux < SETTLED * error[:, 2])
        )
        sources = sources.put(active, x=x, y=y, flux=flux, near_bound=at_bound, converged=settled)
        if sources.converged.all() or turn == rounds - 1:
            break
        active = np.flatnonzero(pairs.beside(~sources.converged))
    plane[index] = 0.0
    return sources.keep(np.argsort(order))


def normal_matrix(
    scene: Scene, psf: Psf, sources: Sources, model: FloatArray, radius: float, grain: float = 1.0
) -> csr_array:
    """Build JᵀWJ, shape (3n, 3n); the parameters are (flux, x × flux, y × flux) of each source.

    The sky's variance is raised by the factor ``grain``.
    """
    if len(sources) == 0:
        return csr_array((0, 0))
    canvas, window = scene.canvas, disk(radius)
    ix, iy = sources.pixel
    index = canvas.indices(ix, iy, window)
    noise = scene.sky_variance[index] * grain + np.maximum(model[index], 0.0) + 1e-12
    # in double precision: the errors of close pairs are small differences
    parts = _evaluate(psf, sources, ix, iy, window).astype(np.float64)
    columns = _columns(parts, np.zeros(index.shape), np.sqrt(scene.good[index] / noise))
    pairs = find_pairs(*canvas.nearest(ix, iy), window)
    return csr_array(make_normal(columns, pairs).sparse())


def _evaluate(psf: Psf, sources: Sources, ix: IntArray, iy: IntArray, window: Window) -> Floats:
    """Evaluate the PSF and its slopes in windows: shape (3, n, m)."""
    dx, dy = offsets(window, ix - sources.x, iy - sources.y)
    return psf.evaluate_with_gradient(dx, dy, sources.x, sources.y)


def _columns(parts: Floats, residual: FloatArray, root: Floats) -> Floats:
    """Arrange what the normal equations are made of, over the noise: shape (n, m + 1, 4)."""
    _, n, m = parts.shape
    out = np.empty((n, m + 1, 4), dtype=parts.dtype)
    out[:, m] = 0.0
    for k in range(3):
        np.multiply(parts[k], root, out=out[:, :m, k])
    np.multiply(residual, root, out=out[:, :m, 3], casting="same_kind")
    return out


def _solve(normal: Normal) -> tuple[FloatArray, FloatArray]:
    """Return the damped step and each parameter's error were the others known, shapes (n, 3)."""
    corner = np.arange(3)
    diagonal = normal.own[:, corner, corner]
    seen = diagonal > 0
    scale = 1.0 / np.sqrt(np.where(seen, diagonal, 1.0))
    # what no good pixel shows stays as it is
    normal = normal.scaled(scale)
    normal.own[:, corner, corner] = np.where(seen, normal.own[:, corner, corner], 1.0) + DAMPING
    if len(scale) <= FEW:
        step = np.linalg.solve(normal.dense(), normal.vector.ravel())
    else:
        factors = splu(
            normal.sparse(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )  # fmt: skip
        step = factors.solve(normal.vector.ravel())
    return scale * step.reshape(-1, 3), scale


def _leap(step: FloatArray, before: FloatArray, error: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lengthen the steps of sources that creep: each step is nearly a fixed share of the last.

    Parameters
    ----------
    before : ndarray, shape (n, 3)
        The last steps over their errors; zero where the last one was lengthened.

    Returns
    -------
    step, before : ndarray, shape (n, 3)
    """
    now = step / error
    along = (now * before).sum(axis=1)
    squares = (before**2).sum(axis=1)
    share = along / np.maximum(squares, 1e-30)
    aside = (now**2).sum(axis=1) - along * share
    creeps = (share > CREEP) & (aside < STRAIGHT * along * share)
    factor = np.where(creeps, 1.0 / (1.0 - np.minimum(share, LONGEST_SHARE)), 1.0)
    return step * factor[:, None], np.where(creeps[:, None], 0.0, now)


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
