"""What data planes tell of themselves, measured by window: availability, saturation, cost, silence, answers in no log."""

from datetime import datetime, timedelta

import msgspec
import pytest
from tests.unit.monitoring.world import DAY, MODEL, SPEC, START, World, replace, with_rules

from kedge.domain.alerting import AlertKind, alert_id
from kedge.domain.monitoring import Window
from kedge.domain.operations import OperationsRules
from kedge.domain.plane_reports import ModelCounts, PlaneReport
from kedge.domain.retraining import Price
from kedge.errors import StoreBroken
from kedge.monitoring.state import decode_state

MINUTE = timedelta(minutes=1)


class Told:
    """Reports in memory."""

    def __init__(self) -> None:
        self.reports: list[PlaneReport] = []
        self.broken = False

    def read(self, start: datetime, end: datetime):
        if self.broken:
            raise StoreBroken("a segment is damaged")
        return iter([one for one in self.reports if one.at >= start])

    def tell(self, host: str, minutes, *, process: str = "1", model: str = MODEL, ended: bool = False, **counts) -> None:
        for minute in minutes:
            self.reports.append(
                PlaneReport(
                    at=START + minute * MINUTE,
                    host=host,
                    process=process,
                    seconds=60.0,
                    workers=2,
                    cpu_seconds=30.0,
                    memory_bytes=1000,
                    lag_seconds=0.5,
                    models={model: ModelCounts(**counts), "other": ModelCounts(seconds=1.0)},
                    ended=ended,
                )
            )


def world(**rules) -> World:
    made = World(spec=with_rules(SPEC, operations=OperationsRules(**rules)), planes=Told())
    made.release(1)
    return made


def silences(health) -> list[str]:
    return [alert.subject for alert in health.alerts if alert.kind is AlertKind.SILENCE]


def test_hosts_and_restarts_add_up() -> None:
    one = world()
    one.spec = replace_price(one.spec, cpu_hour=2.0)
    one.serve(0)
    one.planes.tell(
        "a", range(1, 1441), requests={"200": 9, "503": 1}, rows=10, seconds=3.0, calls=2, call_rows=10, call_most=8
    )
    one.planes.tell("b", range(721, 1441), requests={"200": 4, "400": 1, "504": 1}, rows=5, queue_most=7, seconds=0.0)
    plane = one.measure(0).operations.plane
    assert (plane.hosts, plane.reports) == (("a", "b"), 2160)
    assert (plane.requests, plane.failed, plane.rejected) == (14400 + 4320, 1440 + 720, 1440)
    assert plane.availability == pytest.approx(1 - 2160 / 18720)
    assert (plane.rows, plane.queue_most, plane.batch_mean, plane.batch_most) == (14400 + 3600, 7, 5.0, 8)
    assert (plane.busy, plane.busy_most, plane.memory_most, plane.unheard_seconds) == (0.25, 0.25, 1000, 0.0)
    # host a's CPU goes by the seconds within calls (3 of 4), host b's all to the other model
    assert plane.cpu_seconds == pytest.approx(1440 * 30 * 0.75)
    assert plane.cost == pytest.approx(plane.cpu_seconds / 3600 * 2 / 18)


def replace_price(spec, **price):
    import msgspec

    return msgspec.structs.replace(spec, retraining=msgspec.structs.replace(spec.retraining, price=Price(**price)))


def test_who_never_told_of_itself_is_not_missed() -> None:
    for planes in (None, Told()):
        one = replace(world(), planes=planes)
        one.release(1)
        for day in range(3):
            one.serve(day)
            health = one.measure(day)
            assert (health.operations.plane, silences(health)) == (None, [])


def test_a_data_plane_that_falls_silent_is_told_once_stands_and_is_forgotten() -> None:
    one = world()
    one.planes.tell("a", range(1, 1000), rows=0)
    one.planes.tell("b", range(1, 1441), rows=0)
    found = {}
    for day in range(10):
        one.serve(day)
        one.planes.tell("b", range(day * 1440 + 1, day * 1440 + 1441), rows=0)
        found[day] = one.measure(day)
    assert [silences(found[day]) for day in range(3)] == [["data plane a"], [], []]
    assert "has not since 2013-03-01 16:39" in found[0].alerts[0].message
    name = alert_id(MODEL, AlertKind.SILENCE, subject="data plane a")
    assert name in found[6].standing
    assert name not in found[9].standing
    assert found[0].operations.plane.unheard_seconds == 0


def test_who_was_told_to_end_came_back_or_began_again_is_not_missed() -> None:
    one = world()
    one.planes.tell("ended", range(1, 1000), rows=0)
    one.planes.tell("ended", [1000], rows=0, ended=True)
    one.planes.tell("again", [*range(1, 500), *range(1200, 1500)], rows=0)
    one.serve(0)
    health = one.measure(0)
    assert silences(health) == []
    assert health.operations.plane.unheard_seconds == pytest.approx((1199 - 1000) * 60)


