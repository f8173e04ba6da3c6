"""Which star is which, and how bright it was against the others, all through the night."""

from pipnick_watch.lightcurves.flags import CURVE_FLAGS, CurveFlag
from pipnick_watch.lightcurves.update import (
    Summary,
    curve_path,
    frames_path,
    outdated,
    read_frame_rows,
    update,
)

__all__ = [
    "CURVE_FLAGS",
    "CurveFlag",
    "Summary",
    "curve_path",
    "frames_path",
    "outdated",
    "read_frame_rows",
    "update",
]
