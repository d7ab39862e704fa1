"""The language of filters and orders: good texts, bad texts with the errors that clients match, and any text at all."""

import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from kedge.domain.finding import Condition, Operator, Order, Query, Subject, position_in, token_of
from kedge.errors import SearchInvalid
from kedge.tracking.search import experiments_query, runs_query
from kedge.tracking.search_models import logged_models_query, model_versions_query, registered_models_query
from kedge.tracking.spelling import filter_of, written

IN_LIST = "While parsing a list in the query, expected a non-empty list of string values, but got"
ILL_FORMED = f"{IN_LIST} ill-formed list."
AT_MOST = "Invalid value for request parameter max_results. It must be at most {}, but got value {}"
A, M, P, T, D = Subject.ATTRIBUTE, Subject.METRIC, Subject.PARAM, Subject.TAG, Subject.DATASET
GOOD_RUNS = [
    ("", ()),
    ("metrics.a > 1", (Condition(M, "a", Operator.GT, 1.0),)),
    ("metric.a >= -1.5e-3", (Condition(M, "a", Operator.GE, -0.0015),)),
    ("metrics.`a b/c` != .5", (Condition(M, "a b/c", Operator.NE, 0.5),)),
    ('metrics."a b" <5.', (Condition(M, "a b", Operator.LT, 5.0),)),
    ("metrics.val.loss<=1e5", (Condition(M, "val.loss", Operator.LE, 1e5),)),
    ("params.lr = '0.1'", (Condition(P, "lr", Operator.EQ, "0.1"),)),
    ('parameters.lr = "it\'s"', (Condition(P, "lr", Operator.EQ, "it's"),)),
    ("param.lr = 'it''s'", (Condition(P, "lr", Operator.EQ, "it''s"),)),
    ("params.x = ''", (Condition(P, "x", Operator.EQ, ""),)),
    ("params.x like '%a_' AND tag.y ilike 'B%'", None),
    ("tags.mlflow.user = 'me'", (Condition(T, "mlflow.user", Operator.EQ, "me"),)),
    ("tags.`x y` IS NULL and params.z is not null", None),
    ("status = 'FINISHED'", (Condition(A, "status", Operator.EQ, "FINISHED"),)),
    ("attributes.run_id IN ('a', \"b\")", (Condition(A, "run_id", Operator.IN, ("a", "b")),)),
    ("run_id NOT IN ('a')", (Condition(A, "run_id", Operator.NOT_IN, ("a",)),)),
    ("attr.start_time > 12", (Condition(A, "start_time", Operator.GT, 12),)),
    ("Created > 12.5", (Condition(A, "start_time", Operator.GT, 12.5),)),
    ("`Run name` = 'x'", (Condition(A, "run_name", Operator.EQ, "x"),)),
    ("run.end_time <= 5", (Condition(A, "end_time", Operator.LE, 5),)),
    ("dataset.name = 'd' AND datasets.context IN ('train', 'test')", None),
    ("  metrics.a = 1\n AND\tmetrics.b = 2  ", None),
    ("metrics.a = 1 metrics.b = 2 AND", None),  # clients get away with it
]
OPERATORS = "{'!=', '<', '<=', '=', '>', '>='}"
TEXTS = "{'!=', '=', 'ILIKE', 'IS NOT NULL', 'IS NULL', 'LIKE'}"
LISTED = "{'!=', '=', 'ILIKE', 'IN', 'LIKE', 'NOT IN'}"
BAD_RUNS = [
    ("   ", "Invalid filter '   '. Could not be parsed."),
    ("metrics.a > 1 OR metrics.b > 1", "Invalid clause(s) in filter string: 'OR'"),
    ("metrics.a", "Invalid clause(s) in filter string: 'metrics.a'"),
    ("(metrics.a > 1)", "Invalid clause(s) in filter string: '(metrics.a > 1)'"),
    ("metrics.a > 1, metrics.b > 2", "Invalid clause(s) in filter string: 'metrics.a > 1, metrics.b > 2'"),
    (
        "metrics.a > 1; metrics.b > 1",
        "Search filter contained multiple expression 'metrics.a > 1; metrics.b > 1'. Provide AND-ed expression list.",
    ),
    ("metrics.a > 1;", "Invalid clause(s) in filter string: ';'"),
    ("metrics.a-b > 1", "Invalid comparison clause. Expected 'Identifier' found 'metrics.a-b'"),
    ("1 = 1", "Invalid comparison clause. Expected 'Identifier' found '1'"),
    (
        "foo = 'x'",
        "Invalid attribute key 'foo' specified. Valid keys are '{'Created', 'Run Name', 'Run name', 'artifact_uri', "
        "'created', 'end_time', 'run name', 'run_id', 'run_name', 'start_time', 'status', 'user_id'}'",
    ),
    ("foo.x = 'x'", "Invalid entity type 'foo'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']"),
    ("dataset.x = 'x'", "Invalid dataset key 'x' specified. Valid keys are '{'context', 'digest', 'name'}'"),
    ("metrics.a = 'x'", "Expected numeric value type for metric. Found 'x'"),
    ("params.a = 1", "Expected a quoted string value for parameter (e.g. 'my-value'). Got value 1"),
    ("tags.a = NULL", "Expected a quoted string value for tag (e.g. 'my-value'). Got value NULL"),
    (
        "params.a = x",
        "Parameter value is either not quoted or unidentified quote types used for string value x. "
        "Use either single or double quotes.",
    ),
    ("start_time > 'x'", "Expected numeric value type for numeric attribute: start_time. Found 'x'"),
    (
        "start_time > 99999999999999999999",
        "Invalid value for numeric attribute 'start_time': '99999999999999999999' does not fit 64 bits",
    ),
    ("status = 5", "Expected a quoted string value for attributes. Got value 5"),
    ("status IN ('a')", "Only ['run_id'] attributes support comparison with a list of quoted string values."),
    ("run_id IN ()", "While parsing a list in the query, expected a non-empty list of string values, but got empty list"),
    (
        "run_id IN (1, 2)",
        "While parsing a list in the query, expected string value, punctuation, or whitespace, but got "
        "different type in list: (1, 2)",
    ),
    (
        "run_id IN (a)",
        "While parsing a list in the query, expected a non-empty list of string values, but got ill-formed list.",
    ),
    (
        "run_id = ('a')",
        "Invalid comparator '=' for 'run_id': use IN or NOT IN with a list of values, and a list with nothing else.",
    ),
    ("metrics.a LIKE 5", f"Invalid comparator 'LIKE' not one of '{OPERATORS}"),
    ("params.a > 'x'", f"Invalid comparator '>' not one of '{TEXTS}'"),
    ("tags.a >= 'x'", f"Invalid comparator '>=' not one of '{TEXTS}"),
    ("status < 'x'", f"Invalid comparator '<' not one of '{LISTED}'"),
    ("end_time LIKE 5", f"Invalid comparator 'LIKE' not one of '{LISTED}"),
    ("dataset.name > 'x'", f"Invalid comparator '>' not one of '{LISTED}"),
    ("params.a not like 'x'", f"Invalid comparator 'NOT LIKE' not one of '{TEXTS}'"),
    ("metrics.a IS NULL", "IS NULL / IS NOT NULL is only supported for tags and params, not for 'metric' 'a'"),
    ("params.a LIKE '" + "a" * 1001 + "'", "Invalid pattern for 'a': it is longer than 1000 characters."),
    (" AND ".join(["metrics.a > 1"] * 101), "Invalid filter: 101 comparisons, and at most 100 are read. Ask for less."),
]


