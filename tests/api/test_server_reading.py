"""The read models: pure functions from what the store says to what a page shows."""

import math
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from litestar.testing import TestClient
from tests.ui.filled import FilledHouse, fortnight, year
from tests.ui.seed import DAY, END, MODEL, START

from kedge.domain.alerting import Alert, AlertKind, alert_id
from kedge.domain.data import Column, ColumnType
from kedge.domain.evaluation import Outcome, Task
from kedge.domain.ids import digest_of
from kedge.domain.monitoring import Block, ColumnProfile, Profile
from kedge.domain.registry import Signature, candidate_tags
from kedge.domain.retraining import TurnEnd
from kedge.domain.rollout import Strategy
from kedge.server.application import application
from kedge.server.reading.ahead import ahead
from kedge.server.reading.glance import glance
from kedge.server.reading.model import model_page
from kedge.server.reading.rollout import rollout_page
from kedge.server.reading.run import tags_of
from kedge.server.reading.scene import Scenes
from kedge.server.reading.sentence import retraining_line, trial_verdict, verdict
from kedge.server.reading.shapes import shape_of
from kedge.server.reading.state import State
from kedge.server.reading.stations import stations
from kedge.server.reading.weeks import mean_of, weeks_of
from kedge.server.reading.windows import gather
from kedge.storage.sql import open_store
from kedge.web import words

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def scene():
    return Scenes(FilledHouse(year())).of()


@pytest.fixture
def empty():
    return Scenes(FilledHouse(open_store("sqlite://"))).of()


def with_risk(scene, **more):
    health = replace(scene.health, risk=replace(scene.health.risk, **more))
    return replace(scene, healths=(*scene.healths[:-1], health))


def test_all_is_well_and_on_trial(scene):
    still = replace(scene, healths=(*scene.healths[:-1], replace(scene.health, drift=())))
    spoken = verdict(still)
    assert spoken.state is State.WELL
    assert spoken.say.startswith("All is well: v5 is within the loss you accepted, ")
    assert spoken.say.endswith(", and v6 is on trial with a quarter of the traffic.")


def test_what_moved_is_named_and_is_no_reason_to_train(scene):
    spoken = verdict(scene)
    assert spoken.state is State.WATCH
    assert spoken.say.startswith("v5 is within the loss you accepted, ")
    assert "Two of 19 features drift since 27 Dec; drift alone retrains nothing." in spoken.sub


def test_nothing_is_live_yet(empty):
    assert verdict(empty).say == "Nothing is live yet: the loop has not turned."
    assert {station.state for station in stations(empty)} == {State.IDLE}
    assert ahead(empty) == ()


def test_a_first_turn_that_failed_is_told(empty):
    alert = Alert(key="a", model=MODEL, kind=AlertKind.TRAINING_FAILED, message="the pipeline raised", raised_at=START)
    spoken = verdict(replace(empty, alerts=(alert,)))
    assert (spoken.state, spoken.sub) == (State.ALARM, "The pipeline raised.")


def test_a_risk_alarm_says_by_how_much_and_what_follows(scene):
    spoken = verdict(with_risk(scene, alarm=True, mean=0.531, lower=0.518, limit=0.505))
    assert spoken.state is State.ALARM
    assert spoken.say == "v5 loses more than you accepted: 0.531 against 0.505; v6 is on trial to replace it."
    assert "at least 0.518" in spoken.sub
    assert "regret stands at" in spoken.sub


def test_above_the_limit_without_certainty_is_a_watch(scene):
    spoken = verdict(with_risk(scene, limit=0.4))
    assert spoken.state is State.WATCH
    assert "not yet with certainty" in spoken.say


def test_no_labels_is_holding_never_well(scene):
    bare = replace(
        scene, healths=tuple(replace(health, blocks=(), risk=None, labels=0) for health in scene.healths), blocks=()
    )
    spoken = verdict(bare)
    assert spoken.state is State.HOLDS
    assert "no ground truth has come yet" in spoken.say
    assert weeks_of(bare) == ()


