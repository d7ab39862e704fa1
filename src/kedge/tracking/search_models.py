"""Searches of registered models, of their versions and of logged models, read into a `Query`.

registered models  name  tags.K                                 ordered by name, timestamp
model versions     name  version_number  run_id  source_path  tags.K
logged models      metrics.K  params.K  tags.K  attributes of the model; orders and dataset conditions come as objects
"""

import math
from collections.abc import Mapping, Sequence

from kedge.domain.finding import Condition, DatasetChoice, Operator, Order, Query, Subject
from kedge.errors import SearchInvalid
from kedge.tracking import grammar
from kedge.tracking.grammar import (
    Found,
    Grammar,
    checked_limit,
    compared,
    comparisons,
    condition,
    list_of,
    named,
    no_twice,
    orders,
    shown,
)
from kedge.tracking.search import MOST
from kedge.tracking.words import Word, WordKind

MODELS_PAGE, MODELS_MOST = 100, 1_000
VERSIONS_PAGE, VERSIONS_MOST = 10_000, 200_000
LOGGED_PAGE = 100

_NUMERIC = (Operator.LT, Operator.LE, Operator.GT, Operator.GE, Operator.EQ, Operator.NE)
_TEXT = (Operator.EQ, Operator.NE, Operator.LIKE, Operator.ILIKE)
_LISTED = (*_TEXT, Operator.IN, Operator.NOT_IN)

# prompts share the clients' registry; a search of models leaves them out unless it asks for them
_PROMPT = "mlflow.prompt.is_prompt"
_IS_PROMPT = Condition(Subject.TAG, _PROMPT, Operator.EQ, "true")

_NO_NUMBERS = "Expected a quoted string value or a list of quoted string values for attributes. Got value {}"
_MODELS = Grammar(
    attributes={"name": "name"}, sortable={}, numeric=frozenset(), listed=frozenset({"name"}), value_text=_NO_NUMBERS
)
_MODEL_ORDERS = {
    "name": "name",
    "timestamp": "last_updated_timestamp",
    "last_updated_timestamp": "last_updated_timestamp",
}
_VERSION = {name: name for name in ("name", "version_number", "run_id", "source_path")}
_VERSION_ORDERS = {name: name for name in ("name", "version_number", "creation_timestamp", "last_updated_timestamp")}
_VERSION_NUMBERS = ("version_number", "creation_timestamp", "last_updated_timestamp")
_VERSIONS = Grammar(
    attributes=_VERSION,
    sortable=_VERSION_ORDERS,
    numeric=frozenset({"version_number"}),
    numbers_only=False,
    listed=frozenset({"name", "run_id"}),
    value_text=_NO_NUMBERS,
    text_for_numbers=f"Only the '{shown(_VERSION_NUMBERS)}' attributes support comparison with numeric values.",
)


def registered_models_query(
    filter: str = "", *, order: Sequence[str] = (), limit: int = MODELS_PAGE, page: str = "", counted: bool = False
) -> Query:
    """Read a search of registered models; its order is whole: ties are broken by name. Raises SearchInvalid."""
    if limit > MODELS_MOST:
        raise SearchInvalid(
            f"Invalid value for request parameter max_results. It must be at most {MODELS_MOST}, but got value {limit}"
        )
    checked_limit(limit, MODELS_MOST)
    found = comparisons(filter, _MODELS)
    sorted_by = [_model_order(text) for text in order]
    no_twice(sorted_by, order)
    where, without = _prompts_apart([_model_condition(one) for one in found])
    return Query(
        where=where,
        without=without,
        order=_with_ties(sorted_by, Order(Subject.ATTRIBUTE, "name")),
        limit=limit,
        page=page,
        counted=counted,
    )


