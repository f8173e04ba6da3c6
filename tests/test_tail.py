"""What was added to a file of lines since the last look."""

from hypothesis import given
from hypothesis import strategies as st

from pipnick_watch.records.tail import Tail


def test_only_whole_new_lines_are_read(tmp_path):
    """A torn last line is not there until it is whole; nothing is read twice."""
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.read() == ([], False)
    path.write_text("one\ntw")
    assert tail.read() == (["one\n"], True)
    with path.open("a") as file:
        file.write("o\nthree\n")
    assert tail.read() == (["two\n", "three\n"], False)
    assert tail.read() == ([], False)


def test_replaced_and_rewritten_files_are_read_anew(tmp_path):
    """Another file of the name, a shorter one, or another last line: all of it counts again."""
    path = tmp_path / "log"
    path.write_text("one\ntwo\n")
    tail = Tail(path)
    tail.read()
    other = tmp_path / "other"
    other.write_text("one\ntwo\nthree\n")
    other.replace(path)
    assert tail.read() == (["one\n", "two\n", "three\n"], True)
    path.write_text("one\n")
    assert tail.read() == (["one\n"], True)
    path.write_text("uno\ndue\n")
    assert tail.read() == (["uno\n", "due\n"], True)
    path.unlink()
    assert tail.read() == ([], True)
    assert tail.read() == ([], False)


@given(st.lists(st.binary(max_size=12), max_size=12))
def test_pieces_make_the_lines(tmp_path_factory, pieces):
    """However the bytes arrive, the lines are those of the whole file."""
    path = tmp_path_factory.mktemp("tail") / "log"
    path.touch()
    tail = Tail(path)
    found = []
    for piece in pieces:
        with path.open("ab") as file:
            file.write(piece)
        lines, _ = tail.read()
        found += lines
    whole = b"".join(pieces)
    expected = [line + b"\n" for line in whole.split(b"\n")[:-1]]
    assert [line.encode(errors="surrogateescape") for line in found] == expected
    torn = not whole.endswith(b"\n") and bool(whole)
    assert tail.cut_torn_line() == torn
    assert path.read_bytes() == b"".join(expected)
