"""Every file and every name that the page on where to add things mentions is there."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in (ROOT / "docs" / "add.md").read_text().splitlines()
    if re.match(r"\| (a|an) ", line)
]


def words(cell: str) -> tuple[list[str], list[str]]:
    """Part what a cell quotes: files and folders, and names in code."""
    quoted = re.findall(r"`([^`]+)`", cell)
    files = [word for word in quoted if ("/" in word or word.endswith(".py")) and "<" not in word]
    return files, [word for word in quoted if word.isidentifier()]


def test_the_page_has_rows() -> None:
    assert len(ROWS) > 10


@pytest.mark.parametrize(("what", "touch", "then"), ROWS, ids=[row[0] for row in ROWS])
def test_what_a_row_names_is_there(what: str, touch: str, then: str) -> None:
    files, names = words(touch)
    assert files, what
    assert [file for file in files if not (ROOT / "src" / "kedge" / file).exists()] == []
    assert [file for file in words(then)[0] if not (ROOT / file).exists()] == []
    modules = [import_module(f"kedge.{file[:-3].replace('/', '.')}") for file in files if file.endswith(".py")]
    known = {name for module in modules for name in vars(module)} | {"command", "nouns", "nouns_of"}
    assert set(names) <= known


def test_a_command_is_a_command_or_nouns() -> None:
    from kedge.cli.main import NOUNS

    for noun in NOUNS:
        assert {"command", "nouns", "nouns_of"} & set(vars(import_module(f"kedge.cli.{noun.replace('-', '_')}"))), noun
