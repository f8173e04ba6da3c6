"""What the README promises is what the code has."""

import subprocess
import sys

from conftest import REPOSITORY


def test_the_tables_are_the_codes() -> None:
    """The README's tables of columns and flags are made from those in the code."""
    ran = subprocess.run(
        [sys.executable, REPOSITORY / "docs" / "make_tables.py", "--check"], check=False
    )
    assert ran.returncode == 0


def test_every_link_leads_somewhere() -> None:
    """Each file that the README links to is there."""
    import re

    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links
    assert [link for link in links if not (REPOSITORY / link).exists()] == []