@pytest.mark.parametrize(("text", "where"), GOOD_RUNS)
def test_a_good_filter_of_runs_is_read(text: str, where: tuple[Condition, ...] | None) -> None:
    read = runs_query(text).where
    assert len(read) == (2 if where is None else len(where))
    if where is not None:
        assert read == where
    if "''s" not in text:
        assert runs_query(filter_of(read)).where == read


@pytest.mark.parametrize(("text", "message"), BAD_RUNS)
def test_a_bad_filter_of_runs_is_refused_with_the_text_that_clients_know(text: str, message: str) -> None:
    with pytest.raises(SearchInvalid) as caught:
        runs_query(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("metrics.a", Order(M, "a")),
        ("metrics.`a b` DESC", Order(M, "a b", ascending=False)),
        ('params."x y" asc', Order(P, "x y")),
        ("Created desc", Order(A, "start_time", ascending=False)),
        ("tag.mlflow.user", Order(T, "mlflow.user")),
        ("attributes.run_name DESC", Order(A, "run_name", ascending=False)),
    ],
)
def test_a_good_order_is_read(text: str, order: Order) -> None:
    assert runs_query(order=[text]).order == (order,)
    assert runs_query(order=[f"{written(order.subject, order.key)} {'ASC' if order.ascending else 'DESC'}"]).order == (
        order,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Invalid order_by clause ''. Could not be parsed."),
        ("metrics.a, metrics.b", "Invalid order_by clause 'metrics.a, metrics.b'. Could not be parsed."),
        ("metrics.a foo", "Invalid ordering key in order_by clause 'metrics.a foo'."),
        ("metrics.a asc nulls last", "Invalid order_by clause 'metrics.a asc nulls last'. Could not be parsed."),
        ("metrics.`a", "Invalid order_by clause 'metrics.`a'. Could not be parsed."),
        ("dataset.name", "Invalid identifier type 'dataset'"),
        ("foo.x", "Invalid entity type 'foo'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']"),
    ],
)
def test_a_bad_order_is_refused(text: str, message: str) -> None:
    with pytest.raises(SearchInvalid) as caught:
        runs_query(order=[text])
    assert str(caught.value) == message


