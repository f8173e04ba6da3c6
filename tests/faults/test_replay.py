"""A night delivered in any order, twice, late, and with restarts in between, against --once."""

import random
from pathlib import Path

import pytest
from live_night import Live

from conftest import land, night_rows
from pipnick_watch.watch.workers import WorkerPool


@pytest.mark.parametrize("seed", range(4))
def test_any_delivery_gives_the_rows_of_once(
    frames: dict[str, bytes], maindir: Path, pool: WorkerPool, seed: int,
    undisturbed: dict[str, list[tuple[str, ...]]],
) -> None:  # fmt: skip
    """Shuffled, doubled, delayed and restarted: the rows are the same as --once's.

    A frame comes by writing, by rename, in pieces, or first with another frame's content; hints
    are made up, doubled, or held back.
    """
    chance = random.Random(seed)
    deliveries = [*frames, *chance.sample(list(frames), 3)]
    chance.shuffle(deliveries)
    left = list(deliveries)
    while left:
        with Live(maindir, pool, rescan_s=chance.choice([0.3, 1.0, 600.0])) as live:
            for frame in left[: chance.randrange(1, 4)]:
                left.pop(0)
                deliver(live, chance, frame, frames)
                live.run(chance.uniform(0.0, 1.5))
                if chance.random() < 0.3:
                    live.following.watch.hints.clear()
                if chance.random() < 0.5:
                    name = chance.choice([*frames, "no_V/such.fits"])
                    live.night.hint(name, 0.0, settles=chance.random() < 0.5)
    with Live(maindir, pool, rescan_s=0.5) as live:
        live.until_done(*frames)
        live.until_quiet()
    assert night_rows(maindir) == undisturbed


def deliver(live: Live, chance: random.Random, frame: str, frames: dict[str, bytes]) -> None:
    """Bring a frame in one of the ways in which frames come."""
    content = frames[frame]
    path = live.maindir / "reduced" / frame
    path.parent.mkdir(exist_ok=True)
    how = chance.choice(["written", "renamed", "in pieces", "another first"])
    if how == "written":
        land(live.maindir, frame, content)
    elif how == "renamed":
        path.with_name(".coming").write_bytes(content)
        path.with_name(".coming").replace(path)
    elif how == "in pieces":
        with path.open("wb") as file:
            for start in range(0, len(content), 200_000):
                file.write(content[start : start + 200_000])
                file.flush()
                live.run(chance.uniform(0.0, 0.3))
    else:
        land(live.maindir, frame, chance.choice(list(frames.values())))
        live.run(chance.uniform(0.0, 2.5))
        land(live.maindir, frame, content)
