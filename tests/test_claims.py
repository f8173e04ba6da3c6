"""Which files leave something to do."""

from pathlib import Path

import pytest
from recorded_nights import put, result_of

from conftest import land
from pipnick_watch.records import Records
from pipnick_watch.settings import Settings
from pipnick_watch.watch.claims import Claims
from pipnick_watch.watch.exclusions import Exclusions
from pipnick_watch.watch.ready import Candidate
from pipnick_watch.watch.scan import Seen, see


@pytest.fixture
def claims(maindir: Path) -> Claims:
    records, settings = Records(maindir), Settings()
    records.recover()
    return Claims(records, Exclusions(records, settings), settings, once=True, redo=())


def test_of_several_files_the_first_counts(maindir: Path, claims: Claims) -> None:
    """A file that only an event told of counts too, until it is gone."""
    for name in ("X_V/d1.fits", "X_V/d1.fits.fz"):
        land(maindir, name, b"")
    claims.note(["X_V/d1.fits", "X_V/d1.fits.fz", "X_V/d2.fits"])
    assert claims.first_of("X_V/d1.fits.fz") == "X_V/d1.fits"
    assert claims.first_of("X_V/d2.fits") == "X_V/d2.fits"
    better = land(maindir, "X_V/d1_red.fits", b"")
    assert claims.first_of("X_V/d1_red.fits") == "X_V/d1_red.fits"
    assert claims.first_of("X_V/d1.fits") == "X_V/d1_red.fits"
    better.unlink()
    claims.note(["X_V/d1.fits", "X_V/d1.fits.fz", "X_V/d2.fits"])
    assert claims.first_of("X_V/d1.fits") == "X_V/d1.fits"


def test_once_deals_with_a_file_as_it_is_only_once(maindir: Path, claims: Claims) -> None:
    """What came to an end is not wanted again in the same run, unless it looks otherwise."""
    path = land(maindir, "X_V/d1.fits", b"bad")
    seen = see(path)
    assert seen is not None
    assert claims.wanted("X_V/d1.fits", seen, None)
    claims.deal_with("X_V/d1.fits", seen)
    assert not claims.wanted("X_V/d1.fits", seen, None)
    path.write_bytes(b"longer")
    longer = see(path)
    assert longer is not None
    assert claims.wanted("X_V/d1.fits", longer, None)
    claims.again("X_V/d1.fits")
    assert claims.wanted("X_V/d1.fits", seen, None)


def test_a_file_that_came_while_a_scan_went_on_is_not_forgotten(
    maindir: Path, claims: Claims
) -> None:
    """What the scan did not list stays known as long as it is there."""
    for name in ("X_V/d1.fits", "X_V/d1_red.fits"):
        land(maindir, name, b"")
        claims.first_of(name)
    claims.note(["X_V/d1.fits"])
    assert claims.first_of("X_V/d1.fits") == "X_V/d1_red.fits"
    (maindir / "reduced" / "X_V" / "d1_red.fits").unlink()
    claims.note(["X_V/d1.fits"])
    assert claims.first_of("X_V/d1.fits") == "X_V/d1.fits"


def test_content_that_need_not_be_measured(maindir: Path, claims: Claims) -> None:
    """A file's own, if it stands with these settings; and that of gone files that looked alike."""
    records, now = claims.records, claims.fingerprint
    for frame, content, settings in (
        ("X_V/d1.fits", "one", now), ("X_V/d2.fits", "two", "older"), ("X_V/d3.fits", "six", now),
    ):  # fmt: skip
        put(maindir, frame, content)
        records.publish(result_of(frame, content, settings=settings))

    def known(name: str) -> set[str]:
        seen = Seen(size=3, mtime_ns=1, ino=0)
        one = Candidate(name=name, reduced=maindir, live=True, first_seen=0.0, seen=seen)
        return set(claims.known_hashes(one))

    assert known("X_V/d1.fits") == {"one"}
    assert known("X_V/d2.fits") == known("X_V/new.fits") == set()
    for frame in ("X_V/d2.fits", "X_V/d3.fits"):
        (maindir / "reduced" / frame).unlink()
    assert known("X_V/d1.fits") == {"one", "six"}
    assert known("X_V/new.fits") == {"six"}
    assert claims.own_hash("X_V/d2.fits") == claims.own_hash("X_V/new.fits") == ""
    claims.redo.add("X_V/new.fits")
    assert known("X_V/new.fits") == set()
