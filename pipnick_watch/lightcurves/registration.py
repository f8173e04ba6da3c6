"""Which star is which, in all frames of an object.

The frames are taken one after the other, outwards in time from a reference; each is matched to
the stars known so far, and then adds its own. So a field may drift away until nothing of the
reference is left. The order is a function of the set of frames, and so is all that follows.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.special import bdtrc

from pipnick_watch.lightcurves.asterisms import candidate_mappings
from pipnick_watch.lightcurves.geometry import Mapping2D, fit_mapping, turned
from pipnick_watch.lightcurves.pairing import mutual, nearest
from pipnick_watch.lightcurves.spots import MOVED, fixed_spots, usable_sources
from pipnick_watch.lightcurves.starlist import StarList

__all__ = ["Registration", "register"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FIRST_FRAMES = 10
"""The reference is the best of the first frames, so that a growing night seldom changes it."""

FAR, NEAR = 8.0, 1.5
"""Pixels: how far a first guess may be off, and how far a star may lie from where it should."""

CHANCE = 1e-3
"""Probability that a frame without any star in common is matched all the same."""

LEAST_SHARE = 0.3
"""Of the sources that fixed spots explain, the share that the sky must explain to be believed."""

SEPARATION = 3.0 / 3600
"""Degrees: how far two positions of one star on the sky may differ."""


class Registration:
    """The stars of an object, and who they are in each frame.

    Attributes
    ----------
    frames : list of StarList
        As taken in.
    mappings : list of Mapping2D or None
        From each frame's pixels to the reference's; None when the frame could not be matched.
    members : list of ndarray of int
        For each frame the star of each source; -1 for none.
    """

    def __init__(self) -> None:
        self.frames: list[StarList] = []
        self.mappings: list[Mapping2D | None] = []
        self.members: list[IntArray] = []
        self._x = np.empty(0)
        self._y = np.empty(0)
        self._seen = np.empty(0)
        self._flux = np.empty(0)
        self._ra = np.empty(0)
        self._dec = np.empty(0)

    @property
    def keys(self) -> list[tuple[str, str]]:
        """What was taken in, in order."""
        return [(one.frame, one.digest) for one in self.frames]

    @property
    def places(self) -> tuple[FloatArray, FloatArray]:
        """Places of the stars in the reference's pixels."""
        return self._x, self._y

    @property
    def seen(self) -> FloatArray:
        """How many frames show each star."""
        return self._seen

    @property
    def flux(self) -> FloatArray:
        """How bright the stars were when they were first seen, electrons."""
        return self._flux

    @property
    def sky(self) -> tuple[FloatArray, FloatArray]:
        """RA and Dec of the stars, degrees; nan where no solution gave them."""
        return self._ra, self._dec

    @property
    def n_matched(self) -> int:
        """How many frames were matched."""
        return sum(one is not None for one in self.mappings)

    def take(self, stars: StarList, usable: npt.NDArray[np.bool_]) -> None:
        """Match one more frame, and add the stars that it shows for the first time."""
        mapping = turned(0.0, 0.0, 0.0) if not self.frames else self._match(stars, usable)
        members = np.full(len(stars), -1, dtype=np.int64)
        if mapping is not None:
            self._assign(stars, usable, mapping, members)
        self.frames.append(stars)
        self.mappings.append(mapping)
        self.members.append(members)

    def _match(self, stars: StarList, usable: npt.NDArray[np.bool_]) -> Mapping2D | None:
        """Find the mapping of a frame, or None when none is beyond chance."""
        bright = _brightest(stars.flux[:, 0], usable)
        if len(bright) < 2 or len(self._x) < 2:
            return None
        x, y = stars.x[bright], stars.y[bright]
        last = next((one for one in reversed(self.mappings) if one is not None), None)
        guesses: list[tuple[Mapping2D, int]] = []  # how many were tried; 0: no star was needed
        solved = self._by_position(stars, usable)
        if solved is not None:
            guesses.append((solved, 0))
        around = self._known_around(last)
        found, n_tried = candidate_mappings(x, y, self._x[around], self._y[around])
        guesses += [(one, max(n_tried, 1)) for one in found]
        if last is not None:
            guesses.append((last, 0))
        fitted = [one for guess, n in guesses if (one := self._refine(x, y, guess, n)) is not None]
        if not fitted:
            return None
        # Detectors have fixed spots, the sky moves: where both patterns are beyond chance, the one
        # that does not stand still is the sky. In a cluster a few stars agree anywhere, though:
        # a sky that moves must bring together a fair share of what standing still does.
        most = max(one[0] for one in fitted)
        moving = [
            one for one in fitted if one[0] > LEAST_SHARE * most and _motion(one[1], x, y) > MOVED
        ]
        return max(moving or fitted, key=lambda one: one[0])[1]

    def _known_around(self, last: Mapping2D | None) -> IntArray:
        """Give the brightest known stars near the field of the latest frame."""
        order = np.argsort(-self._flux, kind="stable")
        lasting = order[self._seen[order] > 1] if len(self.frames) > 3 else order
        if last is None or len(lasting) <= 40:
            return lasting
        stars = self.frames[-1]
        x, y = last(stars.x, stars.y)
        if len(x) < 5:
            return lasting
        margin = 100.0
        inside = np.asarray(
            (self._x[lasting] > x.min() - margin) & (self._x[lasting] < x.max() + margin)
            & (self._y[lasting] > y.min() - margin) & (self._y[lasting] < y.max() + margin)
        )  # fmt: skip
        return lasting[inside] if inside.sum() >= 5 else lasting

    def _by_position(self, stars: StarList, usable: npt.NDArray[np.bool_]) -> Mapping2D | None:
        """Guess the mapping from positions on the sky, where both have them."""
        here = np.flatnonzero(usable & np.isfinite(stars.ra))
        there = np.flatnonzero(np.isfinite(self._ra))
        if len(here) < 3 or len(there) < 3:
            return None
        tree = cKDTree(_on_sphere(self._ra[there], self._dec[there]))
        away, index = nearest(tree, _on_sphere(stars.ra[here], stars.dec[here]))
        near = away < math.radians(SEPARATION)
        if near.sum() < 3:
            return None
        here, there = here[near], there[index[near]]
        return fit_mapping(stars.x[here], stars.y[here], self._x[there], self._y[there], n_free=20)

    def _refine(
        self, x: FloatArray, y: FloatArray, guess: Mapping2D, n_tried: int
    ) -> tuple[int, Mapping2D] | None:
        """Fit a mapping to the stars that it brings together; None when chance explains them."""
        tree = cKDTree(np.stack([self._x, self._y], axis=1))
        mapping = guess
        mine = theirs = np.empty(0, dtype=np.int64)
        for reach, n_free in ((FAR, 2), (FAR / 2, 8), (NEAR * 1.5, 29), (NEAR, 99), (NEAR, 99)):
            mine, theirs = mutual(tree, *mapping(x, y), reach)
            if len(mine) < 2:
                return None
            mapping = fit_mapping(x[mine], y[mine], self._x[theirs], self._y[theirs], n_free)
        mine, theirs = mutual(tree, *mapping(x, y), NEAR)
        area = max(float(np.ptp(x)) * float(np.ptp(y)), 1e4)
        mapped_x, mapped_y = mapping(x, y)
        near_field = (
            (self._x > mapped_x.min() - 5) & (self._x < mapped_x.max() + 5)
            & (self._y > mapped_y.min() - 5) & (self._y < mapped_y.max() + 5)
        )  # fmt: skip
        share = min(0.5, int(near_field.sum()) * math.pi * NEAR**2 / area)
        if n_tried:  # two stars are what the guess was made of
            chance = float(bdtrc(len(mine) - 3, max(len(x) - 2, 1), share)) * n_tried
        else:
            share = min(0.5, share * (FAR / NEAR) ** 2)
            chance = float(bdtrc(len(mine) - 1, len(x), share))
        enough = len(mine) >= (3 if n_tried else 2)
        return (len(mine), mapping) if enough and chance < CHANCE else None

    def _assign(
        self, stars: StarList, usable: npt.NDArray[np.bool_], mapping: Mapping2D,
        members: IntArray,
    ) -> None:  # fmt: skip
        """Name the sources, and make new stars of those that are nobody."""
        rows = np.flatnonzero(usable)
        x, y = mapping(stars.x[rows], stars.y[rows])
        reach = max(NEAR, 0.35 * stars.fwhm) if math.isfinite(stars.fwhm) else NEAR
        if len(self._x):
            tree = cKDTree(np.stack([self._x, self._y], axis=1))
            mine, theirs = mutual(tree, x, y, reach)
            members[rows[mine]] = theirs
            n = self._seen[theirs]
            self._x[theirs] += (x[mine] - self._x[theirs]) / (n + 1)
            self._y[theirs] += (y[mine] - self._y[theirs]) / (n + 1)
            self._seen[theirs] += 1
            for mine_of, kept in ((stars.ra, self._ra), (stars.dec, self._dec)):
                fresh = ~np.isfinite(kept[theirs])
                kept[theirs[fresh]] = mine_of[rows[mine[fresh]]]
        new = members[rows] < 0
        first = len(self._x)
        members[rows[new]] = first + np.arange(int(new.sum()))
        self._x = np.concatenate([self._x, x[new]])
        self._y = np.concatenate([self._y, y[new]])
        self._seen = np.concatenate([self._seen, np.ones(int(new.sum()))])
        self._flux = np.concatenate([self._flux, stars.flux[rows[new], 0]])
        self._ra = np.concatenate([self._ra, stars.ra[rows[new]]])
        self._dec = np.concatenate([self._dec, stars.dec[rows[new]]])