def model_versions_query(
    filter: str = "", *, order: Sequence[str] = (), limit: int = VERSIONS_PAGE, page: str = "", counted: bool = False
) -> Query:
    """Read a search of model versions; its order is whole: ties are broken by name, then number. Raises SearchInvalid."""
    if limit < 1:
        raise SearchInvalid(f"Invalid value for max_results. It must be a positive integer, but got {limit}")
    if limit > VERSIONS_MOST:
        raise SearchInvalid(
            f"Invalid value for request parameter max_results. It must be at most {VERSIONS_MOST}, but got value {limit}"
        )
    where, without = _prompts_apart([_version_condition(one) for one in comparisons(filter, _VERSIONS)])
    sorted_by = orders(order or ("last_updated_timestamp DESC",), _VERSIONS)
    if unfit := [one.key for one in sorted_by if one.subject is not Subject.ATTRIBUTE]:
        raise SearchInvalid(f"Invalid order by key '{unfit[0]}' specified. Valid keys are {shown(_VERSION_ORDERS)}")
    no_twice(sorted_by, order)
    ties = (Order(Subject.ATTRIBUTE, "name"), Order(Subject.ATTRIBUTE, "version_number", ascending=False))
    return Query(where=where, without=without, order=_with_ties(sorted_by, *ties), limit=limit, page=page, counted=counted)


def _with_ties(sorted_by: Sequence[Order], *ties: Order) -> tuple[Order, ...]:
    keys = {one.key for one in sorted_by}
    return (*sorted_by, *(tie for tie in ties if tie.key not in keys))


def _model_order(text: str) -> Order:
    name, ascending = grammar.sort_key(text)
    if (key := _MODEL_ORDERS.get(name.strip())) is None:
        raise SearchInvalid(f"Invalid order by key '{name.strip()}' specified. Valid keys are '{{'name', 'timestamp'}}'")
    return Order(Subject.ATTRIBUTE, key, ascending)


def _model_condition(found: Found) -> Condition:
    if found.subject is Subject.TAG:
        return condition(found, _TEXT, otherwise=f"Invalid comparator for tag: {found.operator}")
    return condition(found, _LISTED, otherwise=f"Invalid comparator for attribute: {found.operator}")


def _version_condition(found: Found) -> Condition:
    if found.key != "version_number" or found.subject is Subject.TAG:
        return _model_condition(found)
    read = condition(found, _NUMERIC, otherwise=f"Invalid comparator for attribute version_number: {found.operator}")
    try:
        if isinstance(read.value, float):
            raise ValueError
        number = int(str(read.value)[:40])
    except ValueError:
        raise SearchInvalid(f"Invalid value for numeric attribute 'version_number': {read.value!r}") from None
    return Condition(read.subject, read.key, read.operator, max(min(number, 2**63 - 1), -(2**63)))


def _prompts_apart(read: Sequence[Condition]) -> tuple[tuple[Condition, ...], tuple[Condition, ...]]:
    asked = next((one for one in read if one.subject is Subject.TAG and one.key == _PROMPT), None)
    if asked is not None:
        value = str(asked.value).lower()
        if (asked.operator, value) in {(Operator.EQ, "true"), (Operator.NE, "false")}:
            return tuple(read), ()
    return tuple(one for one in read if one.subject is not Subject.TAG or one.key != _PROMPT), (_IS_PROMPT,)


_LOGGED_NAMES = {
    "model_id": "model_id",
    "name": "name",
    "model_type": "model_type",
    "status": "status",
    "status_message": "status_message",
    "source_run_id": "source_run_id",
    "experiment_id": "experiment_id",
    "creation_time": "creation_time",
    "creation_timestamp": "creation_time",
    "creation_timestamp_ms": "creation_time",
    "last_updated_time": "last_update_time",
    "last_updated_timestamp": "last_update_time",
    "last_updated_timestamp_ms": "last_update_time",
}
_LOGGED_TIMES = {"creation_time", "last_update_time"}
_LOGGED_ENTITIES = {
    "attributes": Subject.ATTRIBUTE,
    "metrics": Subject.METRIC,
    "params": Subject.PARAM,
    "tags": Subject.TAG,
}
_ONE_EXPRESSION = "Invalid filter string: {text!r}. Expected a single SQL expression."
_LOGGED = Grammar(
    attributes=_LOGGED_NAMES,
    sortable=_LOGGED_NAMES,
    numeric=frozenset(),
    listed=frozenset(),
    entities=_LOGGED_ENTITIES,
    entities_text="Invalid entity type: '{}'. Expected one of ['attributes', 'metrics', 'params', 'tags'].",
    blank_text=_ONE_EXPRESSION,
    several_text=_ONE_EXPRESSION,
    faulty_text=(
        "Invalid filter string: {text!r}. Expected a list of comparisons separated by 'AND' "
        "(e.g. 'metrics.loss > 0.1 AND params.lr = 0.01')."
    ),
)


