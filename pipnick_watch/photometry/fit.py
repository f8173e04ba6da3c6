"""Where is each source and how bright is it, all sources of the frame fitted at once?

A damped Gauss-Newton fit of x, y and flux.  A source touches only the pixels of its own window,
so the Jacobian is sparse and a step is one sparse solve (the approach of crowdsource, Schlafly et
al. 2018, and of ALLSTAR, Stetson 1987).
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_array, csr_array, diags_array
from scipy.sparse.linalg import splu

from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.stamps import Canvas, Window, disk

__all__ = ["Fit", "Scene", "Sources", "fit_sources", "render"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

ROUNDS = 12
CHUNK = 1 << 18  # pixels evaluated at once, so that they stay in the processor's cache
RENDER_FWHM = (1.5, 3.0, 6.0, 12.0)


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

    def keep(self, which: npt.NDArray[np.generic]) -> "Sources":
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
    """

    canvas: Canvas
    data: FloatArray
    sky_variance: FloatArray
    good: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """The fitted sources.

    Attributes
    ----------
    sources : Sources
    model : ndarray
        All sources, padded and flat.
    window : Window
        Pixels each source was fitted on.
    converged, near_bound : ndarray of bool, shape (n,)
    """

    sources: Sources
    model: FloatArray
    window: Window
    converged: BoolArray
    near_bound: BoolArray


def _chunks(n: int, m: int) -> list[slice]:
    """Cut n sources of m pixels into pieces."""
    step = max(1, CHUNK // max(m, 1))
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]


def render(canvas: Canvas, psf: Psf, sources: Sources, faintest: float) -> FloatArray:
    """Draw the sources, each as far out as it is brighter than ``faintest`` per pixel."""
    model = np.zeros(canvas.size)
    peak = sources.flux * psf.peak(sources.x, sources.y) if len(sources) else np.zeros(0)
    # how far out a Moffat falls to the faintest level that matters
    alpha = psf.fwhm / (2.0 * np.sqrt(2.0 ** (1.0 / psf.beta) - 1.0))
    ratio = np.maximum(peak / max(faintest, 1e-9), 1.0)
    reach = alpha * np.sqrt(np.maximum(ratio ** (1.0 / psf.beta) - 1.0, 0.0))
    edges = [psf.fwhm * one for one in RENDER_FWHM]
    size = np.searchsorted(edges[:-1], reach)
    for k, radius in enumerate(edges):
        members = np.flatnonzero(size == k)
        if len(members) == 0:
            continue
        window = disk(min(radius, canvas.margin - 1.0))
        for piece in _chunks(len(members), len(window.ox)):
            one = sources.keep(members[piece])
            ix, iy = np.rint(one.x).astype(np.int64), np.rint(one.y).astype(np.int64)
            index = canvas.indices(ix, iy, window)
            light = psf.evaluate(
                window.ox[None, :] + (ix - one.x)[:, None],
                window.oy[None, :] + (iy - one.y)[:, None],
                one.x, one.y,
            )  # fmt: skip
            light *= one.flux[:, None]
            model += np.bincount(index.ravel(), weights=light.ravel(), minlength=canvas.size)
    return model


def fit_sources(
    scene: Scene,
    psf: Psf,
    sources: Sources,
    *,
    rounds: int = ROUNDS,
    fixed: FloatArray | None = None,
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
    canvas = scene.canvas
    window = disk(min(1.5 * psf.fwhm + 0.5, canvas.margin - 1.0))
    n = len(sources)
    faintest = 0.05 * float(np.sqrt(np.median(scene.sky_variance[scene.good > 0])))
    held = fixed if fixed is not None else np.zeros(canvas.size)
    converged, near = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    if n == 0:
        return Fit(
            sources=sources, model=np.zeros(canvas.size), window=window,
            converged=converged, near_bound=near,
        )  # fmt: skip
    bound = 0.75 * psf.fwhm + 0.5
    stride = 0.25 * psf.fwhm + 0.1
    for _ in range(rounds):
        model = render(canvas, psf, sources, faintest)
        variance = scene.sky_variance + np.maximum(model + held, 0.0)
        weight = scene.good / np.maximum(variance, 1e-12)
        residual = scene.data - model - held
        matrix, vector = normal_equations(canvas, psf, sources, window, weight, residual)
        scale = 1.0 / np.sqrt(np.maximum(matrix.diagonal(), 1e-30))
        scaled = diags_array(scale) @ matrix @ diags_array(scale)
        scaled = csc_array(scaled + diags_array(np.full(3 * n, 1e-4)))
        step = scale * splu(
            scaled, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        ).solve(scale * vector)  # fmt: skip
        df, dx, dy = step[0::3], step[1::3], step[2::3]
        flux = np.maximum(sources.flux + df, 0.2 * sources.flux)
        # the columns of x and y are per unit flux
        dx = (dx / sources.flux).clip(-stride, stride)
        dy = (dy / sources.flux).clip(-stride, stride)
        x, y = sources.x + dx, sources.y + dy
        far = np.hypot(x - sources.x_first, y - sources.y_first)
        shrink = np.minimum(1.0, bound / np.maximum(far, 1e-12))
        near = shrink < 1.0
        x = sources.x_first + (x - sources.x_first) * shrink
        y = sources.y_first + (y - sources.y_first) * shrink
        error = scale[0::3]
        moved = np.maximum(np.abs(x - sources.x), np.abs(y - sources.y))
        snr = sources.flux / np.maximum(error, 1e-12)
        converged = (np.abs(flux - sources.flux) < 0.01 * error) & (
            moved < 0.01 * psf.fwhm / np.maximum(snr, 1.0)
        )
        sources = replace(sources, x=x, y=y, flux=flux)
        if converged.all():
            break
    model = render(canvas, psf, sources, faintest)
    return Fit(sources=sources, model=model, window=window, converged=converged, near_bound=near)


def normal_equations(
    canvas: Canvas, psf: Psf, sources: Sources, window: Window, weight: FloatArray,
    residual: FloatArray,
) -> tuple[csc_array, FloatArray]:  # fmt: skip
    """Build JᵀWJ and JᵀWr; the parameters are (flux, x × flux, y × flux) of each source in turn."""
    n, m = len(sources), len(window.ox)
    values = np.empty((n, 3, m))
    vector = np.empty((n, 3))
    indices = np.empty((n, 3, m), dtype=np.int32)
    for piece in _chunks(n, m):
        one = sources.keep(np.arange(n)[piece])
        ix, iy = np.rint(one.x).astype(np.int64), np.rint(one.y).astype(np.int64)
        index = canvas.indices(ix, iy, window)
        light = psf.evaluate_with_gradient(
            window.ox[None, :] + (ix - one.x)[:, None],
            window.oy[None, :] + (iy - one.y)[:, None],
            one.x, one.y,
        )  # fmt: skip
        w = weight[index]
        r = residual[index] * w
        root = np.sqrt(w)
        for k in range(3):
            vector[piece, k] = np.einsum("nm,nm->n", light[k], r)
            values[piece, k] = light[k] * root
            indices[piece, k] = index
    start = np.arange(0, 3 * n * m + 1, m, dtype=np.int32 if 3 * n * m < 2**31 else np.int64)
    jacobian = csr_array((values.ravel(), indices.ravel(), start), shape=(3 * n, canvas.size))
    return csc_array(jacobian @ jacobian.T), vector.ravel()
