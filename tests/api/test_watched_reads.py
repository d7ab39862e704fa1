"""What the monitoring and retraining pages read: what is wrong and since when, the course, the windows, the decisions."""

import re

import msgspec
import pytest
from litestar.testing import TestClient
from msgspec.structs import replace
from tests.ui.filled import FilledHouse, year
from tests.ui.seed import DAY, END, FEATURES, MODEL, START, Year
from tests.ui.watched import told

from kedge.domain.alert_life import AlertState
from kedge.domain.alerting import AlertSeverity
from kedge.domain.backtest import KeptBacktest
from kedge.domain.events import EventKind
from kedge.domain.ids import ModelName, digest_of
from kedge.domain.monitoring import Risk, Window
from kedge.domain.quality import Banded, HeldOutQuality
from kedge.errors import NotFound, RequestInvalid
from kedge.server.application import application
from kedge.server.reading.continuing import RetrainingPage, retraining_page
from kedge.server.reading.course import QUARTER, course_of
from kedge.server.reading.lanes import AlertHeld, lanes_of
from kedge.server.reading.scene import Scenes
from kedge.server.reading.sentence import monitoring_verdict, verdict
from kedge.server.reading.state import State
from kedge.server.reading.stations import stations
from kedge.server.reading.watching import MonitoringPage, WindowHistory, address_of, history, monitoring_page, window_of
from kedge.server.reading.watchlist import Watchlist, state_of
from kedge.server.reading.window import WindowPage, window_page
from kedge.server.reading.windows import gather
from kedge.server.reading.wrongs import run_start, wrongs
from kedge.storage.sql import open_store

BASE = "http://127.0.0.1:8400"
NEWEST = "2013-12-28T00:00--2013-12-29T00:00"


@pytest.fixture(scope="module")
def scene():
    return Scenes(FilledHouse(year())).of()


@pytest.fixture(scope="module")
def client():
    with TestClient(application(FilledHouse(year())), base_url=BASE) as opened:
        yield opened


def newest(scene, **more):
    return replace(scene, healths=(*scene.healths[:-1], replace(scene.health, **more)))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("monitoring", MonitoringPage),
        ("monitoring?span=all", MonitoringPage),
        ("windows?limit=3", WindowHistory),
        (f"windows/{NEWEST}", WindowPage),
        ("retraining", RetrainingPage),
    ],
)
def test_each_page_has_its_data_at_the_api(client, path, kind):
    msgspec.json.decode(client.get(f"/api/v1/models/flights/{path}").content, type=kind)


def test_the_page_says_what_the_api_says(client):
    said = client.get("/api/v1/models/flights/monitoring").json()["verdict"]["say"]
    assert said in client.get("/monitoring", headers={"accept": "text/html"}).text


def test_what_drifts_is_said_with_since_when_how_sure_how_bad_and_what_was_done(scene):
    spoken = monitoring_verdict(scene)
    assert spoken.state is State.WATCH
    assert spoken.say.startswith("Two of 19 features drift since 27 Dec: origin_delay_1h by +0.171 in ranks; v5 is within")
    assert "How sure: odds of 2,700 : 1" in spoken.sub
    assert "Kedge told people on 28 Dec and put v6 on trial with a quarter of the traffic." in spoken.sub
    assert "Retraining holds: regret stands at 37.1 of 40.0." in spoken.sub


def test_all_that_is_watched_is_a_lane_and_the_worst_stands_first(scene):
    lanes = lanes_of(scene, [])
    assert [one.state for one in lanes] == [State.WATCH, *([State.WELL] * 6), State.HOLDS]
    assert (lanes[0].name, lanes[0].bad) == ("data drift", "origin_delay_1h by +0.171 in ranks")
    assert lanes[0].since == scene.healths[-2].window.start
    assert [mark is State.WATCH for mark in lanes[0].marks[-3:]] == [False, True, True]
    assert (lanes[-1].word, lanes[-1].measured, set(lanes[-1].marks)) == ("not measured", 0, {None})
    loss = next(one for one in lanes if one.name == "loss")
    assert (loss.bad, loss.sure, loss.done) == ("0.499 against 0.505", "at least 0.485", "")
    assert State.ALARM in loss.marks


