"""Habits of the house that a linter does not know."""

import ast
import re
from collections import Counter
from pathlib import Path

from kedge.evaluation.gate import CHECKS

SOURCE = Path(__file__).parents[2] / "src" / "kedge"
CATCH_ANYTHING = {
    "adapters/jobs.py",
    "adapters/project.py",
    "adapters/worker.py",
    "evaluation/load.py",
    "controller.py",
    "server/mlflow/router.py",
    "serving/batch.py",
    "serving/door/application.py",
    "serving/door/direct.py",
    "serving/follow.py",
    "serving/grpc/door.py",
    "serving/log.py",
    "serving/shadow.py",
    "adapters/package/format.py",
    "monitoring/telling/messenger.py",
    "teller.py",
    "child_keeper.py",
    "windows.py",
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
ONE_IDEA_TWICE = {"House", "Lineage", "Report"}


def test_a_class_name_means_one_thing() -> None:
    homes: dict[str, list[str]] = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(path.relative_to(SOURCE)))
    assert {name: places for name, places in homes.items() if len(places) > 1 and name not in ONE_IDEA_TWICE} == {}


# called by position through a table, by typer, or by another process; the tracking room is yet to follow
BY_POSITION = ("evaluation/metrics.py", "cli/", "replay/", "adapters/worker.py", "tracking/")
BY_POSITION_NAMES = {
    "__exit__",
    "__call__",
    "find_spec",
    "after_iteration",
    "train_job",
    "replay_job",
    *(check.__name__ for check in CHECKS.values()),
}
# the steps of `loop.py`, which read as a walk
STEPS = {"turn", "_turn", "watch", "failed", "looked", "refused", "register"}
STEPS |= {"require_agreement", "start", "take", "turned"}


def test_arguments_are_named_from_the_third_on() -> None:
    found = []
    for path in SOURCE.rglob("*.py"):
        name = str(path.relative_to(SOURCE))
        if name.startswith(BY_POSITION):
            continue
        tree = ast.parse(path.read_text())
        methods = {id(node) for kind in ast.walk(tree) if isinstance(kind, ast.ClassDef) for node in kind.body}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_route(node):
                own = id(node) in methods and "staticmethod" not in map(ast.unparse, node.decorator_list)
                given = len(node.args.posonlyargs + node.args.args) - own
                if given > 2 and node.name not in BY_POSITION_NAMES | STEPS:
                    found.append(f"{name}:{node.lineno} {node.name}")
    assert found == []


def _is_route(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Routes are called by name by the framework."""
    return any(ast.unparse(one).startswith(("get(", "post(", "put(", "patch(", "delete(")) for one in node.decorator_list)


def test_files_of_tests_have_names_of_their_own() -> None:
    names = Counter(path.name for path in SOURCE.parents[1].joinpath("tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
