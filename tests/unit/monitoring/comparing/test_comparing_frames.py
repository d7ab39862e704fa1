"""Two frames compared: every kind of column, what is odd, what is said together, and what cannot be compared."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kedge.monitoring
from kedge.domain.comparing import ComparedKind, Oddity
from kedge.errors import RequestInvalid
from kedge.monitoring.comparing.comparison import ComparedSide, compare_sides
from kedge.monitoring.comparing.rules import choose, holm, wished

MONTH = datetime(2024, 1, 1, tzinfo=UTC)


def compare(reference, current, *, joint=(), embed=None, chunk_rows=None, personal=frozenset(), **given):
    asked = dict.fromkeys(("tests", "test", "thresholds", "threshold", "bins")) | {"rules": "kedge"} | given
    sides = [
        ComparedSide(name, pl.DataFrame(rows), len(pl.DataFrame(rows)), personal)
        for name, rows in (("old", reference), ("new", current))
    ]
    wishes = wished(asked.pop("rules"), **asked)
    return compare_sides(*sides, wishes=wishes, joint=joint, embed=embed, chunk_rows=chunk_rows)


def normal(rows=2000, *, seed=0, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1.0, rows)


def oddities(column):
    return {note.oddity for note in column.odd}


def test_what_moved_comes_first_with_how_far() -> None:
    found = compare({"a": normal(), "b": normal(seed=1)}, {"a": normal(seed=2), "b": normal(seed=3, mean=0.5)})
    assert [column.name for column in found.columns] == ["b", "a"]
    assert found.moved
    b, a = found.columns
    assert b.moved
    assert not a.moved
    assert b.far > 0.1
    (measure,) = b.measures
    assert measure.test == "wasserstein"
    assert measure.value == pytest.approx(0.5, abs=0.1)
    assert measure.threshold == 0.1
    assert sum(b.reference_shares) == pytest.approx(1.0)
    assert sum(b.current_shares) == pytest.approx(1.0)


def test_a_distance_that_chance_gives_has_not_moved() -> None:
    small = {"a": normal(60, seed=5)}, {"a": normal(60, seed=6)}
    found = compare(*small).column("a")
    assert found.measures[0].value > 0.1
    assert not found.moved
    assert compare(*small, rules="evidently", test="wasserstein").column("a").moved


@pytest.mark.parametrize("unit", [1e-9, 1e-5, 1.0, 1e9])
def test_a_column_moves_alike_in_every_unit(unit) -> None:
    found = compare({"rate": unit * normal()}, {"rate": unit * normal(seed=1, mean=0.3)}).column("rate")
    assert found.moved
    assert found.measures[0].value == pytest.approx(0.3, abs=0.1)
    floored = compare({"rate": unit * normal()}, {"rate": unit * normal(seed=1, mean=0.3)}, rules="evidently")
    assert floored.column("rate").moved == (unit >= 1.0)


@pytest.mark.parametrize("constant", [0.0, 1e-7, 3.0, 0.1, 1e8])
def test_a_constant_that_is_another_one_has_moved(constant) -> None:
    still = compare({"a": np.full(300, constant)}, {"a": np.full(200, constant)}).column("a")
    moved = compare({"a": np.full(300, constant)}, {"a": np.full(200, constant * 1.5 + (constant == 0))}).column("a")
    assert (still.measures[0].value, still.moved) == (0.0, False)
    assert moved.moved


def test_vectors_of_another_length_are_odd_and_the_other_columns_are_compared() -> None:
    turns = np.random.default_rng(0)
    old = {"embedding": turns.normal(size=(200, 4)).tolist(), "a": normal(200)}
    new = {"embedding": turns.normal(size=(200, 6)).tolist(), "a": normal(200, seed=1)}
    found = compare(old, new)
    assert found.column("embedding").moved
    assert [note.says for note in found.column("embedding").odd] == ["the type changed: vectors of 4 numbers, now of 6"]
    assert not found.column("a").moved


def test_a_threshold_of_nothing_is_refused() -> None:
    frame = {"a": normal(), "b": normal()}
    for where in ("psii", "aa"):
        with pytest.raises(RequestInvalid, match=f"threshold of '{where}': there is no such column or test"):
            compare(frame, frame, test="psi", thresholds={where: 0.2})
    compare(frame, {"a": normal()}, thresholds={"a": 0.2, "b": 0.3, "psi": 0.1, "share": 0.1})


def test_p_values_are_corrected_for_how_many_columns_there_are() -> None:
    frames = [{f"n{place}": normal(500, seed=place + start) for place in range(60)} for start in (0, 100)]
    assert not compare(*frames, test="ks").moved
    assert any(column.moved for column in compare(*frames, test="ks", rules="evidently").columns)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=12))
def test_holm_raises_and_keeps_order(values) -> None:
    raised = holm(values)
    pairs = [(a, b) for a, b in zip(values, raised, strict=True) if a is not None]
    assert [a is None for a in values] == [b is None for b in raised]
    assert all(a <= b <= 1.0 for a, b in pairs)
    assert [b for _, b in sorted(pairs)] == sorted(b for _, b in pairs)
    if pairs:
        assert min(pairs)[1] == pytest.approx(min(1.0, min(pairs)[0] * len(pairs)))


def test_categories_and_booleans_by_shares_and_what_was_never_seen() -> None:
    old = {"k": ["a"] * 500 + ["b"] * 500, "f": [True, False] * 500}
    new = {"k": ["a"] * 600 + ["c"] * 400, "f": [True] * 500 + [False] * 500}
    found = compare(old, new)
    k = found.column("k")
    assert k.moved
    assert k.kind is ComparedKind.CATEGORY
    assert oddities(k) == {Oddity.UNSEEN}
    assert k.odd[0].says == "1 value that the reference has not, in 400 rows (40 %): 'c'"
    assert k.labels == ("a", "b", "c")
    assert k.current_shares == (0.6, 0.0, 0.4)
    assert found.column("f").kind is ComparedKind.BOOLEAN
    assert not found.column("f").moved


def test_missing_values_are_a_measure_of_their_own() -> None:
    holes = [None if place % 5 == 0 else value for place, value in enumerate(normal(seed=9).tolist())]
    column = compare({"a": normal()}, {"a": holes}).column("a")
    missing = next(measure for measure in column.measures if measure.of == "missing")
    assert column.moved
    assert missing.value == pytest.approx(0.2)
    assert missing.p < 1e-6
    assert [measure.moved for measure in column.measures] == [False, True]


@pytest.mark.parametrize(
    ("new", "wanted", "says"),
    [
        ([None] * 50, Oddity.ALL_MISSING, "all 50 values are missing"),
        ([1.0] * 50, Oddity.CONSTANT, "all values are the same now, and were not"),
        ([float("inf"), *range(49)], Oddity.INFINITE, "infinite now, and never before: 1 value"),
        ([str(n) for n in range(50)], Oddity.RETYPED, "the type changed: number, now text"),
        ([bool(n % 2) for n in range(50)], Oddity.RETYPED, "the type changed: number, now boolean"),
    ],
)
def test_an_odd_column_is_named_and_counts_as_moved(new, wanted, says) -> None:
    old = {"a": [n / 7 for n in range(50)], "b": [1] * 50}
    found = compare(old, {"a": pl.Series(new, strict=False), "b": [1] * 50})
    column = found.column("a")
    assert wanted in oddities(column)
    assert column.moved
    assert found.moved
    assert says in [note.says for note in column.odd]
    assert not found.column("b").moved


def test_columns_that_vanished_and_appeared_are_named() -> None:
    found = compare({"a": [1.0, 2], "gone": ["x", "y"]}, {"a": [1.0, 2], "came": [1, None]})
    assert oddities(found.column("gone")) == {Oddity.VANISHED}
    assert found.column("gone").current is None
    assert oddities(found.column("came")) == {Oddity.APPEARED}
    assert found.column("came").current.missing == 1
    assert found.moved


def test_identifiers_and_running_numbers_are_not_tested() -> None:
    old = {"id": range(300), "code": [f"u{n}" for n in range(300)]}
    new = {"id": range(300, 600), "code": [f"u{n}" for n in range(300, 600)]}
    found = compare(old, new)
    assert not found.moved
    assert all(oddities(column) == {Oddity.IDENTIFIER} for column in found.columns)
    assert compare(old, new, tests={"id": "ks"}).column("id").moved


def test_times_are_compared_by_hour_and_weekday_and_time_going_on_is_no_move() -> None:
    def month(start, hours):
        return [start + timedelta(days=day, hours=hour) for day in range(35) for hour in hours]

    old = {"at": month(MONTH, range(24))}
    later = {"at": month(MONTH + timedelta(days=70), range(24))}
    found = compare(old, later).column("at")
    assert found.kind is ComparedKind.TIME
    assert not found.moved
    assert {measure.of for measure in found.measures} == {"values", "hour", "weekday"}
    nights = compare(old, {"at": month(MONTH + timedelta(days=70), range(12))}).column("at")
    assert [measure.of for measure in nights.measures if measure.moved] == ["hour"]
    day = {"at": [MONTH + timedelta(minutes=n) for n in range(1000)]}
    assert {measure.of for measure in compare(old, day).column("at").measures} == {"values"}
    assert compare(old, later, tests={"at": "ks"}).column("at").moved


WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]


def texts(rows, *, seed, words=WORDS):
    turns = np.random.default_rng(seed)
    return [" ".join(turns.choice(words, 6)) for _ in range(rows)]


def test_free_text_by_length_vocabulary_and_classifier() -> None:
    old = {"t": texts(400, seed=0)}
    same = compare(old, {"t": texts(400, seed=1)}).column("t")
    assert same.kind is ComparedKind.TEXT
    assert not same.moved
    moved = compare(old, {"t": texts(400, seed=2, words=[*WORDS, "omega", "psi"])}).column("t")
    by = {measure.of: measure for measure in moved.measures}
    assert by["vocabulary"].moved
    assert by["vocabulary"].value == pytest.approx(2 / 12, abs=0.04)
    assert by["content"].moved
    assert by["content"].value > 0.6
    assert not by["length"].moved


def test_the_same_texts_on_both_sides_are_not_told_apart() -> None:
    old = {"t": texts(300, seed=0)}
    same = compare(old, old).column("t")
    content = next(measure for measure in same.measures if measure.of == "content")
    assert content.value == pytest.approx(0.5, abs=0.01)
    one = compare({"t": ["only one text of some words"] * 60}, {"t": texts(60, seed=1)}).column("t")
    assert one.moved


def whole(reference, current, **wishes):
    return kedge.monitoring.compare(pl.DataFrame(reference), pl.DataFrame(current), **wishes)


def test_an_index_that_was_written_with_the_rows_is_left_out_and_named() -> None:
    old = {"": range(300), "__index_level_0__": range(300), "x": [float(n % 7) for n in range(300)]}
    new = {"": range(300), "x": [float(n % 7) for n in range(300)]}
    found = whole(old, new)
    assert [column.name for column in found.columns] == ["x"]
    assert not found.moved
    assert sum("only numbers the rows" in note for note in found.notes) == 3
    asked = whole(old, new, columns=("",))
    assert [column.name for column in asked.columns] == [""]
    counted = whole({"": [5, 3, 9] * 100, "x": old["x"]}, {"": [5, 3, 9] * 100, "x": new["x"]})
    assert {column.name for column in counted.columns} == {"", "x"}


def test_vectors_by_mean_and_classifier_and_texts_by_a_function() -> None:
    turns = np.random.default_rng(0)
    old, same, far = (turns.normal(shift, 1, (600, 3)).tolist() for shift in (0, 0, 0.4))
    assert not compare({"v": old}, {"v": same}).moved
    column = compare({"v": old}, {"v": far}).column("v")
    assert column.kind is ComparedKind.VECTOR
    assert all(measure.moved for measure in column.measures)

    def lengths(some):
        return [[len(text), text.count("a")] for text in some]

    frames = {"t": texts(300, seed=0)}, {"t": [text + " aaaa" for text in texts(300, seed=1)]}
    assert compare(*frames, embed={"t": lengths}).column("t").kind is ComparedKind.VECTOR
    assert compare(*frames, embed={"t": lengths}).moved
    with pytest.raises(RequestInvalid, match="shape"):
        compare(*frames, embed={"t": lambda some: [1.0]})
    with pytest.raises(RequestInvalid, match="lengths"):
        compare({"v": [[1.0], [1.0, 2.0]]}, {"v": [[1.0], [2.0]]})


def test_together_a_classifier_sees_what_no_column_shows() -> None:
    turns = np.random.default_rng(1)
    x, sign = turns.normal(size=1500), turns.choice([-1, 1], 1500)
    old = {"x": x, "y": x + turns.normal(0, 0.1, 1500), "noise": turns.normal(size=1500)}
    new = {"x": x, "y": sign * x + turns.normal(0, 0.1, 1500), "noise": turns.normal(size=1500)}
    found = compare(old, new, joint=("classifier", "energy"))
    classifier, energy = found.together
    assert classifier.moved
    assert classifier.low > 0.6
    assert {one.column for one in classifier.telling} >= {"x", "y"}
    assert energy.moved
    assert energy.p < 0.01
    assert found.moved
    z = turns.normal(size=1500)
    again = {"x": z, "y": z + turns.normal(0, 0.1, 1500), "noise": turns.normal(size=1500)}
    same = compare(old, again, joint=("classifier", "energy"))
    assert not any(one.moved for one in same.together)
    assert same.together[0].low < 0.5 < same.together[0].high


def test_a_small_reference_says_what_it_cannot_know() -> None:
    found = compare({"a": normal(30)}, {"a": normal(5000, seed=1)})
    assert "old has 30 rows: a mean that moved by less than 0.6" in found.notes[0]
    assert "9.5 % of the rows" in found.notes[0]
    assert not compare({"a": normal(300)}, {"a": normal(300, seed=1)}).notes


def test_personal_columns_show_no_values() -> None:
    old, new = {"name": ["Ada", "Bob"] * 50, "pay": normal(100)}, {"name": ["Eve"] * 100, "pay": normal(100, mean=2)}
    found = compare(old, new, personal=frozenset({"name", "pay"}))
    assert found.column("name").moved
    assert found.column("pay").moved
    text = repr(found)
    assert "Ada" not in text
    assert "Eve" not in text
    assert found.column("pay").current.mean is None
    assert found.column("pay").borders == ()
    assert found.column("name").personal


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ({"a": []}, {"a": [1]}, "old, the reference, has no rows"),
        ({"a": [1]}, {"a": []}, "new, what is compared with it, has no rows"),
        ({"a": [1]}, {"b": [1]}, "no column is in both: old has a; new has b"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_error(old, new, says) -> None:
    with pytest.raises(RequestInvalid, match=says):
        compare(old, new)


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ({"rules": "best"}, "there are no rules 'best'"),
        ({"test": "magic"}, "there is no test 'magic'; there are: anderson_darling"),
        ({"tests": {"k": "ks"}}, "column 'k' has no order"),
        ({"tests": {"zz": "ks"}}, "column 'zz' is not in both frames"),
        ({"threshold": -1.0}, "threshold: -1.0 is not a number of 0 or more"),
        ({"thresholds": {"a": float("nan")}}, "threshold of 'a': nan"),
        ({"bins": 1}, "bins: 1 is neither"),
        ({"joint": ("guess",)}, "there is no joint test 'guess'"),
        ({"joint": ("energy",)}, "needs 20 rows on each side; there are 4"),
    ],
)
def test_a_wish_that_cannot_be_is_one_clear_error(wishes, says) -> None:
    frame = {"a": [1.0, 2, 3, 4], "k": ["x", "y", "x", "y"]}
    with pytest.raises(RequestInvalid, match=says):
        compare(frame, frame, **wishes)


def test_thresholds_and_tests_by_column_by_test_and_for_all() -> None:
    frames = {"a": normal(), "b": normal(seed=1)}, {"a": normal(seed=2, mean=0.2), "b": normal(seed=3, mean=0.2)}
    assert len(compare(*frames).moved_columns) == 2
    assert [column.name for column in compare(*frames, thresholds={"a": 0.5}).moved_columns] == ["b"]
    assert not compare(*frames, thresholds={"wasserstein": 0.5}).moved
    assert not compare(*frames, threshold=0.5).moved
    several = compare(*frames, tests={"a": ["ks", "psi"]}).column("a")
    assert [measure.test for measure in several.measures] == ["ks", "psi"]
    for bins in ("profile", "sturges", 10):
        assert compare(*frames, test="psi", bins=bins).column("a").measures[0].value > 0


def test_the_rules_of_evidently_choose_by_rows_and_by_distinct_values() -> None:
    wishes = wished("evidently", tests=None, test=None, thresholds=None, threshold=None, bins=None)

    def usual(kind, rows, distinct):
        return choose(wishes, "a", kind=kind, rows=rows, distinct=distinct)[0].name

    number, category = ComparedKind.NUMBER, ComparedKind.CATEGORY
    assert [usual(number, 1000, n) for n in (None, 5, 2)] == ["ks", "chi2", "z"]
    assert [usual(number, 1001, n) for n in (None, 5)] == ["wasserstein", "jensen_shannon"]
    assert [usual(category, rows, n) for rows, n in ((1000, 9), (1000, 2), (1001, 9))] == ["chi2", "z", "jensen_shannon"]


NUMBERS = st.lists(
    st.one_of(st.none(), st.floats(), st.integers(-3, 3).map(float), st.sampled_from([1e308, -1e308, 5e-324])), min_size=1
)
LABELS = st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1)


@given(old=NUMBERS, new=NUMBERS, rules=st.sampled_from(["kedge", "evidently", "nannyml"]))
def test_any_numbers_give_a_comparison(old, new, rules) -> None:
    column = compare({"a": pl.Series(old, dtype=pl.Float64)}, {"a": pl.Series(new, dtype=pl.Float64)}, rules=rules).columns[
        0
    ]
    assert 0.0 <= column.far <= 1.0
    assert column.current.rows == len(new)
    assert column.current.missing == sum(value is None or value != value for value in new)
    assert column.current.infinite == sum(value in (float("inf"), -float("inf")) for value in new)


@given(old=LABELS, new=LABELS, rules=st.sampled_from(["kedge", "evidently", "nannyml"]))
def test_any_labels_give_a_comparison(old, new, rules) -> None:
    column = compare({"a": pl.Series(old, dtype=pl.String)}, {"a": pl.Series(new, dtype=pl.String)}, rules=rules).columns[0]
    assert 0.0 <= column.far <= 1.0
    assert column.current.missing == sum(value is None for value in new)


@given(values=NUMBERS)
def test_a_frame_has_not_moved_from_itself(values) -> None:
    frame = {"a": pl.Series(values, dtype=pl.Float64)}
    found = compare(frame, frame)
    assert not found.moved
    assert found.columns[0].far == 0.0


def test_structs_and_bytes_are_told_apart_and_not_shown() -> None:
    for was, now in ((b"x", b"y"), ({"a": 1}, {"a": 2})):
        column = compare({"a": [was] * 40}, {"a": [now] * 40}).column("a")
        assert column.moved
        assert column.labels == ()
        assert column.odd[-1].says == "1 value that the reference has not, in 40 rows (100 %)"
        assert not compare({"a": [was] * 40}, {"a": [was] * 40}).moved


@pytest.mark.parametrize(
    ("new", "says"),
    [
        (normal(50).tolist(), "50 values finite now"),
        ([1.0, *[np.inf] * 49], "1 value finite now"),
        ([-np.inf] * 50, "and now of another sign"),
    ],
)
def test_a_reference_of_infinite_values_alone_is_named(new, says) -> None:
    column = compare({"a": [np.inf] * 50}, {"a": new}).column("a")
    (note,) = column.odd
    assert note.oddity is Oddity.INFINITE
    assert says in note.says
    assert column.moved
    assert column.far > 0


def test_infinite_values_alone_have_not_moved_from_themselves() -> None:
    column = compare({"a": [np.inf] * 50}, {"a": [np.inf] * 50}).column("a")
    assert (column.moved, column.odd, column.far) == (False, (), 0.0)


@pytest.mark.parametrize("values", [[3.0] * 100, ["x"] * 100])
def test_a_constant_has_not_moved_beyond_its_own_chunks(values) -> None:
    column = compare({"a": values}, {"a": values}, rules="nannyml").column("a")
    (measure,) = column.measures
    assert (measure.value, measure.threshold, column.moved) == (0.0, 0.0, False)
