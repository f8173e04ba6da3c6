"""Time what the 500th frame of an object with 100 stars asks for: curve, pictures, page.

``python benchmarks/lightcurves.py`` prints seconds of wall clock and of processor time.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from lightcurve_nights import night, publish

from pipnick_watch import lightcurves, pictures
from pipnick_watch.settings import Settings, Target


def clocked(what: str, work: object, *arguments: object) -> None:
    """Run something and print how long it took."""
    wall, used = time.perf_counter(), time.process_time()
    assert callable(work)
    work(*arguments)
    wall, used = time.perf_counter() - wall, time.process_time() - used
    print(f"{what:44s} {wall:7.2f} s  {used:7.2f} s of processor time")


def main() -> None:
    """Make a night, and time each thing that its last frame asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--stars", type=int, default=240, help="over 2.5 times the field")
    options = parser.parse_args()
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
