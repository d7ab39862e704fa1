"""Labels before a training: classes, contradictions, features that give the answer away, rows of the test in the training.

All of it in bounded memory: hashes of rows (eight bytes each), and a sample of rows where features are held against the
label. What one feature tells alone is measured on rows that its bins were not filled from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from kedge.data.source import column_type, every, require_column
from kedge.domain.data import ColumnType
from kedge.domain.evaluation import Task
from kedge.domain.ids import DatasetName, Digest
from kedge.domain.labels import ClassShare, FeaturePower, LabelFinding, LabelProblem, LabelReport
from kedge.errors import RequestInvalid

RARE, FEWEST = 0.01, 50
SUSPICIOUS = {Task.CLASSIFICATION: 0.5, Task.REGRESSION: 0.75}
CERTAIN = 0.9
"""The shares of a label's uncertainty that a feature alone may take away before it is to be looked at, and before it counts
as the label's own copy."""
_SAMPLE = 200_000
_CELLS = 64
_MOST_CLASSES = 50
_WEIGHT = 1.0  # rows by which each cell is drawn to the mean
_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """A labelled table: the columns that name its rows and tell their time, and those that a model may read.

    `test` holds other rows, kept for judging. Without it, and with a `time`, the newest fifth of the rows stands for it.
    `known` are the classes that there should be. Of `personal` columns no value is shown.
    """

    rows: pl.LazyFrame
    label: str
    dataset: DatasetName
    version: Digest
    key: str = ""
    time: str = ""
    ignore: frozenset[str] = frozenset()
    personal: frozenset[str] = frozenset()
    test: pl.LazyFrame | None = None
    known: tuple[str, ...] = ()

    @property
    def features(self) -> list[str]:
        """Name the columns that a model may read."""
        return [name for name in self.rows.collect_schema() if name not in {self.label, self.key, self.time} | self.ignore]


def task_of(dtype: pl.DataType, distinct: int) -> Task:
    """Tell what a label is: numbers of many values are to be predicted as numbers."""
    numbers = dtype.is_float() or (dtype.is_numeric() and distinct > _MOST_CLASSES)
    return Task.REGRESSION if numbers and distinct > 2 else Task.CLASSIFICATION


def check_labels(table: LabelTable) -> LabelReport:
    """Check a table's labels. Raises SourceFailed for a column it lacks, RequestInvalid for a label that is none."""
    schema = table.rows.collect_schema()
    for name in (table.label, table.key, table.time):
        if name:
            require_column(name, list(schema), where=f"dataset {table.dataset!r}")
    if schema[table.label].is_temporal():
        raise RequestInvalid(f"column {table.label!r} is a time; a label is a class or a number")
    label = pl.col(table.label)
    asked = table.rows.select(rows=pl.len(), missing=label.null_count(), distinct=label.drop_nulls().n_unique())
    rows, missing, distinct = asked.collect(engine="streaming").row(0)
    task = task_of(schema[table.label], distinct)
    classes = _classes(table, rows - missing) if task is Task.CLASSIFICATION else ()
    features = _telling(table, task)
    findings = [*_shares(table, classes, task=task, missing=missing, rows=rows), *_contradictions(table)]
    findings += [_leak(table, told) for told in features if told.skill >= SUSPICIOUS[task]]
    findings += _repeated(table)
    return LabelReport(
        dataset=table.dataset,
        version=table.version,
        label=table.label,
        task=task,
        rows=rows,
        classes=classes,
        findings=tuple(sorted(findings, key=lambda each: not each.stops)),
        features=features,
    )


def _classes(table: LabelTable, labelled: int) -> tuple[ClassShare, ...]:
    text = pl.col(table.label).cast(pl.String).alias("name")
    counted = table.rows.select(text).drop_nulls().group_by("name").len(name="rows").collect(engine="streaming")
    found = counted.sort(["rows", "name"], descending=[True, False]).iter_rows()
    hidden = table.label in table.personal
    return tuple(
        ClassShare(name=f"class {place}" if hidden else name, rows=rows, share=rows / labelled)
        for place, (name, rows) in enumerate(found, 1)
    )