def test_an_order_names_a_key_once() -> None:
    with pytest.raises(SearchInvalid, match=r"`order_by` contains duplicate fields: \['start_time', 'Created desc'\]"):
        runs_query(order=["start_time", "Created desc"])


@pytest.mark.parametrize(
    ("limit", "message"), [(0, "a positive integer"), (-5, "a positive integer"), (50_001, "at most 50000")]
)
def test_a_page_has_its_bounds(limit: int, message: str) -> None:
    for read in (runs_query, experiments_query):
        with pytest.raises(SearchInvalid) as caught:
            read(limit=limit)
        assert str(caught.value) == f"Invalid value {limit} for parameter 'max_results' supplied. It must be {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metrics.a > 1", "Invalid entity type 'metrics'. Valid entity types are ('attribute', 'tag', 'tags')"),
        ("name IN ('x')", "Only ['experiment_id'] attributes support comparison with a list of quoted string values."),
        ("experiment_id = 'x'", "Invalid experiment ID 'x'. Experiment ID must be a valid integer."),
        ("experiment_id > '1'", "Invalid comparator for experiment_id: >"),
        ("creation_time > 1.5", "Invalid value for numeric attribute 'creation_time': '1.5'"),
        ("creation_time LIKE 1", f"Invalid comparator 'LIKE' not one of '{LISTED}"),
        ("tags.a > 'x'", "Invalid comparator for tag: >"),
        ("name IS NULL", "IS NULL / IS NOT NULL is only supported for tags, not for attribute 'name'"),
        ("name = 'a' or name = 'b'", "Invalid clause(s) in filter string: or"),
    ],
)
def test_a_bad_filter_of_experiments_is_refused(text: str, message: str) -> None:
    with pytest.raises(SearchInvalid) as caught:
        experiments_query(text)
    assert str(caught.value) == message


def test_experiments_are_found_by_name_times_and_tags() -> None:
    query = experiments_query(
        "name LIKE 'a%' AND creation_time >= 5 AND tags.x IS NOT NULL AND experiment_id IN ('1', '2')",
        order=["name DESC", "last_update_time"],
    )
    assert [one.key for one in query.where] == ["name", "creation_time", "x", "experiment_id"]
    assert query.order == (Order(A, "name", ascending=False), Order(A, "last_update_time"))
    with pytest.raises(SearchInvalid, match="Invalid order_by entity: tag"):
        experiments_query(order=["tags.x"])


