"""Does the photometry reach its bars? Simulated frames with an imperfect PSF, and a table.

    python benchmarks/accuracy.py [--kinds f3-dark cluster5] [--seeds 20] [--quick] [--verbose]

The table has a row for each kind of field. A value that misses its bar is marked ``!``; ``~`` when
a single star makes the difference. The exit status is 1 when there is a ``!``.
"""

import argparse
import dataclasses
import itertools
import sys
import time
import zlib
from collections.abc import Callable

import numpy as np
from scores import Score, score_frame

from pipnick_watch.camera import Camera
from pipnick_watch.frame import Frame
from pipnick_watch.photometry import Measurement, measure
from pipnick_watch.settings import PhotometrySettings, Settings
from pipnick_watch.simulate import FieldSettings, Optics, SimulatedFrame, simulate_field

SNR_BINS = (0.0, 30.0, 45.0, 60.0, 90.0)
BETAS = (3.0, 2.5, 4.0, 3.5)
UNCERTS = ("upstream", "true", "none")


def kinds() -> dict[str, FieldSettings]:
    """List the kinds of field by name."""
    plain = FieldSettings(
        n_pairs=10, n_saturated=2, n_cosmics=25, n_hot=5, mask_errors=5, gradient=0.1,
        bad_columns=Camera().bad_columns,
    )  # fmt: skip
    crowded = dataclasses.replace(plain, n_stars=60, n_pairs=0, n_saturated=1, mask_errors=25)

    def optics(fwhm: float, **more: float) -> Optics:
        return Optics(fwhm=fwhm, **more)

    some = {}
    for fwhm in (3.0, 5.0, 6.0, 10.0):
        dark = dataclasses.replace(plain, optics=optics(fwhm))
        some[f"f{fwhm:g}-dark"] = dark
        some[f"f{fwhm:g}-moon"] = dataclasses.replace(dark, sky=3000.0, moonlight=0.15)
    some["few"] = dataclasses.replace(
        plain, optics=optics(5.0), n_stars=14, n_pairs=0, n_saturated=0, faintest=8.0
    )
    some["rich"] = dataclasses.replace(plain, optics=optics(4.0), n_stars=700)
    some["ellip"] = dataclasses.replace(plain, optics=optics(5.0, ellipticity=0.2, pa=35.0))
    some["galaxy"] = dataclasses.replace(plain, optics=optics(6.0), galaxy=1500.0)
    some["cluster3"] = dataclasses.replace(
        crowded, optics=optics(3.0), n_cluster=900, core_radius=60.0
    )
    some["cluster5"] = dataclasses.replace(
        crowded, optics=optics(5.0), n_cluster=500, core_radius=80.0
    )
    some["f1.5"] = dataclasses.replace(plain, optics=optics(1.5))
    return some


def vary(settings: FieldSettings, seed: int) -> FieldSettings:
    """Change what must not matter from seed to seed: wings, direction of the blob, UNCERT."""
    optics = dataclasses.replace(
        settings.optics, beta=BETAS[seed % 4], coma_angle=float(seed * 137 % 360)
    )
    return dataclasses.replace(settings, optics=optics, uncert=UNCERTS[seed % 3])


def in_memory(frame: SimulatedFrame) -> Frame:
    """Hand a simulated frame over as if it had been read from a file."""
    camera = Camera()
    mask = frame.mask.copy()
    edge = camera.border
    mask[:edge] = mask[-edge:] = mask[:, :edge] = mask[:, -edge:] = True
    return Frame(
        name="simulated.fits", data=frame.data.copy(), mask=mask, uncert=frame.uncert,
        camera=camera, object=frame.pointing.object, filter=frame.pointing.filter,
        exptime=frame.pointing.exptime, airmass=frame.pointing.airmass,
        airmass_mid=frame.pointing.airmass, mjd_mid=60443.19, bjd_tdb=2460443.69,
        ra=frame.pointing.ra, dec=frame.pointing.dec, size=0, mtime_ns=0, sha256="",
    )  # fmt: skip


def run_kind(
    name: str,
    settings: FieldSettings,
    how: Settings,
    seeds: range,
    stars: int,
    measure_frame: Callable[[Frame, Settings], Measurement] = measure,
) -> Score:
    """Measure frames of one kind until enough isolated stars are pooled or the seeds are used."""
    total = Score()
    for seed in seeds:
        frame = simulate_field(
            vary(settings, seed), 10_000 * seed + zlib.crc32(name.encode()) % 9973
        )
        given = in_memory(frame)
        start = time.perf_counter()
        measured = measure_frame(given, how)
        seconds = time.perf_counter() - start
        label = f"{name} seed {seed} ({vary(settings, seed).uncert}):"
        total += score_frame(frame, measured, how.photometry.thresh, seconds, label)
        if len(total.excess) >= stars:
            break
    return total


def mark(value: float, reached: bool, nearly: bool = False) -> str:
    """Write a value with its verdict."""
    return f"{value:.3g}" + (" " if reached else "~" if nearly else "!")


