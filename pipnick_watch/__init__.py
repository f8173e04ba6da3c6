"""Live photometry of the frames of an observing night, as they land on disk.

The rooms: ``cli`` opens the door; ``watch`` sees what is new and when it is ready; ``records``
keeps what lands on disk; ``photometry`` turns a frame into numbers; ``frame`` reads a file;
``pictures`` draws; ``lightcurves`` follows the stars; ``simulate`` makes nights with known truth;
``scripting`` is what a script or a notebook calls.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipnick_watch.logs import adjust_global_logger
    from pipnick_watch.scripting import measure_frame, photometry_all, plot_frame

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "adjust_global_logger",
    "measure_frame",
    "photometry_all",
    "plot_frame",
]


def __getattr__(name: str) -> Any:
    """Import what is public when it is asked for: ``import pipnick_watch`` is instant."""
    if name in __all__:
        room = "logs" if name == "adjust_global_logger" else "scripting"
        return getattr(importlib.import_module(f"pipnick_watch.{room}"), name)
    raise AttributeError(f"module 'pipnick_watch' has no attribute {name!r}")
