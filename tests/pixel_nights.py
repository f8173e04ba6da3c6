"""Nights through real pixels, and how their light curves are scored against the truth."""

import io
import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.table import Table

from pipnick_watch.lightcurves import CurveFlag
from pipnick_watch.simulate import (
    FieldSettings,
    Optics,
    Pointing,
    SimulatedFrame,
    airmass_at,
    expose,
    frame_bytes,
    move_stars,
)

START = datetime(2024, 5, 13, 4, 32, 47, tzinfo=UTC)
HARMLESS = int(CurveFlag.VARIABLE | CurveFlag.CHECK | CurveFlag.CLOUDED)
WELL_SEEN = 20.0
"""Flux over its error from which a star must keep its identity."""


@dataclass(kw_only=True)
class PixelNight:
    """A night on disk, and what is true of it."""

    maindir: Path
    name: str
    band: str
    depth: float
    light: np.ndarray
    """Magnitudes that each star is fainter in each frame; the target is star 0."""
    clouds: np.ndarray
    variables: set[int]
    truths: dict[str, Table] = field(default_factory=dict)


def transit(phase: np.ndarray, depth: float, first: float, last: float) -> np.ndarray:
    """Give a transit with ingress and egress of a tenth of its length."""
    slope = (last - first) / 10
    return depth * np.clip(np.minimum(phase - first, last - phase) / slope, 0, 1)


def strew(
    rng: np.random.Generator, n: int, shape: tuple[int, int], margin: float, peak: float,
    optics: Optics, steps: float = 1.6,
) -> Table:  # fmt: skip
    """Strew stars over more than the frame; the brightest has a peak of so many electrons."""
    share = (optics.beta - 1) / math.pi * 4 * (2 ** (1 / optics.beta) - 1) / optics.fwhm**2
    share = min(share, 0.6)
    flux = peak / share * 10 ** (-0.4 * rng.exponential(steps, n).clip(0, 6.5))
    return Table({
        "x": rng.uniform(-margin, shape[1] + margin, n),
        "y": rng.uniform(-margin, shape[0] + margin, n),
        "flux": flux, "pair": np.zeros(n, int),
    })  # fmt: skip


def plant(stars: Table, places: list[tuple[float, float, float]], clear: float) -> Table:
    """Put known stars first, and clear their surroundings."""
    for x, y, _ in places:
        stars = stars[np.hypot(stars["x"] - x, stars["y"] - y) > clear]
    rows = [{"x": x, "y": y, "flux": flux, "pair": 0} for x, y, flux in places]
    planted = Table(rows=rows, names=["x", "y", "flux", "pair"])
    return Table({key: np.concatenate([planted[key], stars[key]]) for key in planted.colnames})


