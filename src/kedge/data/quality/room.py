"""The quality of versions: validated against expectations, profiled, and first expectations drafted from a profile.

A version is read lazily, part by part; reports and profiles are kept with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from kedge.data.expect import Held, listed
from kedge.data.personal import masked
from kedge.data.quality.drafting import draft
from kedge.data.quality.labels import LabelTable
from kedge.data.quality.profiling import profile
from kedge.data.quality.validation import Judged, Table, judge, unreadable
from kedge.data.references import resolve
from kedge.data.tables.versions import TableVersions
from kedge.domain.counts import count
from kedge.domain.data import KNOWN_AT, DatasetKind, DatasetVersion, Expectation, Severity, TableProfile, ValidationReport
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, Digest, digest_of
from kedge.errors import RequestInvalid, SourceFailed
from kedge.ports import Clock, Datasets, ForeignSchemas, Project, Tables

FILES = (".parquet", ".csv", ".csv.gz", ".tsv")


class Validated(NamedTuple):
    """A report on a version, and the rows behind it."""

    report: ValidationReport
    judged: Judged


class Quality:
    """Validates, profiles, and drafts expectations."""

    def __init__(
        self,
        *,
        datasets: Datasets,
        versions: TableVersions,
        tables: Tables,
        project: Project,
        foreign: ForeignSchemas,
        clock: Clock,
    ) -> None:
        self._datasets, self._versions, self._tables, self._clock = datasets, versions, tables, clock
        self._project, self._foreign = project, foreign

    def load(self, reference: str) -> object:
        """Load expectations that a project has as code: "FILE.py:NAME". Raises ConfigError."""
        return self._project.make(reference)

    def validate(self, reference: str, expectations: object, *, actor: str) -> Validated:
        """Validate a version and keep the report. Raises NotFound, RequestInvalid, ConfigError.

        Expectations are a list, a function that gives one, or a schema of Pandera.
        """
        version = self._version(reference)
        judged = self._judged(self._table(version), expectations)
        report = judged.report
        if self._datasets.find_report(version.digest) == report:
            return Validated(report, judged)
        earlier = len(self._datasets.reports(version.dataset))
        kind = EventKind.DATA_VALIDATED if report.passed else EventKind.DATA_REFUSED
        event = Event(
            key=digest_of("validated", version.dataset, version.digest, report, earlier),
            kind=kind,
            at=self._clock.now(),
            subject=version.dataset,
            actor=actor,
            message=f"version {version.number}: {in_short(report)}",
            facts={"rows": report.rows, "quarantined": report.quarantined, "breaches": len(report.breaches)},
        )
        self._datasets.add_report(report, event)
        return Validated(report, judged)

    def validate_file(self, path: str, expectations: object) -> Validated:
        """Validate a file that is no version; nothing is kept. Raises SourceFailed where it cannot be read."""
        judged = self._judged(self._file(path), expectations)
        return Validated(judged.report, judged)

    def profile(self, reference: str, *, again: bool = False) -> TableProfile:
        """Profile a version, once; without the values of personal columns. Raises NotFound, RequestInvalid."""
        version = self._version(reference)
        personal = self._personal(version.dataset)
        found = None if again else self._datasets.find_profile(version.digest)
        if found is None or _shows_less(found, personal):
            found = profile(
                self._versions.scan(version),
                dataset=version.dataset,
                version=version.digest,
                personal=personal,
                now=self._clock.now(),
            )
            self._datasets.add_profile(found)
        return masked(found, personal)

    def validate_frame(self, frame: object, expectations: object) -> Validated:
        """Validate a frame of pandas, Polars (lazy ones stay lazy) or Arrow; nothing is kept."""
        judged = self._judged(self._frame(frame), expectations)
        return Validated(judged.report, judged)

    def profile_frame(self, frame: object) -> TableProfile:
        """Profile a frame of pandas, Polars or Arrow; nothing is kept."""
        return self._profiled(self._frame(frame))

    def profile_file(self, path: str) -> TableProfile:
        """Profile a file that is no version. Raises SourceFailed where it cannot be read."""
        return self._profiled(self._file(path))

    def suggest(self, reference: str) -> tuple[Expectation, ...]:
        """Draft expectations that a version holds, from its profile. Raises NotFound, RequestInvalid."""
        version = self._version(reference)
        entry, table = self._datasets.entry(version.dataset), self._table(version)
        within = entry.fresh_within if entry else ""
        return draft(self.profile(reference), lambda rules: _which_hold(table, rules), fresh_within=within)

    def suggest_file(self, path: str) -> tuple[Expectation, ...]:
        """Draft expectations that a file holds which is no version."""
        table = self._file(path)
        return draft(self.profile_file(path), lambda rules: _which_hold(table, rules))

    def suggest_frame(self, frame: object) -> tuple[Expectation, ...]:
        """Draft expectations that a frame of pandas, Polars or Arrow holds."""
        table = self._frame(frame)
        return draft(self._profiled(table), lambda rules: _which_hold(table, rules))

    def is_file(self, name: str) -> bool:
        """Tell a file's name from a dataset's."""
        return is_file(name)

    def _profiled(self, table: Table) -> TableProfile:
        now = self._clock.now()
        try:
            return profile(table.frame, dataset=table.dataset, version=Digest(""), personal=frozenset(), now=now)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise SourceFailed(f"{table.dataset}: it cannot be read: {_brief(error)}") from error

    def _frame(self, frame: object) -> Table:
        lazy = isinstance(frame, pl.LazyFrame)
        rows = frame if isinstance(frame, pl.LazyFrame) else self._tables.frame(frame, "the table is").lazy()
        return Table(
            frame=as_kept(rows),
            dataset=DatasetName("table"),
            version=Digest(""),
            now=self._clock.now(),
            other=self._other,
            engine="streaming" if lazy else "in-memory",
        )

    def _file(self, path: str) -> Table:
        rows = as_kept(self._tables.lazy(path))
        return Table(frame=rows, dataset=DatasetName(path), version=Digest(""), now=self._clock.now(), other=self._other)

    def labelled(
        self, name: str, label: str, *, key: str = "", time: str = "", ignore: Sequence[str] = (), test: str = ""
    ) -> LabelTable:
        """Give a version's or a file's labelled rows, to be checked; `test` names other rows, kept for judging."""
        table = self._file(name) if is_file(name) else self._table(self._version(name))
        other = None
        if test:
            other = self._file(test).frame if is_file(test) else self._other(test)
        return LabelTable(
            rows=table.frame,
            label=label,
            dataset=table.dataset,
            version=table.version,
            key=key or table.key,
            time=time,
            ignore=frozenset({KNOWN_AT, *ignore}),
            personal=table.personal,
            test=other,
        )

    def _version(self, reference: str) -> DatasetVersion:
        version = resolve(self._datasets, reference)
        if version.kind is not DatasetKind.TABLE:
            raise RequestInvalid(
                f"dataset {version.dataset!r} is files, not a table: name one of its files, or commit it as a table "
                f"with `kedge data commit FILE NAME`"
            )
        return version

    def _table(self, version: DatasetVersion) -> Table:
        return Table(
            frame=self._versions.scan(version),
            dataset=version.dataset,
            version=version.digest,
            key=version.key[0] if len(version.key) == 1 else "",
            rows=version.rows,
            personal=self._personal(version.dataset),
            now=self._clock.now(),
            other=self._other,
        )

    def _other(self, reference: str) -> pl.LazyFrame:
        return self._versions.scan(self._version(reference))

    def _personal(self, dataset: DatasetName) -> frozenset[str]:
        entry = self._datasets.entry(dataset)
        return entry.personal() if entry else frozenset()

    def _judged(self, table: Table, expectations: object) -> Judged:
        try:
            return judge(table, self._expected(expectations, table.frame.collect_schema().names()))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(table, error) from None if table.personal else error

    def _expected(self, written: object, columns: Sequence[str]) -> Sequence[Expectation | Held]:
        """Take expectations as they are given. Raises ConfigError for what is none."""
        foreign = self._foreign.read(written, columns)
        if foreign is not None:
            return [each if rows is None else Held(each, rows=rows) for each, rows in foreign]
        return listed(written)


def is_file(name: str) -> bool:
    """Tell a file's name from a dataset's."""
    return name.lower().endswith(FILES)


def in_short(report: ValidationReport) -> str:
    """Say in a sentence what a report found."""
    stopped = [each for each in report.breaches if each.expectation.severity is Severity.ERROR]
    rows = count(report.rows, "row")
    if not report.passed and not stopped:
        return f"{rows}, and none of them is left" if report.rows else "a table without rows"
    told = len(report.breaches) - len(stopped)
    words = [f"{count(len(stopped), 'expectation')} {'does' if len(stopped) == 1 else 'do'} not hold"] if stopped else []
    words += [f"{count(report.quarantined, 'row')} set aside"] if report.quarantined else []
    words += [f"{told} more told"] if told and stopped else [f"{told} told"] if told else []
    return f"{rows}: {', '.join(words)}" if words else f"{rows} {'holds' if report.rows == 1 else 'hold'} what is expected"


def as_kept(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Read a table as a version of it would be: NaN is a missing value, categories are text."""
    floats = [name for name, dtype in rows.collect_schema().items() if dtype.is_float()]
    words = [name for name, dtype in rows.collect_schema().items() if isinstance(dtype, pl.Categorical | pl.Enum)]
    return rows.with_columns(pl.col(floats).fill_nan(None), pl.col(words).cast(pl.String))


def _which_hold(table: Table, rules: Sequence[Expectation]) -> list[bool]:
    """Say of each rule whether a table holds it; the same rule may be there twice."""
    report = judge(table, rules).report
    broken = [breach.expectation for breach in report.breaches]
    return [rule not in broken for rule in rules]


def _shows_less(found: TableProfile, personal: frozenset[str]) -> bool:
    """Tell whether a kept profile hides a column that is no longer personal."""
    return any(column.personal and column.name not in personal for column in found.columns)


def _brief(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
