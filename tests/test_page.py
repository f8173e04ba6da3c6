"""The page of the night, its pictures, and what a browser makes of it."""

import dataclasses
import html.parser
import re
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from lightcurve_nights import night, publish

from conftest import command
from pipnick_watch import lightcurves, pictures
from pipnick_watch.camera import NICKEL_SITE, Camera
from pipnick_watch.pictures.night_sky import (
    altitudes,
    darkness,
    moon_altitudes,
    moonlight,
    rises_through,
)
from pipnick_watch.pictures.page_words import headline
from pipnick_watch.records import FrameResult
from pipnick_watch.settings import Settings, Target
from pipnick_watch.simulate import FieldSettings, Optics, Pointing, simulate_field, write_frame

CHROMIUM = shutil.which("chromium")
NASTY = "X_V/<img src=x onerror=alert(1)>.fits"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a night with a cloud at its end, a failed frame with a nasty name and a picture."""
    maindir = tmp_path_factory.mktemp("page") / "night"
    truth = night(24, 90, seed=2)
    results = truth.results[:19]  # the cloud is over the field then
    nasty = FrameResult(
        frame=NASTY, object="UNKNOWN", filter="UNKNOWN", status="failed",
        reason="no SIMPLE card: <b>not</b> FITS & 'worse'",
    )  # fmt: skip
    publish(maindir, [*results, nasty])
    settings = settings_of()
    lightcurves.update(maindir, "SIM", "V", settings)
    picture = maindir / "photometric/plots/SIM_V/d1018_sources.png"
    picture.parent.mkdir(parents=True)
    assert pictures.draw_lightcurve(maindir, "SIM", "V")
    pictures.draw_overview(maindir, settings)
    shutil.copy(maindir / "photometric/plots/night.png", picture)
    pictures.write_page(maindir, settings)
    return maindir / "photometric"


def settings_of() -> Settings:
    return Settings(targets={"SIM": Target(x=470.0, y=560.0)})


class Links(html.parser.HTMLParser):
    """Collects tags, links and the page's text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag."""
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        """Take text."""
        self.text += data


def test_the_headline_says_how_it_goes(folder: Path) -> None:
    """Object, number of frames, seeing and the cloud are in the first line."""
    page = (folder / "index.html").read_text()
    first = re.sub("<[^>]*>", "", re.search("<h1>.*?</h1>", page, re.S)[0])
    assert re.match(
        r"SIM V: 19 frames, seeing \d\.\d″.*, transparency down \d\.\d mag since", first
    )
    assert "1 frame failed" in first


def test_nothing_comes_from_elsewhere(folder: Path) -> None:
    """Links are relative and lead to files; no address of the net is in the page."""
    page = Links((folder / "index.html").read_text())
    assert page.links
    for link in page.links:
        if link != "data:,":
            assert not re.match("[a-z]+:", link)
            assert (folder / unquote(link.partition("?")[0])).is_file(), link
    assert "http" not in (folder / "index.html").read_text().replace("http-equiv", "")


def test_names_stay_text(folder: Path) -> None:
    """HTML in a frame's name or reason is shown and not obeyed."""
    page = Links((folder / "index.html").read_text())
    assert NASTY in page.text
    assert "<b>not</b> FITS & 'worse'" in page.text
    assert page.tags.count("img") == 3


def test_an_object_that_is_html_stays_text(tmp_path: Path) -> None:
    """A header's OBJECT is a name, whatever is in it: no tag of it is in the page."""
    field = FieldSettings(optics=Optics(shape=(160, 160)), n_stars=15)
    nasty = "<script>alert(1)</script>"
    for k in range(2):
        frame = simulate_field(field, 1, Pointing(object=nasty, number=k))
        write_frame(frame, tmp_path / f"reduced/d{1001 + k}_red.fits")
    ran = command("pipnick-watch", tmp_path, "--once")
    assert ran.returncode == 0, ran.stderr
    text = (tmp_path / "photometric/index.html").read_text()
    assert "_SCRIPT_ALERT_1___SCRIPT_ V: 2 frames" in Links(text).text
    assert "alert(1)" not in text


def test_failed_frames_come_first(folder: Path) -> None:
    """The first row is the failed frame, then the newest."""
    page = (folder / "index.html").read_text()
    rows = re.findall(r"<tr[^>]*><td class=\"name\">(.*?)</td>", page[page.index("Frames:") :])
    assert "onerror" in rows[0]
    assert "d1018" in rows[1]
    assert "SIM_V/d1018_sources.png" in rows[1]
    assert "d1000" in rows[-1]