def share(counts: tuple[int, int], bar: float) -> str:
    """Write a found share with the number asked for, against the least that is promised."""
    found, asked = counts
    if not asked:
        return "- "
    verdict = mark(found / asked, found >= bar * asked, found + 1 >= bar * asked)
    return f"{verdict[:-1]}/{asked}{verdict[-1]}"


def width(values: np.ndarray) -> float:
    """Half the range that holds the middle 68 %: the standard deviation without its outliers."""
    low, high = np.percentile(values, [15.87, 84.13])
    return float((high - low) / 2)


def pulls(score: Score) -> list[str]:
    """Write the width of the pull in each bin of signal-to-noise, as far as the stars can tell."""
    pull, snr = score.excess / score.error, 1 / score.error
    cells = []
    for low, high in itertools.pairwise(SNR_BINS):
        inside = pull[(snr >= low) & (snr < high)]
        if len(inside) < 8:
            cells.append("- ")
            continue
        value, doubt = width(inside), 2 / np.sqrt(len(inside))
        reached = 0.8 <= value <= 1.25
        can_tell = not 0.8 - doubt <= value <= 1.25 + doubt
        cells.append(mark(value, reached, not can_tell))
    return cells


def table_row(name: str, score: Score) -> list[str]:
    """Write one kind's row of the table."""
    crowded = name.startswith("cluster")
    cells = [
        name, f"{score.frames} ", f"{score.sources} ", f"{len(score.excess)} ",
        share(score.bright, 0.97 if crowded else 0.99),
        share(score.faint, 0.90 if crowded else 0.95),
        share(score.pairs, 0.8),
        mark(100 * score.false / max(score.sources, 1), score.false <= 0.01 * score.sources,
             score.false - 1 <= 0.01 * score.sources),
        mark(score.split, score.split == 0),
    ]  # fmt: skip
    if len(score.excess) < 8:
        return [*cells, *["- "] * 9]
    bias = 100 * float(np.median(score.excess))
    scatter = width((score.excess - np.median(score.excess)) / np.hypot(score.floor, 0.007))
    pull, snr = score.excess / score.error, 1 / score.error
    beyond = np.count_nonzero(~(np.abs(pull[snr < 90]) <= 3))
    asked = max(np.count_nonzero(snr < 90), 1)
    error = float(np.median(score.error / score.floor))
    worst = 100 * float(score.fwhm[np.argmax(np.abs(score.fwhm))])
    return [
        *cells,
        mark(bias, abs(bias) <= 1.0),
        mark(scatter, scatter <= 1.15),
        *pulls(score),
        mark(100 * beyond / asked, beyond <= 0.03 * asked, beyond - 1 <= 0.03 * asked),
        mark(error, 0.9 <= error <= 1.25),
        mark(worst, abs(worst) <= 3.0),
        f"{np.median(score.seconds):.2f} ",
    ]


HEAD = [
    "kind", "frames ", "found ", "isol ", ">1.8 thr ", "1.3-1.8 ", "pairs ", "false% ", "split ",
    "bias% ", "scatter ", *(f"pull<{top:g} " for top in SNR_BINS[1:]), "beyond3% ", "err/floor ",
    "fwhm% ", "s ",
]  # fmt: skip
BARS = [
    "bar", "", "", "100 ", "0.99 ", "0.95 ", "0.8 ", "1 ", "0 ", "±1 ", "1.15 ",
    *["0.8-1.25 "] * 4, "3 ", "0.9-1.25 ", "±3 ", "",
]  # fmt: skip


def main() -> int:
    """Measure the kinds asked for and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    some = kinds()
    parser.add_argument(
        "--kinds", nargs="+", choices=list(some), default=list(some), metavar="KIND"
    )
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=16, help="most frames of a kind")
    parser.add_argument("--stars", type=int, default=100, help="isolated stars to pool")
    parser.add_argument("--quick", action="store_true", help="one frame of each kind")
    parser.add_argument("--verbose", action="store_true", help="name what was missed or wrong")
    chosen = parser.parse_args()
    seeds = range(chosen.first_seed, chosen.first_seed + (1 if chosen.quick else chosen.seeds))

    rows, notes = [HEAD, BARS], []
    total = Score()
    for name in chosen.kinds:
        photometry = PhotometrySettings(fittype="ellip" if name == "ellip" else "circ")
        score = run_kind(name, some[name], Settings(photometry=photometry), seeds, chosen.stars)
        rows.append(table_row(name, score))
        notes += score.notes
        if name != "f1.5":
            total += score
    if len(chosen.kinds) > 1:
        rows.append(table_row("all", total))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        rest = (cell.rjust(size) for cell, size in zip(row[1:], widths[1:], strict=True))
        print(row[0].ljust(widths[0]), *rest)
    if chosen.verbose:
        print(*notes, sep="\n")
    return int(any(cell.endswith("!") for row in rows for cell in row))


if __name__ == "__main__":
    sys.exit(main())
