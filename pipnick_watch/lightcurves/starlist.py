"""What does one frame bring to a light curve: its sources as arrays, and its own figures."""

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipnick_watch.columns import CATALOGUE, RADII, names, radius_column
from pipnick_watch.records import Entry
from pipnick_watch.records.objectcsv import read_lines

__all__ = ["FLUXES", "StarList", "empty_starlist", "read_starlist"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FLUXES = ("flux_psf", *(radius_column(radius) for radius in RADII))
"""The fluxes that a light curve may be made of."""

_NAMES = names(CATALOGUE)
_WANTED = ("x_fit", "y_fit", "flags", "flux_err", "peak", "bkg_rms", "ra", "dec", "bjd_tdb", "qfit")
_PLACES = [_NAMES.index(name) for name in (*_WANTED, *FLUXES)]


@dataclass(frozen=True, kw_only=True, eq=False)
class StarList:
    """The sources of one frame, in their catalogue's order.

    Attributes
    ----------
    frame : str
        Path below ``reduced/``.
    digest : str
        Names the content that the arrays were made from.
    mjd_mid, bjd_tdb, exptime, airmass : float
        nan when unknown. The airmass is that of mid-exposure where it is known.
    fwhm, ellipticity, pa, sky, ref_radius : float
        Of the frame; pixels, degrees, electrons per pixel.
    x, y, ra, dec, flux_err, peak, bkg_rms, qfit : ndarray, shape (n,)
    flags : ndarray of int, shape (n,)
    flux : ndarray, shape (n, n_fluxes)
        In the order of ``FLUXES``, electrons.
    """

    frame: str
    digest: str
    mjd_mid: float
    bjd_tdb: float
    exptime: float
    airmass: float
    fwhm: float
    ellipticity: float
    pa: float
    sky: float
    ref_radius: float
    x: FloatArray
    y: FloatArray
    ra: FloatArray
    dec: FloatArray
    flux_err: FloatArray
    peak: FloatArray
    bkg_rms: FloatArray
    qfit: FloatArray
    flags: IntArray
    flux: FloatArray

    def __len__(self) -> int:
        return len(self.x)


def read_starlist(entry: Entry, catalogue: Path, digest: str) -> StarList:
    """Read the catalogue of a frame that is done.

    Parameters
    ----------
    entry : Entry
        The frame's row in the night log.
    catalogue : Path
    digest : str
        Changes whenever the catalogue does.

    Raises
    ------
    CatalogueGoneError
        The catalogue is missing or is none of ours.
    """
    text = read_lines(catalogue).decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    return _starlist(entry, digest, [[row[place] for place in _PLACES] for row in rows])


def empty_starlist(entry: Entry, digest: str) -> StarList:
    """Make the list of a frame whose catalogue cannot be read."""
    return _starlist(entry, digest, [])


def _starlist(entry: Entry, digest: str, rows: list[list[str]]) -> StarList:
    table = np.array(rows, dtype=np.float64)
    table = table.reshape(len(rows), len(_PLACES))
    column = dict(zip(_WANTED, table.T[: len(_WANTED)], strict=True))
    facts = entry.facts
    airmass = facts["airmass_mid"] if math.isfinite(facts["airmass_mid"]) else facts["airmass"]
    bjd = column["bjd_tdb"]
    return StarList(
        frame=entry.frame, digest=digest, mjd_mid=facts["mjd_mid"], exptime=facts["exptime"],
        bjd_tdb=float(bjd[0]) if len(bjd) else math.nan,
        airmass=airmass, fwhm=facts["fwhm"], ellipticity=facts["ellipticity"], pa=facts["pa"],
        sky=facts["sky"], ref_radius=facts["ref_radius"],
        x=column["x_fit"], y=column["y_fit"], ra=column["ra"], dec=column["dec"],
        flux_err=column["flux_err"], peak=column["peak"], bkg_rms=column["bkg_rms"],
        qfit=column["qfit"],
        flags=column["flags"].astype(np.int64), flux=table[:, len(_WANTED) :],
    )  # fmt: skip
