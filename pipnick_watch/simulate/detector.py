"""How unevenly a simulated detector sees: what a night of frames without a good flat shares."""

import numpy as np
import numpy.typing as npt

from pipnick_watch.simulate.field import FieldSettings

__all__ = ["response", "stuck_charge"]

FloatArray = npt.NDArray[np.float64]

WARMEST, HOTTEST = 2.3, 4.3
"""Powers of ten of the electrons in a stuck pixel."""


def response(settings: FieldSettings) -> FloatArray:
    """Give the sensitivity of each pixel, as a fraction: vignetting and what a flat left over."""
    rows, columns = settings.optics.shape
    v, u = np.linspace(-1, 1, rows)[:, None], np.linspace(-1, 1, columns)
    seen = 1 - settings.vignetting * (u**2 + v**2) / 2
    if settings.grain:
        rng = np.random.default_rng([settings.detector, 1])
        seen = seen * (1 + settings.grain * rng.standard_normal((rows, columns)))
    return np.asarray(seen)


def stuck_charge(settings: FieldSettings) -> FloatArray:
    """Give the electrons of the pixels that are hot in every frame of this detector."""
    rows, columns = settings.optics.shape
    charge = np.zeros((rows, columns))
    rng = np.random.default_rng([settings.detector, 2])
    row, column = (rng.integers(0, side, settings.n_stuck) for side in (rows, columns))
    charge[row, column] = 10 ** rng.uniform(WARMEST, HOTTEST, settings.n_stuck)
    return charge
