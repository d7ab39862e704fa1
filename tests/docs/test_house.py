"""Habits of the house that a linter does not know."""

import ast
import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "kedge"
CATCH_ANYTHING = {
    "adapters/jobs.py",
    "adapters/project.py",
    "adapters/worker.py",
    "serving/follow.py",
    "serving/route.py",
    "storage/sql/store.py",
    "storage/tables.py",
}


def test_only_the_places_of_decision_0007_catch_anything() -> None:
    found = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if re.search(r"except \(?(Base)?Exception\b", path.read_text())
    }
    assert found == CATCH_ANYTHING


def test_no_file_is_longer_than_600_lines() -> None:
    assert [str(path) for path in SOURCE.rglob("*.py") if len(path.read_text().splitlines()) > 600] == []


def test_no_file_is_named_for_nothing() -> None:
    vague = {"utils", "helpers", "common", "manager", "misc", "base"}
    assert [str(path) for path in SOURCE.rglob("*.py") if path.stem in vague] == []


# protocols that name the part of a thing they need; and what stands in two places still
ONE_IDEA_TWICE = {"House", "Lineage", "Promotion", "Report"}


def test_a_class_name_means_one_thing() -> None:
    homes: dict[str, list[str]] = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(path.relative_to(SOURCE)))
    assert {name: places for name, places in homes.items() if len(places) > 1 and name not in ONE_IDEA_TWICE} == {}
