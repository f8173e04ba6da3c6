"""How fast is the photometry, against photutils' grouped fit in the same run? A table.

    python benchmarks/speed.py [--quick] [--no-reference]

Each real frame in ``../shared/nights`` (when it is there) and simulated clusters of 15 to 10,000
stars; seconds of the best of three runs, by stage; the ratio to the reference; the worker's peak
memory. One core: threads of the linear algebra are held to one.
"""

import argparse
import cProfile
import datetime as dt
import gzip
import os
import platform
import pstats
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402  # the number of threads is read when it is loaded

from pipnick_watch.camera import Camera  # noqa: E402
from pipnick_watch.frame import Frame, read_frame  # noqa: E402
from pipnick_watch.photometry import measure  # noqa: E402
from pipnick_watch.settings import Settings  # noqa: E402
from pipnick_watch.simulate import FieldSettings, Optics, simulate_field  # noqa: E402

NIGHTS = Path(__file__).resolve().parents[2] / "shared" / "nights"
STAGES = {
    "sky": ("measure_sky", "sky_noise"),
    "find": ("bootstrap_fwhm", "sharp_pixels", "find_first", "find_more"),
    "psf": ("refine_psf",),
    "fit": ("fit_sources", "fit_saturated", "draw_cores", "draw_wings", "measure_shapes"),
    "tables": ("tabulate",),
}
SIZES = (15, 200, 1000, 3000, 10_000)
HEAD = (
    "frame", "found", "read", *STAGES, "measure", "reference", "ratio", "peak MB",
)  # fmt: skip
MOST_FOR_REFERENCE = 400  # beyond, photutils takes many minutes


def real_frames(scratch: Path) -> list[Path]:
    """Unpack the real frames."""
    found = []
    for packed in sorted(NIGHTS.glob("*/reduced/**/*.fits*")):
        path = scratch / packed.name.removesuffix(".gz")
        raw = packed.read_bytes()
        path.write_bytes(gzip.decompress(raw) if packed.suffix == ".gz" else raw)
        found.append(path)
    return found


def simulated(stars: int) -> Frame:
    """Simulate a frame on which about ``stars`` are found."""
    strewn = stars <= 200
    spread = max(60.0, 3.2 * np.sqrt(stars))
    settings = FieldSettings(
        optics=Optics(fwhm=3.0 if stars > 2000 else 4.5),
        n_stars=round(1.25 * stars) if strewn else 0,
        n_cluster=0 if strewn else round(1.6 * stars),
        core_radius=spread, tidal_radius=8.0 * spread, faintest=8.0, n_cosmics=20,
    )  # fmt: skip
    if stars > 2000:
        settings = FieldSettings(
            optics=Optics(fwhm=3.0, shape=(2048, 2048)), n_stars=round(1.2 * stars), faintest=8.0,
            n_cosmics=20,
        )  # fmt: skip
    field = simulate_field(settings, 20_240_513 + stars)
    camera = Camera()
    mask = field.mask.copy()
    edge = camera.border
    mask[:edge] = mask[-edge:] = mask[:, :edge] = mask[:, -edge:] = True
    return Frame(
        name=f"simulated-{stars}.fits", data=field.data, mask=mask, uncert=None, camera=camera,
        object="SIM", filter="V", exptime=60.0, airmass=1.0, airmass_mid=1.0, mjd_mid=60443.0,
        bjd_tdb=float("nan"), ra=float("nan"), dec=float("nan"), size=0, mtime_ns=0, sha256="",
    )  # fmt: skip


