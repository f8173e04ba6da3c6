"""What does ``flags`` of a light curve say? Every bit, its name and its meaning, in one table."""

from enum import IntFlag

__all__ = ["CURVE_FLAGS", "CurveFlag"]


class CurveFlag(IntFlag):
    """Bits of ``flags`` in a light curve: the first ones of the star, the others of the point."""

    TARGET = 1
    CANDIDATE = 2
    VARIABLE = 4
    CHECK = 8
    CLOUDED = 16
    FORCED = 32
    SATURATED = 64
    BLENDED = 128
    NEAR_EDGE = 256
    MASKED = 512
    FEW_COMPARISONS = 1024
    SPOILED = 2048


CURVE_FLAGS: dict[CurveFlag, str] = {
    CurveFlag.TARGET: "the star that [targets] names",
    CurveFlag.CANDIDATE: "no target is named: the star nearest to the header's RA and Dec",
    CurveFlag.VARIABLE: "varies more than its errors, as 1 constant star in 1000 does by chance;"
    " not judged where fewer than 30 % of the frames show it",
    CurveFlag.CHECK: "a constant star as bright as the target, to judge its light curve by",
    CurveFlag.CLOUDED: "the frame lost more than 0.1 mag against the clear part of the night",
    CurveFlag.FORCED: "not detected in this frame: measured at the place where it must be",
    CurveFlag.SATURATED: "the core is saturated in this frame",
    CurveFlag.BLENDED: "blended with a neighbour in this frame",
    CurveFlag.NEAR_EDGE: "too near the edge of this frame",
    CurveFlag.MASKED: "masked pixels in the core in this frame",
    CurveFlag.FEW_COMPARISONS: "fewer than three comparison stars in this frame",
    CurveFlag.SPOILED: "something else is in the light, a cosmic ray, say; the error takes it in",
}
"""Every bit and what it says."""
