import numpy as np
import pytest

from kedge.domain.evaluation import Check, GateRules, Outcome, Task
from kedge.errors import ConfigError
from kedge.evaluation.agree import agreement
from kedge.evaluation.gate import (
    CHECKS,
    FORMS,
    Evidence,
    Opponent,
    columns_of,
    form_of,
    has_one_form,
    judge,
    require_sensible,
)
from kedge.evaluation.parity import ComparedForm

ROWS = 1400
BLOCKS = np.repeat(np.arange(7), ROWS // 7)
RNG = np.random.default_rng(3)
TRUTH = RNG.beta(1, 3, ROWS)
LATE = (RNG.random(ROWS) < TRUTH).astype(float)
ORIGIN = RNG.choice(["EWR", "JFK"], ROWS).tolist()


def evidence(answers=TRUTH, champion=None, **changes):
    facts = {"task": Task.CLASSIFICATION, "y": LATE, "answers": answers, "blocks": BLOCKS, "columns": {"origin": ORIGIN}}
    return Evidence(**{**facts, **changes}, champion=champion)


def champion(answers, unseen=None, problem=""):
    return Opponent(number=3, answers=answers, unseen=np.ones(ROWS, bool) if unseen is None else unseen, problem=problem)


def only(verdict, check):
    return next(finding for finding in verdict.findings if finding.check.startswith(check))


def gate(evidence, *checks, **rules):
    return judge(evidence, GateRules(checks=checks, **rules))


def test_a_good_model_without_a_champion_passes_and_says_why():
    verdict = gate(
        evidence(), Check(beats="baseline"), Check(not_worse_than="champion"), Check(metric="roc_auc", at_least=0.6)
    )
    assert verdict.passed
    assert only(verdict, "not worse").reason == "there is no champion yet"
    assert "roc_auc is 0.7" in only(verdict, "roc_auc").reason
    assert only(verdict, "roc_auc").limit == 0.6
    assert only(verdict, "beats").measured < only(verdict, "beats").limit


def test_rules_without_checks_still_ask_for_the_baseline_and_the_champion():
    assert [finding.check for finding in gate(evidence()).findings] == [
        "answers",
        "beats baseline",
        "not worse than champion",
    ]


def test_no_rows_hold():
    nothing = Evidence(task=Task.CLASSIFICATION, y=np.empty(0), answers=np.empty(0), blocks=np.empty(0, np.int64))
    verdict = judge(nothing, GateRules())
    assert verdict.outcome is Outcome.HELD
    assert verdict.reasons == ("there are no newly labelled rows to judge on",)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.1, 1.1])
def test_answers_that_are_no_probabilities_are_refused(wrong):
    answers = TRUTH.copy()
    answers[[1, 2]] = wrong
    verdict = gate(evidence(answers))
    assert verdict.outcome is Outcome.REFUSED
    assert verdict.reasons == ("2 of 1400 answers are not a probability",)


def test_a_model_that_answers_the_base_rate_does_not_beat_it():
    verdict = gate(evidence(np.full(ROWS, LATE.mean())), Check(beats="baseline"))
    assert verdict.outcome is Outcome.REFUSED


def test_labels_that_are_all_the_same_hold():
    verdict = gate(evidence(y=np.zeros(ROWS)), Check(beats="baseline"), Check(metric="roc_auc", at_least=0.5))
    assert verdict.outcome is Outcome.HELD
    assert len(verdict.reasons) == 2


def test_a_candidate_clearly_worse_than_the_champion_is_refused():
    worse = np.clip(TRUTH + 0.25, 0, 1)
    verdict = gate(evidence(worse, champion(TRUTH)), Check(not_worse_than="champion"))
    assert verdict.outcome is Outcome.REFUSED
    finding = only(verdict, "not worse")
    assert finding.measured > finding.limit
    assert "above champion 3's" in finding.reason
    assert finding.rows == ROWS


def test_five_percent_worse_is_refused_even_where_days_scatter():
    """The difference is all one day's: no standard error would refuse it."""
    worse = np.where(BLOCKS == 3, 1 - TRUTH, TRUTH)
    assert gate(evidence(worse, champion(TRUTH)), Check(not_worse_than="champion")).outcome is Outcome.REFUSED


def test_a_small_but_sure_loss_is_refused_and_an_equal_or_better_candidate_passes():
    slightly = np.clip(TRUTH + 0.05, 0, 1)
    assert gate(evidence(slightly, champion(TRUTH)), Check(not_worse_than="champion")).outcome is Outcome.REFUSED
    assert gate(evidence(TRUTH, champion(TRUTH)), Check(not_worse_than="champion")).passed
    assert gate(evidence(TRUTH, champion(slightly)), Check(not_worse_than="champion")).passed


