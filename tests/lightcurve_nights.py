"""A night's catalogues made from known stars, with the noise that photometry would leave."""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from astropy.table import Table

from pipnick_watch.columns import CATALOGUE, RADII, radius_column
from pipnick_watch.records import FrameResult, Records, table_lines
from pipnick_watch.simulate import move_stars

SHAPE = (1024, 1024)
START = datetime(2024, 5, 13, 4, 32, 47, tzinfo=UTC)
EXPTIME = 60.0


@dataclass
class Truth:
    """What is true of a night."""

    stars: Table
    results: list[FrameResult]
    sources: list[np.ndarray] = field(default_factory=list)
    """For each frame the star of each source."""
    light: np.ndarray = field(default_factory=lambda: np.empty(0))
    """True magnitude change of each star in each frame."""
    clouds: np.ndarray = field(default_factory=lambda: np.empty(0))


def mjd_of(moment: datetime) -> float:
    return (moment - datetime(1858, 11, 17, tzinfo=UTC)) / timedelta(days=1)


def field_of(n: int, rng: np.random.Generator, brightest: float = 1.5e6) -> Table:
    """Strew stars over more than the frame, so that a drift brings new ones."""
    flux = brightest * 10 ** (-0.4 * rng.exponential(1.6, n).clip(0, 5.2))
    return Table({"x": rng.uniform(-300, 1324, n), "y": rng.uniform(-300, 1324, n),
                  "flux": flux, "pair": np.zeros(n, int)})  # fmt: skip


def catalogue_of(
    stars: Table, name: str, number: int, rng: np.random.Generator, *, fwhm: float = 5.0,
    sky: float = 300.0, spots: np.ndarray | None = None, airmass: float = 1.2,
    start: datetime = START, shape: tuple[int, int] = SHAPE, band: str = "V",
) -> tuple[FrameResult, np.ndarray]:  # fmt: skip
    """Measure a frame as the photometry would: noise of photons, sky and read-out, a threshold."""
    rms = math.hypot(math.sqrt(sky), 10.7)
    beta = 3.0
    core = fwhm / 2 / math.sqrt(2 ** (1 / beta) - 1)
    share = {r: 1 - (1 + (r / core) ** 2) ** (1 - beta) for r in RADII}
    peak_share = (beta - 1) / math.pi / core**2
    inside = ((stars["x"] > 6) & (stars["x"] < shape[1] - 7) & (stars["y"] > 6)
              & (stars["y"] < shape[0] - 7) & (stars["flux"] * peak_share > 8 * rms))  # fmt: skip
    who = np.flatnonzero(inside)
    true = np.asarray(stars["flux"])[who]
    # what an aperture of some FWHM would give: correlated with the others through the photons
    photons = rng.normal(0, 1, len(who))
    columns = {}
    for r in RADII:
        noise = np.sqrt(true * share[r]) * photons + rng.normal(
            0, rms * r * math.sqrt(math.pi), len(who)
        )
        columns[radius_column(r)] = true * share[r] + noise
    psf_err = np.sqrt(true + math.pi * (0.9 * fwhm) ** 2 * rms**2)
    psf = (
        true
        + np.sqrt(true) * photons
        + rng.normal(0, 0.9 * fwhm * rms * math.sqrt(math.pi), len(who))
    )
    place_err = 0.6 * fwhm * psf_err / true
    x = np.asarray(stars["x"])[who] + rng.normal(0, place_err)
    y = np.asarray(stars["y"])[who] + rng.normal(0, place_err)
    if spots is not None:
        n = len(spots)
        hot = np.full(n, 3e4)
        x, y = np.append(x, spots[:, 0]), np.append(y, spots[:, 1])
        psf, psf_err = np.append(psf, hot), np.append(psf_err, np.full(n, 200.0))
        for key, value in columns.items():
            columns[key] = np.append(value, hot)
        who = np.append(who, np.full(n, -1))
    order = rng.permutation(len(who))
    n = len(who)
    moment = start + timedelta(seconds=EXPTIME / 2)
    everything = {
        **columns, "x_fit": x, "y_fit": y, "flux_psf": psf, "flux_err": psf_err,
        "peak": sky + psf * peak_share, "bkg_rms": np.full(n, rms), "local_bkg": np.full(n, sky),
        "flags": np.zeros(n, int), "snr": psf / psf_err,
    }  # fmt: skip
    table = Table()
    for column in CATALOGUE:
        if column.name in everything:
            table[column.name] = np.asarray(everything[column.name])[order]
        elif column.kind == "text":
            table[column.name] = np.full(
                n, {"frame": name, "object": "SIM", "filter": band}[column.name]
            )
        elif column.kind == "int":
            table[column.name] = np.arange(1, n + 1)
        else:
            value = {"mjd_mid": mjd_of(moment), "bjd_tdb": mjd_of(moment) + 2400000.503,
                     "exptime": EXPTIME, "airmass": airmass}.get(column.name, math.nan)  # fmt: skip
            table[column.name] = np.full(n, value)
    facts = {
        "n_sources": n, "fwhm": fwhm, "ellipticity": 0.05, "pa": 20.0, "n_psf": 10, "sky": sky,
        "sky_rms": rms, "noise": "model", "psf_mismatch": 0.01, "ref_radius": 20.0, "apcor": 1.0,
        "apcor_err": 0.002, "airmass": airmass, "airmass_mid": airmass, "mjd_mid": mjd_of(moment),
        "exptime": EXPTIME, "size": 1000, "mtime_ns": 1000 + number, "sha256": f"{number:064x}",
        "settings": "s", "wcs": "", "wait_s": 0.1, "measure_s": 0.2,
    }  # fmt: skip
    result = FrameResult(frame=name, object="SIM", filter=band, status="done", facts=facts,
                         catalogue=table_lines(table, CATALOGUE))  # fmt: skip
    return result, who[order]


