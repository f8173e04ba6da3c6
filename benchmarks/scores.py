"""How well does a catalogue tell the truth? Stars, pairs, fluxes and errors of simulated frames."""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from scipy.spatial import cKDTree

from pipnick_watch.photometry import Measurement
from pipnick_watch.photometry.flags import Flag
from pipnick_watch.simulate import SimulatedFrame

__all__ = ["Score", "match", "score_frame"]

SEEN = 0.4
"""A truth star with this share of the threshold explains a detection."""

SPLIT_WITHIN = 1.5
"""FWHM from a star within which a second detection of nothing counts as a split of it."""

GLARE = 4.0
"""FWHM around a saturated star where no completeness is asked for."""

GALAXY = 2.0
"""FWHM from a galaxy's centre within which an EXTENDED detection is the galaxy."""


@dataclass(kw_only=True)
class Score:
    """What was found on one frame or, added up, on several.

    ``bright`` and ``faint`` hold found and asked-for stars above 1.8 and from 1.3 to 1.8 times the
    threshold; ``pairs`` the planted pairs; the arrays hold one entry for each isolated star
    (``excess`` is measured over true flux - 1) or for each frame (``fwhm``, ``seconds``).
    """

    frames: int = 0
    sources: int = 0
    bright: tuple[int, int] = (0, 0)
    faint: tuple[int, int] = (0, 0)
    pairs: tuple[int, int] = (0, 0)
    false: int = 0
    split: int = 0
    excess: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    floor: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    error: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    fwhm: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    seconds: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    notes: list[str] = field(default_factory=list)

    def __add__(self, other: "Score") -> "Score":
        def both(name: str) -> tuple[int, int]:
            one, two = getattr(self, name), getattr(other, name)
            return one[0] + two[0], one[1] + two[1]

        arrays = ("excess", "floor", "error", "fwhm", "seconds")
        return Score(
            frames=self.frames + other.frames,
            sources=self.sources + other.sources,
            false=self.false + other.false,
            split=self.split + other.split,
            notes=self.notes + other.notes,
            **{name: both(name) for name in ("bright", "faint", "pairs")},
            **{n: np.concatenate([getattr(self, n), getattr(other, n)]) for n in arrays},
        )


def match(truth: Table, x: npt.NDArray, y: npt.NDArray, fwhm: float) -> npt.NDArray[np.int64]:
    """Give each true star its detection: brightest first, the nearest that is still free.

    Returns
    -------
    ndarray of int, shape (n_truth,)
        Row of the detection, or -1. A detection counts within half a FWHM (a pixel at least),
        around a saturated star within 1.5 FWHM.
    """
    found = np.full(len(truth), -1)
    if not len(x):
        return found
    tree = cKDTree(np.column_stack([x, y]))
    taken = np.zeros(len(x), dtype=bool)
    for star in np.argsort(-np.asarray(truth["flux"])):
        place = truth["x"][star], truth["y"][star]
        reach = 1.5 * fwhm if truth["saturated"][star] else max(0.5 * fwhm, 1.0)
        near = [one for one in tree.query_ball_point(place, reach) if not taken[one]]
        if near:
            best = min(near, key=lambda one: math.dist(place, tree.data[one]))
            found[star], taken[best] = best, True
    return found


def score_frame(
    frame: SimulatedFrame, measured: Measurement, thresh: float, seconds: float, label: str = ""
) -> Score:
    """Compare one frame's catalogue with the truth.

    The threshold is ``thresh`` times the true noise of the star's central pixel without the star;
    the nominal peak is the highest pixel of the star's noiseless image.
    """
    truth, catalogue = frame.truth, measured.catalogue
    x, y = np.asarray(catalogue["x_fit"]), np.asarray(catalogue["y_fit"])
    ratio = np.asarray(truth["peak"] / (thresh * truth["noise"]))
    usual = ratio >= SEEN
    found = np.full(len(truth), -1)
    found[usual] = match(truth[usual], x, y, frame.fwhm)

    asked = _asked_for(frame)
    single = asked & (truth["pair"] == 0)  # planted pairs have a bar of their own
    bright = single & (ratio >= 1.8)
    faint = single & (ratio >= 1.3) & (ratio < 1.8)
    pairs = [
        np.flatnonzero(truth["pair"] == pair) for pair in set(truth["pair"][truth["pair"] > 0])
    ]
    pairs = [p for p in pairs if len(p) == 2 and _pair_is_plain(frame, p) and ratio[p].min() > 1.3]
    false, split = _unexplained(frame, x, y, found, ratio)
    if frame.settings.galaxy:
        false, split = _with_galaxy(frame, catalogue, false, split)

    radius = float(measured.figures["ref_radius"])
    true = frame.flux_within(radius if math.isfinite(radius) else max(4 * frame.fwhm, 18.9))
    judged = np.flatnonzero(asked & truth["isolated"] & (ratio >= 1.3) & (found >= 0))
    rows = found[judged]
    score = Score(
        frames=1,
        sources=len(catalogue),
        bright=(int((found[bright] >= 0).sum()), int(bright.sum())),
        faint=(int((found[faint] >= 0).sum()), int(faint.sum())),
        pairs=(sum(bool((found[p] >= 0).all()) for p in pairs), len(pairs)),
        false=len(false),
        split=len(split),
        excess=np.asarray(catalogue["flux_psf"])[rows] / true[judged] - 1,
        floor=np.asarray(truth["photon_err"] / truth["flux"])[judged],
        error=np.asarray(catalogue["flux_err"])[rows] / true[judged],
        fwhm=np.array([float(measured.figures["fwhm"]) / frame.fwhm - 1]),
        seconds=np.array([seconds]),
    )
    score.notes += [
        f"{label} missed ({truth['x'][s]:.1f}, {truth['y'][s]:.1f}): {ratio[s]:.2f} × threshold, "
        f"brighter star at {truth['brighter'][s]:.2f} FWHM, others {truth['others'][s]:.0f} "
        f"against peak {truth['peak'][s]:.0f}, masked {truth['masked'][s]:.2f}"
        for s in np.flatnonzero((bright | faint) & (found < 0))
    ]
    score.notes += [
        f"{label} {kind} ({x[d]:.1f}, {y[d]:.1f}): flux {catalogue['flux_psf'][d]:.0f}, "
        f"flags {catalogue['flags'][d]}"
        for kind, those in (("false", false), ("split", split))
        for d in those
    ]
    pull = score.excess / score.error
    score.notes += [
        f"{label} off by {pull[n]:.1f} errors ({100 * score.excess[n]:.1f} %) at "
        f"({truth['x'][s]:.1f}, {truth['y'][s]:.1f}): snr {1 / score.error[n]:.0f}, "
        f"masked {truth['masked'][s]:.2f}, flags {catalogue['flags'][found[s]]}"
        for n, s in enumerate(judged)
        if not abs(pull[n]) <= 3 and 1 / score.error[n] < 90
    ]
    return score