def test_fewer_than_seven_days_that_the_champion_has_not_seen_hold():
    verdict = gate(evidence(TRUTH, champion(TRUTH, unseen=BLOCKS < 6)), Check(not_worse_than="champion"))
    assert verdict.outcome is Outcome.HELD
    assert "only 6 days have labels" in verdict.reasons[0]


def test_a_champion_that_cannot_answer_holds():
    verdict = gate(evidence(TRUTH, champion(None, problem="it reads column x")), Check(not_worse_than="champion"))
    assert (verdict.outcome, verdict.reasons) == (Outcome.HELD, ("it reads column x",))


def test_metrics_have_limits_on_both_sides():
    assert gate(evidence(), Check(metric="log_loss", at_most=0.2)).outcome is Outcome.REFUSED
    assert gate(evidence(), Check(metric="log_loss", at_least=0.1, at_most=0.7)).passed
    refused = gate(evidence(), Check(metric="roc_auc", at_least=0.99))
    assert only(refused, "roc_auc at least 0.99").outcome is Outcome.REFUSED


def test_the_worst_slice_is_found_and_small_groups_are_named():
    origin = np.array(ORIGIN, dtype=object)
    origin[:20] = "LGA"
    answers = np.where(origin == "JFK", 1 - TRUTH, TRUTH)
    check = Check(slices=("origin",), metric="roc_auc", worst_at_least=0.55)
    finding = gate(evidence(answers, columns={"origin": origin.tolist()}), check).findings[1]
    assert finding.outcome is Outcome.REFUSED
    assert finding.group == "origin=JFK"
    assert "too small to judge: origin=LGA" in finding.reason
    high = Check(slices=("origin",), metric="log_loss", worst_at_most=0.9)
    assert gate(evidence(answers, columns={"origin": origin.tolist()}), high).findings[1].group == "origin=JFK"
    assert gate(evidence(), high).passed


def test_slices_that_are_all_too_small_hold():
    check = Check(slices=("origin",), metric="roc_auc", worst_at_least=0.55)
    assert gate(evidence(), check, min_group=2000).outcome is Outcome.HELD


def test_unequal_treatment_of_groups_is_refused():
    answers = np.where(np.array(ORIGIN) == "JFK", 0.1, 0.9)
    check = Check(fairness="equal_opportunity", by="origin", at_most=0.15)
    finding = gate(evidence(answers), check, min_group=50).findings[1]
    assert (finding.outcome, finding.measured, finding.group) == (Outcome.REFUSED, 1.0, "origin=JFK")
    assert gate(evidence(np.full(ROWS, 0.9)), check, min_group=50).findings[1].outcome is Outcome.PASSED
    assert gate(evidence(answers), check, min_group=5000).outcome is Outcome.HELD


def test_regression_is_compared_by_squared_errors():
    y = np.arange(ROWS) * 0.01
    facts = {"task": Task.REGRESSION, "y": y, "columns": {}}
    good, bad = y + 0.1, y + 0.2
    assert judge(evidence(good, champion(bad), **facts), GateRules()).passed
    verdict = judge(evidence(bad, champion(good), **facts), GateRules())
    assert "squared_error" in verdict.reasons[0]
    assert gate(evidence(good, **facts), Check(metric="r2", at_least=0.9)).passed
    broken = good.copy()
    broken[0] = np.nan
    assert judge(evidence(broken, **facts), GateRules()).reasons == ("1 of 1400 answers are not a finite number",)


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (Check(), "sets none"),
        (Check(metric="mse", at_most=1), "not a metric"),
        (Check(metric="roc_auc"), "no limit"),
        (Check(slices=("origin",)), "no limit"),
        (Check(slices=("port",), worst_at_least=0.5), "lack"),
        (Check(fairness="kindness", by="origin", at_most=0.1), "fairness is one of"),
        (Check(fairness="equal_opportunity", at_most=0.1), "needs `by"),
        (Check(fairness="equal_opportunity", by="origin"), "no limit"),
        (Check(beats="everyone"), "baseline"),
        (Check(not_worse_than="yesterday"), "champion"),
    ],
)
def test_a_check_that_can_never_be_judged_stops_with_what_would_be_right(check, says):
    with pytest.raises(ConfigError, match=says):
        require_sensible(GateRules(checks=(check,)), Task.CLASSIFICATION, columns=["origin"])


