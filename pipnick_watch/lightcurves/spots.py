"""Which sources are spots of the detector: hot pixels stand still while the sky moves."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from pipnick_watch.lightcurves.geometry import Mapping2D
from pipnick_watch.lightcurves.pairing import nearest
from pipnick_watch.lightcurves.starlist import StarList

__all__ = ["MOVED", "fixed_spots", "usable_sources"]

MOVED = 3.0
"""Pixels that the sky must have moved for anything to stand still against it."""

STILL = 0.7
"""Pixels: a source that stays this close to its pixel while the sky moves is no star."""

ENOUGH = 60
"""Frames, spread over the night, that sources which stand still are looked for in."""


def usable_sources(stars: StarList, spots: cKDTree | None) -> npt.NDArray[np.bool_]:
    """Tell which sources may be stars: with a place, some light, and on no fixed spot."""
    good = np.isfinite(stars.x) & np.isfinite(stars.y) & (stars.flux[:, 0] > 0)
    if spots is not None and len(stars):
        away, _ = nearest(spots, np.stack([stars.x, stars.y], axis=1))
        good &= away > STILL
    return good


def fixed_spots(frames: Sequence[StarList], mappings: Sequence[Mapping2D | None]) -> cKDTree | None:
    """Find the pixels that light up in many frames while the sky moves.

    Parameters
    ----------
    frames : sequence of StarList
    mappings : sequence of Mapping2D or None
        From each frame's pixels to those of the reference.

    Returns
    -------
    cKDTree or None
        None where the sky has not moved, or nothing stood still.
    """
    matched = [
        (stars, mapping)
        for stars, mapping in zip(frames, mappings, strict=True)
        if mapping is not None and len(stars)
    ]
    if len(matched) < 5:
        return None
    shifts = np.array([mapping.corner for _, mapping in matched])
    if np.hypot(*np.ptp(shifts, axis=0)) < 2 * MOVED:
        return None
    step = -(-len(matched) // ENOUGH)
    matched, shifts = matched[::step], shifts[::step]
    places = np.concatenate([np.stack([one.x, one.y], axis=1) for one, _ in matched])
    shift = np.concatenate([np.repeat(shifts[[k]], len(one), axis=0)
                            for k, (one, _) in enumerate(matched)])  # fmt: skip
    tree = cKDTree(places)
    counts = tree.query_ball_point(places, STILL / 2, return_length=True)
    spots = []
    for row in np.flatnonzero(counts >= max(5, 0.3 * len(matched))):
        near = tree.query_ball_point(places[row], STILL / 2)
        if np.hypot(*np.ptp(shift[near], axis=0)) > 2 * MOVED:
            spots.append(places[row])
    return cKDTree(np.array(spots)) if spots else None