def test_nobody_watches_is_said(scene):
    late = replace(scene, now=END + 9 * DAY)
    spoken = verdict(late)
    assert spoken.state is State.WATCH
    assert spoken.say == "Nobody watches v5: the last window closed on 29 December 2013."
    assert "9 windows should have closed since" in spoken.sub


def test_a_replay_is_seen_in_its_own_time():
    meta = fortnight()
    meta.notes.put("replay:flights", b"{}")
    seen = Scenes(FilledHouse(meta, at=datetime(2026, 1, 1, tzinfo=UTC))).of()
    assert (seen.played, seen.now) == (True, START + 14 * DAY)
    assert verdict(seen).state is State.WELL


def test_silence_is_no_health(scene):
    def silent(**more):
        found = replace(scene.health.operations, plane=None)
        still = replace(scene.health, rows=0, answered=0, missing=0, drift=(), operations=found, **more)
        return replace(scene, healths=(*scene.healths[:-1], still))

    night = silent()
    assert verdict(night).state is State.HOLDS
    assert verdict(night).say.startswith("v5 is loaded but nobody asks it")
    assert "nobody was told" in verdict(night).sub
    told = silent(standing=(alert_id(MODEL, AlertKind.SILENCE, subject="predictions"),))
    assert verdict(told).state is State.ALARM
    assert "nobody was told" not in verdict(told).sub


def test_answers_beside_an_empty_log_are_no_night(scene):
    lost = replace(scene.health, rows=0, answered=0, drift=())
    assert lost.operations.plane.rows > 0
    seen = verdict(replace(scene, healths=(*scene.healths[:-1], lost)))
    assert (seen.state, seen.say) == (State.ALARM, "v5 answers, and the prediction log has nothing of the last window.")


def test_a_refused_candidate_is_a_watch_while_the_champion_is_well(scene):
    alert = Alert(key="g", model=MODEL, kind=AlertKind.GATE_REFUSED, message="the gate refused a candidate", raised_at=END)
    spoken = verdict(replace(scene, alerts=(alert, *scene.alerts)))
    assert (spoken.state, spoken.say[:3]) == (State.WATCH, "v5 ")
    assert spoken.sub.startswith("The gate refused a candidate.")


def test_a_shadow_is_called_one(scene):
    shadowed = replace(
        scene, deployments=(*scene.deployments[:-1], replace(scene.deployment, strategy=Strategy.SHADOW, share=0.0))
    )
    assert verdict(shadowed).say.endswith("and v6 is on trial in its shadow.")


def test_a_trial_says_how_it_stands(scene):
    assert trial_verdict(scene).say == "v6 is on trial with a quarter of the traffic; so far it loses 0.011 less than v5."
    unseen = replace(scene, looks=())
    assert trial_verdict(unseen).say.endswith("; nobody has looked at it yet.")


def test_a_trial_is_not_told_by_looks_at_an_earlier_one_of_the_same_version(scene):
    ended = replace(scene.deployment, challenger=None, revision=scene.deployment.revision + 1)
    again = replace(
        scene.deployment, salt="another", strategy=Strategy.BLUE_GREEN, step=0, share=1.0, revision=ended.revision + 1
    )
    anew = replace(scene, deployments=(*scene.deployments, ended, again))
    assert trial_verdict(anew).say == "v6 is on trial with all of the traffic; nobody has looked at it yet."
    assert [fact.name for fact in glance(anew, open_store("sqlite://").events).trial.facts] == ["Step"]
    assert model_page(anew).rollout[0].say == "Running; no look yet"


