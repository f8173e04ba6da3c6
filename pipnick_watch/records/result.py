"""What one frame comes to: all that is published of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["FrameResult", "Status"]

Status = Literal["done", "failed", "excluded"]


@dataclass(frozen=True, kw_only=True)
class FrameResult:
    """The outcome of one frame, as plain data that a worker can send.

    Attributes
    ----------
    frame : str
        Path below ``reduced/``.
    object, filter : str
        Cleaned names; ``UNKNOWN`` when the header could not be read.
    status : {"done", "failed", "excluded"}
    reason : str
        One line for a person; empty when done.
    facts : mapping
        The other columns of ``columns.NIGHT_LOG`` that are known, by name. ``latency_s``,
        ``csv_bytes``, ``consol_bytes``, ``version`` and ``recorded_at`` are filled when the
        result is published.
    catalogue : str
        Lines of the frame's catalogue, each ended by a newline, without the header.
    consolidated : str or None
        The same for the consolidated catalogue; None when it was not asked for.
    """

    frame: str
    object: str
    filter: str
    status: Status
    reason: str = ""
    facts: Mapping[str, float | int | str] = field(default_factory=dict)
    catalogue: str = ""
    consolidated: str | None = None