def test_the_same_night_gives_the_same_bytes(folder: Path) -> None:
    """Pictures and page are made again byte for byte: they hold no clock."""
    maindir = folder.parent
    names = ["index.html", "plots/night.png", "plots/SIM_V_lightcurve.png"]
    before = [(folder / name).read_bytes() for name in names]
    for name in names:
        (folder / name).unlink()
    pictures.draw_lightcurve(maindir, "SIM", "V")
    pictures.draw_overview(maindir, settings_of())
    pictures.write_page(maindir, settings_of())
    assert [(folder / name).read_bytes() for name in names] == before


def test_an_empty_folder_has_a_page(tmp_path: Path) -> None:
    """Before the first frame the page says so; no light curve, no picture of one."""
    publish(tmp_path, [])
    pictures.write_page(tmp_path, Settings())
    pictures.draw_overview(tmp_path, Settings())
    assert "No frame yet" in (tmp_path / "photometric/index.html").read_text()
    assert not pictures.draw_lightcurve(tmp_path, "SIM", "V")


def test_a_camera_without_a_site_has_a_page(tmp_path: Path) -> None:
    """Twilights and Moon are left out, the rest is there."""
    truth = night(7, 60, seed=1)
    publish(tmp_path, truth.results)
    settings = Settings(camera=Camera(name="Other", site=None))
    lightcurves.update(tmp_path, "SIM", "V", settings)
    pictures.draw_overview(tmp_path, settings)
    pictures.draw_lightcurve(tmp_path, "SIM", "V")
    pictures.write_page(tmp_path, settings)
    assert "no site" in (tmp_path / "photometric/index.html").read_text()


def test_a_long_night_stays_light(tmp_path: Path) -> None:
    """1000 frames make a page of less than 2 MB."""
    result = night(1, 12, seed=1).results[0]
    many = [
        dataclasses.replace(
            result, frame=f"SIM_V/d{k}_red.fits", catalogue="",
            facts={**result.facts, "sha256": f"{k:064x}", "mjd_mid": 60443.2 + k / 2000},
        )
        for k in range(1000, 2000)
    ]  # fmt: skip
    publish(tmp_path, many)
    pictures.write_page(tmp_path, Settings())
    assert (tmp_path / "photometric/index.html").stat().st_size < 2_000_000


def test_the_sky_is_where_it_is() -> None:
    """Twilights, Moon and altitudes at Lick on 2024-05-13 are those of the almanac."""
    # astropy 7.1: get_sun, get_body("moon") and AltAz without refraction
    mjd = 60443.25
    dark = darkness(mjd, NICKEL_SITE)
    assert dark.dusk < mjd < dark.dawn
    assert (dark.dawn - dark.dusk) * 24 == pytest.approx(6.43, abs=0.05)
    assert altitudes(np.array([mjd]), 201.4152, -8.8245, NICKEL_SITE)[0] == pytest.approx(
        astropy_altitude(mjd, 201.4152, -8.8245), abs=0.05
    )
    assert moon_altitudes(np.array([mjd]), NICKEL_SITE)[0] == pytest.approx(
        astropy_altitude(mjd), abs=0.1
    )
    assert 0.2 < moonlight(mjd) < 0.4
    assert np.isnan(rises_through(np.array([0.0, 1.0]), np.array([2.0, 3.0]), 5.0))


def astropy_altitude(mjd: float, ra: float | None = None, dec: float = 0.0) -> float:
    from astropy import units as u
    from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body
    from astropy.time import Time
    from astropy.utils import iers

    site = EarthLocation.from_geodetic(-121.637, 37.343, 1290.0)
    time = Time(mjd, format="mjd")
    with iers.conf.set_temp("auto_download", False):
        one = get_body("moon", time, site) if ra is None else SkyCoord(ra, dec, unit=u.deg)
        return float(one.transform_to(AltAz(obstime=time, location=site)).alt.deg)


def test_words_without_numbers(tmp_path: Path) -> None:
    """A night of one frame has a headline too."""
    publish(tmp_path, night(1, 50, seed=1).results)
    lightcurves.update(tmp_path, "SIM", "V", Settings())
    from pipnick_watch.pictures.page_facts import read_curve

    curve = read_curve(tmp_path / "photometric/lightcurves/SIM_V_frames.csv", "SIM", "V")
    assert curve is not None
    assert headline(curve, 0).startswith("SIM V: 1 frame, seeing")


