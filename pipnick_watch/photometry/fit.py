"""Where is each source and how bright is it, all sources of the frame fitted at once?

A damped Gauss-Newton fit of x, y and flux.  A source touches only the pixels of its own window,
so the Jacobian is sparse and a step is one sparse solve (the approach of crowdsource, Schlafly et
al. 2018, and of ALLSTAR, Stetson 1987).  Sources that have settled, and whose neighbours have,
are left alone while the others go on.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_array, csr_array, diags_array
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.stamps import Canvas, Window, disk, pieces, ring

__all__ = ["Fit", "Scene", "Sources", "fit_radius", "fit_sources", "render"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

FIT_FWHM = 1.4
RENDER_FWHM = (2.0, 3.0, 4.5, 7.0, 12.0)
FAINTEST = 0.05  # of a pixel's noise: where a source is no longer drawn
DAMPING = 1e-5
SETTLED = 0.02  # of the standard error: a step this small is the last one


@dataclass(frozen=True, kw_only=True, eq=False)
class Sources:
    """Positions and fluxes, each of shape (n,).

    Attributes
    ----------
    x, y, flux : ndarray
        Pixels, electrons.
    x_first, y_first : ndarray
        Where each was detected: it may not walk farther than its bound from there.
    iteration : ndarray of int
        Detection pass.
    saturated : ndarray of bool
    """

    x: FloatArray
    y: FloatArray
    flux: FloatArray
    x_first: FloatArray
    y_first: FloatArray
    iteration: IntArray
    saturated: BoolArray

    def __len__(self) -> int:
        """Count the sources."""
        return len(self.x)

    def keep(self, which: npt.NDArray[np.generic] | slice) -> "Sources":
        """Select sources."""
        return Sources(**{name: getattr(self, name)[which] for name in self.__dataclass_fields__})

    def join(self, other: "Sources") -> "Sources":
        """Append other sources."""
        return Sources(
            **{
                name: np.concatenate([getattr(self, name), getattr(other, name)])
                for name in self.__dataclass_fields__
            }
        )

    @property
    def pixel(self) -> tuple[IntArray, IntArray]:
        """Nearest pixel of each, ix and iy."""
        return np.rint(self.x).astype(np.int64), np.rint(self.y).astype(np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """What is fitted: padded and flat, see :class:`Canvas`.

    Attributes
    ----------
    canvas : Canvas
    data : ndarray
        Electrons above the sky, 0 where masked.
    sky_variance : ndarray
        Background rms squared.
    good : ndarray
        1 where a pixel counts, else 0.
    rms : float
        Typical noise of a sky pixel.
    """

    canvas: Canvas
    data: FloatArray
    sky_variance: FloatArray
    good: FloatArray
    rms: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """The fitted sources.

    Attributes
    ----------
    sources : Sources
    window : Window
        Pixels each source was fitted on, around ``ix``, ``iy``.
    ix, iy : ndarray of int, shape (n,)
    matrix : sparse array, shape (3n, 3n)
        JᵀWJ of (flux, x × flux, y × flux) of each source in turn.
    converged, near_bound : ndarray of bool, shape (n,)
    """

    sources: Sources
    window: Window
    ix: IntArray
    iy: IntArray
    matrix: csr_array
    converged: BoolArray
    near_bound: BoolArray


def fit_radius(psf: Psf) -> float:
    """Radius of the window that a source is fitted on, pixels."""
    return max(FIT_FWHM * psf.fwhm, 1.8) + 0.5


def render(
    canvas: Canvas, psf: Psf, sources: Sources, rms: float, *, beyond: float = -1.0
) -> FloatArray:
    """Draw the sources, each as far out as it matters against the noise ``rms``.

    Only pixels farther than ``beyond`` from the pixel a source is centred on are drawn.
    """
    if len(sources) == 0:
        return np.zeros(canvas.size)
    peak = sources.flux * psf.peak(sources.x, sources.y)
    ratio = np.maximum(peak / (FAINTEST * rms), 1.0)
    reach = psf.alpha * np.sqrt(np.maximum(ratio ** (1.0 / psf.beta) - 1.0, 0.0))
    edges = [psf.fwhm * one for one in RENDER_FWHM]
    size = np.searchsorted(edges[:-1], reach)
    where, what = [], []
    for k, radius in enumerate(edges):
        members = np.flatnonzero(size == k)
        window = ring(beyond, min(radius, canvas.margin - 1.0))
        if len(members) == 0 or len(window) == 0:
            continue
        for piece in pieces(len(members), len(window)):
            one = sources.keep(members[piece])
            ix, iy = one.pixel
            light = psf.evaluate(
                window.ox[None, :] + (ix - one.x)[:, None],
                window.oy[None, :] + (iy - one.y)[:, None],
                one.x, one.y,
            )  # fmt: skip
            light *= one.flux[:, None]
            where.append(canvas.indices(ix, iy, window).ravel())
            what.append(light.ravel())
    if not where:
        return np.zeros(canvas.size)
    return np.bincount(np.concatenate(where), weights=np.concatenate(what), minlength=canvas.size)


def fit_sources(
    scene: Scene, psf: Psf, sources: Sources, *, rounds: int = 10, fixed: FloatArray | None = None
) -> Fit:
    """Fit positions and fluxes of all sources together.

    Parameters
    ----------
    scene : Scene
    psf : Psf
    sources : Sources
        First guesses.
    rounds : int
        Most steps.
    fixed : ndarray, optional
        Light of sources that are held, padded and flat.
    """
    canvas, n = scene.canvas, len(sources)
    radius = fit_radius(psf)
    window = disk(radius)
    m = len(window)
    ix, iy = sources.pixel
    converged, near = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    if n == 0:
        return Fit(
            sources=sources, window=window, ix=ix, iy=iy, matrix=csr_array((0, 0)),
            converged=converged, near_bound=near,
        )  # fmt: skip
    index = canvas.indices(ix, iy, window)
    touched = np.zeros(canvas.size, dtype=bool)
    touched[index] = True
    pixels = np.flatnonzero(touched)
    number = np.zeros(canvas.size, dtype=np.int32)
    number[pixels] = np.arange(len(pixels), dtype=np.int32)
    local = number[index]
    data, quiet, good = scene.data[pixels], scene.sky_variance[pixels], scene.good[pixels]
    held = np.zeros(len(pixels)) if fixed is None else fixed[pixels]
    wings = np.zeros(len(pixels))
    values = np.empty((n, 3, m))
    bound = 0.75 * psf.fwhm + 0.5
    stride = 0.25 * psf.fwhm + 0.1
    active = np.arange(n)

    def normal(some: IntArray) -> tuple[csr_array, FloatArray]:
        model = wings + np.bincount(
            local.ravel(), weights=(values[:, 0] * sources.flux[:, None]).ravel(),
            minlength=len(pixels),
        )  # fmt: skip
        root = np.sqrt(good / (quiet + np.maximum(model, 0.0) + 1e-12))
        return _normal(values, local, root, (data - model) * root, some)

    for turn in range(rounds):
        _light_of(psf, sources, window, ix, iy, active, values)
        if turn in (0, 2, 4):
            wings = render(canvas, psf, sources, scene.rms, beyond=radius)[pixels] + held
        step, error = _solve(*normal(active))
        now = sources.keep(active)
        moved, near[active] = _advance(now, step, bound, stride)
        converged[active] = (
            (np.abs(moved.flux - now.flux) < SETTLED * error[:, 0])
            & (np.abs(moved.x - now.x) * now.flux < SETTLED * error[:, 1])
            & (np.abs(moved.y - now.y) * now.flux < SETTLED * error[:, 2])
        )
        sources = _replace(sources, active, moved)
        if converged.all():
            break
        active = _unsettled(sources, converged, 2.0 * radius)
    everyone = np.arange(n)
    _light_of(psf, sources, window, ix, iy, everyone, values)
    matrix, _ = normal(everyone)
    return Fit(
        sources=sources, window=window, ix=ix, iy=iy, matrix=matrix, converged=converged,
        near_bound=near,
    )  # fmt: skip


def _light_of(
    psf: Psf, sources: Sources, window: Window, ix: IntArray, iy: IntArray, which: IntArray,
    values: FloatArray,
) -> None:  # fmt: skip
    """Evaluate the PSF and its slopes in the windows of some sources, into ``values``."""
    for piece in pieces(len(which), len(window)):
        rows = which[piece]
        one = sources.keep(rows)
        parts = psf.evaluate_with_gradient(
            window.ox[None, :] + (ix[rows] - one.x)[:, None],
            window.oy[None, :] + (iy[rows] - one.y)[:, None],
            one.x, one.y,
        )  # fmt: skip
        for k in range(3):
            values[rows, k] = parts[k]


def _normal(
    values: FloatArray, local: npt.NDArray[np.int32], root: FloatArray, residual: FloatArray,
    which: IntArray,
) -> tuple[csr_array, FloatArray]:  # fmt: skip
    """Build JᵀWJ and JᵀWr of some sources."""
    n, m = len(which), local.shape[1]
    at = local[which]
    weighted = values[which] * root[at][:, None, :]
    vector = np.einsum("nkm,nm->nk", weighted, residual[at])
    start = np.arange(0, 3 * n * m + 1, m, dtype=np.int32)
    columns = np.repeat(at[:, None, :], 3, axis=1).ravel()
    jacobian = csr_array((weighted.ravel(), columns, start), shape=(3 * n, len(root)))
    return csr_array(jacobian @ jacobian.T), vector


def _solve(matrix: csr_array, vector: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the damped step and each parameter's error were the others known, shapes (n, 3)."""
    diagonal = matrix.diagonal()
    scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    ruler = diags_array(scale)
    scaled = csc_array(ruler @ matrix @ ruler + diags_array(np.full(len(scale), DAMPING)))
    factors = splu(
        scaled, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    step = scale * factors.solve(scale * vector.ravel())
    return step.reshape(-1, 3), scale.reshape(-1, 3)


def _advance(
    now: Sources, step: FloatArray, bound: float, stride: float
) -> tuple[Sources, BoolArray]:
    """Take a step, with limits on each part of it; say who is at the end of its leash."""
    flux = np.maximum(now.flux + step[:, 0], 0.2 * now.flux)
    x = now.x + (step[:, 1] / now.flux).clip(-stride, stride)
    y = now.y + (step[:, 2] / now.flux).clip(-stride, stride)
    far = np.hypot(x - now.x_first, y - now.y_first)
    shrink = np.minimum(1.0, bound / np.maximum(far, 1e-12))
    x = now.x_first + (x - now.x_first) * shrink
    y = now.y_first + (y - now.y_first) * shrink
    return replace(now, x=x, y=y, flux=flux), np.asarray(shrink < 1.0)


def _replace(sources: Sources, rows: IntArray, new: Sources) -> Sources:
    """Put the new positions and fluxes of some sources in their place."""
    x, y, flux = sources.x.copy(), sources.y.copy(), sources.flux.copy()
    x[rows], y[rows], flux[rows] = new.x, new.y, new.flux
    return replace(sources, x=x, y=y, flux=flux)


def _unsettled(sources: Sources, converged: BoolArray, reach: float) -> IntArray:
    """List the sources that still move, and those that share pixels with them."""
    places = np.column_stack([sources.x, sources.y])
    moving = np.flatnonzero(~converged)
    if len(moving) > 0.5 * len(sources):
        return np.arange(len(sources))
    near = cKDTree(places).query_ball_point(places[moving], reach)
    return np.unique(np.concatenate([np.asarray(one, dtype=np.int64) for one in near]))