def test_a_shadow_splits_no_traffic_and_says_nothing_of_a_split(scene):
    look = replace(scene.looks[-1], live=True, requests=9)
    trial = rollout_page(replace(scene, looks=(look,)))
    copied = rollout_page(replace(scene, looks=(replace(look, share=0.0),)))
    split = ["Entities in this step", "Odds of another split", "Rows that went elsewhere"]
    names = [[fact.name for fact in page.facts] for page in (trial, copied)]
    assert [name for name in names[0] if name not in names[1]] == split


def test_a_live_look_does_not_hide_what_the_labels_said(scene):
    live = replace(scene.looks[-1], live=True, difference=None, days=0, labels=0)
    assert trial_verdict(replace(scene, looks=(*scene.looks, live))).say == trial_verdict(scene).say
    alone = replace(scene.looks[-1], difference=None, days=0, labels=40)
    said = trial_verdict(replace(scene, looks=(alone, live))).say
    assert said.endswith("; 40 labels so far, too few beside v5 to compare.")
    assert trial_verdict(replace(scene, looks=(live,))).say.endswith("; no labels have come for it yet.")


def test_ten_stations_in_the_order_of_the_loop(scene):
    names = [station.name for station in stations(scene)]
    assert names == [
        "Data",
        "Features",
        "Training",
        "Gate",
        "Registry",
        "Rollout",
        "Serving",
        "Monitoring",
        "Ground truth",
        "Retraining",
    ]


def test_the_page_and_the_api_say_the_same(scene):
    house = FilledHouse(year())
    with TestClient(application(house), base_url="http://127.0.0.1:8400") as client:
        told = client.get("/api/v1/loop").json()
        page = client.get("/").text
    assert told["verdict"]["say"] == glance(scene, house.meta.events).verdict.say
    assert told["verdict"]["say"] in page
    assert all(one["word"] in page for one in told["stations"])


def test_a_mean_over_days_is_the_ratio_estimate():
    blocks = [
        Block(day=START + index * DAY, version=1, rows=rows, loss=loss)
        for index, (rows, loss) in enumerate([(100, 40.0), (300, 150.0)])
    ]
    mean = mean_of(blocks)
    assert mean.loss == pytest.approx(190 / 400)
    spread = ((40 - 0.475 * 100) ** 2 + (150 - 0.475 * 300) ** 2) * 2
    assert mean.upper - mean.loss == pytest.approx(12.706 * math.sqrt(spread) / 400)


def test_the_interval_of_a_loss_ends_at_zero():
    blocks = [Block(day=START + index * DAY, version=1, rows=100, loss=loss) for index, loss in enumerate([1.0, 90.0])]
    assert mean_of(blocks).lower == 0.0
    gains = [replace(block, loss=-block.loss) for block in blocks]
    assert mean_of(gains).lower < -1.0


def test_one_day_has_no_interval_and_no_rows_no_mean():
    block = Block(day=START, version=1, rows=10, loss=5.0)
    assert mean_of([block]).lower is None
    assert mean_of([]) is None
    assert mean_of([replace(block, rows=0, loss=0.0)]) is None


def test_weeks_cover_the_labelled_life_and_leave_gaps(scene):
    weeks = weeks_of(scene)
    assert len(weeks) == 44
    assert sum(week.live.rows + (week.trial.rows if week.trial else 0) for week in weeks) == sum(
        max(
            (block.rows for health in scene.healths for block in health.blocks if (block.day, block.version) == key),
            default=0,
        )
        for key in {(block.day, block.version) for health in scene.healths for block in health.blocks}
    )
    cut = START + 70 * DAY
    gone = tuple(
        replace(health, blocks=tuple(block for block in health.blocks if not cut <= block.day < cut + 7 * DAY))
        for health in scene.healths
    )
    cut_out = replace(scene, healths=gone, blocks=gather(scene.model, gone).blocks)
    assert [week.live is None for week in weeks_of(cut_out)].count(True) == 1


