"""The file table under our hands, a human's and a foreign program's."""

import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from pipnick_watch.records import FileTable, Layout, TableError

UPSTREAM = """\
|     names |    objects | filters |                                        paths |
| d1047_red | PG1323-085 |       V | refnight/reduced/PG1323-085_V/d1047_red.fits |
| d1074_red |   UGC_9837 |       V |   refnight/reduced/UGC_9837_V/d1074_red.fits |
| d1048_red |   NGC_4147 |       V |   refnight/reduced/NGC_4147_V/d1048_red.fits |
"""
D1047 = "PG1323-085_V/d1047_red.fits"
D1048 = "NGC_4147_V/d1048_red.fits"


@pytest.fixture
def table(tmp_path):
    (tmp_path / "reduced").mkdir()
    return FileTable(Layout(tmp_path))


def add(table, *frames, name="X", band="V"):
    return table.add([table.row(frame, name, band) for frame in frames])


def read_as_astropy_does(table):
    return Table.read(table.path, format="ascii.fixed_width")


def test_upstreams_own_table_is_understood(table):
    """Rows with relative paths are matched by their ends, and are not added again."""
    table.path.write_text(UPSTREAM)
    view = table.read()
    assert D1047 in view
    assert D1048 in view
    assert "d1047_red.fits" not in view
    assert not view.excluded(D1047)
    assert add(table, D1047, D1048) == []
    assert table.path.read_text() == UPSTREAM


def test_new_table_looks_like_upstreams(table, tmp_path):
    """The first row makes the table; astropy reads it, and the path is absolute and uncut."""
    add(table, "X_V/d1_red.fits", "X_V/d2.fits.fz")
    found = read_as_astropy_does(table)
    assert found.colnames == ["names", "objects", "filters", "paths"]
    assert list(found["names"]) == ["d1_red", "d2"]
    assert list(found["paths"]) == [f"{tmp_path}/reduced/X_V/{name}" for name in
                                    ("d1_red.fits", "d2.fits.fz")]  # fmt: skip


def test_fitting_row_is_appended_and_wider_ones_pad_the_table(table):
    """A value wider than its column widens it for all rows; otherwise nothing else is touched."""
    long = "a_long_folder_" * 6 + "/d1_red.fits"
    add(table, long)
    inode = table.path.stat().st_ino
    before = table.path.read_text()
    add(table, "X_V/d2_red.fits")
    assert table.path.read_text().startswith(before)
    assert table.path.stat().st_ino == inode
    table.comment_out([long])
    add(table, "X_V/d3_red.fits", name="AN_OBJECT_WITH_A_LONG_NAME")
    found = read_as_astropy_does(table)
    assert list(found["objects"]) == ["X", "AN_OBJECT_WITH_A_LONG_NAME"]
    assert len({len(line.removeprefix("#")) for line in table.path.read_text().splitlines()}) == 1


def test_comments_exclude_and_come_back(table):
    """A # in front excludes; taking it off gives the line as it was."""
    table.path.write_text(UPSTREAM)
    table.comment_out([D1047, D1047])
    assert table.read().excluded(D1047)
    assert not table.read().excluded(D1048)
    assert len(read_as_astropy_does(table)) == 2
    table.comment_out([D1047])
    assert table.path.read_text().count("#") == 1
    table.comment_in([D1047])
    assert table.path.read_text() == UPSTREAM


@pytest.mark.parametrize(
    "comment",
    ["#| d1047_red | PG1323-085 | V | refnight/reduced/PG1323-085_V/d1047_red.fits |",
     "# d1047_red | PG1323-085 | V | refnight/reduced/PG1323-085_V/d1047_red.fits |",
     "  ## | d1047_red | PG1323-085 | V | reduced/PG1323-085_V/d1047_red.fits | clouds!",
     "#|d1047_red|PG1323-085||/elsewhere/reduced/PG1323-085_V/d1047_red.fits"],
)  # fmt: skip
def test_every_way_to_comment_out_is_understood(table, comment):
    """However a human puts the #, the frame is excluded; astropy reads it once it is back."""
    lines = UPSTREAM.splitlines()
    lines[1] = comment
    table.path.write_text("\n".join(lines) + "\n")
    assert table.read().excluded(D1047)
    table.comment_in([D1047])
    assert not table.read().excluded(D1047)
    add(table, "X_V/" + "d" * 60 + ".fits")
    assert "d1047_red" in list(read_as_astropy_does(table)["names"])


def test_edits_and_foreign_rewrites_are_seen(table):
    """A table that somebody else has written is read again; lost rows can be added back."""
    add(table, "X_V/d1_red.fits", "X_V/d2_red.fits")
    stale = table.path.read_text().splitlines(keepends=True)
    table.path.write_text("".join(stale[:2]))
    assert "X_V/d2_red.fits" not in table.read()
    add(table, "X_V/d1_red.fits", "X_V/d2_red.fits")
    assert len(read_as_astropy_does(table)) == 2
    astropys = read_as_astropy_does(table)
    astropys.write(table.path, format="ascii.fixed_width", overwrite=True)
    assert "X_V/d1_red.fits" in table.read()


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "is empty"), (b" \n\n", "is empty"), (b"\x89PNG\0\0", "is no text"),
     (b"names,objects,filters,paths\nd1,X,V,reduced/d1.fits\n", "header line"),
     (b"<<<<<<< HEAD\n" + UPSTREAM.encode() + b"=======\n>>>>>>> b\n", "merge-conflict"),
     (UPSTREAM.encode().partition(b"\n")[2], "header line"),
     (b"#" + UPSTREAM.encode(), "header line"),
     (UPSTREAM.encode("utf-16"), "is no text")],
)  # fmt: skip
def test_what_is_no_table_is_left_alone(table, content, why):
    """A file that cannot be acted on is neither read nor overwritten, and one line says why."""
    table.path.write_bytes(content)
    for act in (
        table.read,
        lambda: add(table, D1047),
        lambda: table.comment_out([D1047]),
    ):
        with pytest.raises(TableError, match=why) as caught:
            act()
        assert "\n" not in str(caught.value)
    assert table.path.read_bytes() == content
    table.path.write_text(UPSTREAM)
    assert D1047 in table.read()


