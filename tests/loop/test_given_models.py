"""Models that no loop makes are watched, too: what is normal is given, or is what they answered first."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from litestar.testing import TestClient
from msgspec.structs import replace
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from kedge.app import open_house
from kedge.cli.main import application
from kedge.client.registering import register_model
from kedge.config import bare_project, settings
from kedge.domain.alert_life import AlertState
from kedge.domain.alerting import AlertKind
from kedge.domain.events import EventKind
from kedge.domain.ids import ModelName, RequestId, prediction_id
from kedge.domain.monitoring import PredictionBatch, TruthBatch
from kedge.domain.records import encode_batch
from kedge.domain.rollout import RuleChanges
from kedge.errors import DataInvalid
from kedge.monitoring.given import GivenRows
from kedge.replay.clock import SetClock
from kedge.server.application import application as control
from kedge.windows import attend, is_due, rules_for

LATE, DAY = ModelName("late"), timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


class Served:
    """A model that was registered by hand and is deployed, asked day by day."""

    def __init__(self, folder) -> None:
        self.random = np.random.default_rng(5)
        rows = self.rows(400)
        model = LogisticRegression().fit(rows[["hour", "miles"]].to_numpy(), self.late(rows))
        frame = rows[["hour", "miles"]].to_pandas()
        model.fit(frame, self.late(rows))
        register_model(model, "late", example=frame.head(20), store=str(folder / ".kedge"))
        self.clock = SetClock(START)
        self.folder = folder
        self.house = open_house(
            settings(folder, store=str(folder / ".kedge")), bare_project(folder), writer="test", clock=self.clock
        )
        self.house.by_hand.deploy(self.house.spec, LATE, number=1, changes=RuleChanges(), actor="person:ana", reason="first")
        self.day = 0

    def rows(self, count, *, shift=0.0):
        hour, miles = self.random.uniform(0, 24, count) + shift, self.random.uniform(100, 2000, count)
        return pl.DataFrame({"hour": hour, "miles": miles})

    def late(self, rows):
        odds = (rows["hour"].to_numpy() - 12) / 4
        return (self.random.uniform(size=len(rows)) < 1 / (1 + np.exp(-odds))).astype(int)

    def ask(self, days, *, count=400, shift=0.0):
        for _ in range(days):
            rows, name = self.rows(count, shift=shift), RequestId(f"day-{self.day}")
            version = self.house.registry.champion(LATE)
            outputs = self.house.evaluation.score(version, rows).tolist()
            at = START + self.day * DAY + timedelta(hours=1)
            self.house.predictions.append(
                encode_batch(
                    PredictionBatch(
                        request=name,
                        model=LATE,
                        at=at,
                        revision=1,
                        service="",
                        entities=[],
                        versions=[1] * count,
                        features=rows.to_dict(as_series=False),
                        as_of={},
                        outputs=outputs,
                        batches=[(1, list(range(count)))],
                    )
                )
            )
            facts = [float(value) for value in self.late(rows)]
            names = [prediction_id(name, row) for row in range(count)]
            self.house.monitoring.record_truth(
                TruthBatch(model=LATE, known_at=at + timedelta(hours=20), predictions=names, values=facts)
            )
            self.day += 1
            self.clock.set(START + self.day * DAY)

    def windows(self):
        return self.house.meta.watches.list(LATE)


@pytest.fixture
def served(tmp_path):
    made = Served(tmp_path)
    yield made
    made.house.close()


def test_its_windows_are_measured_once_without_a_loop(served):
    assert not is_due(served.house)
    served.ask(2)
    assert is_due(served.house)
    assert [*attend(served.house)] == [f"late {health.window.id}" for health in served.windows()]
    assert not is_due(served.house)
    assert attend(served.house) == {}
    health = served.windows()[-1]
    assert (health.rows, health.labels, health.champion) == (400, 400, 1)
    assert 0 < health.loss < 1
    assert served.house.meta.ledgers.last(LATE) is None, "nothing is decided where nothing can be trained"


def test_what_it_answered_first_is_normal_and_what_moves_away_alarms(served):
    served.ask(6)
    attend(served.house)
    (event,) = [one for _, one in served.house.meta.events.list() if one.kind is EventKind.REFERENCE_TAKEN]
    assert event.message == "What version 1 calls normal was taken from its first answers: 1,200 rows"
    assert [bool(health.drift) for health in served.windows()] == [False, False, False, True, True, True]
    assert not any(health.alerts for health in served.windows())
    served.ask(3, shift=8.0)
    attend(served.house)
    told = [alert.message for health in served.windows()[-3:] for alert in health.alerts]
    assert any("hour" in message for message in told), told


def test_its_alert_resolves_at_the_end_of_the_last_calm_window_however_late_that_is_measured(tmp_path, request):
    (tmp_path / "kedge.toml").write_text('[project]\nname = "shop"\n[monitoring]\nsilence = { predictions = "1d" }\n')
    served = Served(tmp_path)
    request.addfinalizer(served.house.close)
    served.ask(1)
    served.day += 1  # nobody asks
    served.clock.set(START + 2 * DAY)
    attend(served.house)
    served.ask(9)
    attend(served.house)
    (life,) = served.house.meta.alerts.list(model=LATE)
    assert (life.kind, life.state) == (AlertKind.SILENCE, AlertState.RESOLVED)
    assert life.acts[-1].at == START + 9 * DAY < served.clock.now()


def test_given_rows_say_what_is_normal_from_the_first_window(served):
    rows = served.rows(3000).with_columns(
        at=pl.Series([START - timedelta(days=30) + timedelta(minutes=14 * index) for index in range(3000)])
    )
    rows = rows.with_columns(bad=pl.Series(served.late(rows)))
    rows.write_parquet(served.folder / "rows.parquet")
    words = ["monitor", "normal", "late", str(served.folder / "rows.parquet"), "--time", "at", "--label", "bad"]
    words += ["--project", str(served.folder), "--store", str(served.folder / ".kedge")]
    unlabelled = [word for word in words if word not in ("--label", "bad")]
    assert "--time and --label are given" in CliRunner().invoke(application(unlabelled), unlabelled).stdout
    told = CliRunner().invoke(application(words), words)
    assert told.exit_code == 0, told.output
    assert "late v1 calls 3,000 rows" in told.stdout
    assert "2 columns; the loss on them is what is accepted" in told.stdout
    served.ask(2, shift=8.0)
    attend(served.house)
    asked = ["monitor", "explain", "late", *words[-4:]]
    explained = CliRunner().invoke(application(asked), asked).stdout
    assert "a row, not known at the gate" not in explained
    assert "what they are worth is not known" not in " ".join(explained.split())
    taught = served.house.references.at_gate(LATE, 1)
    assert taught.rows == 3000
    assert taught.worth["hour"] > 10 * abs(taught.worth["miles"])
    assert len(taught.sample()[1]) == 3000
    first = served.windows()[0]
    assert next(one.column for one in first.causes.features) == "hour"
    assert first.causes.gate_loss == pytest.approx(taught.mean_loss)
    muted = ["alerts", "mute", "late", "--reason", "new disks", *words[-4:]]
    assert "late is muted until" in CliRunner().invoke(application(muted), muted).stdout
    first = served.windows()[0]
    assert first.risk is not None
    assert any("hour" in alert.message for alert in first.alerts)


@pytest.mark.parametrize(
    ("rows", "given", "said"),
    [
        (20, {}, "20 rows; what is normal is taken from 30 or more"),
        (50, {"time": "when"}, "no column 'when' for the time; it has hour, miles"),
        (50, {"time": "hour"}, "column 'hour' holds Float64, not times"),
    ],
)
def test_rows_that_cannot_be_normal_are_refused(served, rows, given, said):
    version = served.house.registry.champion(LATE)
    spec = rules_for(served.house, version)
    asked = GivenRows(source="rows", actor="person:ana", **given)
    with pytest.raises(DataInvalid, match=said):
        served.house.given_references.take(spec, version, rows=served.rows(rows), given=asked)
    with pytest.raises(DataInvalid, match="reads columns that these rows lack: miles"):
        served.house.given_references.take(
            spec, version, rows=served.rows(50).drop("miles"), given=GivenRows(source="rows", actor="person:ana")
        )


def test_labels_that_are_no_facts_of_the_version_are_refused(served):
    """A loss on them would be no loss, and the risk alarm would be held against it."""
    version = served.house.registry.champion(LATE)
    spec, asked = rules_for(served.house, version), GivenRows(source="rows", actor="person:ana", label="bad")
    for bad, said in ((pl.lit(2.5), "holds 2.5, but version 1 of 'late'"), (pl.lit("yes"), "'bad' holds no number")):
        with pytest.raises(DataInvalid, match=said):
            served.house.given_references.take(spec, version, rows=served.rows(50).with_columns(bad=bad), given=asked)


def test_beside_a_project_and_in_a_folder_with_rules_alone(tmp_path):
    """A model by hand is watched by `[monitoring]` of a file without a loop; a project's source is not its own."""
    (tmp_path / "kedge.toml").write_text('[project]\nname = "shop"\n[monitoring]\nwindow = "12h"\n')
    told = CliRunner().invoke(application(["watch"]), ["watch", str(tmp_path)])
    assert (told.exit_code, told.stdout) == (0, "no window has closed since the last look\n")
    served = Served(tmp_path)
    served.house.close()
    served.house = open_house(
        settings(tmp_path, store=str(tmp_path / ".kedge")), bare_project(tmp_path), writer="test", clock=served.clock
    )
    served.ask(8)
    assert len(attend(served.house)) == 16, "two windows a day"
    assert served.windows()[0].window.end - served.windows()[0].window.start == DAY / 2
    skew = [health.skew for health in served.windows() if health.skew is not None]
    assert skew, "its answers are asked again"
    assert {one.changed for one in skew} == {0}
    served.house.close()


