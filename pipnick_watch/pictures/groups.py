"""What the pictures of a frame's groups show: the frame, and a cut-out of every group."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipnick_watch.frame import Frame
from pipnick_watch.photometry.measurement import Measurement
from pipnick_watch.pictures.picture import USUAL_FWHM, SourcePicture, prepare_picture
from pipnick_watch.settings import Settings

__all__ = ["GroupSheets", "GroupStamp", "prepare_groups"]


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupStamp:
    """The surroundings of one group.

    Attributes
    ----------
    group_id : int
    data, model : ndarray of float32, shape (ny, nx)
        Electrons per pixel, sky taken off; their difference is the residual.
    x0, y0 : int
        Frame pixel of ``data[0, 0]``.
    noise : float
        Of a pixel of sky, electrons.
    ids : ndarray of int, shape (n,)
    x, y, flux : ndarray, shape (n,)
        The members, the brightest first: frame pixels and electrons.
    """

    group_id: int
    data: npt.NDArray[np.float32]
    model: npt.NDArray[np.float32]
    x0: int
    y0: int
    noise: float
    ids: npt.NDArray[np.int64]
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    flux: npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupSheets:
    """A frame's sources and groups, ready to be drawn."""

    overview: SourcePicture
    stamps: tuple[GroupStamp, ...]


def prepare_groups(frame: Frame, measurement: Measurement, settings: Settings) -> GroupSheets:
    """Cut out every group of two sources or more.

    Parameters
    ----------
    frame : Frame
    measurement : Measurement
        What ``photometry.measure`` made of this frame.
    settings : Settings

    Returns
    -------
    GroupSheets
        Plain data that a worker can send: about 10 kB for each group.
    """
    overview = prepare_picture(frame, measurement, settings)
    fwhm = overview.facts.fwhm
    margin = 2.5 * (fwhm if fwhm > 0.0 else USUAL_FWHM)
    noise = overview.facts.figure("sky_rms")
    members = np.flatnonzero(overview.group_size > 1)
    members = members[np.argsort(overview.group_id[members], kind="stable")]
    starts = np.flatnonzero(np.diff(overview.group_id[members], prepend=-1))
    stamps = [
        _cut(frame, measurement, overview, one, margin, noise)
        for one in np.split(members, starts[1:])
        if len(one) > 1
    ]
    return GroupSheets(overview=overview, stamps=tuple(stamps))


def _cut(
    frame: Frame,
    measurement: Measurement,
    sources: SourcePicture,
    members: npt.NDArray[np.int64],
    margin: float,
    noise: float,
) -> GroupStamp:
    """Cut a square around a group, smaller where the frame ends."""
    x, y = sources.x[members], sources.y[members]
    centre = np.array([x.min() + x.max(), y.min() + y.max()]) / 2.0
    half = max(np.ptp(x), np.ptp(y)) / 2.0 + margin
    last = np.array(frame.data.shape)[::-1] - 1
    x0, y0 = np.clip(np.rint(centre - half).astype(int), 0, last)
    x1, y1 = np.clip(np.rint(centre + half).astype(int), 0, last) + 1
    window = np.s_[y0:y1, x0:x1]
    return GroupStamp(
        group_id=int(sources.group_id[members[0]]),
        data=(frame.data[window] - measurement.background[window]).astype(np.float32),
        model=measurement.model[window].astype(np.float32),
        x0=int(x0),
        y0=int(y0),
        noise=noise,
        ids=sources.ids[members],
        x=x,
        y=y,
        flux=sources.flux[members],
    )
