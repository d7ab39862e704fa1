"""Searches of runs and of experiments: a filter, orders and a page, checked and read into a `Query`.

    runs_query("metrics.loss < 0.5 AND params.model ILIKE '%boost%'", order=["metrics.loss ASC"], experiments=["0"])

    runs         metrics.K  params.K  tags.K  attributes.{run_id run_name status user_id start_time end_time artifact_uri}
                 dataset.{name digest context}
    experiments  name  experiment_id  creation_time  last_update_time  tags.K
Models and their versions are searched by `search_models.py`.
"""

from collections.abc import Sequence

from kedge.domain.finding import Condition, LifecycleView, Operator, Order, Query, Subject
from kedge.errors import SearchInvalid
from kedge.tracking.grammar import Found, Grammar, checked_limit, comparisons, condition, no_twice, orders, shown

PAGE = 1_000
MOST = 50_000  # of a page

_NUMERIC = (Operator.EQ, Operator.NE, Operator.LT, Operator.LE, Operator.GT, Operator.GE)
_TEXT = (Operator.EQ, Operator.NE, Operator.LIKE, Operator.ILIKE)
_LISTED = (*_TEXT, Operator.IN, Operator.NOT_IN)
_NULLABLE = (*_TEXT, Operator.IS_NULL, Operator.IS_NOT_NULL)

_RUN = {name: name for name in ("artifact_uri", "end_time", "run_id", "run_name", "start_time", "status", "user_id")}
_RUN_TIMES = {"created": "start_time", "Created": "start_time"}
_RUN_NAMES = {"run name": "run_name", "Run name": "run_name", "Run Name": "run_name"}
_ENTITIES = {
    Subject.METRIC: ("metric", "metrics"),
    Subject.PARAM: ("parameter", "parameters", "param", "params"),
    Subject.TAG: ("tag", "tags"),
    Subject.ATTRIBUTE: ("attribute", "attributes", "attr", "run"),
    Subject.DATASET: ("dataset", "datasets"),
}
_RUNS = Grammar(
    attributes=_RUN | _RUN_TIMES | _RUN_NAMES,
    sortable=_RUN | _RUN_TIMES,
    numeric=frozenset({"start_time", "end_time", *_RUN_TIMES}),
    listed=frozenset({"run_id"}),
    entities={name: subject for subject, names in _ENTITIES.items() for name in names},
    entities_text="Invalid entity type '{}'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']",
    datasets=frozenset({"name", "digest", "context"}),
    nullable=frozenset({Subject.TAG, Subject.PARAM}),
    nullable_text="IS NULL / IS NOT NULL is only supported for tags and params, not for '{subject}' '{key}'",
    clause_text="'{}'",
    value_text="Expected a quoted string value for attributes. Got value {}",
)
_EXPERIMENT = {name: name for name in ("name", "experiment_id", "creation_time", "last_update_time")}
_EXPERIMENT_TIMES = frozenset({"creation_time", "last_update_time"})
_EXPERIMENTS = Grammar(
    attributes=_EXPERIMENT,
    sortable=_EXPERIMENT,
    numeric=_EXPERIMENT_TIMES,
    listed=frozenset({"experiment_id"}),
    nullable=frozenset({Subject.TAG}),
    nullable_text="IS NULL / IS NOT NULL is only supported for tags, not for attribute '{key}'",
    value_text=_RUNS.value_text,
)
_NEWEST = (Order(Subject.ATTRIBUTE, "creation_time", ascending=False), Order(Subject.ATTRIBUTE, "experiment_id"))


def runs_query(
    filter: str = "",
    *,
    order: Sequence[str] = (),
    limit: int = PAGE,
    page: str = "",
    experiments: Sequence[str] = (),
    view: LifecycleView = LifecycleView.ACTIVE,
    counted: bool = False,
) -> Query:
    """Read a search of runs. Raises SearchInvalid."""
    checked_limit(limit, MOST)
    found = comparisons(filter, _RUNS)
    sorted_by = orders(order, _RUNS)
    if unfit := [one.subject.value for one in sorted_by if one.subject is Subject.DATASET]:
        raise SearchInvalid(f"Invalid identifier type '{unfit[0]}'")
    no_twice(sorted_by, order)
    return Query(
        where=tuple(_run_condition(one) for one in found),
        order=tuple(sorted_by),
        limit=limit,
        page=page,
        experiments=tuple(experiments),
        view=view,
        counted=counted,
    )


def experiments_query(
    filter: str = "",
    *,
    order: Sequence[str] = (),
    limit: int = PAGE,
    page: str = "",
    view: LifecycleView = LifecycleView.ACTIVE,
    counted: bool = False,
) -> Query:
    """Read a search of experiments. Raises SearchInvalid."""
    checked_limit(limit, MOST)
    where = tuple(_experiment_condition(one) for one in comparisons(filter, _EXPERIMENTS))
    sorted_by = orders(order, _EXPERIMENTS)
    if unfit := [one.subject.value for one in sorted_by if one.subject is not Subject.ATTRIBUTE]:
        raise SearchInvalid(f"Invalid order_by entity: {unfit[0]}")
    no_twice(sorted_by, order)
    return Query(where=where, order=tuple(sorted_by or _NEWEST), limit=limit, page=page, view=view, counted=counted)


def _run_condition(found: Found) -> Condition:
    allowed, text, closing = _RUN_OPERATORS[found.subject]
    if found.subject is Subject.ATTRIBUTE and found.key in _RUNS.numeric:
        allowed, closing = _NUMERIC, ""
    # the quote that some of these texts lack is lacking in what clients match, too
    named = shown(operator.value for operator in text)
    return condition(found, allowed, otherwise=f"Invalid comparator '{found.operator}' not one of '{named}{closing}")


_RUN_OPERATORS = {
    Subject.METRIC: (_NUMERIC, _NUMERIC, ""),
    Subject.PARAM: (_NULLABLE, _NULLABLE, "'"),
    Subject.TAG: (_NULLABLE, _NULLABLE, ""),
    Subject.ATTRIBUTE: (_LISTED, _LISTED, "'"),
    Subject.DATASET: (_LISTED, _LISTED, ""),
}


def _experiment_condition(found: Found) -> Condition:
    if found.subject is Subject.TAG:
        return condition(found, _NULLABLE, otherwise=f"Invalid comparator for tag: {found.operator}")
    if found.key == "experiment_id":
        allowed = (Operator.EQ, Operator.NE, Operator.IN, Operator.NOT_IN)
        read = condition(found, allowed, otherwise=f"Invalid comparator for experiment_id: {found.operator}")
        for one in read.value if isinstance(read.value, tuple) else (read.value,):
            experiment_number(str(one))
        return read
    named = shown(operator.value for operator in _LISTED)
    if found.key in _EXPERIMENT_TIMES:
        read = condition(found, _NUMERIC, otherwise=f"Invalid comparator '{found.operator}' not one of '{named}")
        if isinstance(read.value, float):
            raise SearchInvalid(f"Invalid value for numeric attribute '{found.key}': '{read.value}'")
        return read
    return condition(found, _TEXT, otherwise=f"Invalid comparator '{found.operator}' not one of '{named}'")


def experiment_number(text: str) -> int:
    """Read an experiment's id as the number that it is. Raises SearchInvalid."""
    try:
        return int(text[:40])
    except ValueError:
        raise SearchInvalid(f"Invalid experiment ID '{text}'. Experiment ID must be a valid integer.") from None
