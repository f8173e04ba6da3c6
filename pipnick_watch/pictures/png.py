"""How a figure becomes a PNG that nobody ever sees half of."""

import contextlib
import fcntl
import io
import secrets
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave

__all__ = ["write_png"]

# The noise of a sky does not compress; without its last two bits nobody sees a difference, and
# the file is a third smaller.
KEPT_BITS = 0b11111100

PREFIX = ".pipnick-watch-"  # as records names its own: what a killed process leaves is swept


def write_png(figure: Figure, path: Path) -> None:
    """Draw a figure and put it in place in one step.

    The same figure gives the same bytes: nothing in the file says when it was written. A picture
    can be drawn again, so that it is not forced to the disk.

    Parameters
    ----------
    figure : Figure
    path : Path
        Its folder, and the one above, are made when they are missing; those further up are not:
        when MAINDIR is missing, a disk is not mounted.

    Raises
    ------
    OSError
        The file cannot be written; what was at ``path`` is still there.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format="rgba", dpi=figure.dpi)
    wide, high = FigureCanvasAgg(figure).get_width_height()
    dots = np.frombuffer(drawn.getvalue(), np.uint8).reshape(high, wide, 4)
    content = io.BytesIO()
    imsave(content, dots[..., :3] & KEPT_BITS, format="png", metadata={"Software": "pipnick-watch"})

    path.parent.parent.mkdir(exist_ok=True)
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f"{PREFIX}{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            # The lock tells who sweeps that a living process writes here; not every disk has locks.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            file.write(content.getvalue())
            file.flush()
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
