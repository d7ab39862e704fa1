"""The detectors keep the declared run length where nothing moves, and see a small shift in a window where something does."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from kedge.monitoring import detect
from kedge.monitoring.profile import cells, count_labels, count_numbers
from kedge.monitoring.reference import block_numbers, take_columns
from kedge.monitoring.tolerance import LEAST, UNKNOWN, learn

FEATURES, ROWS, RUN_LENGTH = 20, 1000, 1000.0
SPREADS = (1.0, 2.16, 1.41)  # standard deviations of the three kinds of feature


def draw(random, rows: int, *, shift: float = 0.0, kinds: int = 3) -> list[np.ndarray]:
    """Draw 20 features (normal, lognormal, gamma by turns); the first three are moved by `shift` standard deviations."""
    kind = (random.normal, random.lognormal, lambda size: random.gamma(2, size=size))
    return [kind[i % kinds](size=rows) + (shift * SPREADS[i % kinds] if i < 3 else 0.0) for i in range(FEATURES)]


def reference(random, rows: int, tolerance, kinds: int = 3):
    frame = pl.DataFrame({f"f{i}": values for i, values in enumerate(draw(random, rows, kinds=kinds))})
    blocks = [np.arange(rows) // ROWS]
    columns, tolerances = take_columns(frame, frame.columns, blockings=blocks, tolerance=tolerance)
    return columns, detect.compile_watch(columns, tolerances)


def alarms(seed: int, *, windows: int, tolerance="auto", rows=50_000, shift=0.0, kinds=3) -> list[tuple[int, list[int]]]:
    """Play windows (all of them moved by `shift`); give the windows that alarmed (from 1) and the features they listed."""
    random = np.random.default_rng(seed)
    columns, watch = reference(random, rows, tolerance, kinds)
    state, heard = watch.start(), []
    for window in range(1, windows + 1):
        values = draw(random, ROWS, shift=shift, kinds=kinds)
        counts = [cells(count_numbers(one.name, seen, edges=one.edges)) for one, seen in zip(columns, values, strict=True)]
        state = detect.step(watch, state, counts=counts)
        evidences = detect.evidence(watch, state)
        if detect.together(evidences) >= RUN_LENGTH:
            heard.append((window, np.flatnonzero(detect.limits(evidences, RUN_LENGTH)[1]).tolist()))
            state = watch.start()
    return heard


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("tolerance", "rows"), [("auto", 50_000), (0.01, 10_000)])
def test_nothing_moves_and_nothing_alarms(seed, tolerance, rows) -> None:
    assert alarms(seed, windows=300, tolerance=tolerance, rows=rows) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rows", [10_000, 50_000])
def test_a_fifth_of_a_standard_deviation_in_three_features_is_heard_in_the_first_window(seed, rows) -> None:
    heard = alarms(seed, windows=3, rows=rows, shift=0.2)
    assert heard[0][0] == 1
    assert set(heard[0][1]) <= {0, 1, 2}


def test_a_half_standard_deviation_lists_just_the_features_that_moved() -> None:
    assert alarms(0, windows=1, shift=0.5, kinds=1) == [(1, [0, 1, 2])]


def test_a_shift_within_the_tolerance_is_no_alarm() -> None:
    assert alarms(1, windows=60, tolerance=0.06, shift=0.1, kinds=1) == []


def one_column(values, counted) -> float:
    frame = pl.DataFrame({"x": values})
    blocks = [np.zeros(len(frame), dtype=np.int64)]
    columns, tolerances = take_columns(frame, ["x"], blockings=blocks, tolerance=0.01)
    watch = detect.compile_watch(columns, tolerances)
    state = detect.step(watch, watch.start(), counts=[cells(counted(columns[0]))])
    return float(detect.evidence(watch, state)[0])


def test_spread_categories_and_missing_values_are_watched_too() -> None:
    random = np.random.default_rng(3)
    normal = random.normal(size=20_000)
    labels = random.choice(["a", "b", "c"], size=20_000, p=[0.6, 0.3, 0.1]).tolist()
    wide = random.normal(scale=1.4, size=1000)
    gaps = np.where(random.random(1000) < 0.1, np.nan, random.normal(size=1000))
    news = random.choice(["a", "b", "d"], size=1000, p=[0.6, 0.3, 0.1]).tolist()
    for counted, values in (
        (lambda one: count_numbers("x", wide, edges=one.edges), normal),
        (lambda one: count_numbers("x", gaps, edges=one.edges), normal),
        (lambda one: count_labels("x", news, labels=one.labels), labels),
        (lambda one: count_labels("x", ["a"] * 1000, labels=one.labels), labels),
    ):
        assert one_column(values, counted) > 1e4
    assert one_column(labels, lambda one: count_labels("x", labels[:1000], labels=one.labels)) < 10


def test_the_loudest_stream_is_named() -> None:
    columns, watch = reference(np.random.default_rng(0), 10_000, 0.01)
    values = draw(np.random.default_rng(1), ROWS)
    values[0][:500] = np.nan
    counts = [cells(count_numbers(one.name, seen, edges=one.edges)) for one, seen in zip(columns, values, strict=True)]
    assert detect.leading_streams(watch, detect.step(watch, watch.start(), counts=counts))[0] == "missing"


def test_an_empty_window_changes_nothing_and_a_flood_does_not_overflow() -> None:
    columns, watch = reference(np.random.default_rng(0), 10_000, 0.01)
    state = watch.start()
    empty = [cells(count_numbers(one.name, np.array([]), edges=one.edges)) for one in columns]
    assert detect.step(watch, state, counts=empty) is state
    flood = [1e6 * cells(count_numbers(one.name, np.array([np.nan] * 100), edges=one.edges)) for one in columns]
    state = detect.step(watch, detect.step(watch, state, counts=flood), counts=flood)
    assert np.isfinite(detect.evidence(watch, state)).all()


def test_nothing_to_watch_is_no_evidence() -> None:
    watch = detect.compile_watch((), {})
    assert detect.together(detect.evidence(watch, detect.step(watch, watch.start(), counts=()))) == 0.0
    limits, listed = detect.limits(np.zeros(0), RUN_LENGTH)
    assert (limits.size, listed.size) == (0, 0)


def test_listed_features_imply_the_alarm_of_all_together() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        evidences = 10 ** random.uniform(-2, 6, size=8)
        limits, listed = detect.limits(evidences, RUN_LENGTH)
        assert not listed.any() or detect.together(evidences) >= RUN_LENGTH
        assert (evidences[listed] >= 8 * RUN_LENGTH / max(listed.sum(), 1)).all()
        assert sorted(limits) == sorted(8 * RUN_LENGTH / np.arange(1, 9))


def learnt(values: np.ndarray, *lengths: int) -> dict[str, float]:
    frame = pl.DataFrame({"x": values})
    blocks = [np.arange(len(values)) // length for length in lengths]
    (column,), tolerances = take_columns(frame, ["x"], blockings=blocks, tolerance="auto")
    return dict(zip(detect.streams_of(column).names, tolerances["x"], strict=True))


def test_a_steady_reference_teaches_a_small_tolerance_and_a_rhythm_a_wide_one() -> None:
    random = np.random.default_rng(5)
    noise = random.normal(size=60 * 500)
    assert learnt(noise, 500)["rank"] < 0.02
    day = np.arange(len(noise)) // 500
    weekend = noise + 0.5 * (day % 7 >= 5)
    assert 0.1 < learnt(weekend, 500)["rank"] < 0.2  # the farther side lies 0.1 from the mean
    trend = noise + day / 60
    assert learnt(trend, 500, 3500)["rank"] > 0.12


def test_a_rhythm_that_the_reference_has_is_no_alarm() -> None:
    random = np.random.default_rng(6)
    day = lambda number: random.normal(size=900) + 0.5 * (number % 7 >= 5)  # noqa: E731
    frame = pl.DataFrame({"x": np.concatenate([day(number) for number in range(56)])})
    columns, tolerances = take_columns(frame, ["x"], blockings=[np.arange(56 * 900) // 900], tolerance="auto")
    watch = detect.compile_watch(columns, tolerances)
    state, greatest = watch.start(), 0.0
    for number in range(300):
        state = detect.step(watch, state, counts=[cells(count_numbers("x", day(number), edges=columns[0].edges))])
        greatest = max(greatest, float(detect.evidence(watch, state)[0]))
    assert greatest < RUN_LENGTH


def test_few_blocks_teach_nothing() -> None:
    values = np.random.default_rng(0).normal(size=3000)
    assert learnt(values, 1000)["rank"] == UNKNOWN
    streams = detect.streams_of(take_columns(pl.DataFrame({"x": values}), ["x"], blockings=(), tolerance=0.1)[0][0])
    assert learn(streams, np.zeros((9, streams.scores.shape[1]))) == (UNKNOWN,) * 3
    assert learnt(values, 300)["missing"] == LEAST


def test_blocks_of_time_are_cut_at_whole_multiples() -> None:
    times = pl.Series(["2013-01-01T00:00", "2013-01-01T23:59", "2013-01-02T00:00", "2013-01-09T00:00"]).str.to_datetime(
        time_zone="UTC"
    )
    assert block_numbers(times, timedelta(days=1)).tolist() == [0, 0, 1, 2]