def register(
    frames: Sequence[StarList], before: Registration | None = None
) -> tuple[Registration, Registration]:
    """Match all frames of an object.

    Parameters
    ----------
    frames : sequence of StarList
        In the order of time.
    before : Registration, optional
        An earlier second result: where the first frames would give it again, it is carried on.

    Returns
    -------
    result : Registration
    carry : Registration
        What a later call may go on from.
    """
    best = Registration()
    for start in range(0, len(frames), FIRST_FRAMES):
        first = frames[start : start + FIRST_FRAMES]
        done = _run(_outwards(frames, start + _best_of(first)), None, before)
        if done.n_matched > best.n_matched:
            best = done
        # only where most frames show something else than the reference is another one tried
        if best.n_matched >= 0.5 * len(frames) or start >= 5 * FIRST_FRAMES:
            break
    spots = fixed_spots(best.frames, best.mappings)
    return (best if spots is None else _run(best.frames, spots, None)), best


def _run(
    order: Sequence[StarList], spots: cKDTree | None, before: Registration | None
) -> Registration:
    done = Registration()
    keys = [(one.frame, one.digest) for one in order]
    if before is not None and before.keys == keys[: len(before.frames)]:
        done = before
    for stars in order[len(done.frames) :]:
        done.take(stars, usable_sources(stars, spots))
    return done


def _best_of(frames: Sequence[StarList]) -> int:
    """Choose the sharpest of the frames that show at least the median number of sources."""
    enough = float(np.median([len(one) for one in frames]))
    ranks = [
        (len(one) < enough, one.fwhm if math.isfinite(one.fwhm) else math.inf, one.frame)
        for one in frames
    ]
    return ranks.index(min(ranks))


def _outwards(frames: Sequence[StarList], start: int) -> list[StarList]:
    """Order the frames: the reference, those before it, backwards, and those after it."""
    return [frames[start], *reversed(frames[:start]), *frames[start + 1 :]]


def _brightest(flux: FloatArray, usable: npt.NDArray[np.bool_]) -> IntArray:
    order = np.argsort(-np.where(usable, flux, -np.inf), kind="stable")
    return order[: int(usable.sum())][:200].astype(np.int64)


def _motion(mapping: Mapping2D, x: FloatArray, y: FloatArray) -> float:
    """Give how far a mapping moves the stars in the median, pixels."""
    to_x, to_y = mapping(x, y)
    return float(np.median(np.hypot(to_x - x, to_y - y)))


def _on_sphere(ra: FloatArray, dec: FloatArray) -> FloatArray:
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
