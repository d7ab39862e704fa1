import numpy as np
import pytest

from kedge.evaluation.fairness import FAIRNESS, difference_of
from kedge.evaluation.metrics import METRICS
from kedge.evaluation.slices import groups_of, measure_slices, some_of


def test_groups_part_the_rows():
    groups = groups_of("carrier", ["b", "a", "b"])
    assert [(group.name, group.rows.tolist()) for group in groups] == [("carrier=a", [1]), ("carrier=b", [0, 2])]
    assert groups_of("carrier", []) == []


def test_small_groups_and_groups_without_a_defined_measure_are_named_not_judged():
    y = np.array([0, 1, 0, 1, 1, 1, 0], dtype=float)
    p = np.array([0.1, 0.9, 0.2, 0.8, 0.5, 0.5, 0.3])
    values = ["good"] * 4 + ["one class"] * 2 + ["tiny"]
    found = measure_slices(METRICS["roc_auc"], y, p=p, columns={"c": values}, threshold=0.5, min_group=2)
    assert [(each.group, each.rows, each.value) for each in found.judged] == [("c=good", 4, 1.0)]
    assert found.unjudged == ("c=one class", "c=tiny")


def test_many_names_are_cut():
    assert some_of([str(n) for n in range(7)]) == "0, 1, 2, 3, 4 and 2 more"
    assert some_of(["a"]) == "a"


@pytest.mark.parametrize("name", FAIRNESS)
@pytest.mark.parametrize("seed", range(5))
def test_differences_agree_with_fairlearn(name, seed):
    peer = pytest.importorskip("fairlearn.metrics")
    theirs = {
        "equal_opportunity": peer.equal_opportunity_difference,
        "equalized_odds": peer.equalized_odds_difference,
        "demographic_parity": peer.demographic_parity_difference,
    }[name]
    rng = np.random.default_rng(seed)
    y, p, groups = (rng.random(400) < 0.4).astype(float), rng.random(400), rng.choice(["a", "b", "c"], 400)
    ours = difference_of(name, y, p=p, by="g", values=groups.tolist(), threshold=0.6, min_group=1)
    assert ours.value == pytest.approx(theirs(y, p >= 0.6, sensitive_features=groups))
    assert {ours.highest, ours.lowest} <= {"g=a", "g=b", "g=c"}
    assert ours.unjudged == ()


def test_equal_opportunity_counts_the_positives_of_a_group():
    y = np.array([1.0] * 30 + [0.0] * 170 + [1.0] * 60 + [0.0] * 40 + [1.0] * 60)
    p = np.ones(360)
    values = ["few"] * 200 + ["b"] * 100 + ["c"] * 60
    found = difference_of("equal_opportunity", y, p=p, by="g", values=values, threshold=0.5, min_group=50)
    assert (found.value, found.judged, found.unjudged, found.rows) == (0.0, ("g=b", "g=c"), ("g=few",), 120)
    assert np.isnan(difference_of("equalized_odds", y, p=p, by="g", values=values, threshold=0.5, min_group=50).value)