def nickel_night(
    maindir: Path, seed: int, n_frames: int = 60, shape: tuple[int, int] = (1024, 1024),
    n_stars: int = 160, cloud: float = 1.0,
) -> PixelNight:  # fmt: skip
    """Make the night of a Nickel: drift, dither, flip, cloud, bad focus, transit, variables."""
    rng = np.random.default_rng([seed, 7])
    optics = Optics(shape=shape, fwhm=5.0)
    size = shape[0] / 1024
    stars = strew(rng, n_stars, shape, 80 * size, 4e4, optics)
    middle = [(0.49, 0.53, 4e5), (0.41, 0.60, 2.5e5), (0.59, 0.46, 5e5)]
    stars = plant(stars, [(x * shape[1], y * shape[0], flux) for x, y, flux in middle], 40.0)
    phase = np.linspace(0, 1, n_frames)
    light = np.zeros((n_frames, len(stars)))
    light[:, 0] = np.where((phase > 0.35) & (phase < 0.65), 0.02, 0.0)
    light[:, 1] = 0.15 * np.sin(2 * np.pi * 2.3 * phase)
    light[:, 2] = 0.05 * np.sin(2 * np.pi * 1.3 * phase + 1)
    clouds = cloud * np.exp(-0.5 * ((phase - 0.78) / 0.05) ** 2)
    night = PixelNight(
        maindir=maindir, name="SIM", band="V", depth=0.02, light=light, clouds=clouds,
        variables={1, 2},
    )  # fmt: skip
    first = None
    for k in range(n_frames):
        shift = (1.1 * k * 60 / n_frames * size - 30 * size, (-0.7 * k * 60 / n_frames + 20) * size)
        if n_frames // 3 <= k < n_frames // 3 + max(n_frames // 12, 2):
            shift = shift[0] + 25 * size, shift[1] - 15 * size
        start = START + timedelta(seconds=95.0 * k * 60 / n_frames)
        pointing = Pointing(object="SIM", start=start, number=1000 + k)
        airmass = airmass_at(pointing.ra, pointing.dec, start)
        pointing = replace(pointing, airmass=round(airmass, 6))
        moved = move_stars(
            stars, shape, shift=shift, turn=180.3 if k >= n_frames // 2 else 0.0,
            dimming=light[k] + clouds[k] + 0.15 * (airmass - 1),
        )  # fmt: skip
        first = moved if first is None else first
        fwhm = 9.5 if k == n_frames // 5 else 4.8 * (airmass / 1.45) ** 0.6 + 0.2 * rng.normal()
        settings = FieldSettings(
            optics=replace(optics, fwhm=fwhm), sky=300.0 * (1 + 0.5 * min(clouds[k], 1.0)),
            gradient=0.08, n_cosmics=round(25 * size**2), n_hot=2, mask_errors=2,
            n_stuck=round(20 * size**2), grain=0.003, vignetting=0.02, detector=seed,
        )  # fmt: skip
        frame = expose(moved, settings, np.random.default_rng([seed, 100 + k]), pointing)
        _write(night, f"SIM_V/d{1000 + k}_red.fits", frame, frame_bytes(frame))
    assert first is not None
    (maindir / "pipnick-watch.toml").write_text(
        f'[targets]\n"SIM" = {{ x = {first["x"][0] + 1.2:.1f}, y = {first["y"][0] - 0.8:.1f} }}\n'
    )
    return night


def telephoto_night(
    maindir: Path, seed: int, n_frames: int = 142, shape: tuple[int, int] = (500, 650),
    n_stars: int = 900, *, vignetting: float = 0.25, grain: float = 0.01, drift: float = 270.0,
    edge_loss: float = 0.1, turn: float = 1.0, gain: float = 20.0, n_stuck: int = 150,
    target: float = 1.1e5,
) -> PixelNight:  # fmt: skip
    """Make the night of a small camera with 5″ pixels: undersampled, unflattened, wandering."""
    rng = np.random.default_rng([seed, 8])
    optics = Optics(shape=shape, fwhm=1.5, drift=0.15, coma=0.06, edge_loss=edge_loss)
    stars = strew(rng, n_stars, shape, 0.75 * drift, 6e4, optics, steps=2.2)
    # the field drifts towards smaller x and larger y; the target stays inside
    aim = 0.65 * shape[1], 0.57 * shape[0]
    stars = plant(stars, [(*aim, target)], 8.0)
    phase = np.linspace(0, 1, n_frames)
    light = np.zeros((n_frames, len(stars)))
    light[:, 0] = transit(phase, 0.022, 0.30, 0.78)
    near = np.flatnonzero(
        (np.abs(stars["x"] - aim[0]) < 150) & (np.abs(stars["y"] - aim[1]) < 100)
        & (stars["flux"] > 2e4) & (stars["flux"] < 2e5)
    )  # fmt: skip
    variables = {int(one) for one in near[near != 0][:2]}
    for number, star in enumerate(sorted(variables)):
        light[:, star] = (0.06 + 0.1 * number) * np.sin(2 * np.pi * (1.3 + number) * phase + number)
    clouds = np.zeros(n_frames)
    night = PixelNight(
        maindir=maindir, name="HAT-P-32", band="CLEAR", depth=0.022, light=light, clouds=clouds,
        variables=variables,
    )  # fmt: skip
    angle = rng.uniform(-0.5, 0.5)
    saturation = 4095.0 * gain
    first = None
    for k in range(n_frames):
        way = drift * (phase[k] - 0.1) + 1.5 * rng.normal()
        shift = -way * math.cos(angle), way * math.sin(angle) + rng.normal()
        airmass = 1.02 + 0.6 * phase[k] ** 2
        moved = move_stars(
            stars, shape, shift=shift, turn=turn * phase[k],
            dimming=light[k] + 0.2 * (airmass - 1) + 0.01 * rng.normal(),
        )  # fmt: skip
        # the field is a degree wide: its lower side is seen through more air
        lower = 0.008 * phase[k] ** 2 * (0.5 - moved["y"] / shape[0])
        moved["flux"] *= 10 ** (-0.4 * np.asarray(lower))
        first = moved if first is None else first
        fwhm = float(np.clip(1.35 + 0.2 * math.sin(7 * phase[k]) + 0.12 * rng.normal(), 1.0, 1.8))
        settings = FieldSettings(
            optics=replace(optics, fwhm=fwhm), sky=600.0 * (0.8 + 0.4 * phase[k]), gradient=0.15,
            n_cosmics=6, n_stuck=n_stuck, grain=grain, vignetting=vignetting, detector=seed,
            read_noise=14.0, saturation=saturation / 1.03, uncert="none",
        )  # fmt: skip
        start = START + timedelta(seconds=150.0 * k)
        pointing = Pointing(object="HAT-P-32", filter="Clear", start=start, exptime=60.0,
                            airmass=airmass, ra=31.0427, dec=46.6878, number=k)  # fmt: skip
        frame = expose(moved, settings, np.random.default_rng([seed, 500 + k]), pointing)
        _write(night, f"HAT-P-32_{start:%y%m%d%H%M%S}.FITS", frame, _small_camera(frame, gain))
    assert first is not None
    (maindir / "pipnick-watch.toml").write_text(f"""\
[camera]
name = "Telephoto"
gain = {gain}
read_noise = 14.0
saturation = 4000.0
plate_scale = 5.2
bad_columns = []
aperture_m = 0.15
[camera.keywords]
start = ["DATE-OBS"]
[targets]
"HAT-P-32" = {{ x = {round(first["x"][0])}, y = {round(first["y"][0])} }}
""")
    return night


