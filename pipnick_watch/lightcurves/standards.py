"""What is a frame's zero-point, from the standard stars in it."""

import math
from collections.abc import Sequence

import numpy as np

from pipnick_watch.camera import clean_name
from pipnick_watch.lightcurves.noise import MAGNITUDE
from pipnick_watch.lightcurves.starlist import StarList
from pipnick_watch.photometry.flags import Flag
from pipnick_watch.settings import Standard

__all__ = ["zero_point"]

ARCSEC = 3.0


def zero_point(
    stars: StarList, standards: Sequence[Standard], band: str
) -> tuple[float, float, int]:
    """Compare the standard stars' fluxes with their magnitudes.

    Parameters
    ----------
    stars : StarList
        Needs ``ra`` and ``dec``.
    standards : sequence of Standard
    band : str
        The frame's filter, cleaned.

    Returns
    -------
    zero_point, error : float
        Magnitude of a source of one electron per second; nan without a standard.
    n_standards : int
    """
    if not standards:
        return math.nan, math.nan, 0
    good = (
        np.isfinite(stars.ra) & (stars.flux[:, 0] > 0) & ((stars.flags & int(Flag.SATURATED)) == 0)
    )
    if not (good.any() and stars.exptime > 0):
        return math.nan, math.nan, 0
    values, variances = [], []
    for one in standards:
        known = {clean_name(key): value for key, value in one.magnitudes.items()}
        if band not in known:
            continue
        away = np.hypot(
            (stars.ra - one.ra + 180.0) % 360.0 - 180.0, np.zeros(len(stars))
        ) * math.cos(math.radians(one.dec))
        away = np.where(good, np.hypot(away, stars.dec - one.dec) * 3600.0, np.inf)
        best = int(np.argmin(away))
        if away[best] > ARCSEC:
            continue
        flux = float(stars.flux[best, 0])
        values.append(known[band] + 2.5 * math.log10(flux / stars.exptime))
        variances.append((MAGNITUDE * float(stars.flux_err[best]) / flux) ** 2)
    if not values:
        return math.nan, math.nan, 0
    # standards differ by more than their photons: colours, flat field, catalogue errors
    spread = float(np.var(values, ddof=1)) if len(values) > 1 else 0.01**2
    weights = 1.0 / (np.array(variances) + spread)
    mean = float((weights * values).sum() / weights.sum())
    return mean, float(weights.sum() ** -0.5), len(values)