def test_a_lane_says_whether_somebody_has_its_alert_in_hand(scene):
    taken = AlertHeld(id="x", kind="data_drift", state=AlertState.ACKNOWLEDGED, told_at=END - DAY)
    over = AlertHeld(id="y", kind="risk", state=AlertState.FIRING, told_at=END - DAY)
    said = {one.name: (one.alert, one.done) for one in lanes_of(scene, [taken, over])}
    assert said["data drift"] == ("x", "somebody has it in hand, told on 28 Dec")
    assert said["loss"] == ("y", "an alert is open: nobody has it in hand, told on 28 Dec")
    assert said["fairness"] == ("", "")


def test_an_objective_that_is_missed_is_an_alarm_with_its_figures(scene):
    found = scene.health.operations
    missed = replace(found.objectives[0], alarm=True, bad=0.2, burn=4.0)
    wrong = newest(scene, operations=replace(found, objectives=(missed, *found.objectives[1:])))
    first = wrongs(wrong)[0]
    assert (first.kind, first.state, first.since) == ("operations", State.ALARM, scene.health.window.start)
    assert first.say == "the service misses its objective for p95"
    assert first.bad == "20 % of 419, 5 % may be"
    assert monitoring_verdict(wrong).state is State.ALARM
    assert [one.word for one in lanes_of(wrong, []) if one.name == "operations"] == ["alarm"]
    assert state_of(wrong.health) == (State.ALARM, "objective missed")


def test_a_loss_above_its_limit_is_said_before_the_alarm_is_sure_of_it(scene):
    calm = [replace(one, alarm=False) for one in scene.health.drift]
    found = replace(scene.health.operations, objectives=())
    risk = Risk(accepted=0.4, limit=0.42, mean=0.41, lower=0.3, days=12, alarm=False)
    fit = {"drift": tuple(calm), "operations": found, "fairness": None, "business": (), "skew": None, "quality": None}

    def stands(loss, **more):
        return newest(scene, **fit, alerts=(), loss=loss, risk=replace(risk, **more))

    def loss_lane(stood):
        return next((one.state, one.word) for one in lanes_of(stood, []) if one.kind == "risk")

    def station(stood):
        return next((one.state, one.figure) for one in stations(stood) if one.name == "Monitoring")

    within, chance = stands(0.40), stands(0.45)
    assert state_of(within.health) == (State.WELL, "well")
    assert state_of(chance.health) == (State.WELL, "loss within limit on average")
    assert station(chance)[0] is State.WELL
    above = stands(0.40, mean=0.45)
    assert state_of(above.health) == (State.WATCH, "loss above limit, not yet sure")
    assert loss_lane(above) == (State.WATCH, "watch")
    assert station(above) == (State.WATCH, "loss above limit, not yet sure")
    sure = stands(0.40, mean=0.45, lower=0.43, alarm=True)
    assert state_of(sure.health) == (State.ALARM, "loss above limit")
    unknown = stands(None, mean=0.0, lower=0.0, days=0)
    assert loss_lane(unknown) == (State.HOLDS, "no evidence")  # no day of labels has closed: that is not well


def test_what_data_planes_tell_is_on_the_page(client):
    told = client.get("/api/v1/models/flights/monitoring").json()
    assert told["operations"]["plane"]["memory_most"] == told["memory"][-1]
    assert told["failed"][-1] == pytest.approx(3 / told["operations"]["plane"]["requests"])
    page = client.get("/monitoring", headers={"accept": "text/html"}).text
    for said in ("Cost of 1,000 rows", "Memory of a host at most", "Answered without our fault", "plane-a and plane-b"):
        assert said in page


def test_the_loss_goes_before_drift_and_begins_with_its_run(scene):
    risk = replace(scene.health.risk, alarm=True, mean=0.53, lower=0.51)
    harmed = replace(
        scene, healths=tuple(replace(one, risk=risk) if one.window.start >= END - 3 * DAY else one for one in scene.healths)
    )
    assert [one.kind for one in wrongs(harmed)] == ["risk", "data_drift"]
    spoken = monitoring_verdict(harmed)
    assert spoken.state is State.ALARM
    assert spoken.say == "v5 loses more than you accepted since 26 Dec: 0.530 against 0.505."
    assert "its loss is at least 0.510" in spoken.sub
    assert "Besides, two of 19 features drift" in spoken.sub


