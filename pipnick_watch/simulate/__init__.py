"""Frames and nights with known truth, for the demo, the tests and the benchmarks."""

from pipnick_watch.simulate.field import FieldSettings, move_stars, place_stars, sky_noise
from pipnick_watch.simulate.files import OTHER_GAIN, frame_bytes, write_frame, write_slowly
from pipnick_watch.simulate.frames import SimulatedFrame, expose, simulate_field
from pipnick_watch.simulate.headers import Pointing
from pipnick_watch.simulate.night import CLUSTER, FIELD, airmass_at, play_night, prepare_night
from pipnick_watch.simulate.psf import Optics

__all__ = [
    "CLUSTER",
    "FIELD",
    "OTHER_GAIN",
    "FieldSettings",
    "Optics",
    "Pointing",
    "SimulatedFrame",
    "airmass_at",
    "expose",
    "frame_bytes",
    "move_stars",
    "place_stars",
    "play_night",
    "prepare_night",
    "simulate_field",
    "sky_noise",
    "write_frame",
    "write_slowly",
]
