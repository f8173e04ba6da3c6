"""How does a frame look through a Gaussian? A matched filter, as products of matrices."""

import numpy as np
import numpy.typing as npt

__all__ = ["FWHM_TO_SIGMA", "smooth"]

FloatArray = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]

FWHM_TO_SIGMA = 1.0 / 2.3548200450309493
BLOCK = 32  # rows or columns that one product makes
SMALL = 1 << 18  # multiplications in a product: for so few no library starts other threads
REACH = 5.0  # standard deviations to which the Gaussian goes on
NARROW = 1.3  # pixels: a narrower one ripples, for want of frequencies that pixels cannot show,
RIPPLES = 8  # this many pixels farther
WAVES = 2048  # of the spectrum that the taps are summed from


def smooth(data: npt.NDArray[np.floating], fwhm: float) -> Single:
    """Convolve with a Gaussian of this FWHM, in single precision; beyond the edges there is 0.

    A block of rows is a banded matrix times those rows and the ones around them: a product of
    small matrices, faster than a Fourier transform.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
    fwhm : float
        Pixels.
    """
    ny, nx = data.shape
    taps = _taps(fwhm * FWHM_TO_SIGMA)
    reach = len(taps) // 2
    band = np.zeros((BLOCK, BLOCK + 2 * reach), dtype=np.float32)
    for row in range(BLOCK):
        band[row, row : row + len(taps)] = taps
    down, across = -(-ny // BLOCK) * BLOCK, -(-nx // BLOCK) * BLOCK
    padded = np.zeros((down + 2 * reach, across + 2 * reach), dtype=np.float32)
    padded[reach : reach + ny, reach : reach + nx] = data
    half = np.empty((down, across + 2 * reach), dtype=np.float32)
    step = max(1, SMALL // band.size)
    for first in range(0, down, BLOCK):
        rows, made = padded[first : first + BLOCK + 2 * reach], half[first : first + BLOCK]
        for k in range(0, half.shape[1], step):
            np.matmul(band, rows[:, k : k + step], out=made[:, k : k + step])
    out = np.empty((down, across), dtype=np.float32)
    turned = np.ascontiguousarray(band.T)
    for first in range(0, across, BLOCK):
        columns, made = half[:, first : first + BLOCK + 2 * reach], out[:, first : first + BLOCK]
        for k in range(0, down, step):
            np.matmul(columns[k : k + step], turned, out=made[k : k + step])
    return out[:ny, :nx]


def _taps(sigma: float) -> Single:
    """Sample a Gaussian without the frequencies that pixels cannot show."""
    reach = int(np.ceil(REACH * sigma)) + (RIPPLES if sigma < NARROW else 0)
    wave = (np.arange(WAVES) + 0.5) / (2.0 * WAVES)
    spectrum = np.exp(-2.0 * (np.pi * sigma * wave) ** 2)
    at = np.arange(-reach, reach + 1)
    taps = np.cos(2.0 * np.pi * at[:, None] * wave) @ spectrum
    return np.asarray(taps / WAVES, dtype=np.float32)