def test_the_ledger_says_when(scene):
    def told(**more):
        entries = (*scene.entries[:-1], replace(scene.entry, **more))
        return next(one.then for one in ahead(replace(scene, entries=entries)) if one.what == "Retraining")

    assert told(regret=41.0) == "due: regret 41.0 of 40.0"
    assert told(regret=30.0, slope=0.0, gain=5.0) == "in about 14 days at this rate: regret 30.0 of 40.0"
    assert told(regret=30.0, slope=0.0, gain=0.0).startswith("not at this rate")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (AlertKind.GATE_REFUSED, "but the gate let no candidate pass"),
        (AlertKind.DATA_INVALID, "but the data is not valid"),
        (AlertKind.TRAINING_FAILED, "but the training failed"),
    ],
)
def test_an_order_that_came_to_nothing_is_not_told_as_one_that_runs(scene, kind, said):
    ordered = replace(scene, entries=(*scene.entries[:-1], replace(scene.entry, decision="retrain")), alerts=())
    assert retraining_line(ordered) == "Retraining was ordered."
    assert stations(ordered)[-1].word == "ordered"
    ended = replace(ordered, ended=TurnEnd(outcome="released", at=scene.now, words="version 6 of it is champion", version=6))
    assert retraining_line(ended) == "Retraining was ordered: version 6 of it is champion."
    assert stations(ended)[-1].word == "made v6"
    alert = Alert(key="k", model=MODEL, kind=kind, message="m", raised_at=scene.entry.decided_at)
    stopped = replace(ordered, alerts=(alert,))
    assert retraining_line(stopped) == f"Retraining was ordered, {said}."
    assert stations(stopped)[-1].word == "stopped"
    late = replace(stopped, alerts=(replace(alert, raised_at=scene.entry.decided_at - DAY),))
    assert late.stopped is None


def test_a_run_is_told_in_words(scene):
    inputs = (Column(name="hour", type=ColumnType.INTEGER), Column(name="wind", type=ColumnType.FLOAT))
    signature = Signature(inputs=inputs, task=Task.REGRESSION, output="delay")
    run = replace(
        scene.runs[0],
        artifacts={"model": digest_of("m")},
        tags={**candidate_tags("skops", signature, trained_upto=START), "service_digest": digest_of("s"), "mine": "x"},
    )
    told = tags_of(run)
    assert (told["signature"], told["mine"]) == ("2 columns to delay (regression)", "x")
    assert told["service_digest"] == words.short(digest_of("s"))
    assert tags_of(replace(run, artifacts={}))["signature"].startswith("{")


def test_what_comes_next_names_dates(scene):
    told = {one.what: one for one in ahead(scene)}
    assert told["Waiting for a person"].then == "nothing"
    rules = replace(scene.spec.retraining, policy="manual")
    due = replace(scene.entry, regret=scene.entry.price, reason="policy manual: a person decides")
    asked = replace(scene, spec=replace(scene.spec, retraining=rules), entries=(*scene.entries, due))
    assert ahead(asked)[0].then == "policy manual: a person decides"
    assert told["Window of 29 Dec"].at == END + DAY
    assert told["Hold of v6 ends"].then == "at the next window; it takes all traffic unless harm is shown"
    assert "at this rate" in told["Retraining"].then


def test_a_model_page_holds_the_year(scene):
    page = model_page(scene)
    assert [one.version for one in page.promotions] == [1, 2, 3, 5]
    assert [row.word for row in page.versions] == ["on trial", "live", "rolled back", "replaced", "replaced", "replaced"]
    assert page.gate.outcome is Outcome.PASSED
    assert page.ledger.price == 40
    served = {row.number: row.served_seconds for row in page.versions}
    assert sum(filter(None, served.values())) == (END - START).total_seconds()


def profile(*counts, edges=(), labels=()):
    return Profile(
        columns=(ColumnProfile(name="c", counts=counts, missing=0, rows=sum(counts), edges=edges, labels=labels),),
        rows=sum(counts),
    )


