"""The odds hold their level under continuous looking, on rows that depend on one another, and they find what is there."""

import math

import numpy as np
import pytest
from scipy.stats import ks_2samp
from tests.unit.rollout.health import DAY, START, health, side, trial

from kedge.domain.evaluation import Task
from kedge.domain.monitoring import Block, GroupLoss
from kedge.domain.rollout import Clusters, Move, RolloutRules, Strategy, TrialQuestion
from kedge.rollout.evidence import (
    Bets,
    Cells,
    Estimate,
    added,
    difference_of,
    mixture_odds,
    paired_difference_of,
    split_odds,
    stability_of,
    stratified,
)
from kedge.rollout.judge import judge

GROUPS = 32


def test_bets_hold_their_level_and_find_a_break_after_a_quiet_day():
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(300):
        bets, most = Bets(), 0.0
        for failed in rng.random(400) < 0.01:
            bets.see(float(failed), allowed=0.01)
            most = max(most, bets.odds)
        passed += most >= 20
    assert passed <= 15 + 3 * 3.8, "Ville: at most 1 in 20"
    bets = Bets()
    for _ in range(5000):
        bets.see(0.0, allowed=0.01)
    assert bets.odds < 1
    needed = 0
    while bets.odds < 1000:
        bets.see(1.0, allowed=0.01)
        needed += 1
    assert needed <= 8


def test_the_split_is_told_from_chance_by_the_number_of_entities():
    assert split_odds(50, 1000, share=0.05) < 1
    assert split_odds(100, 1000, share=0.05) > 1000
    assert split_odds(1, 1, share=0.05) < 20
    assert split_odds(0, 0, share=0.05) == split_odds(5, 5, share=1.0) == 1.0
    rng = np.random.default_rng(2)
    passed = 0
    for _ in range(300):
        ours = np.cumsum(rng.random(200) < 0.25)
        passed += any(split_odds(int(ours[n]), n + 1, share=0.25) >= 20 for n in range(200))
    assert passed <= 15 + 3 * 3.8


def test_two_samples_are_compared():
    rng = np.random.default_rng(3)
    theirs = rng.lognormal(5, 0.01, 900)
    assert stability_of([*theirs], [*theirs]) == (0.0, 0.0)
    ours = theirs[:700] * 1.01 + rng.normal(0, 0.2, 700)
    psi, ks = stability_of([*ours], [*theirs])
    assert ks == pytest.approx(ks_2samp(ours, theirs).statistic)
    tenths = np.quantile(theirs, np.arange(1, 10) / 10, method="higher")
    p, q = (np.bincount(np.searchsorted(tenths, each, side="right"), minlength=10) / len(each) for each in (ours, theirs))
    assert psi == pytest.approx(np.sum((p - q) * np.log(p / q)), rel=0.05)
    assert stability_of([], [1.0, 2.0]) is None


def test_samples_of_few_values_or_of_none_that_are_numbers_are_compared():
    assert stability_of([1.0] * 50, [1.0] * 50) == (0.0, 0.0)
    psi, ks = stability_of([1.0] * 60, [0.0] * 60)
    assert (psi > 2, ks) == (True, 1.0)
    assert stability_of([math.nan, math.inf], [math.nan, math.nan]) == (0.0, 0.0)


def cells(rng, *, worse=0.0, days=1, entity_sd=0.3, day_sd=0.07, paired=False):
    """Give both sides' losses: entities come back every day, days differ, each side has its own days."""
    effect = rng.normal(0, entity_sd, (2, GROUPS))
    sides = []
    day_effect = rng.normal(0, 0.5, days)
    for version in (0, 1):
        rows = np.full((days, GROUPS), 20.0)
        means = 1 + day_effect[:, None] + effect[0 if paired else version] + rng.normal(0, day_sd, (days, 1))
        sums = rows * (means + rng.normal(0, 1 / np.sqrt(20), (days, GROUPS)))
        sides.append(Cells(rows=rows, sums=sums + rows * (worse if version else 0.0)))
    return sides[1], sides[0]


@pytest.mark.parametrize("paired", [False, True])
def test_the_difference_of_two_sides_holds_its_level_though_the_same_entities_come_every_day(paired):
    rng = np.random.default_rng(3)
    passed = 0
    for _ in range(200):
        ours, theirs = cells(rng, days=20, paired=paired)
        odds = 0.0
        for day in range(1, 21):
            seen = [Cells(rows=side.rows[:day], sums=side.sums[:day]) for side in (ours, theirs)]
            found = stratified(*seen, paired=paired, scale=1.0)
            odds = max(odds, mixture_odds(found, 1.0))
        passed += odds >= 20
    assert passed <= 10 + 3 * 3.1, "Ville: at most 1 in 20"


@pytest.mark.parametrize("paired", [False, True])
def test_a_great_difference_is_found_on_the_first_day_and_a_small_one_in_some(paired):
    rng = np.random.default_rng(4)
    assert mixture_odds(stratified(*cells(rng, worse=1.0), paired=paired, scale=1.0), 1.0) > 1e4
    small = cells(rng, worse=0.3, days=20, paired=paired)
    assert mixture_odds(stratified(*small, paired=paired, scale=1.0), 1.0) > (1e4 if paired else 20)


def test_days_of_one_side_only_and_too_few_groups_prove_nothing():
    rng = np.random.default_rng(5)
    ours, theirs = cells(rng, worse=5.0, days=2)
    ours.rows[0], theirs.rows[1] = 0, 0
    assert stratified(ours, theirs, paired=False, scale=1.0) is None
    ours, theirs = cells(rng, worse=5.0)
    ours.rows[:, 7:], ours.sums[:, 7:] = 0, 0
    assert stratified(ours, theirs, paired=False, scale=1.0) is None


