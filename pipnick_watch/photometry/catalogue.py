"""How does a measurement become the table that is published."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from pipnick_watch.columns import CATALOGUE, names
from pipnick_watch.frame import Frame

__all__ = ["make_catalogue"]

_KINDS = {"int": np.int64, "float": np.float64, "text": np.str_}


def make_catalogue(frame: Frame, columns: Mapping[str, npt.ArrayLike]) -> Table:
    """Make a catalogue with all columns, in order, sorted by group and then by id.

    Parameters
    ----------
    frame : Frame
        Gives what is the same for every row.
    columns : mapping
        What differs from row to row, by name. ``ratio_flux``, ``snr``, ``mag`` and ``mag_err``
        are computed here; ``ra`` and ``dec`` are nan.
    """
    flux = np.asarray(columns["flux_psf"], dtype=np.float64)
    error = np.asarray(columns["flux_err"], dtype=np.float64)
    aper = np.asarray(columns["flux_aper"], dtype=np.float64)
    n = len(flux)
    missing = np.full(n, np.nan)
    exposed = frame.exptime if frame.exptime > 0 else np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        derived: dict[str, npt.ArrayLike] = {
            "ratio_flux": np.where(aper != 0, flux / aper, np.nan),
            "snr": flux / error,
            "mag": -2.5 * np.log10(np.where(flux > 0, flux, np.nan) / exposed),
            "mag_err": 1.0857 * error / flux,
            "ra": missing,
            "dec": missing,
            "frame": np.full(n, frame.name),
            "object": np.full(n, frame.object),
            "filter": np.full(n, frame.filter),
            "airmass": np.full(n, frame.airmass),
            "mjd_mid": np.full(n, frame.mjd_mid),
            "bjd_tdb": np.full(n, frame.bjd_tdb),
            "exptime": np.full(n, frame.exptime),
        }
    everything = {**columns, **derived}
    table = Table()
    for column in CATALOGUE:
        kind = _KINDS[column.kind]
        table[column.name] = np.asarray(everything[column.name]).astype(kind)
        if column.unit:
            table[column.name].unit = column.unit
    order = np.lexsort((table["id"], table["group_id"]))
    assert table.colnames == names(CATALOGUE)
    return table[order]