def night(
    n_frames: int = 60, n_stars: int = 260, seed: int = 1, *, flip: bool = True, n_spots: int = 0,
    spacing_s: float = 95.0, vignetting: float = 0.0, drift: float = 1.1,
    centre: tuple[float, float] = (430.0, 560.0),
) -> Truth:  # fmt: skip
    """Make the night of the issue: drift, dither, flip, cloud, bad focus, transit, variables."""
    rng = np.random.default_rng(seed)
    stars = field_of(n_stars, rng)
    # target and variables in the middle, well seen
    for j, (x, y, flux) in enumerate(
        [(500.0, 540.0, 4e5), (420.0, 600.0, 2.5e5), (600.0, 470.0, 5e5)]
    ):
        stars[j] = x, y, flux, 0
    spots = rng.uniform(10, 1013, (n_spots, 2)) if n_spots else None
    truth = Truth(stars=stars, results=[])
    phase = np.linspace(0, 1, n_frames)
    light = np.zeros((n_frames, n_stars))
    light[:, 0] = np.where((phase > 0.35) & (phase < 0.65), 0.02, 0.0)
    light[:, 1] = 0.15 * np.sin(2 * np.pi * 2.3 * phase)
    light[:, 2] = 0.05 * np.sin(2 * np.pi * 1.3 * phase + 1)
    clouds = np.exp(-0.5 * ((phase - 0.75) / 0.05) ** 2)
    for k in range(n_frames):
        shift = (drift * k - 30, -0.7 * k + 20)
        if n_frames // 3 <= k < n_frames // 3 + 5:
            shift = shift[0] + 25, shift[1] - 15
        turn = 180.3 if flip and k >= n_frames // 2 else 0.0
        airmass = 1.1 + 0.5 * phase[k]
        dimming = light[k] + clouds[k] + 0.15 * (airmass - 1)
        moved = move_stars(stars, SHAPE, shift=shift, turn=turn, dimming=dimming)
        away = (moved["x"] - centre[0]) ** 2 + (moved["y"] - centre[1]) ** 2
        moved["flux"] *= 1 - vignetting * away / 512**2
        moved["flux"] = np.maximum(moved["flux"], 1.0)
        fwhm = 9.5 if k == n_frames // 5 else 5.0 + 0.4 * math.sin(k)
        result, who = catalogue_of(
            moved, f"SIM_V/d{1000 + k}_red.fits", k, rng, fwhm=fwhm, spots=spots, airmass=airmass,
            start=START + timedelta(seconds=spacing_s * k),
        )  # fmt: skip
        truth.results.append(result)
        truth.sources.append(who)
    truth.light, truth.clouds = light, clouds
    return truth


def publish(maindir: Path, results: list[FrameResult]) -> Records:
    """Record frames in this order."""
    (maindir / "reduced").mkdir(parents=True, exist_ok=True)
    records = Records(maindir)
    records.recover()
    records.publish_many([(one, None) for one in results])
    return records
