"""Do the real frames agree with themselves, where there is no truth? A table.

    python benchmarks/real.py [FRAME.fits ...]

Without arguments: the frames in ``../shared/nights``. Three tests that need no truth:

interleaved
    Every second row and column make four frames of the same stars. Their fluxes must scatter as
    ``flux_err`` says, among the brighter and among the fainter half of the stars.
copies
    The frame's brightest clean star, scaled down to a signal-to-noise of 20 to 300 and put in
    empty places with its photons' noise, must come back with its flux.
slope
    ``flux_psf / flux_aper`` of isolated stars must not change with brightness.
"""

import argparse
import dataclasses
import gzip
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.table import Table
from scipy.ndimage import shift
from scipy.spatial import cKDTree

from pipnick_watch.frame import Frame, read_frame
from pipnick_watch.photometry import Measurement, measure
from pipnick_watch.photometry.flags import Flag
from pipnick_watch.settings import Settings

NIGHTS = Path(__file__).resolve().parents[2] / "shared" / "nights"
SPOILT = (
    0x1 | 0x10000 | 0x20000 | 0x40000 | 0x80000
)  # partly masked, saturated, edge, masked, blended


def sub_frames(frame: Frame) -> list[Frame]:
    """Take every second row and column, four ways."""
    camera = dataclasses.replace(
        frame.camera, plate_scale=2.0 * frame.camera.plate_scale, border=0, bad_columns=()
    )
    return [
        dataclasses.replace(
            frame, name=f"{frame.name} {j}{i}", camera=camera, data=frame.data[j::2, i::2].copy(),
            mask=frame.mask[j::2, i::2].copy(),
            uncert=None if frame.uncert is None else frame.uncert[j::2, i::2].copy(),
        )
        for j in (0, 1)
        for i in (0, 1)
    ]  # fmt: skip


def half_width(values: np.ndarray) -> float:
    """Half the range that holds the middle 68 %."""
    low, high = np.percentile(values, [15.865, 84.135])
    return 0.5 * float(high - low)


def interleaved(frame: Frame, settings: Settings) -> dict[str, str]:
    """Compare the four sub-frames star by star."""
    tables = [measure(one, settings).catalogue for one in sub_frames(frame)]
    places = [
        np.column_stack([2.0 * table["x_fit"] + i, 2.0 * table["y_fit"] + j])
        for table, (j, i) in zip(tables, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True)
    ]
    first = tables[0]
    rows = [np.arange(len(first))]
    for place in places[1:]:
        distance, index = cKDTree(place).query(places[0])
        rows.append(np.where(distance < 1.5, index, -1))
    index = np.array(rows)
    common = (index >= 0).all(axis=0)
    flags = np.array(
        [np.asarray(t["flags"])[k] for t, k in zip(tables, index[:, common], strict=True)]
    )
    clean = (flags & (SPOILT & ~0x80000 & ~0x1)) == 0
    flux, error = (
        np.array([np.asarray(t[name])[k] for t, k in zip(tables, index[:, common], strict=True)])
        for name in ("flux_psf", "flux_err")
    )
    keep = clean.all(axis=0)
    flux, error = flux[:, keep], error[:, keep]
    # the mean of four takes a quarter of the scatter with it
    pull = (flux - flux.mean(axis=0)) / error / np.sqrt(0.75)
    bright = np.median(flux / error, axis=0) > np.median(flux / error)
    scale = np.median(flux / flux.mean(axis=0), axis=1)
    return {
        "stars in all four": f"{keep.sum()}",
        "pull, bright half": f"{half_width(pull[:, bright].ravel()):.2f}",
        "pull, faint half": f"{half_width(pull[:, ~bright].ravel()):.2f}",
        "scales of the four": " ".join(f"{one:.4f}" for one in scale),
    }


def brightest(frame: Frame, table: Table) -> int:
    """Choose the brightest star that is isolated, whole and like the others."""
    places = np.column_stack([table["x_fit"], table["y_fit"]])
    flux = np.asarray(table["flux_psf"])
    tree = cKDTree(places)

    def faint_beside(row: int, near: list[int]) -> bool:
        return all(flux[k] < 0.02 * flux[row] for k in near if k != row)

    alone = [
        row
        for row in np.argsort(-flux)
        if not int(table["flags"][row]) & SPOILT
        and faint_beside(row, tree.query_ball_point(places[row], 45.0))
    ]
    if not alone:
        raise SystemExit(f"{frame.name}: no bright star stands alone")
    growth = np.asarray(table["flux_r10"]) / np.asarray(table["flux_r5"])
    usual = np.median(growth[alone[:8]])
    # what grows unlike the others is two stars, and so would be its copies
    return int(next(row for row in alone if abs(growth[row] / usual - 1.0) < 0.02))


def flux_of(snr: np.ndarray, table: Table) -> np.ndarray:
    """Say how bright a star of this signal-to-noise is, where the frame's faintest stars are."""
    sky = np.sqrt(np.min(np.asarray(table["flux_err"]) ** 2 - np.asarray(table["flux_psf"])))
    return 0.5 * (snr**2 + np.sqrt(snr**4 + (2.0 * snr * sky) ** 2))


