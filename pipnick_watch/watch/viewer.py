"""How a picture is shown to a person, if anybody sits there."""

import logging
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Viewer"]

logger = logging.getLogger(__name__)

OPENER = "xdg-open"


class Viewer:
    """Opens pictures in the desktop's own program, and never waits for it."""

    def __init__(self) -> None:
        self._open: list[subprocess.Popen[bytes]] = []
        self._opener = shutil.which(OPENER)
        self._told = False

    def show(self, paths: Iterable[Path]) -> None:
        """Open pictures; without a display, say once that there is none."""
        self._open = [one for one in self._open if one.poll() is None]
        if not self._can():
            return
        for path in paths:
            try:
                self._open.append(
                    subprocess.Popen(  # noqa: S603
                        [str(self._opener), str(path)],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        start_new_session=True,
                    )
                )
            except OSError as error:
                logger.warning("%s: cannot be shown: %s", path, error.strerror)

    def _can(self) -> bool:
        display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        lacks = "" if display else "there is no display"
        if display and self._opener is None:
            lacks = f"{OPENER} is not installed"
        if lacks and not self._told:
            logger.warning("pictures are not shown: %s", lacks)
            self._told = True
        return not lacks