def test_registered_models_leave_prompts_out_unless_asked() -> None:
    plain = registered_models_query(
        "name ILIKE '%a%' AND tags.`mlflow.prompt.is_prompt` != 'true'", order=["timestamp DESC"]
    )
    assert plain.where == (Condition(A, "name", Operator.ILIKE, "%a%"),)
    assert plain.without == (Condition(T, "mlflow.prompt.is_prompt", Operator.EQ, "true"),)
    assert plain.order == (Order(A, "last_updated_timestamp", ascending=False), Order(A, "name"))
    asked = registered_models_query("tags.`mlflow.prompt.is_prompt` = 'true'")
    assert (len(asked.where), asked.without) == (1, ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run_id = 'x'", "Invalid attribute key 'run_id' specified. Valid keys are '{'name'}'"),
        ("name > 'x'", "Invalid comparator for attribute: >"),
        ("tags.a > 'x'", "Invalid comparator for tag: >"),
        ("name = 5", "Expected a quoted string value or a list of quoted string values for attributes. Got value 5"),
        ("tags.a IS NULL", "Invalid comparison clause. Expected 3 tokens found 2"),
    ],
)
def test_a_bad_filter_of_registered_models_is_refused(text: str, message: str) -> None:
    with pytest.raises(SearchInvalid) as caught:
        registered_models_query(text)
    assert str(caught.value) == message


def test_model_versions_compare_their_numbers() -> None:
    query = model_versions_query("name = 'm' AND version_number > '3' AND run_id IN ('a')")
    assert query.where[1] == Condition(A, "version_number", Operator.GT, 3)
    assert [(one.key, one.ascending) for one in query.order] == [
        ("last_updated_timestamp", False),
        ("name", True),
        ("version_number", False),
    ]
    for text, message in [
        ("version_number > 1.5", "Invalid value for numeric attribute 'version_number': 1.5"),
        ("version_number LIKE '1'", "Invalid comparator for attribute version_number: LIKE"),
        (
            "source_path IN ('a')",
            "Only ['name', 'run_id'] attributes support comparison with a list of quoted string values.",
        ),
        (
            "name = 5",
            "Only the '{'creation_timestamp', 'last_updated_timestamp', 'version_number'}' attributes support "
            "comparison with numeric values.",
        ),
    ]:
        with pytest.raises(SearchInvalid) as caught:
            model_versions_query(text)
        assert str(caught.value) == message


def test_logged_models_take_orders_and_datasets_as_objects() -> None:
    query = logged_models_query(
        "metrics.acc > 0.9 AND params.lr = 0.01 AND creation_timestamp > 5 AND name in ('a','b')",
        order=[{"field_name": "metrics.acc", "ascending": False, "dataset_name": "d"}, {"field_name": "creation_time"}],
        datasets=[{"dataset_name": "d", "dataset_digest": "x"}],
        experiments=["0"],
    )
    assert query.where[1] == Condition(P, "lr", Operator.EQ, "0.01")
    assert query.where[2:] == (
        Condition(A, "creation_time", Operator.GT, 5.0),
        Condition(A, "name", Operator.IN, ("a", "b")),
    )
    assert query.order[0] == Order(M, "acc", ascending=False, dataset_name="d")
    for text, message in [
        ("tag.x = 'a'", "Invalid entity type: 'tag'. Expected one of ['attributes', 'metrics', 'params', 'tags']."),
        (
            "metrics.x LIKE 'a'",
            "Invalid comparison operator for metrics.x: 'LIKE'. Expected one of ('<', '<=', '>', '>=', '=', '!=').",
        ),
        ("tags.x IS NULL", "Invalid comparison: tags.xIS NULL. Expected a comparison with 3 tokens."),
        (
            "a OR b",
            "Invalid filter string: 'a OR b'. Expected a list of comparisons separated by 'AND' "
            "(e.g. 'metrics.loss > 0.1 AND params.lr = 0.01').",
        ),
    ]:
        with pytest.raises(SearchInvalid) as caught:
            logged_models_query(text)
        assert str(caught.value) == message
    for given_order, message in [
        ({"field_name": "params.x"}, "Invalid order by field name: params.x. Only metrics are supported."),
        ({"field_name": "nope"}, "Invalid order by field name: nope"),
        ({}, "`field_name` in the `order_by` clause must be specified."),
    ]:
        with pytest.raises(SearchInvalid) as caught:
            logged_models_query(order=[given_order])
        assert str(caught.value) == message
    with pytest.raises(SearchInvalid, match="`dataset_name` in the `datasets` clause must be specified"):
        logged_models_query(datasets=[{"dataset_digest": "x"}])