def browse(page: Path, profile: Path, width: int) -> subprocess.CompletedProcess[str]:
    """Open a page in Chromium with its network cut, and give the document after its scripts ran."""
    assert CHROMIUM is not None
    return subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         "--disable-background-networking", "--proxy-server=127.0.0.1:9", "--enable-logging=stderr",
         f"--user-data-dir={profile}", f"--window-size={width},900",
         "--virtual-time-budget=3000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_it(folder: Path, tmp_path: Path, width: int) -> None:
    """The script runs, pictures load, nothing is too wide, and the console stays silent."""
    probe = (
        "<script>addEventListener('load', () => { const r = document.documentElement;"
        "const bad = [...document.images].filter(i => !i.naturalWidth).length;"
        "document.title = ['probe', bad, r.scrollWidth <= innerWidth, "
        "document.getElementById('banner').hidden, "
        "document.getElementById('age').textContent].join('|'); });"
        "addEventListener('error', () => document.body.append('SCRIPT ' + 'ERROR'));</script>"
    )
    page = folder / f"probe{width}.html"
    page.write_text((folder / "index.html").read_text().replace("</head>", probe + "</head>"))
    ran = browse(page, tmp_path / "profile", width)
    page.unlink()
    said = re.search(r"<title>probe\|(\d+)\|(\w+)\|(\w+)\|(.*?)</title>", ran.stdout)
    assert said, ran.stderr[-2000:]
    assert said.groups()[:3] == ("0", "true", "false")
    assert said[4].endswith("days ago")
    assert "SCRIPT ERROR" not in ran.stdout
    assert "CONSOLE" not in ran.stderr


LONG = "PG1323-086_STANDARD_FIELD_OF_THE_WHOLE_NIGHT_WITH_A_LONG_NAME_XY"


@pytest.fixture(scope="module")
def wordy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a page whose names and reasons are as long as they come."""
    maindir = tmp_path_factory.mktemp("wordy") / "night"
    results = []
    for result in night(6, 60, seed=4).results:
        name = result.frame.replace("SIM_V", f"{LONG}_CLEAR")
        text = result.catalogue.replace(result.frame, name)
        results.append(dataclasses.replace(result, frame=name, object=LONG, catalogue=text))
    for status, reason in (
        ("failed", "incomplete: 181 of 362 kB"),
        ("excluded", f"same as {LONG}"),
    ):
        results.append(FrameResult(
            frame=f"HAT-P-32_240513043247_{status}_{LONG}.FITS", object=LONG, filter="B",
            status=status, reason=reason,
        ))  # fmt: skip
    publish(maindir, results)
    lightcurves.update(maindir, LONG, "V", Settings())
    pictures.draw_lightcurve(maindir, LONG, "V")
    pictures.write_page(maindir, Settings())
    return maindir / "photometric"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_cut_at_the_right(wordy: Path, tmp_path: Path, width: int) -> None:
    """No element reaches beyond the window, hidden in a box that scrolls or not."""
    probe = (
        "<script>addEventListener('load', () => {"
        "const wide = document.documentElement.clientWidth;"
        "const beyond = [...document.body.querySelectorAll('*')].filter("
        "e => e.getBoundingClientRect().right > wide + 0.5 || e.scrollWidth > wide);"
        "parent.postMessage(['probe', innerWidth, document.documentElement.scrollWidth,"
        "document.querySelectorAll('td').length,"
        "beyond.map(e => e.tagName + e.className).join(' ')]"
        ".join('|'), '*'); });</script>"
    )
    page, frame = wordy / f"probe{width}.html", wordy / f"frame{width}.html"
    page.write_text((wordy / "index.html").read_text().replace("</head>", probe + "</head>"))
    # a window of Chromium is 500 pixels wide at least; a frame in it may be narrower
    frame.write_text(
        "<script>addEventListener('message', said => { document.title = said.data; });</script>"
        f'<iframe src="{page.name}" style="width: {width}px; height: 800px; border: 0"></iframe>'
    )
    ran = browse(frame, tmp_path / "profile", width)
    page.unlink()
    frame.unlink()
    said = re.search(r"<title>probe\|(\d+)\|(\d+)\|(\d+)\|(.*?)</title>", ran.stdout)
    assert said, ran.stderr[-2000:]
    assert int(said[1]) == width
    assert int(said[2]) <= width
    assert int(said[3]) > 8 * 7
    assert said[4] == ""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize(("age", "shown"), [(20, False), (900, True)])
def test_the_banner_comes_when_no_frame_does(
    folder: Path, tmp_path: Path, age: int, shown: bool
) -> None:
    """Twenty seconds after a frame there is no banner; after a quarter of an hour there is."""
    text = (folder / "index.html").read_text()
    text = re.sub(r"const last = [\d.]+", f"const last = {time.time() - age}", text)
    page = folder / f"banner{age}.html"
    page.write_text(text)
    ran = browse(page, tmp_path / "profile", 800)
    page.unlink()
    assert ("Nothing has come for 15 min" in ran.stdout) == shown
