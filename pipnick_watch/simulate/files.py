"""How a simulated frame gets to disk."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from astropy.io import fits

from pipnick_watch.simulate.frames import SimulatedFrame
from pipnick_watch.simulate.headers import nickel_header, other_header

__all__ = ["OTHER_GAIN", "frame_bytes", "write_frame", "write_slowly"]

Layout = Literal["nickel", "other"]

OTHER_GAIN = 1.7
"""Electrons per image unit of the other camera."""


def frame_bytes(frame: SimulatedFrame, layout: Layout = "nickel") -> bytes:
    """Spell a frame as FITS.

    ``nickel`` is the reduction pipeline's: float64 electrons, MASK and UNCERT extensions.
    ``other`` is another camera's: 16-bit unsigned integers (BZERO), nothing beside them;
    ``OTHER_GAIN`` electrons per unit.
    """
    if layout == "other":
        units = np.clip(np.round(frame.data / OTHER_GAIN), 0, 65535).astype(np.uint16)
        hdus = fits.HDUList([fits.PrimaryHDU(units, other_header(frame.pointing))])
    else:
        shape = frame.settings.optics.shape
        hdus = fits.HDUList(
            [
                fits.PrimaryHDU(frame.data, nickel_header(frame.pointing, shape)),
                fits.ImageHDU(frame.mask.astype(np.uint8), name="MASK"),
            ]
        )
        if frame.uncert is not None:
            error = fits.ImageHDU(frame.uncert, name="UNCERT")
            error.header.insert("EXTNAME", ("UTYPE", "StdDevUncertainty"))
            hdus.append(error)
    buffer = io.BytesIO()
    hdus.writeto(buffer)
    return buffer.getvalue()


def write_frame(frame: SimulatedFrame, path: Path, layout: Layout = "nickel") -> None:
    """Write a frame under a hidden name beside ``path`` and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.part")
    hidden.write_bytes(frame_bytes(frame, layout))
    hidden.replace(path)


def write_slowly(
    frame: SimulatedFrame, path: Path, *, chunks: int = 8, layout: Layout = "nickel"
) -> Iterator[int]:
    """Write a frame under its own name in chunks; whoever iterates sets the pace.

    Yields
    ------
    int
        Bytes written so far, after each chunk has been handed to the system.
    """
    content = frame_bytes(frame, layout)
    path.parent.mkdir(parents=True, exist_ok=True)
    step = -(-len(content) // chunks)
    with path.open("wb", buffering=0) as file:
        for start in range(0, len(content), step):
            file.write(content[start : start + step])
            yield min(start + step, len(content))
