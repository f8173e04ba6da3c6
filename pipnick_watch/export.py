"""``--export``: the objects' rows of any number of nights as one Parquet data set.

One file for each object, written block by block: never more than a block is in memory. The rows
are those of the objects' CSVs, with the night that they come from in a column more.
"""

import contextlib
import importlib.util
import io
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from pipnick_watch import __version__
from pipnick_watch.columns import CATALOGUE, Column
from pipnick_watch.errors import RecordsError, UsageError
from pipnick_watch.records import Layout

__all__ = ["export"]

logger = logging.getLogger(__name__)

BLOCK = 4 * 1024**2
"""Bytes of a CSV that are turned into columns at a time."""

GROUP_ROWS = 200_000
"""Rows that are collected into one row group; readers skip whole groups by their statistics."""

TAIL = 64 * 1024
"""Bytes in which the last line of a CSV is looked for; a line has less than one."""

PREFIX = "object_"
"""Readers of data sets skip files whose names begin with ``_``, as an object's name may."""

COLUMNS = (*CATALOGUE, Column("maindir", "text", "", "the night's folder"))


def export(target: Path, maindirs: Sequence[Path]) -> int:
    """Write the rows of the objects' CSVs of these nights as a Parquet data set.

    The folder ``target`` is made whole beside its place and then takes it; an older data set
    there is replaced.

    Parameters
    ----------
    target : Path
        ``FILE.parquet``: a folder with a file ``object_<OBJECT>.parquet`` for each object.
    maindirs : sequence of Path
        Their daemons may run: what is there when an object's CSV is opened is taken.

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    UsageError
        pyarrow is not installed, there are no rows to write, or ``target`` is something else.
    RecordsError
        A CSV cannot be read, or the data set cannot be written.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError("--export needs pyarrow: pip install 'pipnick-watch[parquet]'")
    _check(target)
    objects = _objects(maindirs)
    if not objects:
        raise UsageError(f"{maindirs[0]}: no object's CSV there; measure it first, with --once")
    new = target.parent / f".{target.name}.{os.getpid()}.tmp"
    try:
        new.mkdir()
        n_rows = sum(
            _write(new / f"{PREFIX}{name}.parquet", name, nights)
            for name, nights in sorted(objects.items())
        )
        _replace(target, new)
    except OSError as error:
        raise RecordsError(f"{target}: not written: {error}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    logger.info(
        "%s: %d rows of %d objects from %d nights", target, n_rows, len(objects), len(maindirs)
    )
    return n_rows


def _check(target: Path) -> None:
    """Make sure that nothing else than a data set of ours is replaced."""
    if target.is_dir() and not target.is_symlink():
        if all(path.suffix == ".parquet" and path.is_file() for path in target.iterdir()):
            return
    elif not os.path.lexists(target):
        if not target.absolute().parent.is_dir():
            raise UsageError(f"{target.absolute().parent}: no such folder; make it first")
        return
    raise UsageError(f"{target}: is there, and is no data set of --export; give another name")


def _replace(target: Path, new: Path) -> None:
    old = target.parent / f".{target.name}.{os.getpid()}.old"
    with contextlib.suppress(FileNotFoundError):
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _objects(maindirs: Sequence[Path]) -> dict[str, list[Path]]:
    """Find for each object the nights that have rows of it."""
    found: dict[str, list[Path]] = {}
    for maindir in dict.fromkeys(one.resolve() for one in maindirs):
        folder = Layout(maindir).photometric / "unconsolidated"
        for path in sorted(folder.glob("*.csv")):
            if path.is_file():
                found.setdefault(path.stem, []).append(maindir)
    return found


def _write(path: Path, name: str, maindirs: Sequence[Path]) -> int:
    """Write one object's file; gives its number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    n_rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        group: list[Any] = []
        for batch in _batches(name, maindirs, schema):
            n_rows += batch.num_rows
            group.append(batch)
            if sum(one.num_rows for one in group) >= GROUP_ROWS:
                writer.write_table(pa.Table.from_batches(group))
                group.clear()
        if group:
            writer.write_table(pa.Table.from_batches(group))
    return n_rows


def _batches(name: str, maindirs: Sequence[Path], schema: Any) -> Iterator[Any]:
    """Read the CSVs of one object, block by block."""
    import pyarrow as pa
    import pyarrow.csv as pc

    read = pc.ReadOptions(block_size=BLOCK)
    convert = pc.ConvertOptions(
        column_types=schema, include_columns=schema.names, include_missing_columns=True,
        null_values=["nan"], strings_can_be_null=True,
    )  # fmt: skip
    for maindir in maindirs:
        path = Layout(maindir).object_csv(name)
        with _WholeLines(path) as lines:
            try:
                for batch in pc.open_csv(
                    pa.PythonFile(lines, mode="r"), read_options=read, convert_options=convert
                ):
                    yield _completed(batch, maindir, schema)
            except pa.ArrowInvalid as error:
                message = str(error).partition("\n")[0]
                raise RecordsError(f"{path}: is no CSV of pipnick-watch: {message}") from error


def _completed(batch: Any, maindir: Path, schema: Any) -> Any:
    """Write ``nan`` again where a number is missing, and the night into its column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [
        pc.fill_null(column, float("nan")) if pa.types.is_floating(column.type) else column
        for column in batch.columns[:-1]
    ]
    columns.append(pa.array([str(maindir)] * batch.num_rows, type=pa.string()))
    return pa.record_batch(columns, schema=schema)


def _schema() -> Any:
    """Describe the columns: type, unit and meaning of each."""
    import pyarrow as pa

    types = {"int": pa.int64(), "float": pa.float64(), "text": pa.string()}
    fields = [
        pa.field(
            column.name, types[column.kind],
            metadata={"unit": column.unit, "description": column.meaning},
        )
        for column in COLUMNS
    ]  # fmt: skip
    return pa.schema(
        fields,
        metadata={
            "creator": f"pipnick-watch {__version__}",
            "IVOA.VOTable-Parquet.version": "1.0",
            "IVOA.VOTable-Parquet.content": _votable(),
        },
    )


def _votable() -> str:
    """Describe the columns as a VOTable without rows, which is where TOPCAT looks (VOParquet)."""
    types = {"int": 'datatype="long"', "float": 'datatype="double"',
             "text": 'datatype="char" arraysize="*"'}  # fmt: skip
    fields = "".join(
        f"<FIELD name={quoteattr(column.name)} {types[column.kind]}"
        + (f" unit={quoteattr(column.unit)}" if column.unit else "")
        + f"><DESCRIPTION>{_escaped(column.meaning)}</DESCRIPTION></FIELD>\n"
        for column in COLUMNS
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">\n'
        f'<RESOURCE><TABLE name="photometry">\n{fields}</TABLE></RESOURCE>\n</VOTABLE>\n'
    )


def _escaped(text: str) -> str:
    return quoteattr(text)[1:-1]


class _WholeLines(io.RawIOBase):
    """A CSV as it is now, up to its last whole line: rows may be appended while it is read."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        size = os.fstat(self._file.fileno()).st_size
        start = max(0, size - TAIL)
        self._file.seek(start)
        self._left = start + self._file.read(size - start).rfind(b"\n") + 1
        self._file.seek(0)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        piece = self._file.read(wanted)
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        self._file.close()
        super().close()
