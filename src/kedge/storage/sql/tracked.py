"""Searches of experiments, runs and logged models: what of them can be searched, and where it stands."""

from __future__ import annotations

from collections.abc import Sequence

from kedge.domain.finding import Condition, DatasetChoice, Operator, Order, Page, Query, Subject
from kedge.domain.ids import ExperimentId, LoggedModelId, RunId
from kedge.storage.sql.finding import Labels, Readable, Searchable, Sql, Term, among, both, compare, find
from kedge.storage.sql.hot import Hot
from kedge.storage.sql.session import Session

_NEWEST = Order(Subject.ATTRIBUTE, "start_time", ascending=False)


class _Runs(Searchable):
    """Metrics are the latest values of `series`; null is NaN. An index keeps them in order within an experiment."""

    walks = True

    def measured(self, one: Condition, query: Query, *, session: Session) -> Sql:
        """Compare the latest value; a NaN differs from every number, and is nothing else."""
        within = among("m.experiment", query.experiments, session=session)
        compared = compare("m.value", one, session=session)
        if one.operator is Operator.NE:
            compared = Sql(f"({compared.text} OR m.value IS NULL)", compared.values)
        met = both([within, Sql("m.key = ?", (one.key,)), compared])
        return Sql(f"t.id IN (SELECT m.run FROM series m WHERE {met.text})", met.values)

    def read_from(self, one: Condition, query: Query, *, session: Session) -> Sql:
        """Compare any dataset that the run read."""
        column = "r.context" if one.key == "context" else f"d.{one.key}"
        within = among("d.experiment", query.experiments, session=session)
        met = both([within, compare(column, one, session=session)])
        there = " AND r.context <> ''" if one.key == "context" else ""
        datasets = "run_datasets r JOIN input_datasets d ON d.id = r.dataset"
        return Sql(f"t.id IN (SELECT r.run FROM {datasets} WHERE {met.text}{there})", met.values)

    def metric_terms(self, order: Order, at: int) -> tuple[Sql, Term, Term]:
        """Sort by the latest value."""
        join = Sql(f" LEFT JOIN series o{at} ON o{at}.run = t.id AND o{at}.key = ?", (order.key,))
        bucket = f"CASE WHEN o{at}.run IS NULL THEN 2 WHEN o{at}.value IS NULL THEN 1 ELSE 0 END"
        return join, Term(Sql(bucket)), Term(Sql(f"o{at}.value"), order.ascending)

    def walked(self, bucket: int, query: Query, *, session: Session) -> tuple[str, list[Sql]]:
        """Walk the index of values; whoever has none is met run by run."""
        key = Sql("o0.key = ?", (query.order[0].key,))
        if bucket == 2:
            return "runs t", [Sql("NOT EXISTS (SELECT 1 FROM series o0 WHERE o0.run = t.id AND o0.key = ?)", key.values)]
        valued = Sql("o0.value IS NOT NULL" if bucket == 0 else "o0.value IS NULL")
        within = among("o0.experiment", query.experiments, session=session)
        return "series o0 CROSS JOIN runs t", [Sql("t.id = o0.run"), within, key, valued]


class _LoggedModels(Searchable):
    """A logged model has many points of a metric: any may meet a condition, the latest is sorted by."""

    def base(self, query: Query, session: Session) -> list[Sql]:
        """Where datasets are named and no metric is compared, ask for any metric on one of them."""
        found = super().base(query, session)
        if query.datasets and not any(one.subject is Subject.METRIC for one in query.where):
            on = _on(query.datasets)
            found.append(Sql(f"t.id IN (SELECT m.model FROM logged_model_metrics m WHERE {on.text})", on.values))
        return found

    def measured(self, one: Condition, query: Query, *, session: Session) -> Sql:
        """Compare the points, only those on the query's datasets where it names some."""
        compared = compare("m.value", one, session=session)
        differs = one.operator is Operator.NE
        compared = Sql(f"({compared.text} {'OR m.nan = 1' if differs else 'AND m.nan = 0'})", compared.values)
        met = both([Sql("m.key = ?", (one.key,)), compared, *([_on(query.datasets)] if query.datasets else [])])
        return Sql(f"t.id IN (SELECT m.model FROM logged_model_metrics m WHERE {met.text})", met.values)

    def metric_terms(self, order: Order, at: int) -> tuple[Sql, Term, Term]:
        """Sort by the latest point, on the order's dataset where it names one."""
        on = [Sql(f"m.{column} = ?", (text,)) for column, text in _dataset(order.dataset_name, order.dataset_digest)]
        met = both([Sql("m.model = t.id"), Sql("m.key = ?", (order.key,)), *on])
        value = Sql(
            f"(SELECT CASE m.nan WHEN 0 THEN m.value END FROM logged_model_metrics m WHERE {met.text}"
            " ORDER BY m.at DESC, m.step DESC, m.run LIMIT 1)",
            met.values,
        )
        bucket = Sql(f"CASE WHEN {value.text} IS NULL THEN 1 ELSE 0 END", value.values)
        return Sql(""), Term(bucket), Term(value, order.ascending)


