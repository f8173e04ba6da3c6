"""What every column on disk is called, its unit, how it is written and what it means.

The header of each CSV, the units of the tables and the README's tables are made from here.
Columns are only ever added at the end.
"""

from dataclasses import dataclass

__all__ = [
    "CATALOGUE",
    "LIGHT_CURVE",
    "LIGHT_CURVE_FRAMES",
    "NIGHT_LOG",
    "RADII",
    "Column",
    "names",
    "radius_column",
]

RADII = (2.5, 3.5, 5.0, 7.0, 10.0, 14.0, 20.0)
"""Radii, in pixels, of the apertures with the neighbours subtracted (``flux_r2p5`` …)."""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    name : str
        As in the header of the file.
    kind : {"int", "float", "text"}
        What its cells hold; a missing value is written ``nan`` in all three.
    unit : str
        Astropy's spelling, empty for numbers without a unit and for text.
    meaning : str
        One line.
    spec : str
        Format specification of the cell.
    """

    name: str
    kind: str
    unit: str
    meaning: str
    spec: str = ""


def radius_column(radius: float) -> str:
    """Name the column of the aperture with this radius: 2.5 gives ``flux_r2p5``."""
    return "flux_r" + f"{radius:g}".replace(".", "p")


def names(columns: tuple[Column, ...]) -> list[str]:
    """List the names of the columns, in order."""
    return [column.name for column in columns]


CATALOGUE: tuple[Column, ...] = (
    Column("group_id", "int", "", "number of the source's group (friends of friends within 2 FWHM)", "d"),
    Column("group_size", "int", "", "number of sources in that group", "d"),
    Column("flags", "int", "", "sum of the bits in the table of flags; 0 is a clean source", "d"),
    Column("x_fit", "float", "pix", "fitted centre along a row, 0-based", ".4f"),
    Column("y_fit", "float", "pix", "fitted centre along a column, 0-based", ".4f"),
    Column("flux_psf", "float", "electron", "fitted flux, on the scale of an aperture of ref_radius", ".2f"),
    Column("flux_aper", "float", "electron", "sum within aperture_radius minus area × local_bkg", ".2f"),
    Column("ratio_flux", "float", "", "flux_psf / flux_aper", ".4f"),
    Column("local_bkg", "float", "electron / pix2", "whole local sky per pixel", ".3f"),
    Column("x_err", "float", "pix", "standard error of x_fit", ".5f"),
    Column("y_err", "float", "pix", "standard error of y_fit", ".5f"),
    Column("flux_err", "float", "electron", "standard error of flux_psf, random part only", ".2f"),
    Column("airmass", "float", "", "airmass as the header has it", ".4f"),
    Column("id", "int", "", "number of the source in its frame, from 1", "d"),
    Column("iter_detected", "int", "", "1: found in the frame, 2 and up: found in the residuals", "d"),
    Column("npixfit", "int", "", "number of unmasked pixels in the fit", "d"),
    Column("qfit", "float", "", "sum of |residual| over the fitted pixels / flux", ".4f"),
    Column("cfit", "float", "", "residual of the central pixel / flux", ".5f"),
    Column("frame", "text", "", "path of the frame below reduced/"),
    Column("object", "text", "", "OBJECT of the header, cleaned"),
    Column("filter", "text", "", "filter of the header, cleaned"),
    Column("mjd_mid", "float", "d", "middle of the exposure, MJD UTC", ".8f"),
    Column("bjd_tdb", "float", "d", "middle of the exposure, barycentric JD in TDB", ".8f"),
    Column("exptime", "float", "s", "exposure time", ".3f"),
    Column("flux_aper_err", "float", "electron", "standard error of flux_aper", ".2f"),
    Column("snr", "float", "", "flux_psf / flux_err", ".2f"),
    Column("mag", "float", "mag", "instrumental magnitude, -2.5 log10(flux_psf / exptime)", ".5f"),
    Column("mag_err", "float", "mag", "1.0857 / snr", ".5f"),
    Column("peak", "float", "electron / pix2", "highest pixel of the core, sky included", ".1f"),
    Column("bkg_rms", "float", "electron / pix2", "local noise per pixel", ".3f"),
    Column("ra", "float", "deg", "ICRS, from an astrometric solution", ".7f"),
    Column("dec", "float", "deg", "ICRS, from an astrometric solution", ".7f"),
    *(
        Column(
            radius_column(radius), "float", "electron",
            f"sum within {radius:g} pixels, sky and neighbours subtracted", ".2f",
        )
        for radius in RADII
    ),
)  # fmt: skip
"""Columns of a frame's catalogue and of the object's CSV."""

NIGHT_LOG: tuple[Column, ...] = (
    Column("frame", "text", "", "path of the frame below reduced/"),
    Column("object", "text", "", "OBJECT of the header, cleaned"),
    Column("filter", "text", "", "filter of the header, cleaned"),
    Column("status", "text", "", "done, failed or excluded"),
    Column("reason", "text", "", "why it failed or is excluded"),
    Column("n_sources", "int", "", "number of sources in the catalogue", "d"),
    Column("fwhm", "float", "pix", "geometric mean of the PSF's axes at the frame's centre", ".4f"),
    Column("ellipticity", "float", "", "1 - minor / major axis of the PSF", ".4f"),
    Column("pa", "float", "deg", "angle of the major axis, 0 along +x towards +y", ".2f"),
    Column("n_psf", "int", "", "number of stars that the PSF was made from", "d"),
    Column("sky", "float", "electron / pix2", "median sky per pixel", ".3f"),
    Column("sky_rms", "float", "electron / pix2", "noise of a sky pixel", ".3f"),
    Column("noise", "text", "", "where the errors come from: uncert or model"),
    Column("psf_mismatch", "float", "", "what the PSF cannot describe, as a fraction of the flux", ".5f"),
    Column("ref_radius", "float", "pix", "radius of the aperture that flux_psf is scaled to", ".3f"),
    Column("apcor", "float", "", "factor from the fitted flux to flux_psf", ".5f"),
    Column("apcor_err", "float", "", "standard error of apcor", ".5f"),
    Column("airmass", "float", "", "airmass as the header has it", ".4f"),
    Column("airmass_mid", "float", "", "airmass at mid-exposure, computed from the site", ".4f"),
    Column("mjd_mid", "float", "d", "middle of the exposure, MJD UTC", ".8f"),
    Column("exptime", "float", "s", "exposure time", ".3f"),
    Column("wait_s", "float", "s", "from first sight to ready", ".3f"),
    Column("measure_s", "float", "s", "reading and measuring, in the worker", ".3f"),
    Column("latency_s", "float", "s", "from the frame's completion to durable rows", ".3f"),
    Column("size", "int", "byte", "size of the frame's file", "d"),
    Column("mtime_ns", "int", "ns", "modification time of the frame's file", "d"),
    Column("sha256", "text", "", "hash of the frame's file"),
    Column("settings", "text", "", "hash of the settings that the numbers depend on"),
    Column("wcs", "text", "", "the astrometric solution that ra and dec come from"),
    Column("csv_bytes", "int", "byte", "size of the object's CSV after this row", "d"),
    Column("consol_bytes", "int", "byte", "size of the object's consolidated CSV after this row", "d"),
    Column("version", "text", "", "version of pipnick-watch"),
    Column("recorded_at", "text", "", "when this row was written, ISO 8601 UTC"),
)  # fmt: skip
"""Columns of frames.csv, the night log."""

LIGHT_CURVE: tuple[Column, ...] = (
    Column("star", "int", "", "number of the star in this light curve", "d"),
    Column("frame", "text", "", "path of the frame below reduced/"),
    Column("mjd_mid", "float", "d", "middle of the exposure, MJD UTC", ".8f"),
    Column("bjd_tdb", "float", "d", "middle of the exposure, barycentric JD in TDB", ".8f"),
    Column("x", "float", "pix", "place along a row, 0-based", ".3f"),
    Column("y", "float", "pix", "place along a column, 0-based", ".3f"),
    Column("ra", "float", "deg", "ICRS, from an astrometric solution", ".7f"),
    Column("dec", "float", "deg", "ICRS, from an astrometric solution", ".7f"),
    Column("mag_diff", "float", "mag", "magnitude against the ensemble", ".5f"),
    Column("mag_diff_err", "float", "mag", "standard error of mag_diff", ".5f"),
    Column("comparison", "int", "", "1 where the star is a comparison star", "d"),
    Column("flags", "int", "", "target, variable, clouded, saturated, …", "d"),
)
"""Columns of lightcurves/<OBJECT>_<FILTER>.csv."""

LIGHT_CURVE_FRAMES: tuple[Column, ...] = (
    Column("frame", "text", "", "path of the frame below reduced/"),
    Column("mjd_mid", "float", "d", "middle of the exposure, MJD UTC", ".8f"),
    Column("exptime", "float", "s", "exposure time", ".3f"),
    Column("airmass", "float", "", "at mid-exposure where it is known, else the header's", ".4f"),
    Column("matched", "int", "", "1 where the frame's stars were recognised", "d"),
    Column("n_stars", "int", "", "number of the frame's sources that have a light curve", "d"),
    Column("n_comparisons", "int", "", "number of comparison stars measured well", "d"),
    Column("turn", "float", "deg", "turn of the field against the first matched frame", ".3f"),
    Column("drift_x", "float", "arcsec", "where the field's middle has gone along x since then", ".2f"),
    Column("drift_y", "float", "arcsec", "the same along y", ".2f"),
    Column("drift_rate", "float", "arcsec / h", "speed over the last frames without a jump", ".2f"),
    Column("edge_hours", "float", "h", "until the target reaches an edge or a bad column", ".2f"),
    Column("edge", "text", "", "what it would reach"),
    Column("seeing", "float", "arcsec", "FWHM", ".3f"),
    Column("seeing_zenith", "float", "arcsec", "FWHM scaled to the zenith, airmass^-0.6", ".3f"),
    Column("ellipticity", "float", "", "1 - minor / major axis of the PSF", ".4f"),
    Column("pa", "float", "deg", "angle of the major axis, 0 along +x towards +y", ".2f"),
    Column("focus_alarm", "int", "", "1: the third frame in a row 15 % worse than the best quarter", "d"),
    Column("offset", "float", "mag", "zero-point of the frame from the comparison stars", ".5f"),
    Column("offset_err", "float", "mag", "standard error of offset", ".5f"),
    Column("transparency", "float", "mag", "loss against the clear part of the night, extinction taken off", ".4f"),
    Column("transparency_err", "float", "mag", "standard error of transparency", ".4f"),
    Column("clouded", "int", "", "1 where transparency is above 0.1 mag", "d"),
    Column("sky_rate", "float", "electron / (s arcsec2)", "sky brightness", ".4f"),
    Column("saturation_target", "float", "", "highest pixel of the target over saturation", ".4f"),
    Column("saturation_comparison", "float", "", "the same of the brightest comparison star", ".4f"),
    Column("safe_exptime", "float", "s", "exposure that would bring both to 80 % at most", ".1f"),
    Column("target_mag", "float", "mag", "the target's mag_diff", ".5f"),
    Column("target_mag_err", "float", "mag", "its standard error", ".5f"),
    Column("check_mag", "float", "mag", "the check star's mag_diff", ".5f"),
    Column("check_mag_err", "float", "mag", "its standard error", ".5f"),
    Column("zero_point", "float", "mag", "magnitude of one electron per second, from [standards]", ".4f"),
    Column("zero_point_err", "float", "mag", "standard error of zero_point", ".4f"),
    Column("n_standards", "int", "", "number of standard stars that gave it", "d"),
    Column("flags", "int", "", "the target's flags in this frame, as in the light curve", "d"),
    Column("target", "int", "", "number of the target's star, the same in all rows", "d"),
    Column("target_kind", "text", "", "target, candidate, or why there is none; the same in all rows"),
    Column("check", "int", "", "number of the check star, the same in all rows", "d"),
    Column("flux", "text", "", "column that the light curve is made of, the same in all rows"),
    Column("n_variable", "int", "", "number of stars flagged as variable, the same in all rows", "d"),
    Column("pointing_ra", "float", "deg", "where the object is, the same in all rows", ".5f"),
    Column("pointing_dec", "float", "deg", "the same", ".5f"),
    Column("digest", "text", "", "names what this row was made from"),
)  # fmt: skip
"""Columns of lightcurves/<OBJECT>_<FILTER>_frames.csv."""
