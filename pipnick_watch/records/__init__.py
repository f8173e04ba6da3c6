"""What lands on disk and survives: the file table, catalogues, CSVs, the night log, locks."""

from pipnick_watch.records.cells import table_lines
from pipnick_watch.records.entry import Entry
from pipnick_watch.records.filetable import FileTable, TableView
from pipnick_watch.records.layout import Layout, is_frame_name, same_frames, without_suffix
from pipnick_watch.records.locks import daemon_lock, hold_frame_lock, probe_frame_lock
from pipnick_watch.records.records import Records
from pipnick_watch.records.result import FrameResult
from pipnick_watch.records.tabletext import TableError, TableRow

__all__ = [
    "Entry",
    "FileTable",
    "FrameResult",
    "Layout",
    "Records",
    "TableError",
    "TableRow",
    "TableView",
    "daemon_lock",
    "hold_frame_lock",
    "is_frame_name",
    "probe_frame_lock",
    "same_frames",
    "table_lines",
    "without_suffix",
]
