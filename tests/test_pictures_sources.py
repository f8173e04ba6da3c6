"""The source picture: what is marked, what is labelled, and that nothing stops it."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from picture_cases import make_case, make_psf, with_flags

import pipnick_watch
from pipnick_watch.photometry.flags import Flag
from pipnick_watch.pictures.picture import prepare_picture
from pipnick_watch.pictures.png import write_png
from pipnick_watch.pictures.sources import LABELLED, WITH_ID, draw_sources
from pipnick_watch.pictures.theme import MARKS, short_flux
from pipnick_watch.settings import Settings

FLUX = re.compile(r"^(#\d+  )?\d+(\.\d+)?[kMG]?$")


def draw(frame, measurement):
    return draw_sources(prepare_picture(frame, measurement, Settings()))


def texts_of(figure):
    return [one.get_text() for one in figure.findobj(Text)]


def labels_of(figure):
    return [one.get_text() for one in figure.axes[0].texts if FLUX.match(one.get_text())]


@pytest.mark.parametrize("n_sources", [1, WITH_ID, WITH_ID + 1, LABELLED, LABELLED + 40])
def test_all_sources_carry_their_flux_or_the_brightest_sixty(n_sources):
    """There is a label for every source up to LABELLED, and it is the source's flux."""
    frame, measurement = make_case(n_sources=n_sources)
    flux = np.sort(measurement.catalogue["flux_psf"])[::-1][:LABELLED]
    written = [label.split("  ")[-1] for label in labels_of(draw(frame, measurement))]
    assert written == [short_flux(one) for one in flux]


def test_few_sources_carry_their_number_too():
    """A label names the row of the catalogue."""
    frame, measurement = make_case(n_sources=3)
    for label in labels_of(draw(frame, measurement)):
        number, flux = label.removeprefix("#").split("  ")
        assert flux == short_flux(measurement.catalogue["flux_psf"][int(number) - 1])


def test_kinds_differ_in_shape_and_in_colour():
    """No two kinds of source share their shape or their colour."""
    assert len({shape for _, shape, _ in MARKS.values()}) == len(MARKS)
    assert len({colour for *_, colour in MARKS.values()}) == len(MARKS)


def test_the_legend_counts_each_kind():
    """Single, grouped, flagged and saturated sources are counted apart."""
    frame, measurement = make_case(n_sources=9, n_pairs=2)
    measurement = with_flags(measurement, {0: Flag.NEAR_EDGE, 1: Flag.SATURATED})
    texts = texts_of(draw(frame, measurement))
    assert {"single 3", "in a group 4", "flagged 1", "saturated 1"} <= set(texts)


def test_the_reasons_of_flags_are_named():
    """The commonest reason comes first; a flag of the whole frame is a note instead."""
    frame, measurement = make_case(n_sources=5)
    for row in range(5):
        measurement = with_flags(measurement, {row: Flag.UNDERSAMPLED})
    low = Flag.UNDERSAMPLED
    measurement = with_flags(
        measurement,
        {0: low | Flag.NEAR_EDGE, 1: low | Flag.EXTENDED, 2: low | Flag.EXTENDED},
    )
    texts = texts_of(draw(frame, measurement))
    assert "EXTENDED 2 · NEAR_EDGE 1" in texts
    assert any("below 2.5 pixels" in text for text in texts)


def test_the_title_says_what_the_frame_is():
    """Object, filter, time, exposure, airmass, FWHM, sky and number of sources are all there."""
    text = "\n".join(texts_of(draw(*make_case(object="PG1323-085"))))
    for part in (
        "PG1323-085   V", "2024-05-13 06:00:00 UTC", "60 s", "airmass 1.25",
        "FWHM 4.00 px = 1.48″", "sky 200 ± 15 e⁻", "12 sources",
    ):  # fmt: skip
        assert part in text


def test_no_source_and_no_psf_are_said_plainly():
    """An empty frame has a picture that says so, and names no FWHM."""
    text = "\n".join(texts_of(draw(*make_case(n_sources=0, with_psf=False))))
    assert "No source above 8 times the noise of the sky" in text
    assert "No PSF" in text
    assert "FWHM" not in text


