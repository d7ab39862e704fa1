from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from kedge.domain.evaluation import Task
from kedge.domain.ids import digest_of
from kedge.errors import TrainingFailed
from kedge.features.frame import TrainingFrame

UPTO = datetime(2013, 3, 1, tzinfo=UTC)
STEP = timedelta(days=7)


def frame(**columns: object) -> TrainingFrame:
    """Ten rows known one a day, the last at UPTO."""
    known = [UPTO - timedelta(days=9 - n) for n in range(10)]
    made = {"at": known, "known_at__": known, "late": [n % 2 for n in range(10)], "wind": [float(n) for n in range(10)]}
    return TrainingFrame(
        rows=pl.DataFrame(made | columns),
        columns=("wind",),
        time="at",
        label="late",
        key="",
        task=Task.CLASSIFICATION,
        versions=(digest_of("a"),),
        service="delay",
        service_digest=digest_of("s"),
        upto=UPTO,
        step=STEP,
    )


def test_the_newest_step_and_the_rest_are_all_rows():
    whole = frame()
    assert len(whole.newest()) == 7
    assert len(whole.without_newest()) == 3
    assert whole.without_newest().trained_upto == UPTO - STEP


def test_without_the_newest_step_a_frame_is_what_it_was_a_step_ago():
    then = replace(frame(), rows=frame().rows.head(3), upto=UPTO - STEP)
    assert frame().without_newest().digest == then.digest
    assert frame().without_newest().ages()[-1] == 0


def test_a_digest_does_not_depend_on_how_the_rows_lie_in_memory():
    names = [None if n % 3 else f"r{n}" for n in range(10)]
    whole = replace(frame(name=names), columns=("wind", "name"))
    apart = pl.concat([whole.rows[:3], whole.rows[3:]], rechunk=False)
    inside = pl.concat([whole.rows[:7], whole.rows]).slice(7)
    assert {replace(whole, rows=rows).digest for rows in (apart, inside)} == {whole.digest}
    assert replace(frame(name=["r", "1", *names[2:]]), columns=("wind", "name")).digest != whole.digest


def test_ages_are_in_steps_and_labels_are_floats():
    assert frame().ages()[[0, -1]].tolist() == [9 / 7, 0.0]
    labels = frame(late=[None, *[1] * 9]).y()
    assert np.isnan(labels[0])
    assert labels.dtype == np.float64


def test_a_digest_names_what_a_training_can_see():
    whole = frame()
    same = replace(frame(other=range(10)), versions=(digest_of("b"),))
    assert same.digest == whole.digest
    changed = [
        frame(wind=[9.0] * 10),
        frame(late=[1] * 10),
        frame(wind=pl.Series(range(10), dtype=pl.Float32)),
        replace(whole, rows=whole.rows.reverse()),
        replace(whole, upto=UPTO + STEP),
        replace(whole, task=Task.REGRESSION),
        whole.newest(),
        replace(whole, rows=whole.rows.clear()),
    ]
    assert len({whole.digest, *(each.digest for each in changed)}) == len(changed) + 1


def test_a_frame_without_rows_has_not_been_trained_upto_anything():
    with pytest.raises(TrainingFailed, match="no row of service 'delay' is known by 2013-03-01"):
        replace(frame(), rows=frame().rows.clear()).trained_upto  # noqa: B018