def test_the_first_page_is_not_well_while_anything_is_wrong(scene):
    still = newest(scene, drift=())
    named = newest(still, quality=told(scene.health, named=True).quality)
    gaps = tuple(replace(gap, alarm=True, evidence=2000.0) for gap in scene.health.fairness.recent_gaps)
    unlike = newest(still, fairness=replace(scene.health.fairness, recent_gaps=gaps))
    missed = newest(still, business=tuple(replace(one, missed=True) for one in scene.health.business))
    skewed = newest(still, skew=replace(scene.health.skew, evidence=2000.0, skewed=40))
    assert verdict(still).state is monitoring_verdict(still).state is State.WELL
    for wrong, kind in ((named, "concept_drift"), (unlike, "fairness"), (missed, "business"), (skewed, "prediction_skew")):
        assert [one.kind for one in wrongs(wrong)] == [kind]
        assert verdict(wrong).state is not State.WELL
        assert monitoring_verdict(wrong).state is not State.WELL


def test_a_run_begins_where_it_was_broken_last(scene):
    cut = scene.healths[-3].window
    assert run_start(scene.healths, lambda one: one.window != cut) == scene.healths[-2].window.start
    assert run_start(scene.healths, lambda one: False) is None
    assert run_start(scene.healths, lambda one: True) == scene.healths[0].window.start


def test_an_estimate_stands_where_the_truth_is_not_here(scene):
    course = course_of(scene, whole=False)
    assert (course.by, course.whole, len(course.stretches)) == ("day", False, QUARTER)
    assert course.stretches[-1].live is None
    assert course.stretches[-1].estimate == pytest.approx(scene.health.loss + 0.006)
    full = next(one for one in course.stretches if one.arrived == pytest.approx(820 / 840))
    assert full.live is not None
    assert full.estimate is None


def test_a_year_is_shown_by_weeks(scene):
    course = course_of(scene, whole=True)
    assert (course.by, course.whole) == ("week", True)
    assert 40 < len(course.stretches) < 50


def test_a_day_without_labels_is_a_gap(scene):
    day = scene.healths[-10].window.start
    without = [replace(one, blocks=tuple(block for block in one.blocks if block.day != day)) for one in scene.healths]
    gathered = gather(scene.model, without)
    cut = replace(scene, healths=gathered.healths, blocks=gathered.blocks)
    found = next(one for one in course_of(cut, whole=False).stretches if one.start == day)
    assert found.live is None


def test_open_alerts_come_worst_first(scene):
    page = monitoring_page(scene, year(), models=())
    assert [one.severity for one in page.alerts] == [AlertSeverity.CRITICAL, AlertSeverity.WARNING]
    assert page.alerts[0].standing == "firing"
    assert page.alerts[0].odds is None, "a loss against its limit is no odds"
    assert page.alerts[1].odds == 3400.0


def test_a_latency_that_nobody_timed_is_not_nought(scene):
    untimed = tuple(replace(one, latency_seconds=0.0) for one in scene.health.versions)
    page = monitoring_page(newest(scene, versions=untimed), year(), models=())
    assert (page.latency[-1], page.latency[-2] is not None) == (None, True)
    lane = next(one for one in page.lanes if one.kind == "operations")
    assert lane.bad == "0 failed, 3 missing from the log"


def test_windows_are_paged_without_loss_or_repeat():
    meta = year()
    seen, token = [], ""
    while True:
        page = history(MODEL, meta, page=token, limit=100)
        seen += [one.window for one in page.windows]
        token = page.next
        if not token:
            break
    assert len(seen) == len(set(seen)) == 303
    assert seen == sorted(seen, key=lambda one: one.start, reverse=True)


def test_a_window_that_was_read_is_not_read_again(monkeypatch):
    meta = open_store("sqlite://")
    seeded = Year(meta)
    seeded.write(START + 40 * DAY)
    scenes = Scenes(FilledHouse(meta))
    before = scenes.of().healths
    asked = []
    find = meta.watches.find
    monkeypatch.setattr(meta.watches, "list", lambda *named, **more: pytest.fail("all windows were read again"))
    monkeypatch.setattr(meta.watches, "find", lambda model, window: asked.append(window) or find(model, window))
    late = Window(START - DAY, START)
    for window in (Window(START + 40 * DAY, START + 41 * DAY), late):
        one = replace(before[-1], window=window, alerts=())
        meta.watches.put(one, b"", event=seeded.event(EventKind.WINDOW_MEASURED, window.end, f"Window {window.id} measured"))
    after = scenes.of()
    assert sorted(asked) == sorted([Window(START + 40 * DAY, START + 41 * DAY).id, late.id])
    assert [one.window for one in after.healths] == [late, *(one.window for one in before), one_later(before[-1].window)]
    assert after.truth.windows == len(before) + 2
    assert after.healths[1] is before[0]


