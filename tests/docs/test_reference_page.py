"""The reference page and the code name the same settings, commands, events and errors."""

import re
from pathlib import Path

import msgspec
import pytest

import kedge
import kedge.errors
import kedge.replay.play
from kedge.cli.main import NOUNS
from kedge.domain.data import Rule, Severity
from kedge.domain.events import EventKind
from kedge.domain.project import ProjectSpec
from kedge.serving.metrics import FAMILIES

PAGE = (Path(__file__).parents[2] / "docs" / "reference.md").read_text()
SECTIONS = {f.name: f.type for f in msgspec.structs.fields(ProjectSpec) if f.name not in ("name", "expectations")}


def settings_in_code() -> set[str]:
    return {f"{name}.{f.name}" for name, kind in SECTIONS.items() for f in msgspec.structs.fields(kind)} | {
        "project.name",
        "project.remote",
    }


def test_every_setting_is_there_and_no_other() -> None:
    assert set(re.findall(r"^\| `(\w+\.\w+)` \|", PAGE, re.M)) == settings_in_code()


def test_every_command_is_there_and_no_other() -> None:
    assert set(re.findall(r"^\| `kedge ([\w-]+)` \|", PAGE, re.M)) == set(NOUNS)


def test_every_metric_is_there_and_no_other() -> None:
    rows = re.findall(r"^\| `(kedge_\w+)` \| (\w+) \| ([^|]*) \|", PAGE, re.M)
    assert [(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows] == [
        (family.name, family.kind, family.labels) for family in FAMILIES
    ]


def errors(kind: type) -> set[str]:
    return {kind.code}.union(*(errors(child) for child in kind.__subclasses__()))


@pytest.mark.parametrize(
    "word", [*(k.value for k in (*EventKind, *Rule, *Severity)), *sorted(errors(kedge.errors.KedgeError))]
)
def test_every_event_rule_and_error_is_there(word) -> None:
    assert f"`{word}`" in PAGE


@pytest.mark.parametrize("name", kedge.__all__)
def test_every_public_name_is_there_and_can_be_loaded(name) -> None:
    assert f"`{name}`" in PAGE
    assert callable(getattr(kedge, name)) or name in ("data", "monitoring")  # packages: doors to their rooms


def test_defaults_are_as_said() -> None:
    spec = {name: {f.name: f.default for f in msgspec.structs.fields(kind)} for name, kind in SECTIONS.items()}
    for name, said in re.findall(r'^\| `(\w+\.\w+)` \| `"([^"`]+)"` \|', PAGE, re.M):
        section, field = name.split(".")
        default = spec[section][field]
        assert getattr(default, "value", default) == said, name
