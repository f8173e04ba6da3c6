"""What a source picture shows, small enough to be sent to whoever draws it.

Nothing is drawn here and matplotlib is not loaded: a worker makes this from what it measured, and
the drawing happens later, off the path between a frame and its rows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.visualization import ZScaleInterval

from pipnick_watch.frame import Frame
from pipnick_watch.photometry.flags import Flag
from pipnick_watch.photometry.measurement import Measurement, PsfView
from pipnick_watch.settings import Settings

__all__ = ["FLAGGED", "GROUPED", "LARGEST", "SATURATED_STAR", "SINGLE", "UNMARKED"]
__all__ += ["USUAL_FWHM", "WHOLE_FRAME"]
__all__ += [
    "FrameFacts",
    "SourcePicture",
    "frame_facts",
    "prepare_picture",
    "source_kinds",
    "zscale_limits",
]

LARGEST = 1100
"""Longest side, in pixels, of the image that is kept; a larger frame is averaged in blocks."""

USUAL_FWHM = 4.0
"""Pixels, where the frame shows none: only sizes on the picture depend on it."""

SINGLE, GROUPED, FLAGGED, SATURATED_STAR = range(4)
"""How a source is marked; of several reasons the last one counts."""

WHOLE_FRAME = Flag.UNDERSAMPLED | Flag.NO_APCOR | Flag.PSF_FALLBACK
"""Flags that every source of a frame has or none."""

# What the mark of a group says already, or that a bad column crosses the far wings: marking it
# would hide the sources that need a look.
UNMARKED = WHOLE_FRAME | Flag.BLENDED | Flag.N_PIXELS_FIT_PARTIAL


@dataclass(frozen=True, kw_only=True)
class FrameFacts:
    """What the title of a picture says.

    Attributes
    ----------
    name, object, filter : str
    mjd_mid, exptime, airmass : float
        As in the catalogue; nan when unknown.
    plate_scale : float
        Arcseconds per pixel.
    thresh : float
        The detection threshold, in standard deviations.
    figures : mapping
        ``Measurement.figures``.
    warnings : tuple of str
    """

    name: str
    object: str
    filter: str
    mjd_mid: float
    exptime: float
    airmass: float
    plate_scale: float
    thresh: float
    figures: Mapping[str, float | int | str]
    warnings: tuple[str, ...]

    def figure(self, name: str) -> float:
        """Return one of the figures, nan when it is not known."""
        return float(self.figures.get(name, math.nan))

    @property
    def fwhm(self) -> float:
        """Pixels; nan when no star showed it and the figure is a mere assumption."""
        return self.figure("fwhm") if self.figure("n_psf") > 0 else math.nan


@dataclass(frozen=True, kw_only=True, eq=False)
class SourcePicture:
    """A frame and its sources, ready to be drawn.

    Attributes
    ----------
    facts : FrameFacts
    image : ndarray of uint8, shape (ny, nx)
        The frame between ``low`` and ``high``, averaged in blocks of pixels.
    low, high : float
        Electrons per pixel at 0 and 255.
    mask_bits : ndarray of uint8
        ``np.packbits`` of the mask of ``image``.
    blocks : tuple of int
        Height and width of the blocks.
    shape : tuple of int
        The frame's own, (ny, nx).
    x, y, flux : ndarray, shape (n,)
        Frame pixels and electrons, the brightest source first.
    ids, flags, group_id, group_size, iter_detected, kinds : ndarray of int, shape (n,)
        ``kinds`` holds SINGLE, GROUPED, FLAGGED or SATURATED_STAR.
    psf : PsfView or None
    """

    facts: FrameFacts
    image: npt.NDArray[np.uint8]
    low: float
    high: float
    mask_bits: npt.NDArray[np.uint8]
    blocks: tuple[int, int]
    shape: tuple[int, int]
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    flux: npt.NDArray[np.float64]
    ids: npt.NDArray[np.int64]
    flags: npt.NDArray[np.int64]
    group_id: npt.NDArray[np.int64]
    group_size: npt.NDArray[np.int64]
    iter_detected: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.int64]
    psf: PsfView | None

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """True where a pixel of ``image`` was left out."""
        bits = np.unpackbits(self.mask_bits, count=self.image.size)
        return bits.astype(bool).reshape(self.image.shape)


def prepare_picture(frame: Frame, measurement: Measurement, settings: Settings) -> SourcePicture:
    """Take from a measured frame what its source picture needs.

    Parameters
    ----------
    frame : Frame
    measurement : Measurement
        What ``photometry.measure`` made of this frame.
    settings : Settings

    Returns
    -------
    SourcePicture
        About 1.2 MB for a frame of 1024 × 1024, and never much more.
    """
    ny, nx = frame.data.shape
    block = -(-max(ny, nx) // LARGEST)
    blocks = (min(block, ny), min(block, nx))
    image = _block_means(frame.data, blocks)
    mask = _block_means(frame.mask, blocks) >= 0.5
    low, high = zscale_limits(image[~mask])
    grey = np.clip((image - low) / (high - low), 0.0, 1.0)

    table = measurement.catalogue
    x, y, flux = (np.asarray(table[name], float) for name in ("x_fit", "y_fit", "flux_psf"))
    ids, flags, group_id, group_size, iter_detected = (
        np.asarray(table[name], np.int64)
        for name in ("id", "flags", "group_id", "group_size", "iter_detected")
    )
    order = np.argsort(-flux, kind="stable")
    order = order[np.isfinite(x + y)[order]]
    return SourcePicture(
        facts=frame_facts(frame, measurement, settings),
        image=np.rint(grey * 255.0).astype(np.uint8),
        low=low,
        high=high,
        mask_bits=np.packbits(mask),
        blocks=blocks,
        shape=(ny, nx),
        x=x[order],
        y=y[order],
        flux=flux[order],
        ids=ids[order],
        flags=flags[order],
        group_id=group_id[order],
        group_size=group_size[order],
        iter_detected=iter_detected[order],
        kinds=source_kinds(flags, group_size)[order],
        psf=measurement.psf,
    )


def frame_facts(frame: Frame, measurement: Measurement, settings: Settings) -> FrameFacts:
    """Collect what the titles of this frame's pictures say."""
    return FrameFacts(
        name=frame.name,
        object=frame.object,
        filter=frame.filter,
        mjd_mid=frame.mjd_mid,
        exptime=frame.exptime,
        airmass=frame.airmass,
        plate_scale=frame.camera.plate_scale,
        thresh=settings.photometry.thresh,
        figures=dict(measurement.figures),
        warnings=(*frame.warnings, *measurement.warnings),
    )


def source_kinds(
    flags: npt.NDArray[np.int64], group_size: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Say how each source is marked: single, in a group, flagged, or saturated."""
    kinds = np.where(group_size > 1, GROUPED, SINGLE)
    kinds[(flags & ~int(UNMARKED)) != 0] = FLAGGED
    kinds[(flags & int(Flag.SATURATED)) != 0] = SATURATED_STAR
    return kinds


def zscale_limits(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the limits, low < high, that show sky and faint stars; (0, 1) without values."""
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(limit) for limit in ZScaleInterval().get_limits(values))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _block_means(image: npt.NDArray[Any], blocks: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Average blocks of pixels; what does not fill a block at the far edges is left out."""
    if blocks == (1, 1):
        return image.astype(np.float64, copy=False)
    rows, columns = (side // block for side, block in zip(image.shape, blocks, strict=True))
    whole = image[: rows * blocks[0], : columns * blocks[1]]
    bands = whole.reshape(rows, blocks[0], -1).sum(axis=1, dtype=np.float64)
    sums = bands.reshape(rows, columns, blocks[1]).sum(axis=2)
    means: npt.NDArray[np.float64] = sums / (blocks[0] * blocks[1])
    return means