def test_each_data_plane_of_a_host_is_missed_by_itself_until_another_is_started_in_its_place() -> None:
    one = world()
    for day in range(5):
        one.serve(day)
        one.planes.tell("a", range(day * 1440 + 1, day * 1440 + 1441), process="1", rows=0)
    one.planes.tell("a", range(1, 1000), process="2", rows=0)
    one.planes.tell("a", range(1, 1001), process="3", rows=0)
    one.planes.tell("a", range(1440 + 300, 3 * 1440 - 100), process="4", rows=0)
    one.planes.tell("a", range(2 * 1440 + 300, 5 * 1440), process="5", rows=0)
    one.planes.tell("a", range(3 * 1440 + 300, 5 * 1440 + 1), process="6", rows=0)
    missed = alert_id(MODEL, AlertKind.SILENCE, subject="data plane a")
    found = [one.measure(day) for day in range(5)]
    assert silences(found[0]) == ["data plane a"]
    assert "has not since 2013-03-01 16:39" in found[0].alerts[0].message
    assert [missed in health.standing for health in found] == [True, True, True, False, False]
    assert decode_state(one.meta.watches.state(MODEL)).operations.planes.keys() == {"a/1", "a/5", "a/6"}


def test_a_clock_that_jumps_neither_alarms_nor_hides_a_silence() -> None:
    one = world()
    one.planes.tell("a", [*range(1, 1380), *range(1320, 1445)], rows=0)  # set back by an hour
    one.planes.tell("b", [*range(1, 1000), 1440 * 30], rows=0)  # ahead for a moment, by a month
    one.serve(0)
    health = one.measure(0)
    assert silences(health) == ["data plane b"]
    assert health.operations.plane.reports == 1379 + 120 + 1 + 999


def test_answers_that_were_counted_and_are_in_no_log_are_told() -> None:
    one = world()
    one.serve(0, rows=4)  # 96 rows
    one.planes.tell("a", range(1, 1441), rows=1)
    health = one.measure(0)
    assert silences(health) == ["answers that are in no log"]
    (alert,) = health.alerts
    assert "at least 1,343 of 1,440 rows" in alert.message


@pytest.mark.parametrize("length", [timedelta(minutes=5), timedelta(hours=1), DAY])
def test_an_answer_beside_an_empty_log_is_told_at_once(length: timedelta) -> None:
    one, minutes = world(), length // MINUTE
    for number in range(2):
        window = Window(START + number * length, START + (number + 1) * length)
        one.clock.time = window.end
        one.planes.tell("a", range(number * minutes + 1, (number + 1) * minutes + 1))
        if number:  # a single row, in the middle
            one.planes.reports[-2 if minutes < 10 else -30] = replace_rows(one.planes.reports[-2], rows=1)
        health = one.monitoring().measure(one.spec, window)
        assert silences(health) == (["answers that are in no log"] if number else [])


def replace_rows(report: PlaneReport, *, rows: int) -> PlaneReport:
    return msgspec.structs.replace(report, models={MODEL: ModelCounts(rows=rows)})


def test_a_log_that_says_what_it_lacks_or_is_sampled_has_lost_nothing() -> None:
    one = world()
    one.serve(0, rows=4)
    one.ask("gap", START, rows=0, missing=1400)
    one.planes.tell("a", range(1, 1441), rows=1)
    health = one.measure(0)
    assert (health.operations.plane.unlogged, silences(health)) == (0, ["the prediction log"])
    two = world()
    two.serve(0, rows=4, share=0.5)
    two.planes.tell("a", range(1, 1441), rows=1)
    health = two.measure(0)
    assert (health.operations.plane.unlogged, silences(health)) == (None, [])


def test_availability_has_a_budget_that_burns() -> None:
    one = world(availability="99.9%")
    for day in range(2):
        one.serve(day)
        one.planes.tell("a", range(day * 1440 + 1, day * 1440 + 1441), requests={"200": 100, "500": day * 5})
    assert [alert.subject for alert in one.measure(0).alerts] == []
    health = one.measure(1)
    (alert,) = health.alerts
    assert (alert.kind, alert.subject) == (AlertKind.OPERATIONS, "objective availability")
    assert "requests failed at the data plane, 0.10% may" in alert.message
    (objective,) = health.operations.objectives
    assert (objective.counted, objective.bad) == (1440 * 105, pytest.approx(5 / 105))


def test_reports_that_cannot_be_read_hold_nothing_up() -> None:
    one = world(availability="99.9%")
    one.serve(0)
    one.planes.tell("a", range(1, 1441), rows=0)
    one.measure(0)
    one.serve(1)
    one.planes.broken = True
    health = one.measure(1)
    assert silences(health) == []
    assert any("cannot be read: a segment is damaged" in note for note in health.notes)


def test_a_kill_between_windows_changes_nothing() -> None:
    def seen(*, again: bool) -> list:
        one = world(availability="99%")
        one.planes.tell("a", range(1, 2000), requests={"200": 5, "500": 1})
        monitoring, found = one.monitoring(), []
        for day in range(4):
            one.serve(day)
            health = one.measure(day, None if again else monitoring)
            found.append((health.operations, [alert.key for alert in health.alerts], health.standing))
        return found

    assert seen(again=True) == seen(again=False)
    assert DAY == 1440 * MINUTE
