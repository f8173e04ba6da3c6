"""What is known of each source while the frame is being measured, and what it is fitted to."""

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from pipnick_watch.photometry.stamps import Canvas

__all__ = ["Scene", "Sources", "new_sources"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sources:
    """Sources of a frame, each array of shape (n,).

    Attributes
    ----------
    x, y, flux : ndarray
        Pixels, electrons.
    x_first, y_first : ndarray
        Where each was detected: it may not walk farther than its bound from there.
    iteration : ndarray of int
        Detection pass, from 1.
    core : ndarray
        Radius of the saturated core, 0 for a star that is not saturated.
    converged, near_bound : ndarray of bool
    major, minor, shape_err : ndarray
        How much broader than the PSF, see :mod:`shape`; nan where not measured yet.
    """

    x: FloatArray
    y: FloatArray
    flux: FloatArray
    x_first: FloatArray
    y_first: FloatArray
    iteration: IntArray
    core: FloatArray
    converged: BoolArray
    near_bound: BoolArray
    major: FloatArray
    minor: FloatArray
    shape_err: FloatArray

    def __len__(self) -> int:
        """Count the sources."""
        return len(self.x)

    def keep(self, which: npt.NDArray[np.generic] | slice) -> "Sources":
        """Select sources."""
        return Sources(**{one.name: getattr(self, one.name)[which] for one in fields(self)})

    def join(self, other: "Sources") -> "Sources":
        """Append other sources."""
        return Sources(
            **{
                one.name: np.concatenate([getattr(self, one.name), getattr(other, one.name)])
                for one in fields(self)
            }
        )

    def put(self, rows: IntArray, **values: npt.NDArray[np.generic]) -> "Sources":
        """Replace some values of some sources."""
        changed = {}
        for name, value in values.items():
            changed[name] = getattr(self, name).copy()
            changed[name][rows] = value
        return replace(self, **changed)

    @property
    def saturated(self) -> BoolArray:
        """Which are saturated."""
        return np.asarray(self.core > 0.0)

    @property
    def pixel(self) -> tuple[IntArray, IntArray]:
        """Nearest pixel of each, ix and iy."""
        return np.rint(self.x).astype(np.int64), np.rint(self.y).astype(np.int64)


def new_sources(
    x: FloatArray, y: FloatArray, flux: FloatArray, iteration: int, core: FloatArray | None = None
) -> Sources:
    """Make sources of places and fluxes."""
    n = len(x)
    return Sources(
        x=x, y=y, flux=flux, x_first=x, y_first=y,
        iteration=np.full(n, iteration, dtype=np.int64),
        core=np.zeros(n) if core is None else core, converged=np.zeros(n, dtype=bool),
        near_bound=np.zeros(n, dtype=bool), major=np.full(n, np.nan), minor=np.full(n, np.nan),
        shape_err=np.full(n, np.nan),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """What is fitted: padded and flat, see :class:`Canvas`.

    Attributes
    ----------
    canvas : Canvas
    data : ndarray
        Electrons above the sky, 0 where masked.
    sky_variance : ndarray
        Of a pixel without sources.
    good : ndarray of bool
        Pixels that count.
    rms : float
        Typical noise of a sky pixel.
    """

    canvas: Canvas
    data: FloatArray
    sky_variance: FloatArray
    good: BoolArray
    rms: float