PIECES = st.sampled_from(
    [
        *"'\"`()[],;.=<>!-+*/%$?:@#\\ \n\t",
        "metrics",
        "params.",
        "tags.`",
        "attributes.",
        "dataset.name",
        "run_id",
        "AND",
        "OR",
        *(
            " IN (",
            "NOT ",
            "NULL",
            "IS ",
            "LIKE",
            "ILIKE ",
            "'a'",
            '"b"',
            "1",
            "-2.5e3",
            "0x1",
            "é",
            "ß",
            "ж",
            "\x00",
            "DESC",
        ),
        *("timestamp", "-- ", "# ", "name", "version_number", "metrics.a > 1"),
    ]
)
TEXT = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=25).map("".join))
READERS = [runs_query, experiments_query, registered_models_query, model_versions_query]


@settings(max_examples=300)
@given(text=TEXT)
def test_no_text_makes_a_reader_raise_anything_but_its_own_error(text: str) -> None:
    for read in (*READERS, logged_models_query):
        with suppress(SearchInvalid):
            assert isinstance(read(text), Query)
    for read in READERS:
        with suppress(SearchInvalid):
            assert isinstance(read(order=[text]), Query)


KEYS = st.one_of(
    st.sampled_from(["a", "val.loss", "from", "a b", "x/y-z", "1a", "é", "in", "DESC", "a.from"]),
    st.text(st.characters(blacklist_characters="`", blacklist_categories=["Cs"]), min_size=1, max_size=10),
)
VALUES = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12).filter(lambda s: not ("'" in s and '"' in s))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    subject = draw(st.sampled_from([M, P, T, A, D]))
    if subject is M:
        operator = draw(st.sampled_from([Operator.EQ, Operator.NE, Operator.LT, Operator.LE, Operator.GT, Operator.GE]))
        return Condition(M, draw(KEYS), operator, draw(NUMBERS))
    if subject in {P, T}:
        operator = draw(st.sampled_from([Operator.EQ, Operator.NE, Operator.LIKE, Operator.ILIKE, Operator.IS_NULL]))
        return Condition(subject, draw(KEYS), operator, None if operator is Operator.IS_NULL else draw(VALUES))
    if subject is A:
        return draw(
            st.one_of(
                st.builds(Condition, st.just(A), st.just("end_time"), st.just(Operator.LT), st.integers(0, 2**62)),
                st.builds(
                    Condition,
                    st.just(A),
                    st.just("run_id"),
                    st.just(Operator.IN),
                    st.lists(st.text(st.characters(blacklist_categories=["Cs"]), max_size=8), min_size=1).map(tuple),
                ),
            )
        )
    return Condition(D, draw(st.sampled_from(["name", "digest", "context"])), Operator.EQ, draw(VALUES))


@settings(max_examples=150)
@given(where=st.lists(conditions(), max_size=6))
@example(where=[Condition(A, "run_id", Operator.IN, ("\\", "", "'", "\n\0"))])
def test_what_is_written_reads_back_as_the_same(where: list[Condition]) -> None:
    try:
        text = filter_of(where)
    except SearchInvalid:
        return  # a text that ends in a backslash and the like: no filter says it
    assert runs_query(text).where == tuple(where)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "metrics.a > 1 AND " * 10_000,
        "a - " * 20_000,
        "a." * 90_000,
        "'" + "\\'" * 90_000,
        "`" * 199_999,
        "metrics.a desc" + " desc" * 30_000,
        "/*" * 90_000,
        "1" * 199_000,
        "run_id IN (" + "'a'," * 40_000 + "'b')",
        "a b " * 40_000,
        "-- \n" * 40_000,
        "(a" * 60_000 + ")" * 60_000,
    ],
)
def test_no_text_costs_much(text: str) -> None:
    began = time.process_time()
    with pytest.raises(SearchInvalid):
        runs_query(text)
    assert time.process_time() - began < 5.0  # seconds; what is not bounded takes minutes


