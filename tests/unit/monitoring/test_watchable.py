"""What a project wants watched by column must be in the log, or be read by the model: all that is not is said at once."""

import pytest

from kedge.domain.features import FeatureService, FeatureView
from kedge.domain.monitoring import ANSWERS, MonitoringRules
from kedge.domain.rollout import RolloutRules
from kedge.domain.worth import BusinessRules
from kedge.errors import ConfigError
from kedge.monitoring.watchable import require_watchable

PLANES = FeatureView(name="plane", entity="tail", source="planes.parquet", time="at", features=("seats",))
SERVICE = FeatureService(name="delay", request=("hour", "sex"), views=(PLANES,), drop=("sex",))
READ, LOGGED = SERVICE.columns(), SERVICE.logged()


@pytest.mark.parametrize(
    "rules",
    [
        MonitoringRules(),
        MonitoringRules(groups=("sex", "sex+tail"), slices=("hour",)),
        MonitoringRules(tolerance={"default": "auto", "hour": 0.1, ANSWERS: 0.1}),
        MonitoringRules(business={"money": BusinessRules(value="truth * hour - prediction")}),
    ],
)
def test_what_is_read_or_logged_can_be_watched(rules: MonitoringRules) -> None:
    require_watchable(rules, RolloutRules(slices=("hour",), value="truth * hour"), read=READ, logged=LOGGED)


def test_everything_that_cannot_be_watched_is_named_with_what_there_is() -> None:
    rules = MonitoringRules(
        groups=("race", "sex+race"),
        slices=("sex",),
        tolerance={"hours": 0.1},
        business={"money": BusinessRules(value="truth * fare")},
    )
    with pytest.raises(ConfigError) as told:
        require_watchable(rules, RolloutRules(), read=READ, logged=LOGGED)
    assert str(told.value) == (
        "[monitoring] groups 'race', business.money 'fare': not in the prediction log, which has hour, plane__seats, sex, "
        "tail (a request brings what is in `request` of the feature service; `drop` keeps it from the model); slices 'sex', "
        "tolerance 'hours': the model does not read that; it reads hour, plane__seats"
    )


def test_what_guards_a_trial_is_read_by_the_model() -> None:
    rules = RolloutRules(slices=("hour", "origin"), value="truth * fare - prediction")
    with pytest.raises(ConfigError) as told:
        require_watchable(MonitoringRules(), rules, read=READ, logged=LOGGED)
    assert str(told.value) == (
        "[rollout] slices 'origin', value 'fare': the model does not read that; it reads hour, plane__seats"
    )
