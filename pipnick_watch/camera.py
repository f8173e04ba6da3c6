"""How a camera spells its headers; its gain, read noise, bad pixels and site.

The Nickel's values are the defaults; another camera's come from ``[camera]`` of the settings.
"""

import re
from dataclasses import dataclass, field

__all__ = ["NICKEL_SITE", "Camera", "Keywords", "Site", "clean_name"]


def clean_name(text: str) -> str:
    """Make a header's OBJECT or filter into a name that is safe in a path and in a table.

    Upper case, blanks removed, other characters than ``[A-Z0-9_.+-]`` replaced by ``_``, no
    leading ``.``, ``-`` or ``+``, at most 64 characters, ``UNKNOWN`` when nothing is left.
    """
    solid = "".join(text.upper().split())
    return re.sub(r"[^A-Z0-9_.+-]", "_", solid).lstrip(".-+")[:64] or "UNKNOWN"


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where the telescope stands.

    Attributes
    ----------
    longitude, latitude : float
        Degrees, east and north positive.
    height : float
        Metres.
    """

    longitude: float
    latitude: float
    height: float = 0.0


NICKEL_SITE = Site(longitude=-121.637, latitude=37.343, height=1290.0)


@dataclass(frozen=True, kw_only=True)
class Keywords:
    """Header keywords of each fact; the first one present wins."""

    object: tuple[str, ...] = ("OBJECT",)
    filter: tuple[str, ...] = ("FILTNAM", "FILTER")
    exptime: tuple[str, ...] = ("EXPTIME", "EXPOSURE")
    airmass: tuple[str, ...] = ("AIRMASS",)
    start: tuple[str, ...] = ("DATE-BEG", "DATE-OBS", "UT-OBS")
    end: tuple[str, ...] = ("DATE-END",)
    ra: tuple[str, ...] = ("RA",)
    dec: tuple[str, ...] = ("DEC",)


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera as its frames show it.

    Attributes
    ----------
    name : str
        Its name; a name other than ``Nickel`` has no site unless one is given.
    gain : float
        Electrons per image unit (reduced Nickel frames are in electrons).
    read_noise : float
        Electrons.
    saturation : float
        Image units; where the detector clips after pedestal, flat and gain, with a margin.
    plate_scale : float
        Arcseconds per pixel.
    bad_columns : tuple of int
        0-based; applied to 1024 × 1024 frames.
    border : int
        Pixels ignored along each edge.
    aperture_m : float
        Diameter of the telescope, metres, for scintillation.
    keywords : Keywords
    site : Site or None
    """

    name: str = "Nickel"
    gain: float = 1.0
    read_noise: float = 10.7
    saturation: float = 100000.0
    plate_scale: float = 0.37
    bad_columns: tuple[int, ...] = (255, 256, 783, 784, 1002)
    border: int = 5
    aperture_m: float = 1.0
    keywords: Keywords = field(default_factory=Keywords)
    site: Site | None = NICKEL_SITE
