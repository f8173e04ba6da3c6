"""Where are the pixels around each source? Windows of one shape, as indices into a padded frame."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Canvas", "Window", "disk"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """Offsets (ox, oy) of a window's pixels from its central one, shape (m,)."""

    ox: IntArray
    oy: IntArray

    @property
    def reach(self) -> int:
        """Largest offset along an axis."""
        return int(max(np.abs(self.ox).max(), np.abs(self.oy).max()))


def disk(radius: float) -> Window:
    """Make a round window; pixels in the order of the frame's rows."""
    reach = int(np.ceil(radius))
    oy, ox = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = ox**2 + oy**2 <= max(radius, 1.0) ** 2
    return Window(ox=ox[inside].astype(np.int64), oy=oy[inside].astype(np.int64))


@dataclass(frozen=True, kw_only=True, eq=False)
class Canvas:
    """How frames of one shape are padded, so that no window leaves them.

    Attributes
    ----------
    shape : tuple of int
        (ny, nx) of the frame.
    margin : int
        Pixels added on every side.
    """

    shape: tuple[int, int]
    margin: int

    def pad(self, values: npt.NDArray[np.generic]) -> FloatArray:
        """Pad a frame with zeros and flatten it."""
        return np.pad(np.asarray(values, dtype=np.float64), self.margin).ravel()

    def crop(self, flat: FloatArray) -> FloatArray:
        """Undo :meth:`pad`."""
        ny, nx = self.shape
        m = self.margin
        return flat.reshape(ny + 2 * m, nx + 2 * m)[m : m + ny, m : m + nx]

    @property
    def size(self) -> int:
        """Number of padded pixels."""
        return (self.shape[0] + 2 * self.margin) * (self.shape[1] + 2 * self.margin)

    def indices(self, ix: IntArray, iy: IntArray, window: Window) -> IntArray:
        """Index the padded pixels of windows centred on ix, iy: shape (n, m).

        Centres outside the frame are taken at its edge.
        """
        ny, nx = self.shape
        stride = nx + 2 * self.margin
        centre = (iy.clip(0, ny - 1) + self.margin) * stride + ix.clip(0, nx - 1) + self.margin
        return np.asarray(centre[:, None] + (window.oy * stride + window.ox)[None, :])
