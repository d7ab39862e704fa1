"""A project folder: code loaded by name, what is wrong with it, the commit, the environment."""

import pickle
import subprocess
import sys

import pytest

from kedge.adapters.project import FolderProject
from kedge.errors import ConfigError


@pytest.fixture
def project(tmp_path):
    return FolderProject(tmp_path)


@pytest.fixture(autouse=True)
def _plain_names_as_before():
    yield
    sys.modules.pop("kedge_test_unrelated", None)


def git(folder, *command):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *command], check=True, capture_output=True)


def test_a_name_is_loaded_once(project, tmp_path):
    (tmp_path / "train.py").write_text("made = object()\ndef step(x): return x + 1\n")
    assert project.load("train.py:step")(1) == 2
    assert project.load("train.py:made") is project.load("train.py:made")


def test_siblings_import_each_other_by_their_plain_names_and_are_one_module(project, tmp_path):
    (tmp_path / "shared_words.py").write_text("WORD = object()\n")
    late = "def late():\n    import shared_words\n    return shared_words.WORD\n"
    (tmp_path / "train.py").write_text(f"from shared_words import WORD\n{late}")
    word = project.load("train.py:WORD")
    assert project.load("shared_words.py:WORD") is word
    assert project.load("train.py:late")() is word


def test_two_projects_with_the_same_names_do_not_mix(tmp_path):
    projects = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "shared_words.py").write_text(f"WORD = {name!r}\n")
        (tmp_path / name / "train.py").write_text("from shared_words import WORD\ndef word(): return WORD\n")
        (tmp_path / name / "other.py").write_text("from shared_words import WORD\n")
        projects.append(FolderProject(tmp_path / name))
    assert [project.load("train.py:word")() for project in projects] == ["one", "two"]
    assert [project.load("other.py:WORD") for project in projects] == ["one", "two"]
    assert sys.path.count(str(tmp_path / "one")) + sys.path.count(str(tmp_path / "two")) == 1


@pytest.mark.parametrize("name", ["json", "numpy", "kedge_test_unrelated"])
def test_a_file_may_be_called_like_a_known_module_and_hides_nothing(project, tmp_path, name):
    if name == "kedge_test_unrelated":
        sys.modules[name] = sys
    (tmp_path / f"{name}.py").write_text("mine = 1\n")
    (tmp_path / "train.py").write_text("import json\nloads = json.loads\n")
    assert project.load(f"{name}.py:mine") == 1
    assert project.load("train.py:loads")("[1]") == [1]
    assert not hasattr(__import__(name), "mine")


def test_classes_of_a_project_can_be_pickled(project, tmp_path):
    (tmp_path / "shapes.py").write_text("from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: 'int'\n")
    point = project.load("shapes.py:Point")
    assert pickle.loads(pickle.dumps(point(3))) == point(3)


def test_files_in_folders(project, tmp_path):
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "train.py").write_text("value = 5\n")
    assert project.load("steps/train.py:value") == 5


def test_a_file_edited_within_the_same_second_is_read_by_the_next_project(tmp_path):
    for value in range(5):
        (tmp_path / "train.py").write_text(f"value = {value}\n")
        assert FolderProject(tmp_path).load("train.py:value") == value


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("train", r'"FILE\.py:NAME"'),
        ("train.py", r'"FILE\.py:NAME"'),
        ("train.py:", r'"FILE\.py:NAME"'),
        ("train.py:a.b", r'"FILE\.py:NAME"'),
        ("../train.py:x", "outside the project"),
        ("/etc/x.py:x", "outside the project"),
        ("missing.py:x", r"there is no file .*missing\.py; there is fails\.py"),
        ("train.py:step", r"train\.py defines no step; there is pipeline, VALUE"),
        ("syntax.py:x", r"syntax\.py, line 2: SyntaxError"),
        ("fails.py:x", r"fails\.py, line 2: ZeroDivisionError: division by zero"),
        ("imports.py:x", r"imports\.py, line 1: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("leaves.py:x", r"leaves\.py, line 2: SystemExit: 3"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(project, tmp_path, reference, message):
    (tmp_path / "train.py").write_text("from os import path\ndef pipeline(): pass\nVALUE = 1\n_hidden = 2\n")
    (tmp_path / "syntax.py").write_text("x = 1\nif\n")
    (tmp_path / "fails.py").write_text("def f():\n    return 1 / 0\nf()\n")
    (tmp_path / "imports.py").write_text("import nowhere_to_be_found\n")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(ConfigError, match=message):
        project.load(reference)


def test_a_link_out_of_the_project_is_refused(tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "outside.py").write_text("x = 1\n")
    (tmp_path / "project" / "inside.py").symlink_to(tmp_path / "outside.py")
    with pytest.raises(ConfigError, match="outside the project"):
        FolderProject(tmp_path / "project").load("inside.py:x")


def test_a_file_that_failed_can_be_corrected(project, tmp_path):
    (tmp_path / "train.py").write_text("raise ValueError('not yet')\n")
    with pytest.raises(ConfigError, match="not yet"):
        project.load("train.py:x")
    (tmp_path / "train.py").write_text("x = 1\n")
    assert project.load("train.py:x") == 1


def test_the_codes_digest_follows_its_files_and_nothing_else(project, tmp_path):
    (tmp_path / "train.py").write_text("x = 1\n")
    (tmp_path / "kedge.toml").write_text("[project]\n")
    before = project.code()
    (tmp_path / "notes.md").write_text("words")
    for folder in (".kedge", ".venv", "env", "__pycache__"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "more.py").write_text("x = 2\n")
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    assert project.code() == before
    (tmp_path / "kedge.toml").write_text("[project]\nname = 'a'\n")
    changed = project.code().digest
    assert changed != before.digest
    (tmp_path / "train.py").rename(tmp_path / "training.py")
    assert project.code().digest != changed


def test_outside_a_repository_there_is_no_commit(project):
    assert (project.code().commit, project.code().dirty) == (None, False)


def test_the_commit_and_what_differs_from_it(tmp_path):
    git(tmp_path, "init", "-q", "-b", "main")
    folder = tmp_path / "project"
    folder.mkdir()
    project = FolderProject(folder)
    assert project.code().commit is None
    (folder / "train.py").write_text("x = 1\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "one")
    head = (tmp_path / ".git" / "refs" / "heads" / "main").read_text().strip()
    (tmp_path / "elsewhere.py").write_text("x = 1\n")
    (folder / "data.csv").write_text("x\n1\n")
    (folder / ".kedge").mkdir()
    (folder / ".kedge" / "x.py").write_text("")
    assert (project.code().commit, project.code().dirty) == (head, False)
    (folder / "new.py").write_text("y = 1\n")
    assert project.code().dirty
    (folder / "new.py").unlink()
    (folder / "train.py").write_text("x = 2\n")
    assert project.code().dirty


def test_the_environment_lists_what_is_installed(project):
    environment = project.environment()
    assert environment is project.environment()
    assert any(package.startswith("polars==") for package in environment.packages)
    assert list(environment.packages) == sorted(set(environment.packages))
    assert environment.python.endswith(sys.version.split()[0])
