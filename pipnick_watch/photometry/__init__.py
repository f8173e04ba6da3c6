"""Numbers only: a frame in, tables out; no files, no clock, no logging set-up."""

from pipnick_watch.photometry.measurement import Measurement, PsfView

__all__ = ["Measurement", "PsfView"]
