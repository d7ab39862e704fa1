"""The risk alarm: quiet while the loss is what was accepted, sure when it is not."""

import numpy as np
import pytest

from kedge.monitoring.quality.risk import Accepted, accept, judge, log_capital, lower_bound

ACCEPTED = Accepted(mean=0.4, upper=0.42, bound=4.6, days=7)


def days(seed: int, mean: float, count: int) -> list[float]:
    return np.random.default_rng(seed).gamma(50, mean / 50, size=count).tolist()


def test_the_loss_that_was_accepted_is_no_alarm() -> None:
    alarms = sum(
        judge(ACCEPTED, 0.05, losses=days(seed, 0.42, count)).alarm for seed in range(40) for count in (30, 100, 300)
    )
    assert alarms == 0


def test_a_loss_above_the_limit_is_shown_within_weeks() -> None:
    risk = judge(ACCEPTED, 0.05, losses=days(1, 0.56, 40))
    assert risk.alarm
    assert risk.limit == pytest.approx(0.441)
    assert risk.limit < risk.lower < risk.mean
    assert risk.days == 40
    assert not judge(ACCEPTED, 0.05, losses=days(1, 0.56, 3)).alarm


def test_the_lower_bound_is_where_the_capital_reaches_twenty() -> None:
    seen = days(2, 0.5, 60)
    assert log_capital(np.array(seen), lower_bound(seen)) == pytest.approx(np.log(20), abs=1e-4)
    assert lower_bound([]) == lower_bound([0.0, 0.0]) == 0.0


def test_a_confidence_sequence_errs_seldom_however_long_one_looks() -> None:
    wrong = sum(
        any(lower_bound(seen[:count]) > 0.5 for count in range(5, 200, 13))
        for seen in (days(s, 0.5, 200) for s in range(60))
    )
    assert wrong <= 0.05 * 60 + 2


def test_what_is_accepted_is_bounded_by_the_days_and_not_by_the_rows() -> None:
    random = np.random.default_rng(0)
    day = np.repeat(np.arange(7), 900)
    losses = 0.4 + 0.05 * random.normal(size=7)[day] + random.normal(0, 0.1, size=day.size)
    accepted = accept("log_loss", losses, days=day)
    assert accepted is not None
    assert accepted.days == 7
    assert accepted.upper - accepted.mean > 0.02  # of the rows alone it would be 0.002
    clipped = accept("log_loss", np.array([13.8, 0.1, 0.1, 0.1]), days=np.array([0, 0, 1, 1]))
    assert clipped is not None
    assert clipped.mean == pytest.approx((4.605 + 0.1) / 4 + 0.05, abs=1e-3)


def test_one_day_is_too_little_to_accept_by() -> None:
    assert accept("log_loss", np.array([0.4, 0.5]), days=np.array([3, 3])) is None
    assert accept("log_loss", np.array([np.nan, 0.5]), days=np.array([3, 4])) is None
    assert accept("squared_error", np.array([2.0, 4.0]), days=np.array([3, 4])).bound == 60.0
