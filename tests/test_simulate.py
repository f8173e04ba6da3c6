"""The simulator tells the truth about its frames, and its night lands as a real one does."""

import dataclasses
import fcntl
import math
import threading
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from pipnick_watch.errors import UsageError
from pipnick_watch.simulate import (
    CLUSTER,
    FIELD,
    OTHER_GAIN,
    FieldSettings,
    Optics,
    Pointing,
    SimulatedFrame,
    expose,
    frame_bytes,
    move_stars,
    place_stars,
    play_night,
    prepare_night,
    simulate_field,
    sky_noise,
    write_frame,
    write_slowly,
)

SMALL = FieldSettings(optics=Optics(shape=(256, 300)), n_stars=40)


def one_star(x: float, y: float, flux: float, **optics: float) -> SimulatedFrame:
    """Expose a single star."""
    settings = FieldSettings(optics=Optics(shape=(401, 401), **optics), n_stars=0)
    stars = place_stars(settings, np.random.default_rng(0))
    stars.add_row({"x": x, "y": y, "flux": flux, "pair": 0})
    return expose(stars, settings, np.random.default_rng(1))


@pytest.mark.parametrize("fwhm", [1.5, 3.0, 6.0, 10.0])
@pytest.mark.parametrize("more", [{}, {"ellipticity": 0.3, "pa": 30.0}, {"beta": 2.5}])
def test_flux_in_circles(fwhm, more):
    """The noiseless image holds the flux that truth says, in large circles and altogether."""
    frame = one_star(203.3, 198.6, 1e6, fwhm=fwhm, **more)
    light = frame.expected - frame.sky
    rows, columns = np.indices(light.shape)
    apart = np.hypot(columns - 203.3, rows - 198.6)
    assert light.sum() == pytest.approx(frame.truth["flux"][0], rel=1e-3)
    for radius in (6 * fwhm + 8, 10 * fwhm + 20):
        share = np.clip(radius + 0.5 - apart, 0, 1)
        assert (light * share).sum() == pytest.approx(frame.flux_within(radius)[0], rel=1e-3)
    assert frame.flux_within(math.inf)[0] == pytest.approx(1e6, rel=1e-6)


def test_wings_leave_light_outside():
    """A Nickel star has 5 to 20 % of its light outside 8 pixels."""
    frame = one_star(200.0, 200.0, 1e5)
    assert 0.05 < 1 - frame.flux_within(8.0)[0] / 1e5 < 0.2


def test_width_drifts():
    """Stars are 5 % wider at the edges and 10 % in the corners, so their peaks are lower."""
    peaks = [
        one_star(x, y, 1e6, fwhm=8.0, coma=0.0).truth["peak"][0]
        for x, y in ((200, 200), (390, 200), (390, 390))
    ]
    reach = (190 / 200) ** 2
    widths = np.sqrt(peaks[0] / np.array(peaks[1:]))
    assert widths == pytest.approx([1 + 0.05 * reach, 1 + 0.1 * reach], rel=3e-3)


def test_a_detector_stays_the_same():
    """Grain, stuck pixels and vignetting are the detector's: two frames share them."""
    settings = dataclasses.replace(
        SMALL, n_stars=0, sky=4e6, grain=0.02, n_stuck=5, vignetting=0.3, detector=3
    )
    one, other = (simulate_field(settings, seed) for seed in (1, 2))
    assert one.data == pytest.approx(other.data, rel=0.006)
    patch, corner = one.sky[108:148, 130:170], one.sky[:8, :8]
    assert corner.mean() / patch.mean() == pytest.approx(0.7, rel=0.06)
    assert patch.std() / patch.mean() == pytest.approx(0.02, rel=0.1)


def test_pixels_are_less_sensitive_at_their_edges():
    """An undersampled star loses light between pixels; summed over all places it loses none."""
    fluxes = []
    for place in np.linspace(200.0, 200.875, 8):
        frame = one_star(float(place), 200.0, 1e6, fwhm=0.6, coma=0.0, edge_loss=0.3)
        fluxes.append((frame.expected - frame.sky).sum())
    fluxes = np.array(fluxes) / 1e6
    assert fluxes.argmin() == 4
    assert np.ptp(fluxes) > 0.01
    assert fluxes[0] > 1 > fluxes[4]