def test_quantile_bins_become_a_histogram_that_keeps_its_mass():
    edges = (0.0, 1.0, 10.0, 11.0)
    shape = shape_of("c", profile(5, 20, 20, 20, 5, edges=edges), now=profile(0, 0, 0, 20, 50, edges=edges))
    assert sum(shape.reference) == pytest.approx(1)
    assert sum(shape.now) == pytest.approx(1)
    assert len(shape.reference) == 20
    assert sum(shape.now[:10]) == 0


def test_shapes_in_other_bins_are_not_compared():
    assert shape_of("c", profile(1, 2, edges=(0.0,)), now=profile(1, 2, edges=(1.0,))) is None
    assert shape_of("c", profile(1, 2, edges=(0.0,)), now=None) is None
    assert shape_of("c", profile(0, 0, edges=(0.0,)), now=profile(1, 2, edges=(0.0,))) is None
    assert shape_of("c", profile(4, 8, labels=("a", "b")), now=profile(8, 4, labels=("a", "b"))).low == "b"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (words.number(0.000123456), "0.000123"),
        (words.number(12345.6), "12,346"),
        (words.number(float("nan")), "–"),
        (words.number(-math.inf), "−∞"),
        (words.signed(-0.0114), "−0.011"),
        (words.count(10482), "10,482"),
        (words.odds(14.2), "14 : 1"),
        (words.odds(3421), "3,400 : 1"),
        (words.odds(0.25), "1 : 4.0"),
        (words.odds(0), "0 : 1"),
        (words.odds(5e46), "over 1,000,000 : 1"),
        (words.measure(0.0), "0"),
        (words.duration(0.0062), "6.2 ms"),
        (words.duration(38 * 60), "38 min"),
        (words.duration(102 * 86400), "102 d"),
        (words.when(START, START + timedelta(minutes=12)), "12 min ago"),
        (words.when(START + 2 * DAY, START), "in 2 d"),
        (words.when(START, datetime(2026, 1, 1, tzinfo=UTC)), "1 Mar 2013"),
        (words.listed(["a", "b", "c"]), "a, b and c"),
        (words.listed(list("abcde")), "a, b, c and 2 more"),
        (words.percent(0.004), "0.40"),
        (words.size(734_003_200), "734 MB"),
    ],
)
def test_words(written, text):
    assert written == text


@pytest.mark.parametrize("strategy", [Strategy.SHADOW, Strategy.BLUE_GREEN])
def test_a_rollout_of_one_step_is_shown_as_one(scene, strategy):
    spec = replace(scene.spec, rollout=replace(scene.spec.rollout, strategy=strategy))
    trial = replace(scene.deployment, strategy=strategy, step=0)
    shown = replace(scene, spec=spec, deployments=(*scene.deployments[:-1], trial))
    assert glance(shown, open_store("sqlite://").events).trial.steps == 1
    assert len(model_page(shown).rollout) == 1
    assert any(one.then.endswith("it takes all traffic unless harm is shown") for one in ahead(shown))


def test_the_loss_shown_bears_the_name_of_what_was_measured(scene):
    by_rank = replace(scene.spec, gate=replace(scene.spec.gate, metric="roc_auc"))
    numbers = replace(scene.spec, data=replace(scene.spec.data, task=Task.REGRESSION))
    assert [replace(scene, spec=spec).metric for spec in (by_rank, numbers)] == ["log_loss", "squared_error"]
    assert model_page(replace(scene, spec=by_rank)).metric == "log_loss"


def test_a_champion_that_came_back_is_live_since_then(scene):
    first = replace(scene.deployment, challenger=None, champion=4, revision=1, since=START)
    other = replace(first, champion=5, revision=2, since=START + DAY)
    back = replace(first, revision=3, since=START + 2 * DAY)
    shown = replace(scene, deployments=(first, other, back))
    assert glance(shown, open_store("sqlite://").events).live.since == START + 2 * DAY