def test_columns_of_a_version_that_answers_tensors_are_watched(served):
    version = served.house.registry.champion(LATE)
    tensors = replace(version, signature=replace(version.signature, inputs=()))
    rows = served.rows(200).with_columns(site=pl.Series(["n", "s"] * 100), bad=pl.lit(1.0))
    given = GivenRows(source="rows", actor="person:ana", label="bad")
    reference = served.house.given_references.take(rules_for(served.house, version), tensors, rows=rows, given=given)
    assert [column.name for column in reference.profile.columns] == ["hour", "miles", "site"]
    assert reference.answers is None


def test_without_labels_it_is_said_what_is_missing_and_how_to_give_it(served):
    version = served.house.registry.champion(LATE)
    spec, asked = rules_for(served.house, version), GivenRows(source="rows", actor="person:ana")
    served.house.given_references.take(spec, version, rows=served.rows(3000), given=asked)
    assert served.house.references.at_gate(LATE, 1) is None
    served.ask(2, shift=8.0)
    attend(served.house)
    (note,) = served.windows()[0].causes.notes
    assert "version 1 has nothing kept of a gate of the loop" in note
    assert note.endswith("kedge monitor normal late@1 ROWS --time TIME --label LABEL")
    shown = TestClient(control(served.house), base_url="http://127.0.0.1:8400").get("/monitoring?model=late").text
    assert "kedge monitor normal late@1 ROWS" in shown


def test_labelled_rows_without_times_teach_worth_and_few_or_odd_ones_nothing(served):
    version = served.house.registry.champion(LATE)
    spec, asked = rules_for(served.house, version), GivenRows(source="rows", actor="person:ana", label="bad")
    rows = served.rows(40).with_columns(bad=pl.Series([None] * 15 + [1.0] * 25))
    served.house.given_references.take(spec, version, rows=rows, given=asked)
    assert served.house.references.at_gate(LATE, 1) is None
    answered = replace(asked, answers="said")
    others = pl.DataFrame({"bad": [0.0, 1.0] * 50, "said": [0.1, 0.8] * 50, "hour": [1.0] * 100})
    with suppress(DataInvalid):
        served.house.given_references.take(spec, version, rows=others, given=answered)
    assert served.house.references.at_gate(LATE, 1) is None
    rows = served.rows(400)
    rows = rows.with_columns(bad=pl.Series(served.late(rows)))
    served.house.given_references.take(spec, version, rows=rows, given=asked)
    taught = served.house.references.at_gate(LATE, 1)
    assert (taught.rows, taught.bias) == (400, None)
    assert taught.worth["hour"] > 0.1