def test_seen_fwhm():
    """The frame's FWHM is what the noiseless image shows, the blob included."""
    frame = one_star(200.0, 200.0, 1e8, fwhm=24.0)
    light = frame.expected - frame.sky
    area = np.count_nonzero(light > light.max() / 2)
    assert 2 * math.sqrt(area / math.pi) == pytest.approx(frame.fwhm, rel=0.01)
    assert 1.0 < frame.fwhm / 24.0 < 1.03


@pytest.mark.parametrize("sky", [300.0, 3000.0])
def test_noise(sky):
    """The noise has the variance of photons and read noise, on sky and on stars alike."""
    frame = simulate_field(dataclasses.replace(SMALL, sky=sky, n_stars=300), 4)
    pull = (frame.data - frame.expected) / np.sqrt(frame.expected + frame.settings.read_noise**2)
    assert pull.std() == pytest.approx(1.0, abs=0.01)
    assert pull.mean() == pytest.approx(0.0, abs=0.015)
    lit = frame.expected > 2 * frame.sky
    assert pull[lit].std() == pytest.approx(1.0, abs=4 / math.sqrt(2 * lit.sum()))
    assert sky_noise(frame.settings) == pytest.approx(math.sqrt(sky + 10.7**2))


def test_photon_error():
    """The error that truth names is that of fitting the true image to the noisy one."""
    frame = one_star(200.3, 199.8, 3e4)
    star = frame.expected - frame.sky
    weight = star / (frame.expected + frame.settings.read_noise**2)
    rng = np.random.default_rng(3)
    spread = np.sqrt(frame.expected + frame.settings.read_noise**2)
    trials = [
        (weight * (star + spread * rng.standard_normal(star.shape))).sum() / (weight * star).sum()
        for _ in range(300)
    ]
    assert 3e4 * np.std(trials) == pytest.approx(frame.truth["photon_err"][0], rel=0.15)


def test_same_seed_same_bytes():
    """A seed gives the same bytes each time, another seed another frame."""
    settings = dataclasses.replace(SMALL, n_pairs=3, n_cosmics=5, n_hot=3, bad_columns=(9,))
    first = frame_bytes(simulate_field(settings, 7))
    assert frame_bytes(simulate_field(settings, 7)) == first
    assert frame_bytes(simulate_field(settings, 8)) != first


def test_neighbourhood():
    """Truth tells pairs, the nearest brighter star and isolation."""
    settings = FieldSettings(optics=Optics(fwhm=5.0), n_stars=30, n_pairs=8)
    frame = simulate_field(settings, 11)
    truth = frame.truth
    for pair in range(1, 9):
        bright, faint = truth[truth["pair"] == pair]
        apart = math.hypot(bright["x"] - faint["x"], bright["y"] - faint["y"])
        assert 0.8 * 5 <= apart <= 2 * 5
        assert bright["flux"] >= faint["flux"]
        assert faint["brighter"] <= apart / frame.fwhm + 1e-9
        assert not bright["isolated"]
        assert not faint["isolated"]
    lonely = truth[truth["isolated"]]
    for star in lonely:
        apart = np.hypot(truth["x"] - star["x"], truth["y"] - star["y"])
        near = (apart < 3 * frame.fwhm) & (apart > 0)
        assert truth["flux"][near].sum() < 0.01 * star["flux"]
    assert len(lonely) > 15


def test_cluster_is_concentrated():
    """Cluster members crowd towards the centre and end at the tidal radius."""
    settings = FieldSettings(n_stars=0, n_cluster=500, core_radius=40, tidal_radius=300)
    stars = place_stars(settings, np.random.default_rng(5))
    radius = np.hypot(stars["x"] - 511.5, stars["y"] - 511.5)
    assert radius.max() < 300
    assert 30 < np.median(radius) < 110


def test_moved_stars():
    """A flip turns the field about its centre, a cloud dims it, each star keeps its row."""
    stars = place_stars(SMALL, np.random.default_rng(5))
    flipped = move_stars(stars, (256, 300), turn=180.0, shift=(3.0, -2.0), dimming=1.0)
    assert flipped["x"] + stars["x"] == pytest.approx(np.full(40, 299 + 3.0))
    assert flipped["y"] + stars["y"] == pytest.approx(np.full(40, 255 - 2.0))
    assert flipped["flux"] / stars["flux"] == pytest.approx(np.full(40, 10**-0.4))
    quarter = move_stars(stars, (256, 300), turn=90.0)
    assert quarter["y"] - 127.5 == pytest.approx(stars["x"] - 149.5)