def _shares(
    table: LabelTable, classes: Sequence[ClassShare], *, task: Task, missing: int, rows: int
) -> Iterator[LabelFinding]:
    if missing:
        said = f"{missing} of {rows} rows have no label"
        yield LabelFinding(problem=LabelProblem.MISSING, message=said, rows=missing, stops=missing == rows)
    if task is Task.CLASSIFICATION and len(classes) == 1:
        said = f"all labels are {classes[0].name!r}: there is nothing to tell apart"
        yield LabelFinding(problem=LabelProblem.ONE_CLASS, message=said, rows=classes[0].rows, stops=True)
    for each in classes[:_MOST_CLASSES]:
        if each.share < RARE or each.rows < FEWEST:
            said = f"class {each.name!r} has {each.rows} rows ({each.share:.2%}); a model learns little of it"
            yield LabelFinding(problem=LabelProblem.RARE_CLASS, message=said, rows=each.rows)
    hidden = table.label in table.personal  # its classes have no names here, known or not
    strange = [each for each in classes if each.name not in table.known] if table.known and not hidden else []
    if table.test is not None and task is Task.CLASSIFICATION and not hidden:
        text = pl.col(table.label).cast(pl.String)
        there = set(table.test.select(text.drop_nulls().unique()).collect(engine="streaming").to_series())
        names = {each.name for each in classes}
        if new := sorted(there - names):
            said = f"the test has classes that no training row has: {_some(new)}"
            yield LabelFinding(problem=LabelProblem.UNSEEN_CLASS, message=said, stops=True)
    if strange:
        said = f"classes that are not known: {_some([each.name for each in strange])}; known are {_some(table.known)}"
        count = sum(each.rows for each in strange)
        yield LabelFinding(problem=LabelProblem.UNSEEN_CLASS, message=said, rows=count, stops=True)


def _contradictions(table: LabelTable) -> Iterator[LabelFinding]:
    if table.key:
        rows, groups, first = _conflicts(table, [table.key])
        if rows:
            named = "" if table.key in table.personal else f", such as {first!r}"
            said = f"{groups} values of {table.key!r} have more than one label ({rows} rows{named})"
            yield LabelFinding(problem=LabelProblem.CONFLICTING_KEY, message=said, rows=rows, column=table.key, stops=True)
    if features := table.features:
        rows, groups, _ = _conflicts(table, features)
        if rows:
            said = f"{rows} rows are equal in all features and differ in the label ({groups} groups): no model can be right"
            yield LabelFinding(problem=LabelProblem.CONFLICTING_ROWS, message=said, rows=rows)


def _conflicts(table: LabelTable, names: Sequence[str]) -> tuple[int, int, object]:
    """Count rows that are equal in some columns, and differ in the label: rows, groups of them, and a value of the first."""
    label = pl.col(table.label)
    known = table.rows.filter(
        label.is_not_null() & pl.col(names[0]).is_not_null() if len(names) == 1 else label.is_not_null()
    )
    grouped = known.select(
        pl.struct(names).hash().alias("hash"), label.hash().alias("label"), pl.col(names[0]).alias("value")
    )
    differ = (
        grouped.group_by("hash")
        .agg(pl.len().alias("rows"), pl.col("value").first(), pl.col("label").min() != pl.col("label").max())
        .filter(pl.col("label"))
        .select(pl.col("rows").sum(), pl.len().alias("groups"), pl.col("value").first())
    )
    rows, groups, value = differ.collect(engine="streaming").row(0)
    return int(rows or 0), int(groups), value


def _leak(table: LabelTable, told: FeaturePower) -> LabelFinding:
    auc = f" (ROC AUC {told.roc_auc:.3f})" if told.roc_auc is not None else ""
    asked = "is it known before the answer is wanted?"
    said = f"column {told.column!r} alone tells {told.skill:.0%} of {table.label!r}{auc}: {asked}"
    return LabelFinding(problem=LabelProblem.LEAKAGE, message=said, column=told.column, stops=told.skill >= CERTAIN)


