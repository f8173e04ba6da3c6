"""What are the image, the mask and UNCERT of a frame, given the bytes of its file."""

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.io.fits.hdu.compressed._compression import CfitsioException

from pipnick_watch.camera import Camera
from pipnick_watch.errors import FrameError
from pipnick_watch.header import printable
from pipnick_watch.outline import Outline, Part

__all__ = ["BoolArray", "FloatArray", "check_sums", "one_line", "read_pixels"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# what astropy was seen to raise on broken and hostile files
UNREADABLE = (
    OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
    MemoryError, RuntimeError, struct.error, zlib.error, fits.VerifyError, CfitsioException,
)  # fmt: skip


def check_sums(content: bytes, sketch: Outline) -> None:
    """Verify CHECKSUM and DATASUM, where present (FITS 4.0, appendix J).

    Parameters
    ----------
    content : bytes
        The whole file.
    sketch : Outline
        What its headers say.

    Raises
    ------
    FrameError
        One of them does not agree with the content.
    """
    for number, part in enumerate(sketch.parts):
        data_sum = _ones_complement(content[part.data_start : part.stop])
        said = part.values.get("DATASUM", "").strip()
        wrong = said != "" and said.lstrip("0") != str(data_sum).lstrip("0")
        if part.values.get("CHECKSUM", "").strip():
            head_sum = _ones_complement(content[part.start : part.data_start])
            wrong |= _folded(head_sum + data_sum) not in {0, 0xFFFFFFFF}
        if wrong:
            raise FrameError(f"its checksum does not agree with its content (HDU {number})")


def _ones_complement(content: bytes) -> int:
    return _folded(int(np.frombuffer(content, dtype=">u4").sum(dtype=np.uint64)))


def _folded(total: int) -> int:
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def read_pixels(
    content: bytes, sketch: Outline, camera: Camera, notes: list[str]
) -> tuple[FloatArray, BoolArray, FloatArray | None]:
    """Read the pixels.

    Parameters
    ----------
    content : bytes
        The whole file.
    sketch : Outline
        What its headers say.
    camera : Camera
        Its gain, bad columns and border.
    notes : list of str
        Takes what a person should know, one line each.

    Returns
    -------
    data : ndarray, shape (ny, nx)
        Electrons; 0 where not finite.
    mask : ndarray of bool, shape (ny, nx)
        True for a pixel to leave out.
    uncert : ndarray, shape (ny, nx), or None
        Electrons; the median where it is not a positive number.

    Raises
    ------
    FrameError
        The pixels cannot be read, the mask has another shape, or nothing is finite.
    """
    image = sketch.parts[sketch.image]
    shape = tuple(length for length in reversed(image.axes) if length != 1)
    beside = {
        part.name: number
        for number, part in reversed(list(enumerate(sketch.parts)))
        if part.axes and number != sketch.image
    }
    with _opened(content, sketch) as hdus:
        data = _image(hdus, sketch.image, shape)
        data *= camera.gain
        finite = np.isfinite(data)
        if not finite.any():
            raise FrameError("no finite pixel")
        mask = ~finite
        data[mask] = 0.0
        if "MASK" in beside:
            mask |= _image(hdus, beside["MASK"], shape) != 0
        uncert = None
        if "UNCERT" in beside:
            part = sketch.parts[beside["UNCERT"]]
            uncert = _uncertainty(hdus, beside["UNCERT"], part, shape, notes)
    _mask_detector(mask, camera)
    return data, mask, uncert if uncert is None else uncert * camera.gain


def _opened(content: bytes, sketch: Outline) -> fits.HDUList:
    """Open the parts, odd bytes of their headers replaced."""
    content = content[: sketch.expected_size]
    heads = {part.start: content[part.start : part.data_start] for part in sketch.parts}
    odd = {start: plain for start, head in heads.items() if (plain := printable(head)) != head}
    if odd:
        edited = bytearray(content)
        for start, plain in odd.items():
            edited[start : start + len(plain)] = plain
        content = bytes(edited)
    try:
        return fits.open(io.BytesIO(content), memmap=False, mode="readonly")
    except UNREADABLE as error:
        raise FrameError(f"cannot be read: {_cause(error)}") from error


def _image(hdus: fits.HDUList, number: int, shape: tuple[int, ...]) -> FloatArray:
    """Read one image as a new array of this shape, axes of length 1 dropped."""
    try:
        pixels = np.array(hdus[number].data, dtype=np.float64)
    except UNREADABLE as error:
        raise FrameError(f"HDU {number} cannot be read: {_cause(error)}") from error
    found = tuple(length for length in pixels.shape if length != 1)
    if found != shape:
        raise FrameError(f"HDU {number} has {found[::-1]} pixels, the image {shape[::-1]}")
    return pixels.reshape(shape)


def _uncertainty(
    hdus: fits.HDUList, number: int, part: Part, shape: tuple[int, ...], notes: list[str]
) -> FloatArray | None:
    """Read UNCERT as a standard deviation in image units; it is optional, so never a failure."""
    try:
        uncert = _image(hdus, number, shape)
    except FrameError as error:
        notes.append(f"UNCERT is left out: {error}")
        return None
    kind = part.values.get("UTYPE", "StdDevUncertainty")
    with np.errstate(all="ignore"):
        if kind == "VarianceUncertainty":
            uncert = np.sqrt(uncert)
        elif kind == "InverseVariance":
            uncert = 1.0 / np.sqrt(uncert)
        elif kind != "StdDevUncertainty":
            notes.append(f"UNCERT is left out: its UTYPE is {kind}")
            return None
    good = np.isfinite(uncert) & (uncert > 0)
    if not good.any():
        notes.append("UNCERT is left out: it holds no positive number")
        return None
    if not good.all():
        uncert[~good] = np.median(uncert[good])
    return uncert


def _mask_detector(mask: BoolArray, camera: Camera) -> None:
    """Mask bad columns and the border, in place."""
    if mask.shape == (1024, 1024):
        mask[:, [column for column in camera.bad_columns if 0 <= column < 1024]] = True
    if camera.border > 0:
        mask[: camera.border] = mask[-camera.border :] = True
        mask[:, : camera.border] = mask[:, -camera.border :] = True


def _cause(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it needs too much memory"
    return one_line(error) or type(error).__name__


def one_line(message: object) -> str:
    """Make text of any origin fit for one line of a log or a table."""
    text = " ".join(str(message).split())
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:200]
