import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.evaluation.toys import spec
from tests.unit.rollout.health import trial

from kedge.domain.features import FeatureService, FeatureView
from kedge.domain.ids import RequestId
from kedge.domain.project import DataRules
from kedge.domain.rollout import RolloutRules, Strategy, takes_challenger
from kedge.errors import ModelRefused
from kedge.rollout.split import answer, entities_of, sticky_column

ENTITIES = [f"flight-{n}" for n in range(200)]
SERVED = {"x": [float(n) for n in range(200)]}


class Scores:
    """Version 1 answers x, version 2 answers 10 x; the calls are kept."""

    def __init__(self, fail=None, wrong=None):
        self.calls, self.fail, self.wrong = [], fail, wrong or {}

    def __call__(self, version, columns):
        self.calls.append((version, list(columns["x"])))
        if version == 2 and self.fail is not None:
            raise self.fail
        if version in self.wrong:
            return self.wrong[version](np.array(columns["x"]))
        return np.array(columns["x"]) * (10 if version == 2 else 1)


def test_each_version_is_called_once_and_every_row_is_answered_by_its_own():
    scores, deployment = Scores(), trial(share=0.3)
    answers = answer(deployment, SERVED, entities=ENTITIES, score=scores)
    assert [version for version, _ in scores.calls] == [2, 1]
    for row, entity in enumerate(ENTITIES):
        expected = 2 if takes_challenger(deployment, entity) else 1
        assert answers.versions[row] == expected
        assert answers.outputs[row] == (10.0 * row if expected == 2 else row)
    assert sorted(row for _, rows in answers.batches for row in rows) == list(range(200))
    assert 30 < answers.versions.count(2) < 90
    assert (answers.shadow, answers.errors) == ({}, {})


@given(low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_greater_share_keeps_the_entities_of_a_smaller_one(low, high):
    low, high = sorted((low, high))
    small, great = (answer(trial(share=share), SERVED, entities=ENTITIES, score=Scores()).versions for share in (low, high))
    assert all(after == 2 for before, after in zip(small, great, strict=True) if before == 2)


def test_the_split_depends_on_the_salt_and_not_on_the_order():
    versions = answer(trial(share=0.5), SERVED, entities=ENTITIES, score=Scores()).versions
    assert answer(trial(share=0.5), SERVED, entities=ENTITIES[::-1], score=Scores()).versions == versions[::-1]
    assert answer(trial(share=0.5, salt="t"), SERVED, entities=ENTITIES, score=Scores()).versions != versions


def test_steady_and_full_deployments_make_one_call_with_the_columns_as_they_came():
    for deployment, version in ((trial(challenger=None), 1), (trial(share=1.0), 2)):
        seen = []
        answers = answer(
            deployment, SERVED, entities=ENTITIES, score=lambda v, c, seen=seen: seen.append(c) or np.zeros(200)
        )
        assert set(answers.versions) == {version}
        assert seen == [SERVED]
        assert seen[0] is SERVED


@pytest.mark.parametrize("fail", [ModelRefused("type not allowed"), ValueError("bad"), MemoryError(), KeyError("x")])
def test_a_challenger_that_raises_is_covered_by_the_champion(fail):
    answers = answer(trial(share=0.3), SERVED, entities=ENTITIES, score=Scores(fail=fail))
    tried = [row for row, entity in enumerate(ENTITIES) if takes_challenger(trial(share=0.3), entity)]
    assert set(answers.versions) == {1}
    assert answers.outputs == SERVED["x"]
    assert answers.batches == [(1, list(range(200)))]
    assert sorted(answers.errors) == tried
    assert type(fail).__name__ in answers.errors[tried[0]]


def test_rows_with_an_answer_that_is_no_number_are_covered_by_the_champion():
    wrong = {2: lambda x: np.where(x % 2 == 0, np.nan, 10 * x)}
    answers = answer(trial(share=1.0), SERVED, entities=ENTITIES, score=Scores(wrong=wrong))
    assert answers.versions == [1, 2] * 100
    assert answers.outputs[:4] == [0.0, 10.0, 2.0, 30.0]
    assert answers.batches == [(2, list(range(200))), (1, list(range(0, 200, 2)))]
    assert set(answers.errors) == set(range(0, 200, 2))


def test_a_challenger_with_too_few_answers_is_covered_too():
    answers = answer(trial(share=1.0), SERVED, entities=ENTITIES, score=Scores(wrong={2: lambda x: x[:3]}))
    assert set(answers.versions) == {1}
    assert "shape (3,)" in answers.errors[0]


def test_a_champion_that_fails_raises():
    with pytest.raises(ZeroDivisionError):
        answer(trial(challenger=None), SERVED, entities=ENTITIES, score=lambda version, columns: 1 / 0)


def test_a_shadow_answers_a_copy_that_is_not_used():
    answers = answer(trial(strategy=Strategy.SHADOW, share=0.0), SERVED, entities=ENTITIES, score=Scores())
    assert set(answers.versions) == {1}
    assert answers.shadow == {2: [10.0 * n for n in range(200)]}
    assert answers.batches == [(1, list(range(200))), (2, list(range(200)))]


def test_a_shadow_that_fails_changes_no_answer():
    answers = answer(
        trial(strategy=Strategy.SHADOW, share=0.0), SERVED, entities=ENTITIES, score=Scores(fail=RuntimeError("no"))
    )
    assert (set(answers.versions), answers.shadow, len(answers.errors)) == ({1}, {}, 200)


@pytest.mark.parametrize(
    ("sticky", "key", "column"),
    [("origin", "id", "origin"), ("", "id", "id"), ("", "plane", "plane"), ("", "row", ""), ("", "", "")],
)
def test_traffic_sticks_to_what_the_project_says_or_to_a_key_that_requests_carry(sticky, key, column):
    view = FeatureView(name="planes", entity="plane", source="planes.csv", time="at", features=("age",))
    service = FeatureService(name="delay", request=("id", "origin"), views=(view,))
    rules = DataRules(source="data.py:rows", time="at", label="late", key=key)
    assert sticky_column(spec(data=rules, rollout=RolloutRules(sticky=sticky)), service) == column


def test_no_rows_need_no_model():
    assert answer(trial(), {"x": []}, entities=[], score=lambda version, columns: 1 / 0).outputs == []


def test_an_entity_is_its_value_as_text_or_the_prediction_itself():
    values = ["N1", 7, 7.0, True, None]
    assert entities_of(RequestId("r"), values) == ["N1", "7", "7", "true", "r.4"]
