"""Time what the 500th frame of an object with 100 stars asks for: curve, pictures, page.

``python benchmarks/lightcurves.py`` prints seconds of wall clock and of processor time.
With ``--pixels`` it simulates whole nights instead, measures their frames with the command, and
compares the light curves with the truth; that takes minutes for each night.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from lightcurve_nights import night, publish
from pixel_nights import PixelNight, nickel_night, score, telephoto_night

from pipnick_watch import lightcurves, pictures
from pipnick_watch.settings import Settings, Target


def clocked(what: str, work: object, *arguments: object) -> None:
    """Run something and print how long it took."""
    wall, used = time.perf_counter(), time.process_time()
    assert callable(work)
    work(*arguments)
    wall, used = time.perf_counter() - wall, time.process_time() - used
    print(f"{what:44s} {wall:7.2f} s  {used:7.2f} s of processor time")


def through_pixels(seeds: list[int]) -> None:
    """Print how the light curves of nights of both kinds compare with the truth."""
    print(
        "                         ident  found   depth ±  err  true  pull  flagged  missed  clouds"
    )
    for seed in seeds:
        for kind, make in (("Nickel", nickel_night), ("small camera", telephoto_night)):
            with tempfile.TemporaryDirectory() as folder:
                print(f"{kind:12s} seed {seed:3d}  {_scored(make(Path(folder), seed))}", flush=True)


def _scored(night: PixelNight) -> str:
    command = ["-m", "pipnick_watch", str(night.maindir), "--once", "--no-plots"]
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    found = score(night)[0]
    depth, error, true = (
        1e3 * one for one in (found.depth, found.depth_err, found.depth_true)
    )  # fmt: skip
    return (
        f"{found.identity:8.4f} {found.found:6.3f}  {depth:6.1f} ± {error:4.1f}  {true:4.0f}"
        f"  {found.pull:4.2f}  {found.flagged_constants:2d} of {found.n_constant:3d}"
        f"  {found.missed_variables:3d}     {found.unclouded} missed, {found.overclouded} false"
    )


def main() -> None:
    """Make a night, and time each thing that its last frame asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--stars", type=int, default=240, help="over 2.5 times the field")
    parser.add_argument("--pixels", action="store_true", help="judge whole simulated nights")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of --pixels")
    options = parser.parse_args()
    if options.pixels:
        through_pixels(options.seeds)
        return
    truth = night(options.frames, options.stars, seed=8, spacing_s=40.0, drift=0.2)
    per_frame = sum(map(len, truth.sources)) / options.frames
    print(f"{options.frames} frames of {per_frame:.0f} sources")
    settings = Settings(targets={"SIM": Target(x=470.0, y=560.0)})
    with tempfile.TemporaryDirectory() as folder:
        maindir = Path(folder) / "night"
        records = publish(maindir, truth.results[:-1])
        clocked("all frames but the last", lightcurves.update, maindir, "SIM", "V", settings)
        records.publish(truth.results[-1])
        clocked("is it out of date?", lightcurves.outdated, records, settings)
        clocked("with the last frame", lightcurves.update, maindir, "SIM", "V", settings)
        clocked("its picture", pictures.draw_lightcurve, maindir, "SIM", "V")
        clocked("the night's overview", pictures.draw_overview, maindir, settings)
        clocked("the page", pictures.write_page, maindir, settings)


if __name__ == "__main__":
    main()