def _telling(table: LabelTable, task: Task) -> tuple[FeaturePower, ...]:
    """Measure what each feature alone tells of the label, most first."""
    features, schema = table.features, table.rows.collect_schema()
    labelled = table.rows.filter(pl.col(table.label).is_not_null())
    count = int(labelled.select(pl.len()).collect(engine="streaming").item())
    taken = every(labelled, max(1, count // _SAMPLE)).select(table.label, *features).collect(engine="streaming")
    if len(taken) < 2 * FEWEST:
        return ()
    target = _target(taken[table.label], task)
    # rows near one another are alike: halves are told apart by a hash, not by place
    halves = (np.arange(len(taken), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(63)).astype(bool)
    found = [_told(taken[name], target, halves=halves, task=task) for name in features if not schema[name].is_nested()]
    return tuple(sorted((each for each in found if each is not None), key=lambda each: -each.skill))


def _target(label: pl.Series, task: Task) -> np.ndarray:
    """Give the label as numbers (n, 1), or as one column of zeros and ones for each frequent class."""
    if task is Task.REGRESSION:
        return label.cast(pl.Float64).to_numpy()[:, None]
    text = label.cast(pl.String)
    names = text.value_counts(sort=True).head(_MOST_CLASSES).to_series().sort()
    return np.stack([(text == name).to_numpy() for name in names], axis=1).astype(np.float64)


def _told(values: pl.Series, target: np.ndarray, *, halves: np.ndarray, task: Task) -> FeaturePower | None:
    """Fill cells from one half of the rows, and answer the other half from them; then the other way round."""
    answers = np.empty_like(target)
    for half in (halves, ~halves):
        cell = _cells(values, half)
        if cell is None:
            return None
        size = int(cell.max()) + 1
        mean = target[half].mean(axis=0)
        counts = np.bincount(cell[half], minlength=size)[:, None]
        sums = np.stack([np.bincount(cell[half], weights=one, minlength=size) for one in target[half].T], axis=1)
        answers[~half] = ((sums + _WEIGHT * mean) / (counts + _WEIGHT))[cell[~half]]
    if task is Task.REGRESSION:
        spread = float(np.square(target - target.mean()).sum())
        skill = 1 - float(np.square(target - answers).sum()) / spread if spread > 0 else 0.0
        return FeaturePower(column=values.name, skill=max(0.0, skill))
    shares = np.clip(target.mean(axis=0), 1e-9, 1)
    entropy = float(-(shares * np.log(shares)).sum())
    loss = float(-(target * np.log(np.clip(answers, 1e-6, 1))).sum(axis=1).mean())
    skill = 1 - loss / entropy if entropy > 1e-6 else 0.0
    auc = _auc(target[:, 1], answers[:, 1]) if target.shape[1] == 2 else None
    return FeaturePower(column=values.name, skill=max(0.0, min(1.0, skill)), roc_auc=auc)


def _cells(values: pl.Series, half: np.ndarray) -> np.ndarray | None:
    """Put each row into a cell: a quantile bin of the first half's numbers or one of its frequent texts; 0 is missing."""
    kind = column_type(values.dtype)
    if kind in (ColumnType.STRING, ColumnType.BOOLEAN):
        text = values.cast(pl.String, strict=False)
        names = text.filter(pl.Series(half)).drop_nulls().value_counts(sort=True).head(_CELLS).to_series().to_list()
        if not names:
            return None
        place = text.cast(pl.Enum(names), strict=False).to_physical().cast(pl.Int64)
        return np.where(text.is_null().to_numpy(), 0, place.fill_null(len(names)).to_numpy() + 1)
    numbers = (values.to_physical() if kind is ColumnType.TIME else values).cast(pl.Float64, strict=False).to_numpy()
    present = numbers[half & np.isfinite(numbers)]
    if not present.size:
        return None
    edges = np.unique(np.quantile(present, np.linspace(0, 1, _CELLS + 1)[1:-1]))
    return np.where(np.isnan(numbers), 0, np.searchsorted(edges, numbers, side="right") + 1)


def _auc(truth: np.ndarray, answers: np.ndarray) -> float | None:
    """Give the probability that a true row is answered higher than another one, ties half."""
    ones = float(truth.sum())
    if ones in (0.0, float(len(truth))):
        return None
    _, place, counts = np.unique(answers, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    auc = float((ranks[place][truth > 0.5].sum() - ones * (ones + 1) / 2) / (ones * (len(truth) - ones)))
    return max(auc, 1 - auc)


def _repeated(table: LabelTable) -> Iterator[LabelFinding]:
    """Find rows, and keys, that stand in the training and in the test."""
    parted = _parted(table)
    if parted is None:
        return
    train, test, name = parted
    if features := table.features:
        count, rows = _shared(train, test, names=features)
        if count:
            said = f"{count} of {rows} rows of {name} are equal in all features to a training row"
            yield LabelFinding(problem=LabelProblem.REPEATED_IN_TEST, message=said, rows=count, stops=count > RARE * rows)
    if table.key:
        count, rows = _shared(train, test, names=[table.key])
        if count:
            said = f"{count} of {rows} rows of {name} have a {table.key!r} that is in the training, too"
            yield LabelFinding(problem=LabelProblem.KEY_IN_TEST, message=said, rows=count, column=table.key, stops=True)


def _parted(table: LabelTable) -> tuple[pl.LazyFrame, pl.LazyFrame, str] | None:
    if table.test is not None:
        return table.rows, table.test, "the test"
    if not table.time:
        return None
    time = pl.col(table.time)
    times = table.rows.select(time).drop_nulls().collect(engine="streaming").to_series()
    if times.is_empty():
        return None
    cut = times.sort()[int(0.8 * len(times))]
    return (
        table.rows.filter(time < cut),
        table.rows.filter(time >= cut),
        "the newest fifth" + ("" if table.time in table.personal else f" (from {cut})"),
    )


def _shared(train: pl.LazyFrame, test: pl.LazyFrame, *, names: Sequence[str]) -> tuple[int, int]:
    """Count the rows of a test that are equal in some columns to a row of the training, and all of the test's."""
    schema, there = train.collect_schema(), test.collect_schema()
    for name in names:
        require_column(name, list(there), where="the test")
    asked = pl.struct(pl.col(name).cast(schema[name], strict=False) for name in names).hash().alias("hash")
    known = np.unique(train.select(asked).collect(engine="streaming").to_series().to_numpy())
    tested = test.select(asked).collect(engine="streaming").to_series().to_numpy()
    return int(np.isin(tested, known).sum()), len(tested)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(map(repr, names[:_LISTED])) + more