@pytest.mark.parametrize(
    ("check", "right"),
    [
        (Check(beats="baseline"), True),
        (Check(beats="nobody"), False),
        (Check(beats="baseline", at_most=1), False),
        (Check(not_worse_than="champion"), True),
        (Check(not_worse_than="yesterday"), False),
        (Check(metric="rmse"), False),
        (Check(metric="rmse", at_least=0, at_most=1), True),
        (Check(metric="rmse", worst_at_most=1), False),
        (Check(slices=("origin",), metric="rmse", worst_at_most=1), True),
        (Check(slices=("origin",), worst_at_most=1), False),
        (Check(fairness="equalized_odds", by="origin", at_most=1), True),
        (Check(fairness="kindness", by="origin", at_most=1), False),
        (Check(), False),
    ],
)
def test_a_check_is_written_in_just_one_form(check, right):
    assert has_one_form(check) is right


def test_every_check_has_a_form():
    assert list(FORMS) == list(CHECKS)


def test_sensible_rules_say_nothing():
    checks = (
        Check(slices=("a", "b"), metric="roc_auc", worst_at_least=0.5),
        Check(fairness="equalized_odds", by="a", at_most=1),
    )
    require_sensible(GateRules(checks=checks), Task.CLASSIFICATION, columns=["a", "b"])
    assert columns_of(GateRules(checks=checks)) == ("a", "b")
    assert form_of(checks[0]) == "slices"


def agree(refit, tested=TRUTH, y=LATE, task=Task.CLASSIFICATION):
    return agreement(
        task,
        y,
        refit=refit,
        candidate=tested,
        blocks=BLOCKS,
        metric="log_loss" if task is Task.CLASSIFICATION else "squared_error",
        threshold=0.5,
    )


def test_decisions_of_a_refit_are_taken_at_the_projects_threshold():
    y, tested, refit = np.ones(ROWS), np.full(ROWS, 0.4), np.full(ROWS, 0.2)
    outcomes = [
        agreement(
            Task.CLASSIFICATION, y, refit=refit, candidate=tested, blocks=BLOCKS, metric="accuracy", threshold=at
        ).outcome
        for at in (0.1, 0.3)
    ]
    assert outcomes == [Outcome.PASSED, Outcome.REFUSED]


def test_a_refit_that_learnt_the_newest_rows_agrees():
    learnt = np.clip(TRUTH + 0.3 * (LATE - TRUTH), 0, 1)
    assert agree(learnt).outcome is Outcome.PASSED
    assert agree(TRUTH).measured == 0.0


def test_a_refit_that_is_worse_on_rows_it_has_seen_is_refused():
    finding = agree(np.full(ROWS, LATE.mean()))
    assert finding.outcome is Outcome.REFUSED
    assert "on rows it has seen" in finding.reason


def test_a_refit_that_answers_otherwise_is_refused_though_no_worse():
    y = np.zeros(ROWS)
    finding = agree(np.full(ROWS, -1.0), np.full(ROWS, 1.0), y, Task.REGRESSION)
    assert finding.outcome is Outcome.REFUSED
    assert (finding.measured, finding.limit) == (2.0, 1.0)


def test_a_refit_without_usable_answers_is_refused_and_no_rows_hold():
    assert agree(np.full(ROWS, np.nan)).outcome is Outcome.REFUSED
    nothing = np.empty(0)
    assert (
        agreement(
            Task.CLASSIFICATION,
            nothing,
            refit=nothing,
            candidate=nothing,
            blocks=np.empty(0, np.int64),
            metric="log_loss",
            threshold=0.5,
        ).outcome
        is Outcome.HELD
    )


def test_the_parity_of_a_compiled_form_is_asked_for_and_held_without_one():
    asked = Check(parity="compiled", at_most=1e-9)
    near = ComparedForm(form="onnx", rows=2302, difference=2e-16)
    found = only(gate(evidence(compiled=near), asked), "parity")
    assert (found.outcome, found.measured, found.limit, found.rows) == (Outcome.PASSED, 2e-16, 1e-9, 2302)
    assert "in the form onnx differ by at most 2e-16" in found.reason
    far = ComparedForm(form="onnx", rows=2302, difference=0.3)
    assert only(gate(evidence(compiled=far), asked), "parity").outcome is Outcome.REFUSED
    for none in (None, ComparedForm(form="onnx", fault="treelite cannot read it")):
        assert only(gate(evidence(compiled=none), asked), "parity").outcome is Outcome.HELD
    assert has_one_form(asked)
    assert not has_one_form(Check(parity="other", at_most=1.0))
    assert not has_one_form(Check(parity="compiled"))