def _small_camera(frame: SimulatedFrame, gain: float) -> bytes:
    """Spell a frame as a small camera does: 12 bits, few cards."""
    one = frame.pointing
    header = fits.Header()
    header["OBJECT"], header["FILTER"] = one.object, one.filter
    header["EXPTIME"], header["AIRMASS"] = one.exptime, one.airmass
    header["DATE-OBS"] = one.start.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-4]
    header["RA"], header["DEC"] = one.ra, one.dec
    units = np.clip(np.round(frame.data / gain), 0, 4095).astype(np.int16)
    buffer = io.BytesIO()
    fits.PrimaryHDU(units, header).writeto(buffer)
    return buffer.getvalue()


def _write(night: PixelNight, name: str, frame: SimulatedFrame, content: bytes) -> None:
    path = night.maindir / "reduced" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    night.truths[name] = frame.truth


@dataclass(frozen=True, kw_only=True)
class Score:
    """How a night's light curves compare with the truth."""

    identity: float
    """Share of the well-seen stars' points that belong to the star they should."""
    found: float
    """Share of the well-seen stars' images that have a point at all."""
    depth: float
    depth_trend: float
    """With a slope in time fitted too."""
    depth_true: float
    depth_err: float
    """What the errors of the points say of the depth."""
    target_pull: float
    """Scatter of the target about its true light over its errors."""
    pull: float
    """The same, of the constant stars: the median star."""
    n_constant: int
    flagged_constants: int
    missed_variables: int
    unclouded: int
    """Frames dimmed by 0.15 mag or more that are not flagged."""
    overclouded: int
    """Frames dimmed by less than 0.05 mag that are."""
    unmatched: int