def test_sources_without_a_psf_are_still_marked():
    """A frame whose PSF is a fallback has its labels."""
    assert len(labels_of(draw(*make_case(n_sources=4, with_psf=False)))) == 4


@pytest.mark.parametrize("shape", [(1, 1), (5, 900), (900, 5), (40, 40), (1300, 700)])
@pytest.mark.parametrize("n_sources", [0, 30])
def test_odd_shapes_are_drawn(shape, n_sources, tmp_path):
    """A frame of any shape has its picture."""
    figure = draw(*make_case(shape, n_sources))
    write_png(figure, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "text",
    [r"$\frac{$", "$", "a_{b}^c", "<script>alert(1)</script>", "x" * 5000, "星 ☃ Ünïcode", "",
     "\udce9\x1b[31m\n\t\x00", "%s {} \\"],
)  # fmt: skip
def test_hostile_names_are_only_text(text, tmp_path):
    """Whatever an object, a filter, a file or a warning is called, the picture is drawn."""
    case = make_case(object=text, filter=text, name=text, warnings=(text, text, text))
    write_png(draw(*case), tmp_path / "picture.png")


def test_long_names_stay_inside_the_picture():
    """Title and file name of the longest kind do not run out of the picture."""
    figure = draw(*make_case(object="W" * 64, filter="M" * 64, name="m" * 900))
    edge = figure.bbox.x1
    for one in figure.texts:
        assert one.get_window_extent().x1 <= edge


def test_unknown_facts_are_left_out(tmp_path):
    """Nothing known of time, exposure and airmass: no nan is written, the rest is drawn."""
    frame, measurement = make_case(mjd_mid=math.nan, exptime=math.nan, airmass=math.nan)
    figures = dict.fromkeys(measurement.figures, math.nan) | {"n_sources": 12}
    object.__setattr__(measurement, "figures", figures)
    figure = draw(frame, measurement)
    assert "time unknown" in "\n".join(texts_of(figure))
    assert "nan" not in "\n".join(texts_of(figure))
    write_png(figure, tmp_path / "picture.png")


def test_sources_that_make_no_sense_are_survived(tmp_path):
    """A flux or place that is not finite, and two sources at one place, stop nothing."""
    frame, measurement = make_case(n_sources=8)
    measurement.catalogue["flux_psf"][:3] = [math.nan, -5.0, math.inf]
    measurement.catalogue["x_fit"][6] = math.nan
    for name in ("x_fit", "y_fit"):
        measurement.catalogue[name][4] = measurement.catalogue[name][5]
    write_png(draw(frame, measurement), tmp_path / "picture.png")


@pytest.mark.parametrize(
    ("flux", "text"),
    [(0.0, "0"), (945.2, "945"), (999.6, "1.00k"), (9995.1, "10.0k"), (12345.0, "12.3k"),
     (999499.0, "999k"), (1.25e6, "1.25M"), (3.2e13, "3.20e+13"), (-20.0, "-20"),
     (math.nan, "nan")],
)  # fmt: skip
def test_fluxes_are_short(flux, text):
    """A flux is written in three digits and a unit."""
    assert short_flux(flux) == text


def test_no_own_source_names_pyplot():
    """No module of the package imports pyplot, and only pictures imports matplotlib."""
    for path in Path(pipnick_watch.__path__[0]).rglob("*.py"):
        code = path.read_text(encoding="utf-8")
        assert not re.search(r"^\s*(from|import) .*pyplot", code, re.MULTILINE), path
        if path.parent.name != "pictures":
            assert not re.search(r"^\s*(from|import) matplotlib", code, re.MULTILINE), path


@pytest.mark.parametrize(
    "name", ["data", "model", "residual", "radius", "profile", "model_profile"]
)
def test_a_psf_with_holes_is_drawn(name, tmp_path):
    """Pixels and rings that no star covered are nan: they stay empty."""
    frame, measurement = make_case(n_sources=3)
    psf = make_psf()
    getattr(psf, name)[...] = math.nan
    object.__setattr__(psf, "fwhm", math.nan)
    object.__setattr__(measurement, "psf", psf)
    write_png(draw(frame, measurement), tmp_path / "picture.png")
