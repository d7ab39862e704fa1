import numpy as np
import pytest
from tests.unit.rollout.health import DAY, START, block, health, side, trial

from kedge.domain.evaluation import Task
from kedge.domain.rollout import Move, RolloutRules, Strategy
from kedge.rollout.guards import FEWEST_LABELS, row_variance
from kedge.rollout.judge import judge
from kedge.rollout.steps import steps_of

RULES = RolloutRules()


def look(deployment, seen, before=(), rules=RULES, task=Task.CLASSIFICATION, metric="log_loss"):
    return judge(deployment, seen, rules=rules, task=task, metric=metric, before=before, looked_at=seen.window.end)


def test_a_step_without_harm_advances_after_its_hold_and_the_last_promotes():
    seen = health(side(1, 950), side(2, 50))
    assert look(trial(), seen).move is Move.ADVANCE
    assert "on to 25%" in look(trial(), seen).reason
    last = trial(step=2, share=1.0)
    assert look(last, health(side(2, 1000))).move is Move.PROMOTE


def test_the_hold_counts_from_the_step_to_the_end_of_the_window():
    found = look(trial(since=START + DAY / 2), health(side(1, 950), side(2, 50)))
    assert (found.move, "lasted 12 h of 1d" in found.reason) == (Move.HOLD, True)


def test_a_long_hold_is_told_in_days():
    found = look(trial(), health(side(1, 950), side(2, 50), day=2))
    assert "no harm in 3 d" in found.reason


def test_a_short_hold_is_told_in_seconds_and_minutes():
    rules = RolloutRules(hold="2h")
    for since, told in ((DAY - DAY / 2880, "30 s of 2h"), (DAY - DAY / 144, "10 min of 2h")):
        assert told in look(trial(since=START + since), health(side(1, 950), side(2, 50)), rules=rules).reason


def test_a_look_keeps_what_it_saw():
    found = look(trial(), health(side(1, 950, 2), side(2, 50, 1), blocks=[block(0, 1, 900, 0.5), block(0, 2, 40, 0.52)]))
    assert (found.rows, found.errors, found.champion_rows, found.champion_errors) == (50, 1, 950, 2)
    assert found.share_seen == pytest.approx(0.051)
    assert found.days == 1
    assert found.difference == pytest.approx(0.02)
    assert found.upto == START + DAY
    assert 0 < found.evidence < found.limit == 1100


def test_no_traffic_holds_however_long_and_traffic_of_an_earlier_window_counts():
    silent = look(trial(), health(side(1, 1000), day=9))
    assert (silent.move, silent.share_seen) == (Move.HOLD, 0.0)
    assert "no traffic" in silent.reason
    earlier = look(trial(), health(side(1, 95), side(2, 5)))
    assert look(trial(), health(side(1, 10), day=1), before=[earlier]).move is Move.ADVANCE
    assert look(trial(revision=3, step=1), health(side(1, 10), day=1), before=[earlier]).move is Move.HOLD
    nobody = look(trial(), health())
    assert (nobody.move, nobody.share_seen) == (Move.HOLD, None)


def test_a_challenger_that_fails_is_rolled_back_at_once():
    found = look(trial(), health(side(1, 1000), side(2, 0, 50)))
    assert found.move is Move.ROLL_BACK
    assert "failed on 50 of 50 rows" in found.reason
    assert found.evidence >= found.limit


def test_a_few_failures_and_an_outage_of_both_sides_accuse_nobody():
    assert look(trial(), health(side(1, 950), side(2, 50, 1))).move is Move.ADVANCE
    assert look(trial(), health(side(1, 500, 450), side(2, 26, 24))).move is Move.ADVANCE


def test_failures_add_up_over_looks():
    before, move, looks = [], Move.HOLD, 0
    while move is not Move.ROLL_BACK:
        found = look(trial(since=START + looks * DAY), health(side(1, 950), side(2, 46, 4), day=looks), before)
        before, move, looks = [*before, found], found.move, looks + 1
        assert looks < 20
    assert looks > 1


