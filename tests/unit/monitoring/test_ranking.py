"""Requests as rankings, held against scikit-learn; counted once, when the last truth is known."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score
from tests.unit.monitoring.world import DAY, SPEC, START, World, with_rules

from kedge.domain.ids import PredictionId
from kedge.monitoring.quality.ranking import ndcg, precision_at


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("at", [1, 3, 10])
def test_ndcg_is_that_of_scikit_learn_ties_too(seed, at) -> None:
    random = np.random.default_rng(seed)
    p, y = np.round(random.random(9), 1 + seed % 2), random.integers(0, 4, 9).astype(float)
    assert ndcg(y, p, at=at) == pytest.approx(ndcg_score([y], [p], k=at))


def test_precision_shares_ties_and_counts_lacking_places_as_none() -> None:
    y, p = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.9, 0.5, 0.5, 0.1])
    assert precision_at(y, p, at=1) == 1.0
    assert precision_at(y, p, at=2) == pytest.approx(0.75)
    assert precision_at(y, p, at=8) == pytest.approx(0.25)
    assert ndcg(np.zeros(3), np.arange(3.0), at=2) == 0.0


def test_a_request_counts_once_when_its_last_truth_is_known() -> None:
    world = World(spec=with_rules(SPEC, rank_at=2))
    world.release(1)
    world.ask("0-0", START, outputs=[0.9, 0.8, 0.2, 0.1])
    world.ask("0-1", START, rows=1, outputs=[0.9])  # one row is no ranking
    world.truth([PredictionId(f"flights-0-0.{row}") for row in range(3)], [0.0, 1.0, 0.0], START + DAY)
    world.truth([PredictionId("flights-0-1.0")], [1.0], START + DAY)
    assert "ndcg" not in world.measure(0).quality.known
    world.truth([PredictionId("flights-0-0.3")], [0.0], START + 2 * DAY)
    known = world.measure(1).quality.known
    assert known["ndcg"].value == pytest.approx(1 / np.log2(3))
    assert known["precision_at"].value == 0.5
    after = world.measure(2).quality
    assert "ndcg" not in after.known
    assert after.recent["ndcg"].value == known["ndcg"].value


def test_without_the_setting_there_are_no_rankings() -> None:
    world = World()
    world.release(1)
    world.ask("0-0", START)
    world.truth([PredictionId(f"flights-0-0.{row}") for row in range(4)], [0.0, 1.0, 0.0, 1.0], START + DAY)
    assert "ndcg" not in world.measure(0).quality.known