def logged_models_query(
    filter: str = "",
    *,
    order: Sequence[Mapping[str, object]] = (),
    datasets: Sequence[Mapping[str, object]] = (),
    limit: int = LOGGED_PAGE,
    page: str = "",
    experiments: Sequence[str] = (),
    counted: bool = False,
) -> Query:
    """Read a search of logged models. Raises SearchInvalid.

    An order is `{"field_name", "ascending", "dataset_name", "dataset_digest"}`, a dataset the last two of these: with
    datasets, only metrics measured on one of them count.
    """
    chosen = tuple(_dataset(one) for one in datasets)
    checked_limit(limit, MOST)
    return Query(
        where=tuple(_logged_condition(one.parts) for one in compared(filter, _LOGGED)),
        order=tuple(_logged_order(one) for one in order),
        limit=limit,
        page=page,
        experiments=tuple(experiments),
        datasets=chosen,
        counted=counted,
    )


def _dataset(given: Mapping[str, object]) -> DatasetChoice:
    if not (name := given.get("dataset_name")):
        raise SearchInvalid("`dataset_name` in the `datasets` clause must be specified.")
    return DatasetChoice(str(name), str(given.get("dataset_digest") or ""))


def _logged_order(given: Mapping[str, object]) -> Order:
    field = given.get("field_name")
    if not isinstance(field, str) or not field:
        raise SearchInvalid("`field_name` in the `order_by` clause must be specified.")
    ascending = given.get("ascending", True)
    if not isinstance(ascending, bool):
        kind = type(ascending)
        raise SearchInvalid(
            f"Value of `ascending` in the `order_by` clause must be a boolean, got {kind} for field {field}."
        )
    dataset = str(given.get("dataset_name") or ""), str(given.get("dataset_digest") or "")
    entity, dot, key = field.partition(".")
    if not dot:
        if (known := _LOGGED_NAMES.get(field)) is None:
            raise SearchInvalid(f"Invalid order by field name: {field}")
        return Order(Subject.ATTRIBUTE, known, ascending, *dataset)
    if entity != "metrics":
        raise SearchInvalid(f"Invalid order by field name: {field}. Only metrics are supported.")
    return Order(Subject.METRIC, key, ascending, *dataset)


def _logged_condition(parts: Sequence[Word]) -> Condition:
    """Read a comparison: names need no backticks here and texts no quotes, so `params.lr = 0.01` compares texts."""
    if len(parts) != 3:
        pieces = "".join(part.text for part in parts)
        raise SearchInvalid(f"Invalid comparison: {pieces}. Expected a comparison with 3 tokens.")
    name, operator, value = parts
    subject, key = named(name.text, _LOGGED.attributes, grammar=_LOGGED)
    timed = subject is Subject.ATTRIBUTE and key in _LOGGED_TIMES
    numeric = timed or subject is Subject.METRIC
    entity = next(name for name, one in _LOGGED_ENTITIES.items() if one is subject)
    allowed = _NUMERIC if numeric else _LISTED
    shown_as = tuple(one.value for one in allowed)
    text = f"Invalid comparison operator for {entity}.{key}: {operator.text.upper()!r}. Expected one of {shown_as}."
    condition(Found(subject, key, operator.text.upper(), _loose_text(value)), allowed, otherwise=text)
    read = _loose_number(value, f"{entity}.{key}") if numeric else _loose_text(value)
    return condition(Found(subject, key, operator.text.upper(), read), allowed, otherwise=text)


def _loose_text(word: Word) -> str | tuple[str, ...]:
    if word.kind is WordKind.BRACKETS:
        return list_of(word)
    quoted = len(word.text) > 1 and word.text[0] == word.text[-1] and word.text[0] in "'\""
    return word.text[1:-1] if quoted else word.text


def _loose_number(word: Word, name: str) -> float:
    try:
        number = float(word.text)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise SearchInvalid(f"Expected numeric value type for {name}. Found {word.text}")
    return number
