"""Small frames and scenes that several of the photometry's tests need."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from pipnick_watch.camera import Camera
from pipnick_watch.frame import Frame
from pipnick_watch.photometry.psf import Psf, fallback_psf
from pipnick_watch.photometry.sources import Scene, Sources, new_sources
from pipnick_watch.photometry.stamps import Canvas
from pipnick_watch.settings import PhotometrySettings, Settings
from pipnick_watch.simulate import FieldSettings, Optics, SimulatedFrame, simulate_field

FloatArray = npt.NDArray[np.float64]

SMALL = (320, 320)


def how(**knobs: Any) -> Settings:
    """Make settings that differ from the defaults in ``[photometry]`` only."""
    return Settings(photometry=PhotometrySettings(**knobs))


def frame_of(
    data: FloatArray,
    mask: npt.NDArray[np.bool_] | None = None,
    uncert: FloatArray | None = None,
    camera: Camera | None = None,
) -> Frame:
    """Make a frame of an array."""
    return Frame(
        name="A_V/a1_red.fits",
        data=data.astype(np.float64),
        mask=np.zeros(data.shape, dtype=bool) if mask is None else mask,
        uncert=uncert,
        camera=camera or Camera(),
        object="A",
        filter="V",
        exptime=60.0,
        airmass=1.2,
        airmass_mid=1.21,
        mjd_mid=60443.2,
        bjd_tdb=float("nan"),
        ra=100.0,
        dec=20.0,
        size=1,
        mtime_ns=1,
        sha256="0",
    )


def field(seed: int = 3, fwhm: float = 4.0, **more: Any) -> SimulatedFrame:
    """Simulate a small field with a perfect detector unless ``more`` says otherwise."""
    settings = FieldSettings(
        optics=Optics(fwhm=fwhm, shape=SMALL), n_stars=25, faintest=12.0, brightest=30000.0
    )
    return simulate_field(dataclasses.replace(settings, **more), seed)


def as_frame(simulated: SimulatedFrame) -> Frame:
    """Hand a simulated frame over as if it had been read."""
    mask = simulated.mask.copy()
    mask[:5] = mask[-5:] = mask[:, :5] = mask[:, -5:] = True
    return frame_of(simulated.data, mask, simulated.uncert)


def sources_at(places: list[tuple[float, float, float]]) -> Sources:
    """Make sources of (x, y, flux)."""
    table = np.array(places, dtype=np.float64).reshape(-1, 3)
    return new_sources(table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy(), 1)


def drawn(
    psf: Psf, sources: Sources, rms: float = 10.0, seed: int | None = None
) -> tuple[Scene, FloatArray]:
    """Draw sources on a dark frame: the scene and its noiseless light (padded and flat)."""
    shape = psf.shape
    canvas = Canvas(shape=shape, margin=60)
    y, x = np.mgrid[: shape[0], : shape[1]]
    light = np.zeros(shape)
    for one in range(len(sources)):
        place = sources.keep(np.array([one]))
        flat = psf.evaluate(
            (x.ravel() - place.x)[None, :], (y.ravel() - place.y)[None, :], place.x, place.y
        )
        light += place.flux[0] * flat.reshape(shape)
    data = light.copy()
    if seed is not None:
        rng = np.random.default_rng(seed)
        data += rng.normal(0.0, 1.0, shape) * np.sqrt(rms**2 + light)
    scene = Scene(
        canvas=canvas,
        data=canvas.pad(data),
        sky_variance=canvas.pad(np.full(shape, rms**2)),
        good=canvas.pad(np.ones(shape, dtype=bool)),
        rms=rms,
    )
    return scene, canvas.pad(light)


def plain_psf(fwhm: float = 4.0, shape: tuple[int, int] = (120, 120)) -> Psf:
    """Make a circular Moffat that does not drift."""
    return fallback_psf(fwhm, shape)
