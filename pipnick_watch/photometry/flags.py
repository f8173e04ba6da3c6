"""What does a row's ``flags`` say? Every bit, its name and its meaning, in one table."""

from dataclasses import dataclass
from enum import IntFlag

__all__ = ["FLAGS", "Flag", "FlagMeaning", "describe"]


class Flag(IntFlag):
    """Bits of ``flags``: photutils' own below 2^16, ours from 2^16 up."""

    N_PIXELS_FIT_PARTIAL = 1
    OUTSIDE_BOUNDS = 2
    NEGATIVE_FLUX = 4
    NO_CONVERGENCE = 8
    NO_COVARIANCE = 16
    NEAR_BOUND = 32
    NO_OVERLAP = 64
    FULLY_MASKED = 128
    TOO_FEW_PIXELS = 256
    NON_FINITE_POSITION = 512
    NON_FINITE_FLUX = 1024
    NON_FINITE_LOCALBKG = 2048
    SATURATED = 1 << 16
    NEAR_EDGE = 1 << 17
    MASKED = 1 << 18
    BLENDED = 1 << 19
    UNDERSAMPLED = 1 << 20
    NO_APCOR = 1 << 21
    PSF_FALLBACK = 1 << 22
    EXTENDED = 1 << 23
    APERTURE_MASKED = 1 << 24


@dataclass(frozen=True)
class FlagMeaning:
    """One bit: its value, its name and what it says."""

    bit: int
    name: str
    meaning: str


_MEANING = {
    Flag.N_PIXELS_FIT_PARTIAL: "some pixels of the fit's window are masked or outside the frame",
    Flag.OUTSIDE_BOUNDS: "the fitted centre is outside the frame",
    Flag.NEGATIVE_FLUX: "the fitted flux is not positive",
    Flag.NO_CONVERGENCE: "the fit may not have converged",
    Flag.NO_COVARIANCE: "the fit gave no covariance",
    Flag.NEAR_BOUND: "the centre walked as far from the first guess as it may",
    Flag.NO_OVERLAP: "the fit's window does not overlap the frame",
    Flag.FULLY_MASKED: "every pixel of the fit's window is masked",
    Flag.TOO_FEW_PIXELS: "too few pixels are left for the fit",
    Flag.NON_FINITE_POSITION: "the fitted centre is not finite",
    Flag.NON_FINITE_FLUX: "the fitted flux is not finite",
    Flag.NON_FINITE_LOCALBKG: "the local background is not finite",
    Flag.SATURATED: "the core is saturated: position and flux come from the wings",
    Flag.NEAR_EDGE: "the fit's window reaches the border of the frame",
    Flag.MASKED: "masked pixels within one FWHM of the centre",
    Flag.BLENDED: "another source within 2 FWHM has more than a tenth of its flux",
    Flag.UNDERSAMPLED: "the frame's FWHM is below 2.5 pixels: the PSF is integrated over pixels",
    Flag.NO_APCOR: "fewer than three stars gave the aperture correction of this frame",
    Flag.PSF_FALLBACK: "no star of this frame showed its PSF: a standard shape was used",
    Flag.EXTENDED: "broader than the PSF beyond doubt: a galaxy, in one row, or a close pair",
    Flag.APERTURE_MASKED: "masked pixels hold more than 10 % of an aperture's light: it is nan",
}

FLAGS: tuple[FlagMeaning, ...] = tuple(
    FlagMeaning(bit=int(flag), name=str(flag.name), meaning=_MEANING[flag]) for flag in Flag
)
"""Every bit that ``flags`` can have, in order."""


def describe(flags: int) -> list[str]:
    """Name the bits that are set.

    Raises
    ------
    ValueError
        A bit that no flag has is set.
    """
    known = sum(one.bit for one in FLAGS)
    if flags < 0 or flags & ~known:
        raise ValueError(f"flags = {flags}: has bits that no flag has")
    return [one.name for one in FLAGS if flags & one.bit]