def one_later(window):
    return Window(window.end, window.end + DAY)


def test_the_worst_of_many_models_stands_first():
    meta = open_store("sqlite://")
    seeded = Year(meta)
    seeded.write(START + 20 * DAY)
    (health,) = meta.watches.list(MODEL, limit=1)
    (deployment,) = meta.deployments.list(MODEL)
    worse = replace(health, risk=replace(health.risk, alarm=True))
    for name, one in (("a", health), ("b", worse), ("c", None)):
        event = replace(seeded.event(EventKind.ROLLOUT_STARTED, START, f"{name} is live"), key=digest_of(name), subject=name)
        meta.deployments.put(replace(deployment, model=ModelName(name)), event)
        if one is not None:
            event = replace(event, kind=EventKind.WINDOW_MEASURED, key=digest_of(name, "window"))
            meta.watches.put(replace(one, model=ModelName(name), alerts=()), b"", event=event)
    watchlist = Watchlist(meta)
    for _ in range(2):
        found = watchlist.models(MODEL)
        assert [(one.model, one.word) for one in found] == [
            (MODEL, "well"), ("b", "loss above limit"), ("c", "no window yet"), ("a", "well")
        ]  # fmt: skip


def test_a_windows_address_is_read_again():
    window = Window(END - DAY, END)
    assert window_of(address_of(window)) == window
    for text in ("", "x", "2013-01-01T00:00", "2013-01-01--2013-01-02--2013-01-03", "2013-13-01T00:00--2013-13-02T00:00"):
        with pytest.raises(RequestInvalid):
            window_of(text)


def test_a_window_leads_to_those_beside_it(scene):
    meta = year()
    page = window_page(scene, meta, window=address_of(Window(END - 2 * DAY, END - DAY)))
    assert (page.earlier, page.later) == (address_of(Window(END - 3 * DAY, END - 2 * DAY)), NEWEST)
    assert len(page.drift) == len(FEATURES)
    with pytest.raises(NotFound):
        window_page(scene, meta, window=address_of(Window(END, END + DAY)))
    few = replace(scene, healths=scene.healths[-3:])
    old = window_page(few, meta, window=address_of(Window(END - 20 * DAY, END - 19 * DAY)))
    assert old.later == address_of(Window(END - 19 * DAY, END - 18 * DAY)), "also of a window that is not read ahead"


def test_a_model_that_nobody_deployed_is_not_watched(scene, client):
    with pytest.raises(NotFound):
        monitoring_page(replace(scene, model=ModelName("other"), deployments=()), year(), models=())
    assert client.get("/monitoring?model=other").status_code == 404
    assert client.get("/monitoring?page=nothing").status_code == 400
    assert client.get("/api/v1/models/other/retraining").status_code == 404


def test_a_model_by_hand_is_watched_beside_the_projects_own():
    meta = open_store("sqlite://")
    Year(meta, model="other").write(END.replace(month=4, day=9))
    with TestClient(application(FilledHouse(meta)), base_url=BASE) as client:
        page = client.get("/monitoring", headers={"accept": "text/html"})
        assert (page.status_code, "/monitoring/other/windows/" in page.text) == (200, True)


def test_retraining_says_when_at_this_rate(scene):
    page = retraining_page(scene, year())
    assert page.verdict.say == "It retrains in about 13 days at this rate: regret stands at 37.1 of 40.0."
    assert page.decided == {"wait": 36, "look": 6, "retrain": 1}
    assert [one.trained for one in page.course].count(True) == 1
    assert page.ahead is not None


def test_retraining_says_what_holds_and_what_waits(scene):
    due = replace(scene.entry, regret=41.0, bound="3d after a training")
    bound = retraining_page(replace(scene, entries=(*scene.entries[:-1], due)), year())
    assert bound.verdict.say == "A retraining is due, but 3d after a training: regret stands at 41.0 of 40.0."
    assert bound.bounds == {"3d after a training": 1}
    assert retraining_page(scene, year(), under_way=True).verdict.say == "A training was ordered and is under way."
    none = retraining_page(replace(scene, entries=()), year())
    assert (none.verdict.state, none.course) == (State.IDLE, ())


