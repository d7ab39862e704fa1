"""Comparing frames for notebooks and scripts: `kedge.monitoring.compare`, without a store where none is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from kedge.client import datasets
from kedge.data.quality.room import is_file
from kedge.domain.comparing import FrameComparison
from kedge.domain.monitoring import Profile
from kedge.errors import RequestInvalid
from kedge.monitoring.comparing.room import MOST_ROWS, CompareWishes, Comparing
from kedge.monitoring.drift.profile import merge as add
from kedge.records import naming_tables, records_if_any
from kedge.settings import project_root, settings


def compare(
    reference: Any,
    current: Any,
    *,
    columns: Sequence[str] = (),
    ignore: Sequence[str] = (),
    rules: str = "kedge",
    test: str | Sequence[str] | None = None,
    tests: Mapping[str, str | Sequence[str]] | None = None,
    threshold: float | None = None,
    thresholds: Mapping[str, float] | None = None,
    bins: str | int | None = None,
    together: str | Sequence[str] = (),
    embed: Mapping[str, Callable[[Sequence[str]], object]] | None = None,
    chunk_rows: int | None = None,
    rows: int = MOST_ROWS,
    store: str | None = None,
) -> FrameComparison:
    """Say how far each column of a frame moved from a reference: frames (pandas, Polars, Arrow), files (names or
    paths) or versions.

    `tests={"age": "ks"}` or `test="psi"` name tests, `thresholds` their limits by column or by test; `together` asks
    "classifier" or "energy" of all columns at once; `rules` are "kedge", "evidently" or "nannyml". Raises KedgeError.
    """
    wishes = CompareWishes(
        columns=tuple(columns),
        ignore=tuple(ignore),
        rules=rules,
        test=test,
        tests=tests,
        threshold=threshold,
        thresholds=thresholds,
        bins=bins,
        together=together,
        embed=embed,
        chunk_rows=chunk_rows,
        rows=rows,
    )
    sides = [_named(side) for side in (reference, current)]
    with _comparing(*sides, store=store) as comparing:
        return comparing.compare(*sides, wishes=wishes)


def profile(table: Any, *, like: Profile | None = None, store: str | None = None) -> Profile:
    """Count a frame, a file or a version of any size into one histogram for each column, in bins of its own or of `like`.

    Profiles in the same bins can be added with `merge`. Raises KedgeError.
    """
    table = _named(table)
    with _comparing(table, store=store) as comparing:
        return comparing.profile(table, like=like)


def merge(one: Profile, other: Profile) -> Profile:
    """Add two profiles that were counted in the same bins. Raises RequestInvalid where they were not."""
    try:
        return add(one, other)
    except ValueError as error:
        raise RequestInvalid(f"{error}; count the second one with like= the first") from None


def _named(table: Any) -> Any:
    """Give the name of a file that is given as a path. Raises RequestInvalid for one that is no table."""
    if not isinstance(table, PathLike):
        return table
    name = str(fspath(table))
    if not is_file(name):
        raise RequestInvalid(f"{name} is no Parquet or CSV file; give one, or a frame of pandas, Polars or Arrow")
    return name


@contextmanager
def _comparing(*tables: Any, store: str | None) -> Iterator[Comparing]:
    """Give what compares: with the store where a version is named, else with one that goes at the end."""
    if any(isinstance(table, str) and not is_file(table) for table in tables):
        with naming_tables(*tables):
            yield datasets.opened_records(store).comparing
        return
    with records_if_any(settings(project_root(Path()), store=store)) as records:
        yield records.comparing
