"""``pipnick-watch --export`` as a user runs it."""

import math
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.io import votable

from conftest import command
from pipnick_watch.columns import CATALOGUE, names
from pipnick_watch.export import COLUMNS, export
from pipnick_watch.records import FrameResult, Records
from pipnick_watch.records.cells import line


def _record(maindir: Path, frame: str, name: str, n_rows: int, **odd: object) -> None:
    """Record a frame whose rows hold numbers that can be told apart."""
    values = {
        column.name: {"int": 7 * k, "float": k / 7, "text": ""}[column.kind]
        for k, column in enumerate(CATALOGUE)
    }
    lines = [
        line(
            {**values, "id": number, "frame": frame, "object": name, "filter": "V", "ra": math.nan,
             "flux_psf": 1e6 / number, **odd},
            CATALOGUE,
        )
        for number in range(1, n_rows + 1)
    ]  # fmt: skip
    result = FrameResult(
        frame=frame, object=name, filter="V", status="done", catalogue="".join(lines)
    )
    Records(maindir).publish(result)


@pytest.fixture
def nights(tmp_path: Path) -> list[Path]:
    """Two nights with one object in common, and one object whose name is a number."""
    made = []
    for night in ("first", "second"):
        maindir = tmp_path / night
        (maindir / "reduced").mkdir(parents=True)
        Records(maindir).recover()
        _record(maindir, "SHARED_V/d1.fits", "SHARED", 5)
        _record(maindir, "SHARED_V/d2, late.fits", "SHARED", 3, flags=None)
        _record(maindir, f"{night}.fits", "4147" if night == "first" else "_M13", 4)
        made.append(maindir)
    return made


def _of_csvs(nights: list[Path]) -> pd.DataFrame:
    """Read the objects' CSVs as pandas does, with the night in a column more."""
    read = [
        pd.read_csv(path, dtype={"object": str}).assign(maindir=str(maindir))
        for maindir in nights
        for path in sorted((maindir / "photometric" / "unconsolidated").glob("*.csv"))
    ]
    return pd.concat(read)


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values(["maindir", "frame", "id"]).reset_index(drop=True)


def test_pandas_and_duckdb_read_the_rows_of_the_csvs(nights: list[Path], tmp_path: Path) -> None:
    """The data set has every row of every object's CSV, the same to the last digit."""
    target = tmp_path / "all.parquet"
    ran = command("pipnick-watch", "--export", target, *nights)
    assert ran.returncode == 0, ran.stderr
    assert "24 rows of 3 objects from 2 nights" in ran.stderr
    expected = _sorted(_of_csvs(nights))
    assert len(expected) == 24
    found = _sorted(pd.read_parquet(target))
    assert list(found) == [*names(CATALOGUE), "maindir"]
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    by_duckdb = duckdb.read_parquet(f"{target}/*.parquet").df()
    pd.testing.assert_frame_equal(_sorted(by_duckdb), expected, check_dtype=False)


def test_there_is_a_file_for_each_object(nights: list[Path], tmp_path: Path) -> None:
    """Each object has a file of its own, named after it, from all nights together."""
    export(tmp_path / "all.parquet", nights)
    found = {
        path.name: set(pd.read_parquet(path)["object"])
        for path in (tmp_path / "all.parquet").iterdir()
    }
    assert found == {f"object_{name}.parquet": {name} for name in ("4147", "SHARED", "_M13")}


def test_units_and_meanings_are_in_the_schema(nights: list[Path], tmp_path: Path) -> None:
    """Each column carries its unit and meaning, for Arrow's readers and, as a VOTable, TOPCAT."""
    export(tmp_path / "all.parquet", nights)
    path = tmp_path / "all.parquet" / "object_SHARED.parquet"
    schema = pq.read_schema(path)
    for column in COLUMNS:
        metadata = schema.field(column.name).metadata
        assert metadata[b"unit"].decode() == column.unit
        assert metadata[b"description"].decode() == column.meaning
    document = tmp_path / "columns.vot"
    document.write_bytes(pq.read_metadata(path).metadata[b"IVOA.VOTable-Parquet.content"])
    fields = votable.parse_single_table(document).fields
    assert [field.name for field in fields] == names(COLUMNS)
    assert [field.description for field in fields] == [column.meaning for column in COLUMNS]


def test_rows_that_are_just_being_written_are_left_out(nights: list[Path], tmp_path: Path) -> None:
    """Half a line at the end of a CSV does no harm: the whole lines are exported."""
    csv = nights[0] / "photometric" / "unconsolidated" / "SHARED.csv"
    with csv.open("ab") as file:
        file.write(csv.read_bytes()[-60:-20])
    assert export(tmp_path / "all.parquet", nights) == 24


def test_long_csvs_are_read_in_blocks(
    nights: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many blocks and row groups an object takes, its rows are all there."""
    monkeypatch.setattr("pipnick_watch.export.BLOCK", 3000)
    monkeypatch.setattr("pipnick_watch.export.GROUP_ROWS", 100)
    _record(nights[0], "LONG_V/d1.fits", "LONG", 1000)
    export(tmp_path / "all.parquet", nights)
    path = tmp_path / "all.parquet" / "object_LONG.parquet"
    assert pq.read_metadata(path).num_row_groups > 5
    assert list(pd.read_parquet(path)["id"]) == list(range(1, 1001))


def test_a_data_set_is_replaced_and_nothing_else(nights: list[Path], tmp_path: Path) -> None:
    """An older data set gives way as a whole; a file or folder of another kind is refused."""
    target = tmp_path / "all.parquet"
    export(target, nights)
    export(target, nights[:1])
    assert len(list(target.iterdir())) == 2
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").touch()
    for other in (precious, precious / "thesis.tex"):
        ran = command("pipnick-watch", "--export", other, *nights)
        assert ran.returncode == 2
        assert "give another name" in ran.stderr
    assert (precious / "thesis.tex").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "all.parquet", "first", "precious", "second",
    ]  # fmt: skip


def test_nights_without_rows_are_refused_in_one_line(tmp_path: Path) -> None:
    """A night that was never measured, or no night at all, ends with exit code 2 and a reason."""
    (tmp_path / "empty" / "reduced").mkdir(parents=True)
    ran = command("pipnick-watch", "--export", tmp_path / "all.parquet", tmp_path / "empty")
    assert ran.returncode == 2
    assert "measure it first" in ran.stderr
    assert not (tmp_path / "all.parquet").exists()
    ran = command("pipnick-watch", "--export", tmp_path / "all.parquet")
    assert ran.returncode == 2