def test_slow_requests_are_harm_unless_the_champion_is_slow_too():
    slow = look(trial(), health(side(1, 950), side(2, 50, seconds=1.5)))
    assert (slow.move, "latency: a request takes 1.5 s" in slow.reason) == (Move.ROLL_BACK, True)
    assert look(trial(), health(side(1, 950, seconds=1.2), side(2, 50, seconds=1.5))).move is Move.ADVANCE
    assert look(trial(share=1.0, step=2), health(side(2, 900, seconds=1.5))).move is Move.ROLL_BACK


def test_answers_far_outside_are_harm_and_a_new_opinion_is_not():
    far = look(trial(share=0.25, step=1), health(side(1, 750, mean=0.2), side(2, 250, mean=0.97)))
    assert (far.move, "answers" in far.reason) == (Move.ROLL_BACK, True)
    assert look(trial(share=0.25, step=1), health(side(1, 750, mean=0.2), side(2, 250, mean=0.35))).move is Move.ADVANCE
    assert look(trial(), health(side(1, 20, mean=0.2), side(2, 1, mean=0.97))).move is Move.ADVANCE
    assert look(trial(), health(side(1, 950), side(2, 50, mean=float("nan")))).move is Move.ROLL_BACK


def test_answers_of_a_regression_are_measured_by_the_champions_error():
    labelled = [block(0, 1, 700, 0.16)]  # squared errors: typical error 0.4
    facts = {"task": Task.REGRESSION, "metric": "squared_error"}
    deployment = trial(share=0.25, step=1)
    far = health(side(1, 750, mean=4.6), side(2, 250, mean=0.0), blocks=labelled)
    assert look(deployment, far, **facts).move is Move.ROLL_BACK
    assert look(deployment, far, task=Task.REGRESSION, metric="absolute_error").move is Move.ROLL_BACK
    near = health(side(1, 750, mean=4.6), side(2, 250, mean=4.1), blocks=labelled)
    assert look(deployment, near, **facts).move is Move.ADVANCE
    unlabelled = health(side(1, 750, mean=4.6), side(2, 250, mean=0.0))
    assert look(deployment, unlabelled, **facts).move is Move.ADVANCE


@pytest.mark.parametrize(
    ("metric", "good", "bad"),
    [
        ("log_loss", 0.5, 1.5),
        ("brier", 0.14, 0.6),
        ("accuracy", 0.2, 0.7),
        ("squared_error", 1.0, 8.0),
        ("absolute_error", 1.0, 4.0),
    ],
)
def test_a_far_greater_loss_is_harm_on_the_first_labelled_day(metric, good, bad):
    task = Task.REGRESSION if "_error" in metric else Task.CLASSIFICATION
    labelled = [block(0, 1, 700, good), block(0, 2, 250, bad)]
    found = look(trial(share=0.25, step=1), health(side(1, 700), side(2, 250), blocks=labelled), task=task, metric=metric)
    assert (found.move, "loss" in found.reason) == (Move.ROLL_BACK, True)
    equal = [block(0, 1, 700, good), block(0, 2, 250, good * 1.02)]
    found = look(trial(share=0.25, step=1), health(side(1, 700), side(2, 250), blocks=equal), task=task, metric=metric)
    assert found.move is Move.ADVANCE


def test_a_lasting_loss_is_found_even_where_scatter_is_wide():
    """A hundred rare-event days at twice the loss: the slow process knows no variance and still gets there."""
    labelled = [b for day in range(60) for b in (block(day, 1, 500, 0.01), block(day, 2, 25, 0.02))]
    seen = health(side(1, 500), side(2, 25), day=60, blocks=labelled)
    assert look(trial(), seen, metric="squared_error", task=Task.REGRESSION).move is Move.ROLL_BACK


def test_too_few_labels_and_days_of_one_side_prove_nothing():
    few = [block(0, 1, 700, 0.5), block(0, 2, FEWEST_LABELS - 1, 5.0)]
    alone = [block(0, 1, 700, 0.5), block(1, 2, 700, 5.0)]
    perfect = [block(0, 1, 700, 0.0), block(0, 2, 700, 5.0)]
    for blocks in (few, alone, perfect):
        assert look(trial(), health(side(1, 950), side(2, 50), blocks=blocks)).move is Move.ADVANCE


