"""What can go wrong, as a handful of types.

Each message is one line for a person: what is wrong, where, and what to do.
"""

__all__ = [
    "AnotherDaemonError",
    "ClusterError",
    "FrameError",
    "FrameNotReadyError",
    "PipnickWatchError",
    "RecordsError",
    "SettingsError",
    "SolutionError",
    "UsageError",
]


class PipnickWatchError(Exception):
    """Anything that pipnick-watch raises on purpose; ``exit_code`` is what a command ends with."""

    exit_code = 1


class UsageError(PipnickWatchError):
    """The command was asked for something impossible: a missing MAINDIR, say."""

    exit_code = 2


class SettingsError(PipnickWatchError):
    """A setting is unknown or has an impossible value."""

    exit_code = 78


class AnotherDaemonError(PipnickWatchError):
    """Another daemon already watches this MAINDIR."""

    exit_code = 75


class FrameError(PipnickWatchError):
    """A frame cannot be measured, now or later, unless its content changes."""


class FrameNotReadyError(PipnickWatchError):
    """A frame cannot be measured yet: locked, or written to while it was read. Try again."""


class SolutionError(PipnickWatchError):
    """An astrometric solution cannot be used for this frame, which then has no positions."""


class RecordsError(PipnickWatchError):
    """What lies on disk cannot be read or written the way it must be."""


class ClusterError(PipnickWatchError):
    """The cluster that measures is gone, or cannot go on; the next run goes on from there."""
