"""Nights made up at random, with kills in between, against a model of what must be recorded."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from failpoints import Failpoints, die_halfway, in_child
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_nights import KINDS, check, lines_of, put, result_of, rows

from pipnick_watch.records import FrameResult, Records
from pipnick_watch.records.layout import frame_identity

FRAMES = ["X_V/d1_red.fits", "X_V/d1.fits", "d1.fits", "a/b/d1.fits", "Y_V/d2_red.fits", "d3.fit"]
SKY = (10.0, 20.0)

publishes = st.tuples(
    st.just("publish"), st.sampled_from(FRAMES), st.sampled_from(["X", "Y"]),
    st.integers(0, 3), st.booleans(),
)  # fmt: skip
others = st.tuples(
    st.sampled_from(["exclude", "include", "fail", "solve", "rename", "restart", "touch"]),
    st.sampled_from(FRAMES), st.sampled_from(FRAMES), st.just(0), st.just(False),
)  # fmt: skip
nights = st.lists(
    st.tuples(st.one_of(publishes, publishes, others), st.integers(0, 14)), min_size=3, max_size=12
)


class Model:
    """What the records must say: for each frame how it was measured, and whether it is in."""

    def __init__(self):
        self.known = {}
        self.inside = set()

    def publish(self, frame, content, name, n, group):
        """Let a frame be done; no other file of the same frame counts any more."""
        for other in list(self.known):
            if frame_identity(other) == frame_identity(frame):
                self.inside.discard(other)
        self.known[frame] = {"content": content, "name": name, "n": n, "group": group, "sky": None}
        self.inside.add(frame)

    def lines(self, name, kind):
        """Give the lines of an object's CSV."""
        found = []
        for frame in self.inside:
            how = dict(self.known[frame])
            group = how.pop("group")
            if how["name"] == name and (kind == "unconsolidated" or group):
                less = kind == "consolidated"
                text = lines_of(frame, how.pop("content"), **{**how, "n": how["n"] - less})
                found += text.encode().splitlines(keepends=True)
        return sorted(found)


class Night:
    """Does one thing after another to real records, sometimes killed in the middle of it."""

    def __init__(self, maindir):
        self.maindir = maindir
        self.records = Records(maindir)
        self.records.recover()
        self.model = Model()
        self.count = 0

    def do(self, step, kill_at):
        """Take one step; with ``kill_at``, first in a process that dies at that change."""
        action, frame, other, n, group = step
        self.count += 1
        work = getattr(self, f"_{action}")(frame, other, n, group)
        if work is None:
            return

        def disturbed():
            with pytest.MonkeyPatch.context() as monkeypatch:
                Failpoints(kill_at, die_halfway).install(monkeypatch)
                work(self.records)

        if kill_at and in_child(disturbed):
            # the killed process had this one's records; a new one has to find out by itself
            self.records = Records(self.maindir)
            self.records.recover()
            check(self.maindir, midway=True)
        work(self.records)

    def _publish(self, frame, name, n, group):
        content = f"content {self.count}"
        put(self.maindir, frame, content)
        self.model.publish(frame, content, name, n, group)
        result = result_of(frame, content, name=name, n=n, group=group)
        return lambda records: records.publish(result)

    def _fail(self, frame, *_):
        put(self.maindir, frame, "broken")
        self.model.inside.discard(frame)
        self.model.known.pop(frame, None)
        facts = {"sha256": f"broken {self.count}"}
        result = FrameResult(frame=frame, object="UNKNOWN", filter="UNKNOWN", status="failed",
                             reason="no FITS", facts=facts)  # fmt: skip
        return lambda records: records.publish(result)

    def _exclude(self, frame, *_):
        if frame not in self.model.inside:
            return None
        self.model.inside.discard(frame)
        return lambda records: records.exclude({frame: "commented out"})

    def _include(self, frame, *_):
        how = self.model.known.get(frame)
        entry = self.records.entry(frame)
        if how is None or entry.reason != "commented out":
            return None
        self.model.inside.add(frame)

        def work(records):
            assert records.include([frame]) == []

        return work

    def _solve(self, frame, *_):
        if frame not in self.model.inside:
            return None
        how = self.model.known[frame]
        how["sky"] = SKY
        text = lines_of(frame, how["content"], name=how["name"], n=how["n"], sky=SKY)
        less = lines_of(frame, how["content"], name=how["name"], n=how["n"] - 1, sky=SKY)

        def work(records):
            assert records.solve(frame, text, less if how["group"] else None, "a solution")
            records.flush_solutions()

        return work

    def _touch(self, frame, *_):
        return lambda records: records.touch(frame, 3, self.count)

    def _rename(self, frame, other, *_):
        if frame not in self.model.inside or other in self.model.known:
            return None
        if os.path.exists(self.maindir / "reduced" / other):
            return None
        how = self.model.known.pop(frame)
        self.model.inside.discard(frame)
        put(self.maindir, other)
        os.remove(self.maindir / "reduced" / frame)
        self.model.publish(other, how["content"], how["name"], how["n"], how["group"])
        result = result_of(other, how["content"], name=how["name"], n=how["n"], group=how["group"])
        return lambda records: records.publish(result)

    def _restart(self, *_):
        self.records = Records(self.maindir)
        assert self.records.recover() == []


@settings(max_examples=60, deadline=None)
@given(nights)
def test_any_night_ends_as_it_must(steps):
    """Whatever happens to frames, and wherever publishing is killed, the rows are the model's.

    Outcome: each object's CSV holds the lines of the frames that are in, once; a restart finds
    nothing to do.
    """
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    maindir = tempfile.mkdtemp(dir=memory)
    try:
        night = Night(_with_reduced(Path(maindir)))
        for step, kill_at in steps:
            night.do(step, kill_at)
            check(night.maindir)
            for kind in KINDS:
                for name in ("X", "Y"):
                    found = rows(night.records.layout.object_csv(name, kind)) or []
                    assert found == night.model.lines(name, kind), (step, kind, name)
        assert Records(night.maindir).recover() == []
    finally:
        shutil.rmtree(maindir)


def _with_reduced(maindir):
    (maindir / "reduced").mkdir()
    return maindir