@pytest.mark.parametrize("name", ["a|b.fits", "a\nb.fits", "#a.fits", "a\x1bb.fits", " a.fits"])
def test_names_that_would_break_the_table_are_refused(table, name):
    """A name that cannot stand in a row is refused with a reason; the others get theirs."""
    refused = add(table, f"X_V/{name}", "X_V/good.fits")
    assert len(refused) == 1
    assert refused[0].isprintable()
    assert len(table.read()) == 1


def test_bytes_that_are_no_utf8_survive(table):
    """A human's comment in another encoding, a BOM and CRLF stay as they are."""
    content = b"\xef\xbb\xbf" + UPSTREAM.replace("\n", "\r\n").encode() + b"# Stra\xdfe\r\n"
    table.path.write_bytes(content)
    add(table, "X_V/d1_red.fits")
    table.comment_out(["X_V/d1_red.fits"])
    table.comment_in(["X_V/d1_red.fits"])
    after = table.path.read_bytes()
    assert after.startswith(content[:3])
    assert b"# Stra\xdfe\r\n" in after
    assert after.count(b"\r\n") == after.count(b"\n") == 6


def test_torn_last_line_is_not_glued_to_a_row(table):
    """A row is appended on a line of its own, whatever the last line lacks."""
    table.path.write_text(UPSTREAM + "# seeing got bad")
    add(table, "X_V/d1_red.fits")
    lines = table.path.read_text().splitlines()
    assert lines[4] == "# seeing got bad"
    assert "d1_red" in lines[5]


def test_concurrent_rewrite_is_not_overwritten(table, monkeypatch):
    """An edit that lands while ours is being made is kept, and ours is made on top of it."""
    table.path.write_text(UPSTREAM)
    edited = []
    read = type(table.path).read_bytes

    def read_then_edit(path):
        content = read(path)
        if not edited:
            edited.append(True)
            table.path.write_text(UPSTREAM + "# a human was here\n")
        return content

    monkeypatch.setattr(type(table.path), "read_bytes", read_then_edit)
    table.comment_out([D1047])
    text = table.path.read_text()
    assert "# a human was here\n" in text
    assert table.read().excluded(D1047)


def test_appending_does_not_read_the_table_again(table):
    """The row of a frame costs the same in a table of ten and of ten thousand rows."""
    add(table, *(f"X_V/d{number}_red.fits" for number in range(10_000)))
    add(table, "X_V/first_red.fits")
    size = table.path.stat().st_size
    with open("/proc/self/io") as file:
        before = int(file.readline().split()[1])
    for number in range(3):
        add(table, f"X_V/e{number}_red.fits")
    with open("/proc/self/io") as file:
        after = int(file.readline().split()[1])
    assert after - before < size / 10
    assert len(FileTable(table.layout).read()) == 10_004


CELL = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="|"),
               min_size=1, max_size=40)  # fmt: skip
LINES = st.lists(
    st.one_of(
        st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), max_size=60),
        st.sampled_from(UPSTREAM.splitlines()[1:]),
        st.sampled_from(["#" + line for line in UPSTREAM.splitlines()[1:]]),
    ),
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_nothing_of_a_humans_text_is_lost(tmp_path_factory, data):
    """Whatever lines a table has, edits change blanks beside | and the leading # only."""
    folder = tmp_path_factory.mktemp("night")
    (folder / "reduced").mkdir()
    table = FileTable(Layout(folder))
    header = UPSTREAM.splitlines()[0]
    table.path.write_text("\n".join([header, *data.draw(LINES)]) + "\n", newline="")
    try:
        table.read()
    except TableError:
        return
    lines = table.path.read_bytes().split(b"\n")[:-1]
    edits = data.draw(st.lists(st.sampled_from(["add", "out", "in"]), min_size=1, max_size=5))
    added = 0
    for edit in edits:
        if edit == "add":
            row = table.row(f"X_V/n{added}.fits", data.draw(CELL), data.draw(CELL))
            added += not table.add([row])
        elif edit == "out":
            table.comment_out([D1047, "X_V/n0.fits"])
        else:
            table.comment_in([D1047, "X_V/n0.fits"])
    after = table.path.read_bytes().split(b"\n")[:-1]
    assert len(after) == len(lines) + added
    for old, new in zip(lines, after, strict=False):
        assert bare(old) == bare(new)
    for number in range(added):
        assert f"X_V/n{number}.fits" in FileTable(table.layout).read()


def bare(line):
    """Take off a line what an edit may change."""
    text = line.decode().lstrip(" \t#")
    return [piece.strip(" \t") for piece in text.split("|") if piece.strip(" \t")]
