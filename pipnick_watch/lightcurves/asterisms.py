"""Which turns and shifts make the pattern of one frame's bright stars that of another's.

Every pair of stars in one list is held against every pair of equal length in the other; each such
match votes for a turn and a shift. The true one gets a vote from nearly every pair of common
stars, a wrong one only by chance. One camera took both frames, so that the scale is known.
"""

import math

import numpy as np
import numpy.typing as npt

from pipnick_watch.lightcurves.geometry import Mapping2D, turned

__all__ = ["candidate_mappings"]

FloatArray = npt.NDArray[np.float64]

MOST_STARS = 40
SHORTEST = 25.0  # pixels: a short pair does not tell the turn
LENGTH_TOLERANCE = 1.2  # pixels
TURN_BIN = 1.5  # degrees
SHIFT_BIN = 8.0  # pixels
MOST_MATCHES = 60_000


def candidate_mappings(
    x: FloatArray, y: FloatArray, to_x: FloatArray, to_y: FloatArray, most: int = 4
) -> tuple[list[Mapping2D], int]:
    """Find the turns and shifts with the most votes.

    Parameters
    ----------
    x, y, to_x, to_y : ndarray
        Stars of both frames, the brightest first.
    most : int
        How many to give.

    Returns
    -------
    mappings : list of Mapping2D
        The one with the most votes first.
    n_tried : int
        How many were looked at: what a chance agreement has to be judged by.
    """
    here, there = _pairs(x, y), _pairs(to_x, to_y)
    if len(here) == 0 or len(there) == 0:
        return [], 0
    order = np.argsort(there[:, 0], kind="stable")
    there = there[order]
    low = np.searchsorted(there[:, 0], here[:, 0] - LENGTH_TOLERANCE)
    high = np.searchsorted(there[:, 0], here[:, 0] + LENGTH_TOLERANCE)
    counts = high - low
    total = int(counts.sum())
    if total == 0:
        return [], 0
    if total > MOST_MATCHES:  # the pairs of the brightest stars come first
        keep = int(np.searchsorted(np.cumsum(counts), MOST_MATCHES))
        here, low, counts = here[:keep], low[:keep], counts[:keep]
        total = int(counts.sum())
    mine = np.repeat(np.arange(len(here)), counts)
    theirs = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts) + low[mine]
    turn = np.degrees(there[theirs, 1] - here[mine, 1])
    votes = np.concatenate([turn, turn + 180.0]) % 360.0
    mine, theirs = np.tile(mine, 2), np.tile(theirs, 2)
    cosine, sine = np.cos(np.radians(votes)), np.sin(np.radians(votes))
    middle_x, middle_y = here[mine, 2], here[mine, 3]
    # the shift at the middle of the field, where an error of the turn matters least
    pivot = (float(np.mean(x)), float(np.mean(y)))
    off_x, off_y = middle_x - pivot[0], middle_y - pivot[1]
    shift_x = there[theirs, 2] - (cosine * off_x - sine * off_y)
    shift_y = there[theirs, 3] - (sine * off_x + cosine * off_y)
    return _peaks(votes, shift_x, shift_y, pivot, most), total


def _pairs(x: FloatArray, y: FloatArray) -> FloatArray:
    """Give length, direction and middle of each pair of bright stars."""
    x, y = x[:MOST_STARS], y[:MOST_STARS]
    first, second = np.triu_indices(len(x), 1)
    dx, dy = x[second] - x[first], y[second] - y[first]
    length = np.hypot(dx, dy)
    middle_x, middle_y = (x[first] + x[second]) / 2, (y[first] + y[second]) / 2
    pairs = np.stack([length, np.arctan2(dy, dx), middle_x, middle_y], axis=1)
    # the pairs of the brightest stars first
    order = np.argsort(np.maximum(first, second), kind="stable")
    return np.asarray(pairs[order[length[order] > SHORTEST]])


def _peaks(
    turn: FloatArray, shift_x: FloatArray, shift_y: FloatArray, pivot: tuple[float, float],
    most: int,
) -> list[Mapping2D]:  # fmt: skip
    """Find the places where most votes lie close together."""
    found: list[Mapping2D] = []
    left = np.ones(len(turn), dtype=bool)
    for _ in range(most):
        if not left.any():
            break
        best = _densest(turn[left], shift_x[left], shift_y[left])
        near = (
            (np.abs((turn - best[0] + 180) % 360 - 180) < TURN_BIN)
            & (np.abs(shift_x - best[1]) < SHIFT_BIN)
            & (np.abs(shift_y - best[2]) < SHIFT_BIN)
            & left
        )
        if not near.any():
            break
        angle = best[0] + float(np.median((turn[near] - best[0] + 180) % 360 - 180))
        x, y = float(np.median(shift_x[near])), float(np.median(shift_y[near]))
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        found.append(
            turned(angle, x - (c * pivot[0] - s * pivot[1]), y - (s * pivot[0] + c * pivot[1]))
        )
        left &= ~near
    return found


def _densest(
    turn: FloatArray, shift_x: FloatArray, shift_y: FloatArray
) -> tuple[float, float, float]:
    """Give the fullest bin; bins offset by a half see to it that no peak is cut in two."""
    best = (-1, 0.0, 0.0, 0.0)
    for half_turn in (0.0, 0.5):
        for half in (0.0, 0.5):
            angle = np.floor(turn / TURN_BIN + half_turn).astype(np.int64) % round(360 / TURN_BIN)
            i = np.floor(shift_x / SHIFT_BIN + half).astype(np.int64)
            j = np.floor(shift_y / SHIFT_BIN + half).astype(np.int64)
            i0, j0 = int(i.min()), int(j.min())
            width = int(j.max()) - j0 + 1
            deep = int(i.max()) - i0 + 1
            key = (angle * deep + (i - i0)) * width + (j - j0)
            keys, first, counts = np.unique(key, return_index=True, return_counts=True)
            top = int(np.argmax(counts))
            if counts[top] > best[0]:
                inside = key == keys[top]
                at = int(first[top])
                mean = float(np.median((turn[inside] - turn[at] + 180) % 360 - 180))
                x, y = float(np.median(shift_x[inside])), float(np.median(shift_y[inside]))
                best = (int(counts[top]), float(turn[at]) + mean, x, y)
    return best[1], best[2], best[3]
