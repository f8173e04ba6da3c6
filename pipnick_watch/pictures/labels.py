"""Where the labels of sources go, so that they cover neither stars nor each other."""

import numpy as np
import numpy.typing as npt

__all__ = ["place_labels"]

FloatArray = npt.NDArray[np.float64]

# Right first: that is where a reader looks; then the other sides, then further out.
_ANGLES = np.deg2rad(
    [0.0, 35.0, -35.0, 180.0, 145.0, -145.0, 90.0, -90.0, 62.0, -62.0, 118.0, -118.0]
)
_DISTANCES = (0.0, 10.0, 22.0, 38.0, 60.0, 90.0)


def place_labels(
    chosen: npt.NDArray[np.int64],
    sizes: FloatArray,
    places: FloatArray,
    radii: FloatArray,
    field: tuple[float, float],
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Find a place for each label, the first ones choosing first.

    Parameters
    ----------
    chosen : ndarray of int, shape (n,)
        Which of the marks are labelled.
    sizes : ndarray, shape (n, 2)
        Width and height of the labels.
    places : ndarray, shape (m, 2)
        Centres of all marks, x and y in pixels of the screen.
    radii : ndarray, shape (m,)
        Of the marks.
    field : tuple of float
        Width and height of the field; labels stay inside.

    Returns
    -------
    centres : ndarray, shape (n, 2)
        Of the labels.
    distant : ndarray of bool, shape (n,)
        True where a label stands so far off that it needs a line.
    """
    centres = np.zeros((len(chosen), 2))
    distant = np.zeros(len(chosen), dtype=bool)
    reach = _DISTANCES[-1] + 2.0 * np.max(radii, initial=0.0) + 2.0 * np.max(sizes, initial=0.0)
    for index, (mark, size) in enumerate(zip(chosen, sizes, strict=True)):
        half = size / 2.0
        tried, far = _candidates(places[mark], half, radii[mark])
        inside = np.clip(tried, half, np.maximum(np.array(field) - half, half))
        cost = 0.015 * far + 3.0 * np.abs(inside - tried).sum(axis=1) / size[1]

        apart = np.abs(inside[:, None, :] - centres[None, :index, :])
        overlap = np.clip(half + sizes[:index] / 2.0 - apart, 0.0, None).prod(axis=2)
        cost += 8.0 * overlap.sum(axis=1) / size.prod()

        near = (np.abs(places - places[mark]) < reach).all(axis=1)
        gap = np.clip(np.abs(inside[:, None, :] - places[near]) - half, 0.0, None)
        depth = np.clip(1.0 - np.hypot(gap[..., 0], gap[..., 1]) / radii[near], 0.0, None)
        cost += 1.5 * depth.sum(axis=1)

        best = int(np.argmin(cost))
        centres[index] = inside[best]
        distant[index] = far[best] > 0.0
    return centres, distant


def _candidates(
    point: FloatArray, half: FloatArray, radius: float
) -> tuple[FloatArray, FloatArray]:
    """List centres around a mark at which a label just does not touch it, and further out."""
    directions = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
    centres, far = [], []
    for distance in _DISTANCES:
        clear = radius + 1.0 + distance
        centres.append(point + directions * clear + np.sign(np.round(directions, 6)) * half)
        far.append(np.full(len(directions), distance))
    return np.concatenate(centres), np.concatenate(far)
