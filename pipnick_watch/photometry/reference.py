"""What does photutils make of the same frame, PSF and detections."""

import warnings
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.modeling import Fittable2DModel, Parameter
from astropy.modeling.fitting import NonFiniteValueError
from astropy.table import Table
from photutils.psf import IterativePSFPhotometry, SourceGrouper

from pipnick_watch.photometry.draw import draw_cores, draw_wings
from pipnick_watch.photometry.measurement import Measurement
from pipnick_watch.photometry.psf import Psf
from pipnick_watch.photometry.state import State
from pipnick_watch.photometry.tabulate import GROUP_FWHM, tabulate

__all__ = ["fit_with_photutils", "tabulate_reference"]

FloatArray = npt.NDArray[np.float64]

NUMBER = count()


def tabulate_reference(state: State) -> Measurement:
    """Fit the sources again with photutils, group by group, and make the tables of that."""
    sources = state.sources
    if len(sources) == 0:
        return tabulate(state)
    with warnings.catch_warnings(record=True) as caught:
        # what photutils has to say is said with the measurement
        warnings.simplefilter("always")
        try:
            table = fit_with_photutils(state)
        except NonFiniteValueError as error:
            own = tabulate(state)
            reason = " ".join(str(error).split())
            gave_up = f"photutils gave up ({reason}): the rows are those of the simultaneous fit"
            return replace(own, warnings=(*own.warnings, gave_up))
    flux, x, y = (np.asarray(table[name], dtype=float) for name in ("flux_fit", "x_fit", "y_fit"))
    errors = np.column_stack(
        [np.asarray(table[name], dtype=float) for name in ("x_err", "y_err", "flux_err")]
    )
    # where photutils gives up, as in saturated cores, the source stays as it was
    good = np.isfinite(errors).all(axis=1) & np.isfinite(flux) & (flux > 0) & ~sources.saturated
    rows = np.flatnonzero(good)
    flags = np.asarray(table["flags"], dtype=np.int64)[rows]
    sources = sources.put(
        rows, x=x[rows], y=y[rows], flux=flux[rows], converged=(flags & 8) == 0,
        near_bound=(flags & 32) > 0,
    )  # fmt: skip
    canvas, scene = state.scene.canvas, state.scene
    model = np.zeros(canvas.size)
    draw_cores(model, canvas, state.psf, sources, state.radius)
    draw_wings((model,), canvas, state.psf, sources, state.radius, scene.rms)
    own_errors = np.where(good[:, None], errors, np.nan)
    measured = tabulate(replace(state, sources=sources, model=model), own_errors)
    said = dict.fromkeys(" ".join(str(one.message).split()) for one in caught)
    return replace(measured, warnings=(*measured.warnings, *said))


def fit_with_photutils(state: State) -> Table:
    """Run ``IterativePSFPhotometry(mode='all')`` on the sources of a measurement.

    Returns
    -------
    Table
        Photutils' own, a row for each source, in their order.
    """
    scene, psf, sources = state.scene, state.psf, state.sources
    canvas = scene.canvas
    variance = scene.sky_variance * state.grain[0] + np.maximum(state.model, 0.0)
    error = np.sqrt(np.maximum(canvas.crop(variance), 1e-12))
    side = 2 * int(np.ceil(state.radius)) + 1
    first = Table({"x": sources.x, "y": sources.y, "flux": sources.flux})
    first["id"] = np.arange(1, len(sources) + 1)

    def finder(data: FloatArray, mask: npt.NDArray[np.bool_] | None = None) -> None:
        """Find nothing: the detections are given."""

    photometry = IterativePSFPhotometry(
        _as_photutils(psf)(), (side, side), finder,
        grouper=SourceGrouper(GROUP_FWHM * psf.fwhm), mode="all", maxiters=1,
        aperture_radius=state.radius, progress_bar=False,
    )  # fmt: skip
    table = photometry(
        canvas.crop(scene.data), mask=canvas.crop(scene.good) == 0, error=error,
        init_params=first,
    )  # fmt: skip
    table.sort("id")
    return table


def _as_photutils(psf: Psf) -> type[Any]:
    """Make the frame's PSF a model that photutils can fit."""

    class FramePsf(Fittable2DModel):  # type: ignore[misc]  # astropy has no types
        """The frame's PSF; it drifts with the source's place."""

        flux = Parameter(default=1.0)
        x_0 = Parameter(default=0.0)
        y_0 = Parameter(default=0.0)

        @staticmethod
        def evaluate(
            x: FloatArray, y: FloatArray, flux: FloatArray, x_0: FloatArray, y_0: FloatArray
        ) -> FloatArray:
            """Light per pixel at x, y."""
            shape = np.broadcast(x, y).shape
            place = np.atleast_1d(np.asarray(x_0, dtype=float)).ravel()[:1]
            row = np.atleast_1d(np.asarray(y_0, dtype=float)).ravel()[:1]
            dx = (np.broadcast_to(x, shape) - place).reshape(1, -1)
            dy = (np.broadcast_to(y, shape) - row).reshape(1, -1)
            return np.asarray(flux * psf.evaluate(dx, dy, place, row).reshape(shape))

    # photutils keeps the models of groups by the name of their PSF: no two frames may share one
    FramePsf.__name__ = f"FramePsf{next(NUMBER)}"
    return FramePsf
