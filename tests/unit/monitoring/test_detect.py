"""The detectors keep the declared run length where nothing moves, and see a small shift in a window where something does."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from tests.unit.monitoring.drifting import BEGAN, RUN_LENGTH, Watcher, alarms, draw, reference

from kedge.monitoring.drift import detect, joint
from kedge.monitoring.drift.profile import cells
from kedge.monitoring.drift.reference import block_numbers, take_columns
from kedge.monitoring.drift.tolerance import LEAST, UNKNOWN, learn


def played(seed: int, *, windows: int, tolerance="auto", rows=50_000, shift=0.0, kinds=3):
    random = np.random.default_rng(seed)
    watcher = Watcher(reference(draw(random, rows, kinds=kinds), tolerance))
    return alarms(watcher, lambda _: draw(random, shift=shift, kinds=kinds), windows=windows)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("tolerance", "rows"), [("auto", 50_000), (0.01, 10_000), (0.01, 1_000), ("auto", 30)])
def test_nothing_moves_and_nothing_alarms(seed, tolerance, rows) -> None:
    assert played(seed, windows=200, tolerance=tolerance, rows=rows) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rows", [10_000, 50_000])
def test_a_fifth_of_a_standard_deviation_in_three_features_is_heard_in_the_first_window(seed, rows) -> None:
    heard = played(seed, windows=1, rows=rows, shift=0.2)
    assert heard[0][0] == 1
    assert set(heard[0][1]) <= {"f00", "f01", "f02"}


@pytest.mark.parametrize("seed", range(3))
def test_three_tenths_of_moves_are_heard_together_before_any_is_sure_alone(seed) -> None:
    heard = played(seed, windows=6, shift=0.1, kinds=1)
    assert heard[0][0] in (4, 5, 6)
    assert heard[0][1] == []


def test_a_half_standard_deviation_lists_just_the_features_that_moved() -> None:
    assert played(0, windows=1, shift=0.5, kinds=1) == [(1, ["f00", "f01", "f02"])]


def test_a_shift_within_the_tolerance_is_no_alarm() -> None:
    assert played(1, windows=60, tolerance=0.06, shift=0.1, kinds=1) == []


def test_a_column_declared_apart_has_its_own_tolerance() -> None:
    random = np.random.default_rng(2)
    taken = reference(draw(random, 10_000, kinds=1), {"f00": 0.2, "f01": 0.2, "default": 0.01, "f99": 0.1})
    assert (taken.tolerances["f00"], taken.tolerances["f03"]) == ((0.2,) * 3, (0.01,) * 3)
    heard = alarms(Watcher(taken), lambda _: draw(random, shift=0.4, kinds=1), windows=1)
    assert heard == [(1, ["f02"])]


@pytest.mark.parametrize("rows", [50, 10_000])
def test_windows_of_any_size_keep_still_and_hear(rows) -> None:
    random = np.random.default_rng(4)
    watcher = Watcher(reference(draw(random, 10_000)))
    assert alarms(watcher, lambda _: draw(random, rows), windows=100) == []
    heard = alarms(watcher, lambda _: draw(random, rows, shift=0.5), windows=10)
    assert heard[0][0] <= max(1, 300 // rows)


def test_a_move_is_dated_by_the_window_in_which_it_began() -> None:
    random = np.random.default_rng(5)
    watcher = Watcher(reference(draw(random, 50_000, kinds=1)))
    for number in range(1, 60):
        values = draw(random, kinds=1)
        values["f03"] += 0.14 * (number > 40)
        seen = watcher.see(values)
        if seen.alarmed("data"):
            break
    assert number > 42
    assert abs((seen.since["data"] - BEGAN).days - 40) <= 2
    first = seen.since["data"]
    for _ in range(4):  # the detectors start again, but it is the same move
        values = draw(random, kinds=1)
        values["f03"] += 0.5
        seen = watcher.see(values)
    (listed,) = [one for one in seen.drift if one.alarm]
    assert listed.column == "f03"
    assert listed.since is not None
    if watcher.state.moved.get("f03"):
        assert listed.since >= first
    assert seen.since["data"] == listed.since


def test_spread_categories_and_missing_values_are_watched_too() -> None:
    random = np.random.default_rng(3)
    normal = random.normal(size=20_000)
    labels = random.choice(["a", "b", "c"], size=20_000, p=[0.6, 0.3, 0.1]).tolist()
    wide = random.normal(scale=1.4, size=1000)
    gaps = np.where(random.random(1000) < 0.1, np.nan, random.normal(size=1000))
    news = random.choice(["a", "b", "d"], size=1000, p=[0.6, 0.3, 0.1]).tolist()
    for known, values in ((normal, wide), (normal, gaps), (labels, news), (labels, ["a"] * 1000)):
        assert Watcher(reference({"x": known}, 0.01)).see({"x": values}).evidence["data"] > 1e4
    assert Watcher(reference({"x": labels}, 0.01)).see({"x": labels[:1000]}).evidence["data"] < 10


def test_the_loudest_stream_is_named() -> None:
    random = np.random.default_rng(0)
    watcher = Watcher(reference(draw(random, 10_000), 0.01))
    values = draw(random)
    values["f00"][:500] = np.nan
    assert watcher.see(values).drift[0].stream == "missing"


def test_an_empty_window_changes_nothing_and_a_flood_does_not_overflow() -> None:
    random = np.random.default_rng(0)
    watcher = Watcher(reference(draw(random, 10_000), 0.01))
    watcher.see(draw(random))
    before = watcher.state.data
    watcher.see({name: np.array([]) for name in draw(random, 1)})
    assert watcher.state.data == before
    for _ in range(2):
        seen = watcher.see({name: np.full(200_000, np.nan) for name in draw(random, 1)})
        assert np.isfinite(seen.evidence["data"])
        assert all(np.isfinite(one.evidence) for one in seen.drift)


def test_hidden_columns_are_not_bet_on() -> None:
    random = np.random.default_rng(0)
    watcher = Watcher(reference(draw(random, 10_000), 0.01))
    for _ in range(3):
        values = draw(random)
        del values["f00"]
        seen = watcher.see(values, hidden=frozenset({"f00"}))
        assert seen.profile.columns[0].rows == 0
        assert not seen.alarmed("data")
    assert "f00: personal, so its values are not in the log and it is not watched" in seen.notes


def test_nothing_to_watch_is_no_evidence() -> None:
    watcher = Watcher(reference({}))
    assert watcher.see({}).evidence == {"data": 0.0}
    limits, listed = detect.limits(np.zeros(0), RUN_LENGTH)
    assert (limits.size, listed.size) == (0, 0)


def test_under_the_null_a_window_multiplies_capital_by_one_at_most() -> None:
    """The mean of e over many windows, for means that lie at the very edge of the margin, and columns that are copies."""
    random = np.random.default_rng(7)
    watcher = Watcher(reference({"x": random.normal(size=50_000), "y": random.normal(size=50_000)}, 0.01))
    watch = watcher.watch.data
    edge = np.sqrt(2) * 0.0330  # a normal moved so far has a mean rank of .5 + .0131: inside tolerance and doubt
    assert watch.margin[0] > 0.0131
    memory = joint.JointMemory(
        np.full((2, len(watch.names), 2), 12.0), np.full(2, 1000.0), joint.start(watch).capital
    )  # as if a small move had been seen everywhere
    planned = joint.plan(watch, memory)
    single, together = [], []
    for _ in range(4000):
        x = random.normal(edge, size=50)
        placed = np.stack([np.searchsorted(column.edges, x, side="right") for column in watcher.reference.profile.columns])
        counts = np.stack([np.bincount(row, minlength=watch.width) for row in placed]).astype(float)
        single.append(np.exp(np.matmul(watch.gains, counts[watch.column][:, :, None])[0, :, 0]))
        together.append(np.exp(joint.earn(planned, placed)))
    for found in (np.array(single), np.array(together)):
        assert (found.mean(axis=0) <= 1 + 3 * found.std(axis=0) / np.sqrt(len(found))).all()


def test_the_error_of_a_reference_is_bounded_for_all_its_streams_at_once() -> None:
    random = np.random.default_rng(8)
    missed = 0
    for _ in range(150):
        columns = {"x": random.normal(size=1000), "y": random.choice(["a", "b"], size=1000, p=[0.996, 0.004]).tolist()}
        taken = reference(columns, 0.01)
        truth = {"a": 0.996, "b": 0.004, "other categories": 0.0, "missing": 0.0, "rank": 0.5, "spread": 0.5}
        fresh = np.searchsorted(taken.profile.columns[0].edges, random.normal(size=50_000), side="right")
        for index, column in enumerate(taken.profile.columns):
            streams = detect.streams_of(column)
            bound = detect.doubt(
                streams, cells(column), of=sum(len(detect.streams_of(one).names) for one in taken.profile.columns)
            )
            for place, name in enumerate(streams.names):
                mean = streams.means(cells(column))[0][place]
                true = (streams.scores[place][fresh]).mean() if index == 0 and name != "missing" else truth[name]
                missed += abs(mean - true) > bound[place]
    assert missed <= 0.05 * 150


def test_listed_features_imply_the_alarm_of_all_together() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        evidences = 10 ** random.uniform(-2, 6, size=8)
        limits, listed = detect.limits(evidences, RUN_LENGTH)
        assert not listed.any() or evidences.mean() >= RUN_LENGTH
        assert (evidences[listed] >= 8 * RUN_LENGTH / max(listed.sum(), 1)).all()
        assert sorted(limits) == sorted(8 * RUN_LENGTH / np.arange(1, 9))


def learnt(values: np.ndarray, *lengths: int) -> dict[str, float]:
    blocks = [np.arange(len(values)) // length for length in lengths]
    found = take_columns(pl.DataFrame({"x": values}), ["x"], blockings=blocks, tolerance="auto")
    return dict(zip(detect.streams_of(found.profiles[0]).names, found.tolerances["x"], strict=True))


def test_a_steady_reference_teaches_a_small_tolerance_and_a_rhythm_a_wide_one() -> None:
    random = np.random.default_rng(5)
    noise = random.normal(size=60 * 500)
    assert learnt(noise, 500)["rank"] < 0.02
    day = np.arange(len(noise)) // 500
    weekend = noise + 0.5 * (day % 7 >= 5)
    assert 0.1 < learnt(weekend, 500)["rank"] < 0.2  # the farther side lies 0.1 from the mean
    trend = noise + day / 60
    assert learnt(trend, 500, 3500)["rank"] > 0.12


@pytest.mark.parametrize("weeks", [8, 2])
def test_a_rhythm_that_the_reference_has_is_no_alarm(weeks) -> None:
    random = np.random.default_rng(6)
    day = lambda number: random.normal(size=900) + 0.5 * (number % 7 >= 5)  # noqa: E731
    past = np.concatenate([day(number) for number in range(7 * weeks)])
    assert alarms(Watcher(reference({"x": past}, block=900)), lambda number: {"x": day(number)}, windows=300) == []


def test_few_blocks_teach_nothing() -> None:
    values = np.random.default_rng(0).normal(size=3000)
    assert learnt(values, 1000)["rank"] == UNKNOWN
    streams = detect.streams_of(reference({"x": values}, 0.1).profile.columns[0])
    assert learn(streams, np.zeros((9, streams.scores.shape[1]))) == (UNKNOWN,) * 3
    assert learnt(values, 300)["missing"] == LEAST


def test_blocks_of_time_are_cut_at_whole_multiples() -> None:
    times = pl.Series(["2013-01-01T00:00", "2013-01-01T23:59", "2013-01-02T00:00", "2013-01-09T00:00"]).str.to_datetime(
        time_zone="UTC"
    )
    assert block_numbers(times, timedelta(days=1)).tolist() == [0, 0, 1, 2]
