"""The data room: sources become immutable dataset versions, and no row is read for training that was not validated."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from kedge.data.expect import Held, listed
from kedge.data.quality.validation import built_in, validate
from kedge.data.snapshot import base_of, grown, known_since, late_rows, missed, part_of
from kedge.data.source import declared, schema_of, typed
from kedge.data.tables.parts import Parts, stacked
from kedge.domain.data import KNOWN_AT, DatasetVersion, Expectation, Severity, ValidationReport
from kedge.domain.events import Event, EventKind
from kedge.domain.ids import DatasetName, Digest, digest_of
from kedge.domain.lineage import Edge, Node, NodeKind
from kedge.domain.project import ProjectSpec
from kedge.errors import DataInvalid, SourceFailed, StoreBroken
from kedge.ports import BlobStore, Clock, Datasets, Project, Tables

ACTOR = "policy:loop"
_CACHED_BYTES = 256 * 2**20


class Data:
    """Reads sources, keeps versions, says what is wrong with them."""

    def __init__(
        self, *, datasets: Datasets, blobs: BlobStore, tables: Tables, clock: Clock, project: Project | None = None
    ) -> None:
        self._project = project
        self._datasets, self._tables, self._clock = datasets, tables, clock
        self._declared: dict[str, tuple[pl.DataFrame, pl.DataFrame, tuple[str, ...]]] = {}
        self._parts = Parts(blobs=blobs, tables=tables, cached_bytes=_CACHED_BYTES)
        self._judged: dict[str, tuple[tuple[Digest, Digest, frozenset[str]], ValidationReport, pl.Series]] = {}

    def share_sources(self, other: "Data") -> None:
        """Hold the sources as declared together with another room that reads the same tables, once for both."""
        self._declared = other._declared

    def rows(self, spec: ProjectSpec) -> pl.DataFrame:
        """Read the source as declared, in order of time: UTC times, the label as a number, `known_at__` added.

        The label of a classification is Int8: 0 and 1 for the two classes (`classes`), more for what is neither.
        Raises SourceFailed for a missing column or an empty source.
        """
        return self._read_source(spec)[0]

    def classes(self, spec: ProjectSpec) -> tuple[str, ...]:
        """Name the label's values by code: negative, positive, then any third value. Empty for regression."""
        return self._read_source(spec)[1]

    def commit(self, spec: ProjectSpec, *, upto: datetime | None = None) -> DatasetVersion:
        """Append the rows whose label is known by now (or by `upto`) to the project's dataset, as one part.

        Nothing new: the version that is there. Raises SourceFailed where nothing at all is known yet.
        """
        rows = self.rows(spec)
        now = upto or self._clock.now()
        version = self._append(spec.dataset, rows, order=KNOWN_AT, key=spec.data.key, actor=ACTOR, now=now, read_soon=True)
        if version is None:
            raise SourceFailed(
                f"source {spec.data.source!r} has {len(rows)} rows, but no label is known by "
                f"{now:%Y-%m-%d %H:%M}; the first becomes known at {rows[KNOWN_AT].min()!s}"
            )
        return version

    def commit_table(self, name: DatasetName, frame: pl.DataFrame, *, order: str, actor: str) -> DatasetVersion | None:
        """Append the rows of any table that are known by now; `order` is the UTC time at which a row became known.

        None where nothing is known yet.
        """
        now, rows = self._clock.now(), typed(frame, f"table {name!r}")
        return self._append(name, rows, order=order, key="", actor=actor, now=now, read_soon=False)

    def read(self, version: DatasetVersion, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Read a version in the order in which its rows became known. Decoded parts stay in memory, up to a bound."""
        frames = [self._parts.read(part) for part in version.parts]
        if columns is not None:
            frames = [frame.select(columns) for frame in frames]
        return stacked(frames)

    def part(self, digest: Digest) -> pl.DataFrame:
        """Read one part of a version that the loop grows: it holds all rows of its file."""
        return self._parts.whole(digest)

    def require_valid(self, version: DatasetVersion, spec: ProjectSpec) -> ValidationReport:
        """Validate a version: the project's expectations and the built-in ones; keep the report.

        Raises DataInvalid where one of severity ERROR does not hold, or where every row would be set aside.
        """
        report, _ = self._judge(version, spec)
        kind = EventKind.DATA_VALIDATED if report.passed else EventKind.DATA_REFUSED
        event = Event(
            key=digest_of("validate", version.dataset, version.digest, report),
            kind=kind,
            at=self._clock.now(),
            subject=version.dataset,
            actor=ACTOR,
            message=_summary(report),
            facts={"rows": report.rows, "quarantined": report.quarantined, "breaches": len(report.breaches)},
        )
        self._datasets.add_report(report, event)
        if not report.passed:
            raise DataInvalid(f"{_summary(report)}. Nothing was trained. {_advice(report, spec)}")
        return report

    def accepted(self, version: DatasetVersion, spec: ProjectSpec) -> pl.DataFrame:
        """Read a version without the rows that validation set aside."""
        rows = self.read(version)
        keep = self.accepts(version, spec)
        return rows if keep.all() else rows.filter(keep)

    def accepts(self, version: DatasetVersion, spec: ProjectSpec) -> pl.Series:
        """Say of each row of a version whether it is kept (true) or set aside."""
        return self._judge(version, spec)[1]

    def _read_source(self, spec: ProjectSpec) -> tuple[pl.DataFrame, tuple[str, ...]]:
        source = self._tables.source(spec.data.source)
        name = digest_of(spec.data)
        if name not in self._declared or self._declared[name][0] is not source:
            self._declared[name] = source, *declared(source, spec.data)
        return self._declared[name][1:]

    def _append(
        self,
        name: DatasetName,
        rows: pl.DataFrame,
        *,
        order: str,
        key: str,
        actor: str,
        now: datetime,
        read_soon: bool,
    ) -> DatasetVersion | None:
        newest = self._datasets.find(name)
        base = newest
        if newest is not None and newest.upto is not None and newest.upto > now:
            base = base_of(self._datasets.list(name), now)
        new = known_since(rows, base, order=order, now=now)
        if base is not None and missed(rows, base, order=order):
            new = pl.concat([late_rows(rows, self.read(base), base=base, order=order, key=key), new])
        if new.is_empty():
            return base
        stored = self._parts.put(new)
        part = part_of(new, base, order=order, digest=stored.digest, size=stored.bytes)
        number = newest.number + 1 if newest else 1
        version = grown(base, part, dataset=name, number=number, schema=schema_of(rows), order=order, now=now)
        there = self._datasets.find_digest(version.digest)
        if there is not None:
            return there
        self._datasets.add(version, _committed(version, part.rows, actor=actor, now=now))
        if read_soon:
            self._parts.keep(stored.digest, new)
        return version

    def _judge(self, version: DatasetVersion, spec: ProjectSpec) -> tuple[ValidationReport, pl.Series]:
        entry = self._datasets.entry(version.dataset)
        personal = entry.personal() if entry else frozenset()
        name = (version.digest, digest_of(spec.data, spec.expectations), personal)
        if version.dataset not in self._judged or self._judged[version.dataset][0] != name:
            rows = self.read(version)
            if rows.is_empty():
                raise StoreBroken(f"version {version.number} of {version.dataset!r} has no rows")
            expectations = (*self._expected(spec), *built_in(spec, rows))
            classes = {spec.data.label: self.classes(spec)}
            judged = validate(rows, expectations, version=version, key=spec.data.key, classes=classes, personal=personal)
            self._judged[version.dataset] = name, *judged
        return self._judged[version.dataset][1:]

    def _expected(self, spec: ProjectSpec) -> Sequence[Expectation | Held]:
        """Give the project's expectations: as read from TOML, or loaded from its code."""
        if self._project is None or ".py:" not in spec.data.expectations:
            return spec.expectations
        return listed(self._project.make(spec.data.expectations))


def _summary(report: ValidationReport) -> str:
    said = [breach.message for breach in report.breaches if breach.expectation.severity is Severity.ERROR]
    if report.quarantined == report.rows:
        why = [breach.message for breach in report.breaches if breach.expectation.severity is Severity.QUARANTINE]
        said.append(f"all {report.rows} rows would be set aside ({'; '.join(why)})")
    if said:
        return f"dataset {report.dataset!r} is not valid: {'; '.join(said)}"
    aside = f", {report.quarantined} set aside" if report.quarantined else ""
    return f"{report.rows} rows of {report.dataset!r} hold what is expected{aside}"


def _advice(report: ValidationReport, spec: ProjectSpec) -> str:
    """Say what to do about what stops a version: the built-in expectations stand in no file."""
    stopping = [breach.expectation for breach in report.breaches if breach.expectation.severity is Severity.ERROR]
    if any(each in spec.expectations for each in stopping):
        return f"Correct the source, or change the expectation's severity or share ({spec.data.expectations})"
    if any(each.column == spec.data.label for each in stopping):
        return (
            "Correct the source: make each other value one of the two, or leave it empty, and the row is set aside. The "
            'two classes are the first two values in time; for a number to predict, set data.task = "regression"'
        )
    return "Correct the source"


def _committed(version: DatasetVersion, rows: int, *, actor: str, now: datetime) -> Event:
    made = Node(NodeKind.DATASET_VERSION, version.digest)
    parent = (Edge(made, Node(NodeKind.DATASET_VERSION, version.parent), "parent"),) if version.parent else ()
    return Event(
        key=digest_of("commit", version.dataset, version.digest),
        kind=EventKind.DATASET_COMMITTED,
        at=now,
        subject=version.dataset,
        actor=actor,
        message=f"version {version.number} of {version.dataset!r}: {rows} new rows, {version.rows} in all",
        facts={"number": version.number, "digest": version.digest, "rows": version.rows, "new_rows": rows},
        edges=parent,
    )
