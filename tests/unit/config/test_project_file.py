"""One clear error with file, line and what would be right, for whatever can be wrong in a project file."""

from pathlib import Path

import pytest

from kedge.config import bare_project, project_or_none, read_project, read_serving
from kedge.errors import ConfigError

GOOD = """[project]
name = "mine"

[data]
source = "rows.csv"
time = "at"
label = "bad"

[gate]
checks = [
  { beats = "baseline" },
  { metric = "roc_auc", at_least = 0.6 },
]

[rollout]
steps = ["5%", "100%"]

[retraining]
policy = "ledger"
step = "7d"
price = { loss = 1.0, retrain = 40.0 }
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "rows.csv").touch()
    (tmp_path / "code.py").touch()
    return tmp_path


def read(folder: Path, text: str):
    (folder / "kedge.toml").write_text(text)
    return read_project(folder)


def test_a_good_file(folder) -> None:
    spec = read(folder, GOOD)
    assert (spec.name, spec.dataset, spec.step_seconds) == ("mine", "mine", 604800)
    assert spec.retraining.price.retrain == 40
    assert [check.metric for check in spec.gate.checks] == [None, "roc_auc"]


def test_what_is_said_of_predictions_holds_with_a_loop_and_without(folder) -> None:
    assert read(folder, GOOD + '[predictions]\nkeep = "90d"\n').predictions.keep == "90d"
    (folder / "kedge.toml").write_text('[project]\nname = "mine"\n[serving]\nworkers = 3\n[predictions]\nkeep = "30d"\n')
    assert project_or_none(folder) is None
    bare = bare_project(folder)
    assert (bare.predictions.keep, bare.serving.workers) == ("30d", 3)


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("[gate]", "[gates]", 9, 'did you mean "gate"?'),
        ("at_least = 0.6", "at_leest = 0.6", 12, 'gate.checks.at_leest is not known; did you mean "at_least"?'),
        ("retrain = 40.0", 'retrain = "x"', 21, "retraining.price.retrain: expected `float`, got `str`"),
        ("[rollout]", "[serving]\nworkers = 0\n[rollout]", 16, "a number from 1 to 1024"),
        ("[rollout]", '[serving]\nmemory = "lots"\n[rollout]', 16, "one such as 500MB or 10GiB"),
        ("[rollout]", '[serving]\nhang = "0s"\n[rollout]', 16, 'such as "7d"'),
        ("retrain = 40.0", "retrain = 0", 21, "must be above 0"),
        ('"7d"', '"7 days"', 20, 'such as "7d"'),
        ('"7d"', '"36h"', 20, "whole number of monitoring windows"),
        ("[rollout]", '[monitoring]\nwindow = "90s"\n[rollout]', 16, 'a whole number of minutes, such as "1min"'),
        ('"rows.csv"', '"gone.csv"', 5, "gone.csv does not exist"),
        ('"rows.csv"', '"gone.py:rows"', 5, "gone.py does not exist"),
        ('name = "mine"', 'name = "a b"', 2, "letters, digits"),
        ('label = "bad"', "", 4, "data.label is missing"),
        ('label = "bad"', 'label = "bad"\ntask = "ranking"', 8, "choose one of classification, regression"),
        ('label = "bad"', 'label = "bad"\nlabel_time = "k"\nlabel_delay = "1d"', 9, "keep one"),
        ('["5%", "100%"]', '["50%", "5%"]', 16, 'end with "100%"'),
        ('["5%", "100%"]', '["5%", "1e2%"]', 16, "is not a share"),
        ('policy = "ledger"', 'policy = "weekly"', 19, 'or "every 30d"'),
        ('policy = "ledger"', 'policy = "every moon"', 19, 'or "every 30d"'),
        ('policy = "ledger"', 'policy = "threshold"', 19, "needs retraining.threshold"),
        ('beats = "baseline"', 'beats = "nobody"', 10, "just one of these forms"),
        ("roc_auc", "rock_auc", 10, "is not a metric for classification"),
        ("[rollout]", '[features]\nservice = "code.csv"\n[rollout]', 16, 'write "FILE.py:NAME"'),
        ("[rollout]", "[serving]\ncall_rows = 0\n[rollout]", 16, "serving.call_rows is 0"),
        ("[rollout]", "[monitoring]\ntolerance = 0.7\n[rollout]", 16, "between 0 and 0.5"),
        ("[rollout]", "[monitoring]\ntolerance = { x = 0.9 }\n[rollout]", 16, "monitoring.tolerance.x is"),
        ("[rollout]", '[monitoring]\ntolerance = { x = "wide" }\n[rollout]', 16, "monitoring.tolerance.x is"),
        ("[rollout]", '[monitoring]\nalerts = ["pigeon"]\n[rollout]', 16, "'pigeon' is no channel"),
        ("[rollout]", '[monitoring]\ngroups = ["a+"]\n[rollout]', 16, "'a+' is no column"),
        ("[rollout]", '[monitoring.business.m]\nper = "day"\nvalue = "1 +"\n[rollout]', 17, "is no SQL expression"),
        ("[rollout]", '[monitoring.business.m]\nvalue = "SUM(prediction)"\n[rollout]', 16, "takes all rows together"),
        ("[rollout]", '[monitoring.business.m]\nvalue = "1"\n[rollout]', 16, "reads no column"),
        ("[rollout]", '[monitoring.business]\n"a b" = { value = "truth" }\n[rollout]', 15, "is no name"),
        ("[rollout]", '[monitoring.business.m]\nvalue = "truth"\nper = "week"\n[rollout]', 17, "prediction, day, month"),
        ("[rollout]", "[monitoring]\nintersections = 4\n[rollout]", 16, "1 to 3"),
        ("[rollout]", '[monitoring]\ngroups = ["a"]\nfairness = { parity = 0.1 }\n[rollout]', 17, "'parity' is not one of"),
        ("[rollout]", '[monitoring]\ngroups = ["a"]\nfairness = { loss = 0.0 }\n[rollout]', 17, "a difference above 0"),
        ("[rollout]", "[monitoring]\nfairness = { loss = 0.1 }\n[rollout]", 16, "needs monitoring.groups"),
        ("[rollout]", '[monitoring]\ngroups = ["a"]\nfairness = { loss = nan }\n[rollout]', 17, "a difference above 0"),
        ("[rollout]", '[monitoring]\ngroups = ["a"]\nfairness = { equal_opportunity = 1.0 }\n[rollout]', 17, "one below 1"),
        (
            "[rollout]",
            '[monitoring]\nsilence = "long"\n[rollout]',
            16,
            "monitoring.silence is \"auto\" or a duration: 'long'",
        ),
        ("[rollout]", '[monitoring]\nsilence = { rows = "1h" }\n[rollout]', 16, "silence.rows is not known; those that"),
        ("[rollout]", "[monitoring]\nrisk_tolerance = -0.1\n[rollout]", 16, "is -0.1; write a share of 0 or more"),
        ("[rollout]", "[monitoring]\nrisk_tolerance = nan\n[rollout]", 16, "is nan; write a share of 0 or more"),
        ("[rollout]", '[monitoring.business.m]\nvalue = "truth"\ntarget = nan\n[rollout]', 17, "is nan; write a number"),
        ("[rollout]", '[monitoring.business.m]\nvalue = "truth"\nalarm = "sure"\n[rollout]', 17, "write target = NUMBER"),
        ('policy = "ledger"', 'policy = "ledger"\nmin_labels = -1', 20, "is -1; write 0 or more new labels"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(folder, old, new, line, said) -> None:
    with pytest.raises(ConfigError) as error:
        read(folder, GOOD.replace(old, new))
    assert f"{folder / 'kedge.toml'}, line {line}: " in str(error.value)
    assert said in str(error.value)


def test_broken_toml_is_named_with_its_line(folder) -> None:
    with pytest.raises(ConfigError, match=r"kedge.toml: not valid TOML: .*line 9"):
        read(folder, GOOD.replace("[gate]", "[gate"))


def test_no_file_says_how_to_make_one(tmp_path) -> None:
    with pytest.raises(ConfigError, match="kedge init"):
        read_project(tmp_path)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('rule = "betwixt"', r"rules.toml, line 2: expectation 1: .*betwixt.*choose one of type, not_null"),
        ('rule = "type"\ncolumn = "a"\ntype = "int"', "choose one of float, integer, boolean"),
        ('rule = "finite"\ncolumn = "a"\nseverity = "fatal"', "choose one of error, quarantine, warn"),
        ('rule = "between"\ncolum = "a"', r"line 2: expectation 1: .*colum"),
        ('rule = "between"\nat_least = "a"', "Expected `float"),
    ],
)
def test_a_wrong_expectation_is_named(folder, rule, said) -> None:
    (folder / "rules.toml").write_text(f"# rules\n[[expectation]]\n{rule}\n")
    with pytest.raises(ConfigError, match=said):
        read(folder, GOOD.replace('label = "bad"', 'label = "bad"\nexpectations = "rules.toml"'))


def test_missing_expectations_name_their_file(folder) -> None:
    with pytest.raises(ConfigError, match=r"line 8: data.expectations: .*rules.toml does not exist"):
        read(folder, GOOD.replace('label = "bad"', 'label = "bad"\nexpectations = "rules.toml"'))


@pytest.mark.parametrize(("text", "workers"), [(None, 1), ("[project]\nname = 'mine'\n[serving]\nworkers = 3\n", 3)])
def test_a_folder_without_a_loop_is_served_by_what_its_file_says(tmp_path, text, workers) -> None:
    if text is not None:
        (tmp_path / "kedge.toml").write_text(text)
    name, rules = read_serving(tmp_path)
    assert (name, rules.workers) == ("", workers)
    assert project_or_none(tmp_path) is None


def test_a_project_is_served_under_its_name(folder) -> None:
    (folder / "kedge.toml").write_text(GOOD)
    assert read_serving(folder)[0] == "mine"


def test_a_business_metric_without_a_target_is_shown_and_a_loss_may_differ_by_more_than_one(folder) -> None:
    more = '[monitoring]\ngroups = ["a"]\nfairness = { loss = 1.5 }\n[monitoring.business.m]\nvalue = "truth"\n[rollout]'
    spec = read(folder, GOOD.replace("[rollout]", more))
    assert spec.monitoring.fairness == {"loss": 1.5}
    assert spec.monitoring.business["m"].target is None