def test_defects():
    """Saturated stars are clipped and bleed, bad columns and most cosmic rays are masked."""
    settings = FieldSettings(
        n_stars=20, n_saturated=3, n_cosmics=60, n_hot=10, mask_errors=5, bad_columns=(255, 256)
    )
    frame = simulate_field(settings, 2)
    assert frame.data.max() == pytest.approx(103000.0)
    assert frame.truth["saturated"].sum() == 3
    full = frame.data >= frame.data.max()
    assert frame.mask[full].all()
    rows, columns = np.nonzero(full)
    assert np.ptp(rows) > 0
    tall = max(np.count_nonzero(full[:, column]) for column in set(columns.tolist()))
    wide = max(np.count_nonzero(full[row]) for row in set(rows.tolist()))
    assert tall > wide
    assert frame.mask[:, [255, 256]].all()
    hits = np.flatnonzero(((frame.data - frame.expected) > 500) & ~full)
    masked = frame.mask.ravel()[hits]
    assert 0.4 < masked.mean() < 1.0


def test_galaxy_is_no_star():
    """A galaxy adds light to the sky and no row to the truth."""
    plain = simulate_field(SMALL, 3)
    with_galaxy = simulate_field(dataclasses.replace(SMALL, galaxy=1000.0), 3)
    assert len(with_galaxy.truth) == len(plain.truth)
    assert (with_galaxy.sky - plain.sky).max() > 500


def test_three_kinds_of_uncert():
    """UNCERT is the calibration's share, the whole error, or missing."""
    upstream = simulate_field(dataclasses.replace(SMALL, uncert="upstream"), 3)
    true = simulate_field(dataclasses.replace(SMALL, uncert="true"), 3)
    none = simulate_field(dataclasses.replace(SMALL, uncert="none"), 3)
    assert np.median(upstream.uncert) == pytest.approx(3.0, abs=0.1)
    assert np.median(true.uncert) == pytest.approx(sky_noise(SMALL), rel=0.02)
    assert none.uncert is None
    assert np.array_equal(upstream.data, none.data)


def test_nickel_file(tmp_path: Path):
    """The file has the Nickel's headers and extensions, and astropy reads it without a word."""
    frame = simulate_field(SMALL, 1, Pointing(object="M 13", filter="R", exptime=30.0))
    path = tmp_path / "M13_R" / "d1001_red.fits"
    write_frame(frame, path)
    assert [one.name for one in path.parent.iterdir()] == ["d1001_red.fits"]
    with fits.open(path) as hdus:
        hdus.verify("exception")
        header = hdus[0].header
        assert np.array_equal(hdus[0].data, frame.data)
        assert np.array_equal(hdus["MASK"].data.astype(bool), frame.mask)
        assert hdus["MASK"].data.dtype == np.uint8
        assert np.array_equal(hdus["UNCERT"].data, frame.uncert)
        assert hdus["UNCERT"].header["UTYPE"] == "StdDevUncertainty"
    assert "OBJECT  = 'M 13              '" in str(header.cards["OBJECT"])
    assert header["FILTNAM"] == "R"
    assert (header["EXPTIME"], header["BUNIT"], header["GAIN"]) == (30, "electron", 1)
    assert header["DATE-BEG"] == "2024-05-13T04:32:47.12"
    assert header["DATE-END"] == "2024-05-13T04:33:17.12"
    assert (header["RA"], header["DEC"]) == ("13:25:39.65", "-8:49:28.2")
    place = WCS(header).pixel_to_world(149.0, 127.0)
    assert (place.ra.deg, place.dec.deg) == pytest.approx((201.4152, -8.8245), abs=1e-4)