def _asked_for(frame: SimulatedFrame) -> npt.NDArray[np.bool_]:
    """Say which stars must be found if they are bright enough."""
    truth, (rows, columns) = frame.truth, frame.settings.optics.shape
    margin = 5 + frame.fwhm
    inside = (truth["x"] > margin) & (truth["x"] < columns - 1 - margin)
    inside &= (truth["y"] > margin) & (truth["y"] < rows - 1 - margin)
    plain = (truth["brighter"] >= 0.8) & (truth["masked"] < 0.3) & ~truth["saturated"]
    return np.asarray(inside & plain & (_to_saturated(frame) > GLARE * frame.fwhm))


def _to_saturated(frame: SimulatedFrame) -> npt.NDArray[np.float64]:
    """Give the distance of each star from the nearest saturated one, pixels."""
    truth = frame.truth
    places = np.column_stack([truth["x"], truth["y"]])
    full = np.asarray(truth["saturated"], dtype=bool)
    if not full.any():
        return np.full(len(truth), np.inf)
    return np.asarray(cKDTree(places[full]).query(places)[0])


def _pair_is_plain(frame: SimulatedFrame, pair: npt.NDArray[np.int64]) -> bool:
    """Say whether a planted pair is disturbed by nothing but itself."""
    truth = frame.truth[pair]
    own = float(truth["flux"].sum())
    third = max(
        float((1 + n) * f - own) / f
        for n, f in zip(truth["neighbours"], truth["flux"], strict=True)
    )
    far = (_to_saturated(frame)[pair] > GLARE * frame.fwhm).all()
    return bool(third < 0.05 and (truth["masked"] < 0.1).all() and far)


def _with_galaxy(
    frame: SimulatedFrame, catalogue: Table, false: list[int], split: list[int]
) -> tuple[list[int], list[int]]:
    """Leave out the galaxy itself: one detection at its centre that says it is no star.

    Other patches of it, EXTENDED too, are false, and no pieces of the stars that they are near.
    """
    place = frame.settings.galaxy_place
    extended = [one for one in false + split if catalogue["flags"][one] & Flag.EXTENDED]
    split = [one for one in split if one not in extended]
    false = sorted(set(false) | set(extended))
    apart = {
        one: math.dist(place, (catalogue["x_fit"][one], catalogue["y_fit"][one]))
        for one in extended
    }
    itself = min(apart, key=lambda one: apart[one], default=-1)
    if itself >= 0 and apart[itself] < GALAXY * frame.fwhm:
        false.remove(itself)
    return false, split


def _unexplained(
    frame: SimulatedFrame,
    x: npt.NDArray,
    y: npt.NDArray,
    found: npt.NDArray[np.int64],
    ratio: npt.NDArray[np.float64],
) -> tuple[list[int], list[int]]:
    """Sort the detections that are no true star into false ones and pieces of a star.

    Faint stars too close to be told apart, each unseen by itself, explain a detection together.
    """
    truth, fwhm = frame.truth, frame.fwhm
    if not len(truth):
        return list(range(len(x))), []
    tree = cKDTree(np.column_stack([truth["x"], truth["y"]]))
    false, split = [], []
    for one in sorted(set(range(len(x))) - set(found.tolist())):
        near = np.array(tree.query_ball_point((x[one], y[one]), GLARE * fwhm), dtype=int)
        apart = np.hypot(truth["x"][near] - x[one], truth["y"][near] - y[one]) / fwhm
        unseen = near[(apart < 0.8) & (found[near] < 0)]
        if ratio[unseen].sum() >= SEEN:
            continue
        reach = np.where(truth["saturated"][near], GLARE, SPLIT_WITHIN)
        claimed = (found[near] >= 0) & (apart < reach)
        (split if claimed.any() else false).append(one)
    return false, split