def test_the_newest_backtest_stands_on_the_page_and_whole_at_the_api(client):
    kept = msgspec.json.decode(client.get("/api/v1/models/flights/backtest").content, type=KeptBacktest)
    assert kept.at == END - DAY
    assert [one.price for one in kept.backtest.results] == [4.0, 40.0, 400.0]
    assert len(kept.backtest.results[0].policies[0].by_step) == len(kept.backtest.begins)
    page = client.get("/models/flights/retraining").text
    section = page.split('id="backtest"')[1]
    assert section.index("A retraining costs 40.0") < section.index("A retraining costs 4.00")
    assert section.count('aria-label="When each policy trained"') == 6
    assert "The ledger costs least: 0.977 of never retraining." in section
    assert "square-root interval against never: −0.021" in section


def test_without_a_backtest_the_page_says_how_to_make_one():
    meta = open_store("sqlite://")
    with TestClient(application(FilledHouse(meta)), base_url=BASE) as client:
        assert '<code class="command">kedge policy backtest</code>' in client.get("/models/flights/retraining").text
        answer = client.get("/api/v1/models/flights/backtest")
        assert (answer.status_code, "kedge policy backtest" in answer.text) == (404, True)


def test_a_training_is_asked_for_once_with_a_reason():
    meta = open_store("sqlite://")
    house = FilledHouse(meta)
    with TestClient(application(house), base_url=BASE) as client:
        form = client.get("/models/flights/retraining/ask").text
        token = form.split('name="token" value="')[1].split('"')[0]
        key = form.split('name="key" value="')[1].split('"')[0].replace("&#43;", "+")
        sent = {"token": token, "key": key, "reason": "the source was mended"}
        for _ in range(2):
            assert client.post("/models/flights/retraining/ask", data=sent, follow_redirects=False).status_code == 303
        (trigger,) = meta.triggers.waiting(MODEL)
        assert trigger.reason == "asked for by hand: the source was mended"
        page = client.get("/models/flights/retraining").text
        assert "1 request for a training waits for the loop." in page
        house.bound = "version 6 is still on trial"
        assert "1 request for a training waits: version 6 is still on trial." in re.sub(
            "<[^>]*>", "", client.get("/models/flights/retraining").text
        )
        assert client.post("/models/flights/retraining/ask", data=sent | {"token": "x"}).status_code == 403
        assert client.post("/models/flights/retraining/ask", data=sent | {"reason": " "}).status_code == 409
        assert client.get("/models/other/retraining/ask").status_code == 404
        assert len(meta.triggers.waiting(MODEL)) == 1


def test_the_hold_out_stands_beside_all_rows():
    meta = year()
    watched = meta.watches.list(MODEL, limit=1)[0]
    quality = watched.quality
    held = HeldOutQuality(rows=40, recent_rows=1234, recent={"log_loss": Banded(0.4321, 0.4, 0.47)}, days=28)
    measured = replace(watched, window=Window(END, END + DAY), quality=replace(quality, held_out=held), alerts=())
    told_once = replace(Year(meta).event(EventKind.WINDOW_MEASURED, END, "held"), key=digest_of("held"))
    meta.watches.put(measured, b"", event=told_once)
    with TestClient(application(FilledHouse(meta)), base_url=BASE) as opened:
        page = opened.get(f"/monitoring/{MODEL}/windows/{address_of(measured.window)}", headers={"accept": "text/html"}).text
        assert "Hold-out alone, last 28 days" in page
        assert "1,234 rows served at random" in page
        assert "0.432" in page
        assert (
            "Hold-out alone" not in opened.get(f"/monitoring/{MODEL}/windows/{NEWEST}", headers={"accept": "text/html"}).text
        )


def test_only_the_ledger_trains_in_any_case(scene):
    def names(policy):
        spec = replace(scene.spec, retraining=replace(scene.spec.retraining, policy=policy))
        return [figure.name for figure in retraining_page(replace(scene, spec=spec), year()).facts]

    assert "Trains in any case after" in names("ledger")
    assert "Trains in any case after" not in names("manual")
