"""A reference keeps a project's columns and the model's own answers apart."""

from dataclasses import replace

import numpy as np
from tests.unit.monitoring.world import DAY, frame

from kedge.monitoring.drift.reference import take
from kedge.monitoring.drift.window import watched


def test_a_projects_own_column_called_prediction_is_not_the_answers() -> None:
    known = frame()
    known = replace(known, rows=known.rows.rename({"carrier": "prediction"}), columns=("x", "prediction"))
    answers = np.linspace(0.1, 0.9, len(known.newest()))
    reference = take(
        known,
        version=1,
        columns=known.columns,
        window=DAY,
        tolerance="auto",
        answers=answers,
        accepted=None,
    )
    watch = watched(reference)
    assert watch.data.columns == ("x", "prediction")
    assert set(watch.answers.columns).isdisjoint(watch.data.columns)
    assert watch.families == 2