def test_a_split_that_is_not_what_was_set_holds():
    found = look(trial(), health(side(1, 500), side(2, 500)), rules=RolloutRules(sticky="origin"))
    assert (found.move, "50.0% of the rows" in found.reason, "'origin'" in found.reason) == (Move.HOLD, True, True)
    assert "the split has too few" in look(trial(), health(side(1, 500), side(2, 500))).reason
    assert look(trial(), health(side(1, 940), side(2, 70))).move is Move.ADVANCE
    # a window that began before the step has rows of another share
    assert "no harm" in look(trial(since=START + DAY / 2), health(side(1, 500), side(2, 500))).reason


def test_shadow_and_blue_green_have_one_step():
    assert steps_of(RULES, Strategy.CANARY) == (0.05, 0.25, 1.0)
    assert steps_of(RULES, Strategy.SHADOW) == (0.0,)
    assert steps_of(RULES, Strategy.BLUE_GREEN) == (1.0,)
    shadow = trial(strategy=Strategy.SHADOW, share=0.0)
    assert look(shadow, health(side(1), side(2))).move is Move.PROMOTE
    assert look(shadow, health(side(1), side(2))).share_seen is None
    assert look(shadow, health()).move is Move.HOLD
    labelled = [block(0, 1, 700, 0.5), block(0, 2, 700, 1.5)]
    assert look(shadow, health(side(1), side(2), blocks=labelled)).move is Move.ROLL_BACK
    switched = trial(strategy=Strategy.BLUE_GREEN, share=1.0)
    assert look(switched, health(side(2))).move is Move.PROMOTE
    assert look(switched, health(side(1, 400), side(2, 0, 400))).move is Move.ROLL_BACK


def test_a_deployment_without_a_challenger_cannot_be_judged():
    with pytest.raises(ValueError, match="no challenger"):
        look(trial(challenger=None), health(side(1)))


def simulated(rng, worse=0.0, looks=8, share=0.25, count=300):
    """One rollout of a year's like flights: entities differ, days differ, both sides share the day."""
    entities = rng.normal(0, 0.7, count)
    chosen = rng.random(count) < share
    blocks, before = [], []
    for day in range(looks):
        logit = -1.4 + entities + rng.normal(0, 0.4)
        truth = 1 / (1 + np.exp(-logit))
        late = rng.random(count) < truth
        answered = 1 / (1 + np.exp(-(-1.4 + 0.8 * entities)))
        answered = np.where(chosen, (1 - worse) * answered + worse * (1 - answered), answered)
        losses = -np.log(np.where(late, answered, 1 - answered))
        blocks += [
            block(day, version, int(mask.sum()), float(losses[mask].mean()))
            for version, mask in ((1, ~chosen), (2, chosen))
            if mask.any()
        ]
        failed = rng.binomial(int(chosen.sum()), 0.002)
        sides = [side(1, int((~chosen).sum()) + failed, 0, float(answered[~chosen].mean()))]
        sides.append(side(2, int(chosen.sum()) - failed, failed, float(answered[chosen].mean())))
        found = look(trial(share=share, step=1, since=START + day * DAY), health(*sides, day=day, blocks=blocks), before)
        before.append(found)
        if found.move is Move.ROLL_BACK:
            return day + 1
    return None


def test_equal_models_are_hardly_ever_rolled_back_under_continuous_looking():
    rng = np.random.default_rng(7)
    ended = [simulated(rng) for _ in range(200)]
    assert sum(end is not None for end in ended) <= 2


def test_a_broken_challenger_is_rolled_back_within_two_looks():
    rng = np.random.default_rng(8)
    ended = [simulated(rng, worse=1.0, count=900) for _ in range(40)]
    assert all(end is not None and end <= 2 for end in ended)


def test_a_calibrated_answers_loss_scatters_less_than_the_bound():
    p = np.concatenate([np.geomspace(1e-6, 0.5, 400), [0.2, 0.4]])
    mean = -p * np.log(p) - (1 - p) * np.log1p(-p)
    variance = p * (1 - p) * np.log(p / (1 - p)) ** 2
    bound = np.array([row_variance("log_loss", float(each)) for each in mean])
    assert (variance < bound).all()