def copies(frame: Frame, settings: Settings, draws: int) -> dict[str, str]:
    """Measure scaled copies of the brightest star in empty places, thirty at a time."""
    measured = measure(frame, settings)
    table = measured.catalogue
    star = brightest(frame, table)
    x0, y0, snr0 = (float(table[name][star]) for name in ("x_fit", "y_fit", "snr"))
    found = [put_copies(frame, settings, measured, star, seed) for seed in range(draws)]
    ratio, pull, snr = (np.concatenate(parts) for parts in zip(*found, strict=True))
    each = " ".join(f"{half_width(one):.2f}" for _, one, _ in found)
    return {
        "copied star": f"({x0:.0f}, {y0:.0f}) snr {snr0:.0f}",
        "copies found": f"{len(snr)}, snr {snr.min():.0f} to {snr.max():.0f}",
        "median - 1, %": f"{100.0 * (np.median(ratio) - 1.0):.2f}",
        "pull of copies": f"{half_width(pull):.2f}  (each thirty: {each})",
    }


def put_copies(
    frame: Frame, settings: Settings, measured: Measurement, star: int, seed: int, number: int = 30
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return measured over true flux, the pull and the signal-to-noise of copies of one star."""
    table = measured.catalogue
    x0, y0, flux0 = (float(table[name][star]) for name in ("x_fit", "y_fit", "flux_psf"))
    half = int(np.ceil(4.0 * measured.figures["fwhm"]))
    ix, iy = round(x0), round(y0)
    box = (slice(iy - half, iy + half + 1), slice(ix - half, ix + half + 1))
    own = (frame.data - measured.background)[box]
    rng = np.random.default_rng(20_240_513 + seed)
    asked = 10.0 ** rng.uniform(np.log10(20.0), np.log10(300.0), 4 * number)
    taken = np.column_stack([table["x_fit"], table["y_fit"]])
    data, put = frame.data.copy(), []
    ny, nx = data.shape
    for want in flux_of(asked, table):
        if want > 0.5 * flux0:
            continue
        for _ in range(200):
            x, y = rng.uniform(half + 8, nx - half - 9), rng.uniform(half + 8, ny - half - 9)
            near = cKDTree(taken).query([x, y])[0]
            spot = (
                slice(round(y) - half, round(y) + half + 1),
                slice(round(x) - half, round(x) + half + 1),
            )
            if near > 1.4 * half and not frame.mask[spot].any():
                break
        else:
            break
        share = want / flux0
        # what scaling takes from the star's own noise is made up for by the place's
        dy, dx = y - round(y) - (y0 - iy), x - round(x) - (x0 - ix)
        stamp = shift(own, (dy, dx), order=3, mode="nearest") * share
        stamp += rng.normal(size=stamp.shape) * np.sqrt(np.maximum(stamp, 0.0) * (1.0 - share))
        data[spot] += stamp
        put.append((x, y, want))
        taken = np.vstack([taken, [x, y]])
        if len(put) == number:
            break
    found = measure(dataclasses.replace(frame, data=data), settings).catalogue
    tree = cKDTree(np.column_stack([found["x_fit"], found["y_fit"]]))
    truth = np.array(put)
    distance, row = tree.query(truth[:, :2])
    seen = distance < 2.0
    flux, error = (np.asarray(found[name])[row[seen]] for name in ("flux_psf", "flux_err"))
    return flux / truth[seen, 2], (flux - truth[seen, 2]) / error, flux / error


def slope(frame: Frame, settings: Settings) -> dict[str, str]:
    """Fit flux_psf / flux_aper of isolated stars against magnitude."""
    table = measure(frame, settings).catalogue
    places = np.column_stack([table["x_fit"], table["y_fit"]])
    flux = np.asarray(table["flux_psf"])
    # a galaxy has more light in the aperture than its PSF, and is no star
    alone = (np.asarray(table["flags"]) & (SPOILT | int(Flag.EXTENDED))) == 0
    for k, near in enumerate(cKDTree(places).query_ball_point(places, 25.0)):
        alone[k] &= all(flux[other] < 0.02 * flux[k] for other in near if other != k)
    alone &= np.asarray(table["snr"]) > 30
    ratio = flux[alone] / np.asarray(table["flux_aper"])[alone]
    error = ratio * (np.asarray(table["flux_aper_err"]) / np.asarray(table["flux_aper"]))[alone]
    weight = 1.0 / np.hypot(error, 0.005)
    magnitude = np.asarray(table["mag"])[alone]
    if alone.sum() < 4:
        return {"isolated stars": f"{alone.sum()}"}
    (gradient, _), covariance = np.polyfit(magnitude, ratio, 1, w=weight, cov="unscaled")
    return {
        "isolated stars": f"{alone.sum()}",
        "slope, % a magnitude": f"{100 * gradient:.2f} ± {100 * np.sqrt(covariance[0, 0]):.2f}",
    }


def main() -> None:
    """Print what each frame says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("frames", nargs="*", type=Path)
    parser.add_argument("--draws", type=int, default=4, help="times thirty copies")
    chosen = parser.parse_args()
    settings = Settings()
    with tempfile.TemporaryDirectory() as scratch:
        paths = chosen.frames
        for packed in [] if paths else sorted(NIGHTS.glob("*/reduced/**/*.fits.gz")):
            path = Path(scratch) / packed.name.removesuffix(".gz")
            path.write_bytes(gzip.decompress(packed.read_bytes()))
            paths = [*paths, path]
        if not paths:
            sys.exit(f"no frame in {NIGHTS}: give the frames")
        for path in paths:
            frame = read_frame(path, path.name, settings)
            rows = (
                interleaved(frame, settings)
                | copies(frame, settings, chosen.draws)
                | slope(frame, settings)
            )
            for what, value in rows.items():
                print(f"{path.stem:12} {what:22} {value}")


if __name__ == "__main__":
    main()