def test_other_camera_file(tmp_path: Path):
    """Another camera's file is unsigned 16-bit and has neither mask, errors nor airmass."""
    frame = simulate_field(SMALL, 1)
    path = tmp_path / "light.FITS"
    write_frame(frame, path, "other")
    with fits.open(path) as hdus:
        assert len(hdus) == 1
        assert hdus[0].data.dtype == np.uint16
        assert hdus[0].data * OTHER_GAIN == pytest.approx(frame.data, abs=OTHER_GAIN / 2 + 1e-6)
        header = hdus[0].header
    assert "AIRMASS" not in header
    assert "FILTNAM" not in header
    assert header["FILTER"] == "V"
    assert header["DATE-OBS"] == "2024-05-13T04:32:47.12"
    raw = fits.getheader(path, do_not_scale_image_data=True)
    assert (raw["BITPIX"], raw["BZERO"]) == (16, 32768)


def test_slow_writer(tmp_path: Path):
    """A slow writer's file grows chunk by chunk under its own name until it is whole."""
    frame = simulate_field(SMALL, 1)
    path = tmp_path / "slow.fits"
    sizes = [(path.stat().st_size, said) for said in write_slowly(frame, path, chunks=5)]
    assert len(sizes) == 5
    assert all(size == said for size, said in sizes)
    assert path.read_bytes() == frame_bytes(frame)


def test_night(tmp_path: Path):
    """A night of twelve frames lands: two objects, two filters, and a star that varies."""
    prepare_night(tmp_path)
    settings = tomllib.loads((tmp_path / "pipnick-watch.toml").read_text(encoding="utf-8"))
    target = settings["targets"][FIELD]
    written = play_night(tmp_path, seconds=0)
    assert len(written) == 12
    found = sorted(path for path in (tmp_path / "reduced").rglob("*.fits"))
    assert found == sorted(written)
    folders = {path.parent.name for path in written}
    assert folders == {f"{name}_{band}" for name in (FIELD, CLUSTER) for band in "VB"}
    fluxes = []
    for number, path in enumerate(written):
        if path.parent.name != f"{FIELD}_V":
            continue
        data = fits.getdata(path)
        x, y = round(target["x"] + 0.35 * number), round(target["y"] - 0.2 * number)
        near = data[y - 8 : y + 9, x - 8 : x + 9]
        fluxes.append(float((near - np.median(data)).sum()))
    assert len(fluxes) == 6
    assert max(fluxes) / min(fluxes) > 1.4


def test_real_night_is_left_alone(tmp_path: Path):
    """A folder that holds a real night is refused, a simulated one is played again."""
    prepare_night(tmp_path)
    play_night(tmp_path, seconds=0)
    prepare_night(tmp_path)
    (tmp_path / "reduced" / "M13_V").mkdir()
    with pytest.raises(UsageError, match="holds another night"):
        prepare_night(tmp_path)
    real = tmp_path / "real"
    real.mkdir()
    (real / "pipnick-watch.toml").write_text("[camera]\ngain = 2.0\n")
    with pytest.raises(UsageError, match="give a new folder"):
        prepare_night(real)
    assert (real / "pipnick-watch.toml").read_text() == "[camera]\ngain = 2.0\n"
    assert not (real / "reduced").exists()


def test_night_holds_a_lock(tmp_path: Path):
    """One frame of the night is whole but locked while the next one lands."""
    player = threading.Thread(target=play_night, args=(tmp_path,), kwargs={"seconds": 5.0})
    player.start()
    seen_locked = False
    while player.is_alive():
        for path in tmp_path.rglob("*.lock"):
            with path.open() as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    seen_locked = True
        time.sleep(0.05)
    player.join()
    locks = list(tmp_path.rglob("*.lock"))
    assert seen_locked
    assert [one.name for one in locks] == ["d1007_red.fits.lock"]
    with locks[0].open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_night_stops_when_told(tmp_path: Path):
    """A night that is stopped leaves whole frames only."""
    stop = threading.Event()
    player = threading.Thread(
        target=play_night, args=(tmp_path,), kwargs={"seconds": 60.0, "stop": stop}
    )
    player.start()
    while not list(tmp_path.rglob("*.fits")):
        time.sleep(0.05)
    stop.set()
    player.join(timeout=20)
    assert not player.is_alive()
    left = list(tmp_path.rglob("*.fits"))
    assert 0 < len(left) < 12
    for path in left:
        with fits.open(path) as hdus:
            assert hdus[2].data.shape == (512, 512)
