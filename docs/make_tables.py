"""Write the tables of columns and flags into the README, from the tables in the code.

``python docs/make_tables.py`` writes them; with ``--check`` it only says whether they are fresh.
"""

import sys
from pathlib import Path

from pipnick_watch.columns import CATALOGUE, LIGHT_CURVE, NIGHT_LOG, Column
from pipnick_watch.lightcurves import CURVE_FLAGS
from pipnick_watch.photometry.flags import FLAGS

README = Path(__file__).parents[1] / "README.md"


def bars(text: str) -> str:
    """Let a bar stand in a cell."""
    return text.replace("|", "\\|")


def columns_table(columns: tuple[Column, ...]) -> str:
    """Give name, unit and meaning of each column."""
    rows = [f"| `{one.name}` | {one.unit} | {bars(one.meaning)} |" for one in columns]
    return "\n".join(["| column | unit | meaning |", "|---|---|---|", *rows])


def flags_table(flags: list[tuple[int, str, str]]) -> str:
    """Give bit, name and meaning of each flag."""
    rows = [f"| {bit} | `{name}` | {meaning} |" for bit, name, meaning in flags]
    return "\n".join(["| bit | name | meaning |", "|---|---|---|", *rows])


def fresh(text: str) -> str:
    """Put the tables between their marks."""
    tables = {
        "columns: CATALOGUE": columns_table(CATALOGUE),
        "columns: NIGHT_LOG": columns_table(NIGHT_LOG),
        "columns: LIGHT_CURVE": columns_table(LIGHT_CURVE),
        "flags": flags_table([(one.bit, one.name, one.meaning) for one in FLAGS]),
        "flags of light curves": flags_table(
            [(int(one), str(one.name), meaning) for one, meaning in CURVE_FLAGS.items()]
        ),
    }
    for mark, table in tables.items():
        start, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
        before, _, rest = text.partition(start)
        _, found, after = rest.partition(end)
        text = f"{before}{start}\n\n{table}\n\n{end}{after if found else rest}"
    return text


if __name__ == "__main__":
    old = README.read_text(encoding="utf-8")
    new = fresh(old)
    if "--check" in sys.argv:
        sys.exit(0 if new == old else f"{README}: run docs/make_tables.py")
    README.write_text(new, encoding="utf-8")
