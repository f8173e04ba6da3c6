"""How do light curves stand in their file: star by star, each in the order of time."""

from collections.abc import Iterator

import numpy as np

from pipnick_watch.columns import LIGHT_CURVE
from pipnick_watch.lightcurves.assemble import Assembly
from pipnick_watch.lightcurves.digits import fixed_point, joined, texts
from pipnick_watch.records import cells

__all__ = ["curve_text"]

BATCH = 4096
"""Points that are written at once: a megabyte or so, which a processor's own memory holds."""


def curve_text(one: Assembly) -> Iterator[bytes]:
    """Write the light curves, piece by piece."""
    cube, curves = one.cube, one.curves
    yield cells.header(LIGHT_CURVE).encode()
    if not (cube.rows and len(cube.stars)):
        return
    frames = [one.done.frames[k] for k in cube.rows]
    heads = texts([f",{cells.text_cell(each.frame)},{each.mjd_mid:.8f},{each.bjd_tdb:.8f},".encode()
                   for each in frames])  # fmt: skip
    numbers = texts([b"%d" % (j + 1) for j in range(len(cube.stars))])
    compared = np.zeros(len(cube.stars), dtype=np.int64)
    compared[one.recipe.comparisons] = 1
    mag = np.where(np.isfinite(curves.mag_err), curves.mag, np.nan)
    comma, end, missing = texts([b","]), texts([b"\n"]), texts([b"nan"])
    seen = np.isfinite(cube.x).T
    stars, rows = np.nonzero(seen)
    planes = [
        (np.ascontiguousarray(plane.T)[seen], decimals)
        for plane, decimals in (
            (cube.x, 3), (cube.y, 3), (cube.ra, 7), (cube.dec, 7), (mag, 5), (curves.mag_err, 5),
        )
    ]  # fmt: skip
    flags = one.flags.T[seen]
    for first in range(0, len(stars), BATCH):
        batch = slice(first, first + BATCH)
        parts = [numbers[stars[batch]], heads[rows[batch]]]
        for values, decimals in planes:
            some = values[batch]
            parts += [missing if np.isnan(some).all() else fixed_point(some, decimals), comma]
        parts += [fixed_point(compared[stars[batch]], 0), comma]
        parts += [fixed_point(flags[batch], 0), end]
        yield joined(parts)
