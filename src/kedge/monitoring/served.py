"""What a window's requests answered: their features as columns, part by part, and how each version did."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from kedge.domain.monitoring import Value, VersionHealth
from kedge.domain.records import decode_features
from kedge.domain.rollout import Deployment
from kedge.monitoring.join_labels import Answered

PART_ROWS = 50_000


class Gathered(NamedTuple):
    """The features of some of a window's requests: values by column, one for each of `rows`; `hidden` are the personal
    ones, whose values are not in the log."""

    rows: int
    columns: dict[str, list[Value]]
    hidden: frozenset[str] = frozenset()


def parts_of(answers: Sequence[Answered], *, most: int = PART_ROWS) -> Iterator[Gathered]:
    """Gather features in parts of whole requests with about `most` rows, so that a great window need not fit in memory.

    At least one part, even of no rows.
    """
    taken: list[Answered] = []
    rows = 0
    for answered in answers:
        taken.append(answered)
        rows += len(answered.versions)
        if rows >= most:
            yield _gathered(rows, taken)
            taken, rows = [], 0
    if taken or not answers:
        yield _gathered(rows, taken)


def _gathered(rows: int, taken: Sequence[Answered]) -> Gathered:
    return Gathered(rows, columns_of(taken), frozenset(name for one in taken for name in one.hidden))


def columns_of(answers: Iterable[Answered]) -> dict[str, list[Value]]:
    """Gather the features of requests, in their order; a request without a column gives nulls."""
    columns: dict[str, list[Value]] = {}
    rows = 0
    for answered in answers:
        for name, values in decode_features(answered.payload).items():
            if name in answered.hidden:
                continue
            columns.setdefault(name, [None] * rows).extend(values)
        rows += len(answered.versions)
        for column in columns.values():
            column.extend([None] * (rows - len(column)))
    return columns


def versions_of(answers: Sequence[Answered], deployment_at: Callable[[int], Deployment | None]) -> tuple[VersionHealth, ...]:
    """Sum up what each version did, answers that were not used (shadow) included.

    A row with an error is one that the challenger of its revision failed on; `deployment_at` finds a revision. Rows of
    testers, who asked for a side by name, are left out.
    """
    outputs: dict[int, list[float]] = {}
    seconds: dict[int, list[float]] = {}
    errors: dict[int, int] = {}
    for answered in answers:
        if answered.variant:
            continue
        for version, output in zip(answered.versions, answered.outputs, strict=True):
            outputs.setdefault(version, []).append(output)
        for version, copied in answered.shadow.items():
            outputs.setdefault(version, []).extend(copied)
        for version in {*answered.versions, *answered.shadow} if answered.seconds else ():
            seconds.setdefault(version, []).append(sum(answered.seconds.values()))
        deployment = deployment_at(answered.revision) if answered.errors else None
        if deployment is not None and deployment.challenger is not None:
            errors[deployment.challenger] = errors.get(deployment.challenger, 0) + len(answered.errors)
    return tuple(
        VersionHealth(
            version=version,
            rows=len(outputs.get(version, ())),
            errors=errors.get(version, 0),
            mean_output=_mean(outputs.get(version, ())),
            latency_seconds=_mean(seconds.get(version, ())),
        )
        for version in sorted({*outputs, *errors})
    )


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if abs(value) < float("inf")]
    return sum(finite) / len(finite) if finite else 0.0
