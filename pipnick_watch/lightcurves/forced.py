"""How bright is a star that was not detected, at the place where it must be."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from photutils.aperture import CircularAperture

from pipnick_watch.columns import RADII
from pipnick_watch.errors import FrameError, FrameNotReadyError
from pipnick_watch.frame import Frame, read_frame
from pipnick_watch.settings import Settings

__all__ = ["ForcedFlux", "measure_forced"]

FloatArray = npt.NDArray[np.float64]

SKY_RING = 15.0, 30.0
"""Inner and outer radius of the ring that the sky is taken from, pixels."""


@dataclass(frozen=True, kw_only=True)
class ForcedFlux:
    """Light in each of ``RADII`` around a place, and what a pixel there is like; electrons.

    ``above`` is how far the highest pixel is above the sky, in units of ``bkg_rms``.
    """

    flux: tuple[float, ...]
    peak: float
    bkg_rms: float
    above: float


_known: dict[tuple[str, str, float, float, float], ForcedFlux | None] = {}
_MOST_KNOWN = 20_000


def measure_forced(
    path: Path, name: str, sha256: str, settings: Settings, x: float, y: float
) -> ForcedFlux | None:
    """Measure a place of a frame; what was measured once is remembered.

    Parameters
    ----------
    path : Path
        The frame's file.
    name, sha256 : str
        What the records call it, and the hash of the content that they speak of.
    settings : Settings
    x, y : float
        Pixels, 0-based.

    Returns
    -------
    ForcedFlux or None
        None when the frame is gone, has another content now, or has no good pixels there.
    """
    key = (sha256, settings.fingerprint(), settings.camera.gain, round(x, 3), round(y, 3))
    if key not in _known:
        if len(_known) > _MOST_KNOWN:
            _known.clear()
        try:
            frame = read_frame(path, name, settings)
        except (FrameError, FrameNotReadyError):
            return None
        if frame.sha256 != sha256:
            return None
        _known[key] = _measure(frame, round(x, 3), round(y, 3))
    return _known[key]


def _measure(frame: Frame, x: float, y: float) -> ForcedFlux | None:
    """Sum the light around a place; None where the frame has no good pixels there."""
    rows, columns = frame.data.shape
    reach = int(SKY_RING[1]) + 1
    ix, iy = round(x), round(y)
    if not (0 <= ix < columns and 0 <= iy < rows):
        return None
    left, low = max(ix - reach, 0), max(iy - reach, 0)
    box = np.s_[low : iy + reach + 1, left : ix + reach + 1]
    data, mask = frame.data[box], frame.mask[box]
    v, u = np.mgrid[low : low + data.shape[0], left : left + data.shape[1]]
    away = np.hypot(u - x, v - y)
    ring = data[(away > SKY_RING[0]) & (away < SKY_RING[1]) & ~mask]
    if ring.size < 50:
        return None
    for _ in range(5):
        middle = float(np.median(ring))
        rms = 1.4826 * float(np.median(np.abs(ring - middle)))
        ring = ring[np.abs(ring - middle) <= 3.0 * rms]
    sky = float(ring.mean())
    fluxes = []
    for radius in RADII:
        aperture = CircularAperture((x - left, y - low), radius)
        flux = float(aperture.do_photometry(data - sky)[0][0])
        spoiled = (mask & (away < radius + 0.5)).any() or not _inside(x, y, radius, rows, columns)
        fluxes.append(np.nan if spoiled else flux)
    near = data[(away < 1.6) & ~mask]
    peak = float(near.max()) if near.size else np.nan
    above = (peak - sky) / rms if rms > 0 else np.nan
    return ForcedFlux(flux=tuple(fluxes), peak=peak, bkg_rms=rms, above=above)


def _inside(x: float, y: float, radius: float, rows: int, columns: int) -> bool:
    return radius <= x < columns - radius and radius <= y < rows - radius