def test_a_list_of_five_thousand_runs_is_read() -> None:
    ids = tuple(f"{number:032x}" for number in range(5_000))
    text = f"run_id IN ({', '.join(repr(one) for one in ids)})"
    assert runs_query(text).where == (Condition(A, "run_id", Operator.IN, ids),)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (
            lambda: runs_query(order=["metrics.a"] * 33),
            "Invalid order_by: 33 clauses, and at most 32 are read. Ask for less.",
        ),
        (lambda: runs_query(order=['metrics.`a"`']), "Invalid order_by clause 'metrics.`a\"`'. Could not be parsed."),
        (lambda: runs_query("a" * 200_001), "Invalid filter: 200001 characters, and at most 200000 are read. Ask for less."),
        (lambda: runs_query("dataset.name = 5"), "Expected a quoted string value for dataset attributes. Got value 5"),
        (lambda: runs_query("run_id IN (1 'a')"), ILL_FORMED),
        (lambda: runs_query("run_id IN (,)"), ILL_FORMED),
        (lambda: runs_query("run_id IN ('a\\x1')"), ILL_FORMED),
        (lambda: registered_models_query(limit=1001), AT_MOST.format(1000, 1001)),
        (lambda: model_versions_query(limit=200_001), AT_MOST.format(200_000, 200_001)),
        (lambda: model_versions_query(limit=0), "Invalid value for max_results. It must be a positive integer, but got 0"),
        (
            lambda: model_versions_query(order=["tags.x"]),
            "Invalid order by key 'x' specified. Valid keys are "
            "{'creation_timestamp', 'last_updated_timestamp', 'name', 'version_number'}",
        ),
        (
            lambda: logged_models_query(order=[{"field_name": "name", "ascending": 1}]),
            "Value of `ascending` in the `order_by` clause must be a boolean, got <class 'int'> for field name.",
        ),
        (lambda: logged_models_query("metrics.a > x"), "Expected numeric value type for metrics.a. Found x"),
        (lambda: logged_models_query("metrics.a > nan"), "Expected numeric value type for metrics.a. Found nan"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(read: Callable[[], Query], message: str) -> None:
    with pytest.raises(SearchInvalid) as caught:
        read()
    assert str(caught.value) == message


def test_texts_in_a_list_that_stand_side_by_side_are_one() -> None:
    assert runs_query("run_id IN ('a' \"b\", 'c\\x41')").where[0].value == ("ab", "cA")


@pytest.mark.parametrize(
    "one",
    [
        Condition(M, "a", Operator.GT, float("inf")),
        Condition(M, '`"', Operator.GT, 1.0),
        Condition(P, "a", Operator.EQ, "'\""),
        Condition(P, "a", Operator.EQ, "a\\"),
    ],
)
def test_what_no_filter_says_is_not_written(one: Condition) -> None:
    with pytest.raises(SearchInvalid, match="no filter says"):
        filter_of([one])


def test_a_name_with_a_backtick_is_written_in_double_quotes() -> None:
    where = (Condition(T, "a`b", Operator.IS_NULL),)
    assert runs_query(filter_of(where)).where == where


def test_a_token_holds_where_a_page_ended() -> None:
    query = runs_query("metrics.a > 1")
    position = (0, 1.5, "é", None, 2**53 + 1)
    assert position_in(query) is None
    assert position_in(structs.replace(query, page=token_of(query, position), limit=3, counted=True)) == position
    for odd in ({"a": 1}, ([1],)):
        with pytest.raises(SearchInvalid, match="it cannot be read"):
            position_in(structs.replace(query, page=token_of(query, odd)))
