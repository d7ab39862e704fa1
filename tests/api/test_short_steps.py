"""Projects whose steps last minutes: the figures and words of retraining fit them as they fit weeks."""

import re
from datetime import UTC, datetime, timedelta

import msgspec
from tests.ui.backtested import keep_backtest
from tests.ui.filled import FilledHouse, year

from kedge.domain.ids import ModelName
from kedge.server.reading.continuing import LedgerPoint, retraining_page
from kedge.server.reading.scene import Scenes
from kedge.server.timelines import ledger_chart
from kedge.storage.sql import open_store
from kedge.web.backtest import decisions
from kedge.web.year import figure

NOON = datetime(2026, 3, 1, 11, 58, tzinfo=UTC)
STEP = timedelta(minutes=5)


def test_the_ledgers_figure_is_as_long_as_its_steps():
    page = retraining_page(Scenes(FilledHouse(year())).of(), year())
    course = tuple(
        LedgerPoint(at=NOON + number * STEP, regret=2.0 * number, trained=False, looked=False) for number in range(5)
    )
    drawn = ledger_chart(msgspec.structs.replace(page, course=course, ahead=NOON + 7 * STEP, price=14.0))
    assert drawn.half == STEP / timedelta(days=2)
    assert [round(point.at * 288) for point in drawn.points] == [0, 1, 2, 3, 4, 7]
    wide = figure(drawn).split('class="chart year mid"')[0]
    assert re.findall(r">(12:00|12:30|1 Mar)</text>", wide) == ["12:00", "12:30"]


def test_the_days_of_long_steps_are_named_and_midnight_is_a_day():
    page = retraining_page(Scenes(FilledHouse(year())).of(), year())
    begin = NOON.replace(hour=23)
    course = tuple(LedgerPoint(at=begin + number * STEP, regret=2.0, trained=False, looked=False) for number in range(3))
    assert ">2 Mar</text>" in figure(ledger_chart(msgspec.structs.replace(page, course=course, ahead=None)))
    course = tuple(
        LedgerPoint(at=NOON + timedelta(days=number), regret=2.0, trained=False, looked=False) for number in range(2)
    )
    assert ":00</text>" not in figure(ledger_chart(msgspec.structs.replace(page, course=course, ahead=None)))


def test_trainings_of_short_steps_lie_apart_and_have_times():
    made = keep_backtest(open_store("sqlite://"), ModelName("flights"), start=NOON, at=NOON)
    begins = tuple(NOON + STEP * number for number in range(len(made.begins)))
    weekly = decisions(made, made.results[0].policies)
    assert "01 Mar 26" in weekly
    often = [one for one in made.results[0].policies if one.policy == "every step"]
    quick = decisions(msgspec.structs.replace(made, begins=begins), [msgspec.structs.replace(often[0], trained=begins)])
    at = sorted(float(x) for x in re.findall(r'class="dot one" cx="([0-9.]+)"', quick))
    assert at[-1] - at[0] > 600
    named = re.findall(r'class="tick"[^>]*>([^<]+)<', quick)
    assert named[0] == "01 Mar 11:58"
    assert len(set(named)) == len(named) <= 8