def score(night: PixelNight) -> tuple[Score, pd.DataFrame, pd.DataFrame]:
    """Compare a night's light curves with the truth."""
    folder = night.maindir / "photometric" / "lightcurves"
    curve = pd.read_csv(folder / f"{night.name}_{night.band}.csv")
    frames = pd.read_csv(folder / f"{night.name}_{night.band}_frames.csv")
    names = list(night.truths)
    curve["true"] = _true_stars(night, curve)
    known = curve[curve.true >= 0]
    usual = known.groupby("star").true.agg(lambda one: one.mode()[0])
    well = sum(len(_well_seen(table)) for table in night.truths.values())
    keys = {(frame, star) for frame, table in night.truths.items() for star in _well_seen(table)}
    pairs = list(zip(known.frame, known.true, known.star, strict=True))
    judged = [(usual[star] == true) for frame, true, star in pairs if (frame, true) in keys]
    row = frames.frame.map({name: k for k, name in enumerate(names)}).to_numpy()
    light = night.light[row, 0]
    good = np.isfinite(frames.target_mag) & np.isfinite(frames.target_mag_err)
    good &= frames.clouded != 1
    depth, depth_err, _ = _depth(frames[good], light[good] / night.depth, trend=False)
    depth_trend, _, pulls = _depth(frames[good], light[good] / night.depth, trend=True)
    constant, flagged, missed, stars_pulls = 0, 0, set(night.variables), []
    for star, points in curve.groupby("star"):
        true = int(usual.get(star, -1))
        is_flagged = bool((points["flags"] & int(CurveFlag.VARIABLE)).any())
        if true in night.variables:
            missed -= {true} if is_flagged else set()
        elif true != 0:
            constant += 1
            flagged += is_flagged
            plain = points[np.isfinite(points.mag_diff_err) & ((points["flags"] & ~HARMLESS) == 0)]
            if len(plain) >= 0.5 * len(frames):
                weight = plain.mag_diff_err**-2
                mean = np.average(plain.mag_diff, weights=weight)
                one = (plain.mag_diff - mean) / plain.mag_diff_err
                stars_pulls.append(float(np.sqrt(np.mean(one**2))))
    clouds = night.clouds[row]
    result = Score(
        identity=float(np.mean(judged)), found=len(judged) / well, depth=depth,
        depth_trend=depth_trend, depth_true=night.depth, depth_err=depth_err, target_pull=pulls,
        pull=float(np.median(stars_pulls)) if stars_pulls else math.nan, n_constant=constant,
        flagged_constants=flagged, missed_variables=len(missed),
        unclouded=int(((clouds > 0.15) & (frames.clouded != 1)).sum()),
        overclouded=int(((clouds < 0.05) & (frames.clouded == 1)).sum()),
        unmatched=int((frames.matched != 1).sum()),
    )  # fmt: skip
    return result, curve, frames


def _well_seen(table: Table) -> list[int]:
    good = (table["flux"] / table["photon_err"] > WELL_SEEN) & ~table["saturated"]
    return [int(one) for one in table["star"][good]]


def _true_stars(night: PixelNight, curve: pd.DataFrame) -> np.ndarray:
    """Find the true star of each point: the brightest within a FWHM, as the eye would."""
    true = np.full(len(curve), -1)
    for frame, points in curve.groupby("frame"):
        table = night.truths[str(frame)]
        x, y, flux = (np.asarray(table[name]) for name in ("x", "y", "flux"))
        for at, px, py in zip(points.index, points.x, points.y, strict=True):
            away = np.hypot(x - px, y - py)
            near = np.flatnonzero(away < 1.5)
            if len(near):
                true[at] = table["star"][near[np.argmax(flux[near] / (0.3 + away[near]) ** 2)]]
    return true


def _depth(frames: pd.DataFrame, shape: np.ndarray, *, trend: bool) -> tuple[float, float, float]:
    """Fit depth and level, and a slope; give the depth, its error, and scatter over errors."""
    time = frames.mjd_mid - frames.mjd_mid.mean()
    design = np.stack([shape, np.ones(len(frames)), *([time] if trend else [])], axis=1)
    weight = 1 / frames.target_mag_err.to_numpy()
    goal = frames.target_mag.to_numpy() * weight
    weighted = design * weight[:, None]
    found = np.linalg.lstsq(weighted, goal, rcond=None)[0]
    left = goal - weighted @ found
    error = np.sqrt(np.linalg.inv(weighted.T @ weighted)[0, 0])
    return float(found[0]), float(error), float(np.sqrt(np.mean(left**2)))