def _dataset(name: str, digest: str) -> list[tuple[str, str]]:
    return [(column, text) for column, text in (("dataset_name", name), ("dataset_digest", digest)) if text]


def _on(datasets: Sequence[DatasetChoice]) -> Sql:
    named = [both([Sql(f"m.{column} = ?", (text,)) for column, text in _dataset(one.name, one.digest)]) for one in datasets]
    either = both([Sql(f"({one.text})", one.values) for one in named], by=" OR ")
    return Sql(f"({either.text})", either.values)


RUNS = _Runs(
    "runs",
    ids=("id",),
    attributes={
        "run_id": Readable("t.id"),
        "run_name": Readable("t.name"),
        "status": Readable("UPPER(t.status)"),
        "user_id": Readable("t.user_name"),
        "start_time": Readable("t.started_at", "time"),
        "end_time": Readable("t.ended_at", "time", nullable=True),
        "artifact_uri": Readable("('mlflow-artifacts:/' || t.experiment || '/' || t.id || '/artifacts')"),
    },
    labels={Subject.PARAM: Labels("run_params", ("run",)), Subject.TAG: Labels("run_tags", ("run",))},
    ties=(_NEWEST, Order(Subject.ATTRIBUTE, "run_id")),
    bounded=True,
)

EXPERIMENTS = Searchable(
    "experiments",
    ids=("id",),
    attributes={
        "experiment_id": Readable("t.id", "numeral"),
        "name": Readable("t.name"),
        "creation_time": Readable("t.created_at", "time"),
        "last_update_time": Readable("t.updated_at", "time"),
    },
    labels={Subject.TAG: Labels("experiment_tags", ("experiment",))},
    ties=(Order(Subject.ATTRIBUTE, "experiment_id", ascending=False),),
)

LOGGED_MODELS = _LoggedModels(
    "logged_models",
    ids=("id",),
    attributes={
        "model_id": Readable("t.id"),
        "experiment_id": Readable("t.experiment", "numeral"),
        "name": Readable("t.name"),
        "model_type": Readable("t.model_type"),
        "status": Readable("UPPER(t.status)"),
        "status_message": Readable("t.message"),
        "source_run_id": Readable("t.run", nullable=True),
        "creation_time": Readable("t.created_at", "time"),
        "last_update_time": Readable("t.updated_at", "time"),
    },
    labels={
        Subject.PARAM: Labels("logged_model_params", ("model",)),
        Subject.TAG: Labels("logged_model_tags", ("model",)),
    },
    ties=(Order(Subject.ATTRIBUTE, "creation_time", ascending=False), Order(Subject.ATTRIBUTE, "model_id")),
    bounded=True,
)


class SqlFinder:
    """Searches what is tracked (port `Finder`)."""

    def __init__(self, hot: Hot) -> None:
        self._hot = hot

    def runs(self, query: Query) -> Page[RunId]:
        """Find runs, newest first where the query asks for no order."""
        with self._hot.reading() as session:
            found = find(session, RUNS, query=query)
        return Page(tuple(RunId(row[0]) for row in found.items), found.next, found.total)

    def experiments(self, query: Query) -> Page[ExperimentId]:
        """Find experiments, newest first where the query asks for no order."""
        with self._hot.reading() as session:
            found = find(session, EXPERIMENTS, query=query)
        return Page(tuple(ExperimentId(row[0]) for row in found.items), found.next, found.total)

    def logged_models(self, query: Query) -> Page[LoggedModelId]:
        """Find logged models, newest first where the query asks for no order."""
        with self._hot.reading() as session:
            found = find(session, LOGGED_MODELS, query=query)
        return Page(tuple(LoggedModelId(row[0]) for row in found.items), found.next, found.total)