def test_means_are_compared_by_clusters():
    rng = np.random.default_rng(6)
    one = Clusters(rows=[50] * GROUPS, sums=(50 * rng.normal(1.0, 0.1, GROUPS)).tolist())
    other = Clusters(rows=[50] * GROUPS, sums=(50 * rng.normal(1.2, 0.1, GROUPS)).tolist())
    found = difference_of(other, one)
    assert found.value == pytest.approx(0.2, abs=0.08)
    assert np.sqrt(found.variance) == pytest.approx(0.1 * np.sqrt(2 / GROUPS), rel=0.3)
    assert 40 < found.freedom <= 62
    assert paired_difference_of(one, one).variance == 0
    few = Clusters(rows=[50] * 5 + [0] * 27, sums=[50.0] * 5 + [0.0] * 27)
    assert difference_of(few, one) is None
    assert mixture_odds(Estimate(value=0.0, variance=0.0, freedom=5), 1.0) == 1.0
    noisier = added(found, found.variance, freedom=4)
    assert (noisier.variance, noisier.freedom < found.freedom) == (2 * found.variance, True)


def labelled(difference=0.0, days=1, rows=10, value=0.0, column=""):
    """Labelled rows of both sides in every group, a day or more."""
    rng = np.random.default_rng(7)
    groups, blocks = [], []
    for day in range(days):
        for version in (1, 2):
            losses = 0.5 + 0.02 * rng.normal(size=GROUPS) + (difference if version == 2 else 0.0)
            worth = value if version == 2 else 1.0
            groups += [
                GroupLoss(
                    START + day * DAY, version, group, rows, rows * float(loss), rows * (worth + 0.01 * rng.normal()), column
                )
                for group, loss in enumerate(losses if not column else losses[:8])
            ]
            blocks.append(Block(day=START + day * DAY, version=version, rows=rows * GROUPS, loss=rows * float(losses.sum())))
    return tuple(groups), tuple(blocks)


def looked(deployment=None, *, groups=(), blocks=(), before=(), day=0, **rules):
    import msgspec

    seen = msgspec.structs.replace(health(side(1), side(2), day=day, blocks=blocks), groups=groups)
    facts = {"rules": RolloutRules(**rules), "task": Task.CLASSIFICATION, "metric": "log_loss"}
    return judge(deployment or trial(share=0.5, step=2), seen, **facts, before=before, looked_at=seen.window.end)


def test_labels_that_were_asked_for_and_did_not_come_hold_and_then_ask_a_person():
    rules = {"labels": True, "max_age": "3d", "steps": ("25%", "50%", "100%")}
    at = trial(share=0.5, step=1)
    assert "0 labelled rows in this step, and 30 are asked for" in looked(at, **rules).reason
    assert looked(at, **rules).move is Move.HOLD
    assert looked(at, **rules, day=3).move is Move.ASK
    groups, blocks = labelled()
    found = looked(at, groups=groups, blocks=blocks, **rules)
    assert (found.move, found.labels) == (Move.ADVANCE, 320)
    later = trial(share=1.0, step=2)
    again = looked(later, groups=groups, blocks=blocks, before=[found], **rules)
    assert again.move is Move.HOLD, "what was labelled in the step before does not count"


def test_superiority_is_promoted_only_where_it_is_shown():
    rules = {"question": TrialQuestion.SUPERIORITY, "max_age": "5d", "strategy": Strategy.SHADOW}
    at = trial(strategy=Strategy.SHADOW, share=0.0)
    groups, blocks = labelled(difference=-0.3, days=3)
    found = looked(at, groups=groups, blocks=blocks, **rules)
    assert (found.move, found.better > 100) == (Move.PROMOTE, True)
    groups, blocks = labelled(days=3)
    found = looked(at, groups=groups, blocks=blocks, **rules)
    assert (found.move, "not shown to be better" in found.reason) == (Move.HOLD, True)
    assert looked(at, groups=groups, blocks=blocks, day=6, **rules).move is Move.ASK


def test_what_answers_are_worth_is_guarded():
    rules = {"value": "CASE WHEN prediction > 0.5 THEN truth ELSE 0 END", "steps": ("25%", "50%", "100%")}
    groups, blocks = labelled(value=0.5, days=3)
    found = looked(groups=groups, blocks=blocks, **rules)
    assert (found.move, "value: an answer of it was worth" in found.reason) == (Move.ROLL_BACK, True)
    assert found.value_difference == pytest.approx(-0.5, abs=0.02)
    groups, blocks = labelled(value=1.0)
    assert looked(groups=groups, blocks=blocks, **rules).move is not Move.ROLL_BACK
    assert looked(groups=groups, blocks=blocks).value_difference is None


def test_a_slice_that_loses_more_is_found_and_a_small_one_is_not_judged():
    whole, blocks = labelled(rows=30)
    bad, _ = labelled(difference=0.5, rows=30, column="carrier=AA")
    good, _ = labelled(rows=30, column="carrier=UA")
    found = looked(groups=(*whole, *bad, *good), blocks=blocks, slices=("carrier",), min_group=100)
    assert (found.move, "loss in a slice: where carrier=AA its mean log_loss is" in found.reason) == (Move.ROLL_BACK, True)
    small = looked(groups=(*whole, *bad, *good), blocks=blocks, slices=("carrier",), min_group=1000)
    assert "loss in a slice" not in small.guards
