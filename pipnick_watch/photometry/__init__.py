"""Numbers only: a frame in, tables out; no files, no clock, no logging set-up."""

from pipnick_watch.photometry.measurement import Measurement, PsfView
from pipnick_watch.photometry.pipeline import measure

__all__ = ["Measurement", "PsfView", "measure"]
