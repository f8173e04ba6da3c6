"""One FITS file becomes a :class:`Frame`: the only reader of headers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipnick_watch.camera import Camera

__all__ = ["Frame"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """A reduced frame, ready to be measured.

    Attributes
    ----------
    name : str
        Path below ``reduced/``.
    data : ndarray of float64, shape (ny, nx)
        Electrons; 0 where not finite.
    mask : ndarray of bool, shape (ny, nx)
        True for a pixel to leave out: MASK extension, bad columns, border, not finite.
    uncert : ndarray of float64, shape (ny, nx), or None
        UNCERT as it came, in electrons. It may not be trusted.
    camera : Camera
    object, filter : str
        Cleaned names.
    exptime : float
        Seconds; nan when unknown, as every number here.
    airmass, airmass_mid : float
        As the header has it; computed for mid-exposure.
    mjd_mid, bjd_tdb : float
        Middle of the exposure, MJD UTC and BJD TDB.
    ra, dec : float
        The header's pointing, degrees.
    size, mtime_ns : int
        Of the file.
    sha256 : str
        Of the file's bytes.
    """

    name: str
    data: npt.NDArray[np.float64]
    mask: npt.NDArray[np.bool_]
    uncert: npt.NDArray[np.float64] | None
    camera: Camera
    object: str
    filter: str
    exptime: float
    airmass: float
    airmass_mid: float
    mjd_mid: float
    bjd_tdb: float
    ra: float
    dec: float
    size: int
    mtime_ns: int
    sha256: str

    @property
    def saturation(self) -> float:
        """Level, in electrons, at which the detector clips."""
        return self.camera.saturation * self.camera.gain
