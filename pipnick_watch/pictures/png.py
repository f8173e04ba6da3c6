"""How a figure becomes a PNG that nobody ever sees half of."""

import io
import os
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["write_png"]


def write_png(figure: Figure, path: Path) -> None:
    """Draw a figure and put it in place in one step.

    The same figure gives the same bytes: nothing in the file says when or by what it was written.
    A picture can be drawn again, so that it is not forced to the disk.

    Parameters
    ----------
    figure : Figure
    path : Path
        Its folder is made when it is missing.

    Raises
    ------
    OSError
        The file cannot be written; what was at ``path`` is still there.
    """
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".pw-{os.getpid()}-{path.name}")
    try:
        temporary.write_bytes(buffer.getvalue())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
