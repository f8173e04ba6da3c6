"""Astrometric solutions of the simulated night, as the astrometry leaves them."""

import math
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from pipnick_watch.simulate import Pointing

WHERE = Pointing()
SHAPE = (200, 220)


def solve(maindir: Path, frame: str, *, dec: float = WHERE.dec, scale: float = 0.37) -> Path:
    """Leave the solution of a frame, by default a right one."""
    folder, _, name = frame.rpartition("/")
    stem = name.removesuffix("_red.fits")
    path = maindir / "astrometric" / "wcs" / folder / f"{stem}_astro.fits"
    path.parent.mkdir(parents=True, exist_ok=True)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crpix = [SHAPE[1] / 2, SHAPE[0] / 2]
    wcs.wcs.crval = [WHERE.ra, dec]
    turn = math.radians(3.0)
    matrix = np.array([[-math.cos(turn), math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    wcs.wcs.cd = matrix * scale / 3600
    image = fits.PrimaryHDU(np.zeros(SHAPE, np.int16), wcs.to_header())
    temporary = path.with_suffix(".part")
    image.writeto(temporary, overwrite=True)
    temporary.rename(path)
    return path