def reference(frame: Frame) -> float:
    """Time photutils' iterative, grouped PSF photometry as its users call it; 0 if it fails."""
    from astropy.stats import sigma_clipped_stats
    from photutils.background import LocalBackground, MMMBackground
    from photutils.detection import IRAFStarFinder
    from photutils.psf import IterativePSFPhotometry, MoffatPSF, SourceGrouper

    with warnings.catch_warnings():
        # what photutils has to say of its large groups is not ours to answer
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        data = frame.data.copy()
        data[frame.mask] = np.median(data)
        _, sky, sigma = sigma_clipped_stats(data)
        fwhm, beta = 6.5, 2.5
        psf = MoffatPSF(alpha=fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1), beta=beta)
        photometry = IterativePSFPhotometry(
            psf, 15, IRAFStarFinder(8 * sigma, fwhm=fwhm, min_separation=0.7 * fwhm),
            grouper=SourceGrouper(2 * fwhm), mode="all", aperture_radius=1.8 * fwhm,
            local_bkg_estimator=LocalBackground(3 * fwhm, 6 * fwhm, MMMBackground()),
            progress_bar=False,
        )  # fmt: skip
        try:
            photometry(data - sky)
        except ValueError:
            # photutils 3.0 stumbles over its own table when a pass finds nothing to keep
            return 0.0
        return time.perf_counter() - start


def stages(frame: Frame, settings: Settings) -> dict[str, float]:
    """Split the time of one run among the stages; a stage does not count another's time."""
    profile = cProfile.Profile()
    profile.enable()
    measure(frame, settings)
    profile.disable()
    spent = {function[2]: row[3] for function, row in pstats.Stats(profile).stats.items()}
    total = spent["measure"]
    seconds = {stage: sum(spent.get(n, 0.0) for n in names) for stage, names in STAGES.items()}
    return {stage: value / total for stage, value in seconds.items()}


def peak_memory(argument: str) -> float:
    """Measure one frame in a process of its own, and return its peak memory in MB."""
    run = subprocess.run(
        [sys.executable, __file__, "--memory-of", argument], capture_output=True, check=True,
        text=True,
    )  # fmt: skip
    return float(run.stdout.split()[-1])


def load(argument: str, settings: Settings) -> Frame:
    """Read a frame's file, or simulate as many stars as the number says."""
    if argument.isdigit():
        return simulated(int(argument))
    return read_frame(Path(argument), Path(argument).name, settings)


def row_of(argument: str, settings: Settings, *, with_reference: bool) -> list[str]:
    """Measure one frame, and write its row."""
    read = np.inf
    for _ in range(1 if argument.isdigit() else 3):
        start = time.perf_counter()
        frame = load(argument, settings)
        read = min(read, time.perf_counter() - start)
    read = 0.0 if argument.isdigit() else read
    found = len(measure(frame, settings).catalogue)
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        measure(frame, settings)
        best = min(best, time.perf_counter() - start)
    parts = stages(frame, settings)
    cells = [Path(frame.name).stem, str(found), f"{read:.3f}"]
    cells += [f"{best * share:.3f}" for share in parts.values()]
    cells.append(f"{best:.3f}")
    if with_reference and found <= MOST_FOR_REFERENCE:
        slow = reference(frame)
        cells += [f"{slow:.2f}", f"{slow / (best + read):.1f}"] if slow else ["fails", "-"]
    else:
        cells += ["-", "-"]
    return [*cells, f"{peak_memory(argument):.0f}"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="real frames and 200 stars only")
    parser.add_argument("--no-reference", action="store_true", help="do not run photutils")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    settings = Settings()
    if chosen.memory_of:
        measure(load(chosen.memory_of, settings), settings)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    print(f"{dt.date.today()}  {platform.processor() or platform.machine()}, one core")
    with tempfile.TemporaryDirectory() as scratch:
        arguments = [str(path) for path in real_frames(Path(scratch))]
        arguments += ["200"] if chosen.quick else [str(size) for size in SIZES]
        rows = [list(HEAD)]
        rows += [row_of(one, settings, with_reference=not chosen.no_reference) for one in arguments]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        rest = (cell.rjust(size) for cell, size in zip(row[1:], widths[1:], strict=True))
        print(row[0].ljust(widths[0]), *rest)


if __name__ == "__main__":
    main()
