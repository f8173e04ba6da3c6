"""How are many numbers written at once: the bytes that ``%.3f`` gives one by one, ten times faster.

Each column of a table becomes a matrix of bytes with a row for each number; bytes that are 0 stand
for nothing. Matrices side by side are the lines of a CSV once those bytes are taken out.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["fixed_point", "joined", "texts"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
ByteMatrix = npt.NDArray[np.uint8]

NEAR_TIE = 1e-3
"""Units of the last digit: what is so near the middle between two is looked at more closely."""

LARGEST = 2.0**40
"""Units of the last digit: what is not below it is left to Python."""

_NOUGHT = ord("0")
_MISSING = b"nan"


def fixed_point(values: FloatArray | IntArray, decimals: int) -> ByteMatrix:
    """Write numbers as ``%.{decimals}f`` does, and ``nan``.

    Parameters
    ----------
    values : ndarray, shape (n,)
    decimals : int

    Returns
    -------
    ndarray of uint8, shape (n, width)
    """
    size = np.abs(values)
    plain = size < LARGEST / 10**decimals
    size = np.where(plain, size, 0.0)
    scaled = size * 10.0**decimals
    units = np.rint(scaled)
    ties = np.flatnonzero(np.abs(scaled - units) > 0.5 - NEAR_TIE)
    units[ties] = _units(size[ties], 10.0**decimals)
    number = units.astype(np.int64)
    n_digits = max(len(str(int(number.max(initial=0)))), decimals + 1)
    width = max(1 + n_digits + (decimals > 0), len(_MISSING))
    if n_digits < 10:  # half the time
        number = number.astype(np.uint32)
    out = np.zeros((len(values), width), dtype=np.uint8)
    place = width - 1
    for k in range(n_digits):
        if k == decimals > 0:
            out[:, place] = ord(".")
            place -= 1
        higher = number // 10
        digit = (number - higher * 10).astype(np.uint8) + np.uint8(_NOUGHT)
        if k > decimals:
            digit[number == 0] = 0
        out[:, place] = digit
        number = higher
        place -= 1
    out[np.signbit(values), 0] = ord("-")
    missing = np.isnan(values)
    if missing.any():
        out[missing] = 0
        out[missing, : len(_MISSING)] = np.frombuffer(_MISSING, dtype=np.uint8)
    odd = np.flatnonzero(~plain & ~missing)
    return _replaced(out, odd, [b"%.*f" % (decimals, one) for one in values[odd].tolist()])


def _units(size: FloatArray, power: float) -> FloatArray:
    """Round to units of the last digit, exactly: a place that was read with four digits is a tie.

    A number is split in two, so that each product is exact (Dekker 1971, Numer. Math. 18, 224).
    """
    split = size * (2.0**27 + 1)
    upper = split - (split - size)
    product = size * power
    error = (upper * power - product) + (size - upper) * power
    low = np.floor(product)
    beyond = (product - low - 0.5) + error  # the middle between low and the next one
    return np.asarray(low + ((beyond > 0) | ((beyond == 0) & (low % 2 == 1))))


def _replaced(out: ByteMatrix, rows: IntArray, content: Sequence[bytes]) -> ByteMatrix:
    """Write some rows anew."""
    if not len(rows):
        return out
    other = texts(content)
    wide = max(out.shape[1], other.shape[1])
    out = np.pad(out, ((0, 0), (0, wide - out.shape[1])))
    out[rows] = np.pad(other, ((0, 0), (0, wide - other.shape[1])))
    return out


def texts(content: Sequence[bytes]) -> ByteMatrix:
    """Lay texts without a zero byte one below the other, shape (n, longest)."""
    block = np.array(content, dtype=np.bytes_)
    return block.view(np.uint8).reshape(len(content), -1)


def joined(parts: Sequence[ByteMatrix]) -> bytes:
    """Join columns to lines, row by row; a part with one row is the same in all."""
    n = max(len(one) for one in parts)
    whole = np.concatenate([np.broadcast_to(one, (n, one.shape[1])) for one in parts], axis=1)
    return whole.tobytes().translate(None, b"\0")
