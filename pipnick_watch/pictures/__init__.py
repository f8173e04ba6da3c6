"""PNGs and the page."""

from matplotlib.figure import Figure

from pipnick_watch.pictures.group_sheets import draw_groups, group_sheets
from pipnick_watch.pictures.groups import GroupSheets, prepare_groups
from pipnick_watch.pictures.page import (
    curve_picture,
    draw_lightcurve,
    draw_overview,
    night_picture,
    write_page,
)
from pipnick_watch.pictures.picture import SourcePicture, prepare_picture
from pipnick_watch.pictures.png import write_png
from pipnick_watch.pictures.sources import draw_sources

__all__ = [
    "Figure",
    "GroupSheets",
    "SourcePicture",
    "curve_picture",
    "draw_groups",
    "draw_lightcurve",
    "draw_overview",
    "draw_sources",
    "group_sheets",
    "night_picture",
    "prepare_groups",
    "prepare_picture",
    "write_page",
    "write_png",
]
