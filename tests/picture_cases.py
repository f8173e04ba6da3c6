"""Frames and measurements to draw, made without measuring anything."""

import math

import numpy as np
from astropy.table import Table

from pipnick_watch.camera import Camera
from pipnick_watch.columns import CATALOGUE
from pipnick_watch.frame import Frame
from pipnick_watch.photometry.flags import Flag
from pipnick_watch.photometry.measurement import Measurement, PsfView

FWHM = 4.0
SKY = 200.0


def make_case(
    shape=(200, 240), n_sources=12, n_pairs=0, with_psf=True, seed=7, warnings=(), **facts
) -> tuple[Frame, Measurement]:
    """Give a frame with stars, the last ones in pairs, and what measuring it could give."""
    rng = np.random.default_rng(seed)
    ny, nx = shape
    x, y = rng.uniform(0, nx - 1, n_sources), rng.uniform(0, ny - 1, n_sources)
    group_id, group_size = np.arange(1, n_sources + 1), np.ones(n_sources, int)
    for pair in range(n_pairs):
        one, other = n_sources - 1 - 2 * pair, n_sources - 2 - 2 * pair
        x[other], y[other], group_id[other] = x[one] + 3.0, y[one] + 4.0, group_id[one]
        group_size[[one, other]] = 2
    flux = 10 ** rng.uniform(3.6, 6.0, n_sources)
    model = _stars(shape, x, y, flux)
    data = rng.normal(SKY + model, 15.0)
    mask = np.zeros(shape, bool)
    mask[:, nx // 3] = True
    known = {
        "object": "X", "filter": "V", "name": "X_V/d1_red.fits", "exptime": 60.0,
        "airmass": 1.25, "mjd_mid": 60443.25, **facts,
    }  # fmt: skip
    frame = Frame(
        data=data, mask=mask, uncert=None, camera=Camera(), airmass_mid=1.26, bjd_tdb=math.nan,
        ra=10.0, dec=20.0, size=1, mtime_ns=1, sha256="0", **known,
    )  # fmt: skip
    catalogue = Table({one.name: np.full(n_sources, np.nan) for one in CATALOGUE})
    for name, values in {
        "id": np.arange(1, n_sources + 1), "x_fit": x, "y_fit": y, "flux_psf": flux,
        "flags": np.zeros(n_sources, int), "group_id": group_id, "group_size": group_size,
        "iter_detected": 1 + (np.arange(n_sources) % 5 == 4),
    }.items():  # fmt: skip
        catalogue[name] = values
    figures = {
        "n_sources": n_sources, "fwhm": FWHM if with_psf else 3.0, "ellipticity": 0.1, "pa": 30.0,
        "n_psf": 9 if with_psf else 0, "sky": SKY, "sky_rms": 15.0, "noise": "model",
        "psf_mismatch": 0.02, "ref_radius": 4 * FWHM, "apcor": 1.02, "apcor_err": 0.003,
    }  # fmt: skip
    measurement = Measurement(
        catalogue=catalogue,
        consolidated=catalogue,
        figures=figures,
        background=np.full(shape, SKY),
        model=model,
        psf=make_psf() if with_psf else None,
        warnings=warnings,
    )
    return frame, measurement


def make_psf() -> PsfView:
    """Give a PSF whose stack is the model with a little noise."""
    y, x = np.mgrid[-12:13, -12:13]
    model = _profile(np.hypot(x, y))
    residual = np.random.default_rng(3).normal(0.0, 0.01 * model.max(), model.shape)
    radius = np.linspace(0.0, 12.0, 16)
    return PsfView(
        data=model + residual,
        model=model,
        residual=residual,
        radius=radius,
        profile=_profile(radius),
        profile_err=np.full(radius.shape, 1e-4),
        model_radius=radius,
        model_profile=_profile(radius),
        fwhm=FWHM,
    )


def with_flags(measurement: Measurement, flags: dict[int, Flag]) -> Measurement:
    """Set the flags of some rows."""
    for row, flag in flags.items():
        measurement.catalogue["flags"][row] = int(flag)
    return measurement


def _profile(radius):
    scale = FWHM / 2.0 / math.sqrt(2 ** (1 / 3.0) - 1.0)
    return 2.0 / math.pi / scale**2 * (1.0 + (radius / scale) ** 2) ** -3.0


def _stars(shape, x, y, flux):
    image = np.zeros(shape)
    for one_x, one_y, one_flux in zip(x, y, flux, strict=True):
        rows = slice(max(int(one_y) - 30, 0), int(one_y) + 31)
        columns = slice(max(int(one_x) - 30, 0), int(one_x) + 31)
        at_y, at_x = np.mgrid[rows.start : min(rows.stop, shape[0]),
                              columns.start : min(columns.stop, shape[1])]  # fmt: skip
        image[rows, columns] += one_flux * _profile(np.hypot(at_x - one_x, at_y - one_y))
    return image
