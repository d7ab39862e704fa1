"""What a drift alert says of training."""

from datetime import UTC, datetime, timedelta

import pytest

from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Window
from kedge.monitoring.telling.alerts import answers_alert, drift_alert

END = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("policy", "said"), [("drift", "Policy drift trains by it"), ("ledger", "Nothing is retrained by this alone")]
)
def test_a_drift_alert_says_whether_it_trains(policy, said):
    window = Window(start=END - timedelta(days=1), end=END)
    inputs = drift_alert(ModelName("shop"), window, at=END, drift=(), evidence=5000.0, limit=2000.0, policy=policy)
    answers = answers_alert(ModelName("shop"), window, at=END, version=1, evidence=5000.0, limit=2000.0, policy=policy)
    assert inputs.message.endswith(said)
    assert answers.message.endswith(said)
