"""The features room: one definition, read the same way for training (by time, over the past) and serving (by key, now)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from kedge.data.room import ACTOR, Data
from kedge.data.source import require_column, typed
from kedge.data.tables.parts import stacked
from kedge.data.times import UTC, as_times
from kedge.domain.data import KNOWN_AT, DatasetVersion
from kedge.domain.durations import span_of
from kedge.domain.features import FeatureService, FeatureView, feature_name
from kedge.domain.ids import DatasetName, Digest
from kedge.domain.monitoring import Value
from kedge.domain.project import ProjectSpec
from kedge.errors import ConfigError
from kedge.features.derive import AT, derived, digest_of_service, reads
from kedge.features.frame import JoinedPart, TrainingFrame, in_order
from kedge.features.join import ViewTimeline, as_keys, timeline
from kedge.features.materialize import Cursor
from kedge.features.online import OnlineReader, read_types, series_of, write_types
from kedge.ports import Clock, OnlineStore, Project, Tables

VISIBLE = "visible_at__"


@dataclass(frozen=True)
class _Source:
    """A view's table as it was read, and the same in the order in which its rows became visible."""

    read: pl.DataFrame
    rows: pl.DataFrame
    timeline: ViewTimeline


class Features:
    """Joins for training, looks up for serving, and keeps the online store up to date."""

    def __init__(self, *, data: Data, online: OnlineStore, tables: Tables, project: Project, clock: Clock) -> None:
        self._data, self._online, self._tables, self._project, self._clock = data, online, tables, project, clock
        self._services: dict[str, FeatureService] = {}
        self._sources: dict[str, _Source] = {}
        self._joined: dict[tuple[Digest, Digest], JoinedPart] = {}
        self._cursors: dict[str, Cursor] = {}
        self._typed: set[str] = set()

    def share_sources(self, other: "Features") -> None:
        """Hold the views' tables in order together with another room that reads the same tables, once for both."""
        self._sources = other._sources

    def service(self, spec: ProjectSpec) -> FeatureService:
        """Load the project's feature service; without one, every column of the source is a request column.

        Raises ConfigError where the reference is not a feature service, or one that contradicts itself.
        """
        reference = spec.features.service
        if not reference:
            return self._plain(spec)
        if reference not in self._services:
            service = self._project.load(reference)
            if not isinstance(service, FeatureService):
                raise ConfigError(f"[features] service {reference!r} is {type(service).__name__}, not a FeatureService")
            self._services[reference] = _consistent(service)
        return self._services[reference]

    def training_frame(self, spec: ProjectSpec, version: DatasetVersion, *, upto: datetime | None = None) -> TrainingFrame:
        """Join the features that were known at each row's time to a dataset version, without the rows set aside.

        The frame ends now (or at `upto`); where nothing became known within the last step, with the newest row: the
        newest step of a table that ended long ago is its own.
        What a view knows by now is committed as a dataset of its own, so that the frame names all data behind it. A part
        of the version is joined once: neither its rows nor what was known at their times can change.
        """
        service, now = self.service(spec), upto or self._clock.now()
        views = [self._commit(spec, view) for view in service.views]
        keep = self._data.accepts(version, spec)
        parts, first = [], 0
        for part in version.parts:
            parts.append(
                self._joined_part(service, part.digest, time=spec.data.time).kept(keep.slice(first, part.rows), now)
            )
            first += part.rows
        rows = in_order(stacked(parts))
        step = timedelta(seconds=spec.step_seconds)
        newest = rows[KNOWN_AT].last()
        return TrainingFrame(
            rows=rows,
            columns=service.columns(),
            time=spec.data.time,
            label=spec.data.label,
            key=spec.data.key,
            task=spec.data.task,
            versions=(version.digest, *(view.digest for view in views if view is not None)),
            service=service.name,
            service_digest=digest_of_service(service),
            upto=newest if isinstance(newest, datetime) and newest <= now - step else now,
            step=step,
        )

    def joined(self, service: FeatureService, rows: pl.DataFrame, *, time: str) -> pl.DataFrame:
        """Add to any rows what each view knew at the row's time, and what is derived. One row out per row in, in order.

        Raises SourceFailed where the rows lack a request column or an entity key.
        """
        for name in (*service.entities(), *service.request, time):
            require_column(name, rows.columns, where=f"the table that service {service.name!r} reads")
        times = as_times(rows[time], "the rows")
        looked_up: list[pl.Series] = []
        for view in service.views:
            known = self._source(view).timeline
            winners = known.winners(as_keys(rows[view.entity], "the rows"), times)
            found = known.rows.select(pl.col(name).gather(winners).alias(feature_name(view, name)) for name in view.features)
            looked_up += found.get_columns()
        full = rows.with_columns(looked_up)
        if service.derive is None:
            return full
        return full.with_columns(derived(service, full.with_columns(times.alias(AT))).get_columns())

    def materialize(self, spec: ProjectSpec, upto: datetime) -> int:
        """Push what became known up to a time to the online store; give the number of rows. Once more changes nothing."""
        service = self.service(spec)
        if service.derive is not None and service.name not in self._typed:
            self._write_types(spec, service, upto=upto)
        return sum(self._cursor(view).advance(upto, self._online) for view in service.views)

    def reader(self, service: FeatureService) -> OnlineReader:
        """Prepare a handle that completes requests from the online store."""
        return OnlineReader(service, self._online)

    def rejoined(
        self, service: FeatureService, columns: Mapping[str, Sequence[Value]], *, at: Sequence[datetime]
    ) -> pl.DataFrame:
        """Join what requests brought, each row as of its own time; with the types that serving gives it.

        `columns` holds the service's entity keys and request columns, a list of one value per row each.
        """
        types = read_types(self._online, service) if service.derive is not None else {}
        brought = [series_of(name, list(values), dtype=types.get(name)) for name, values in columns.items()]
        return self.joined(service, pl.DataFrame([*brought, pl.Series(AT, at, dtype=UTC)]), time=AT)

    def _plain(self, spec: ProjectSpec) -> FeatureService:
        ends = {spec.data.key, spec.data.time, spec.data.label, spec.data.label_time, KNOWN_AT, *spec.data.ignore}
        return FeatureService(
            name=spec.name, request=tuple(name for name in self._data.rows(spec).columns if name not in ends)
        )

    def _joined_part(self, service: FeatureService, part: Digest, *, time: str) -> JoinedPart:
        name = digest_of_service(service), part
        if name not in self._joined:
            self._joined[name] = JoinedPart.of(self.joined(service, self._data.part(part), time=time))
        return self._joined[name]

    def _commit(self, spec: ProjectSpec, view: FeatureView) -> DatasetVersion | None:
        name = DatasetName(f"{spec.dataset}.{view.name}")
        return self._data.commit_table(name, self._source(view).rows, order=VISIBLE, actor=ACTOR)

    def _source(self, view: FeatureView) -> _Source:
        read = self._tables.source(view.source)
        kept = self._sources.get(view.name)
        if kept is None or kept.read is not read:
            kept = self._sources[view.name] = _arranged(view, read)
        return kept

    def _cursor(self, view: FeatureView) -> Cursor:
        known = self._source(view).timeline
        cursor = self._cursors.get(view.name)
        if cursor is None or cursor.timeline is not known:
            cursor = self._cursors[view.name] = Cursor(view, known)
        return cursor

    def _write_types(self, spec: ProjectSpec, service: FeatureService, *, upto: datetime) -> None:
        schema = dict(self._data.rows(spec).schema)
        for view in service.views:
            known = self._source(view).timeline.rows.schema
            schema |= {feature_name(view, name): known[name] for name in view.features}
        write_types(self._online, service, schema={name: schema[name] for name in reads(service)}, at=upto)
        self._typed.add(service.name)


def _consistent(service: FeatureService) -> FeatureService:
    """Raise ConfigError for a service that contradicts itself."""
    names = [*reads(service), *service.derived]
    views = [view.name for view in service.views]
    where = f"feature service {service.name!r}"
    for kind, given in (("view", views), ("column", names)):
        twice = sorted({name for name in given if given.count(name) > 1})
        if twice:
            raise ConfigError(f"{where} names {kind} {', '.join(map(repr, twice))} twice")
    if service.derived and service.derive is None:
        raise ConfigError(f"{where} lists derived columns but has no `derive` function")
    if unknown := [name for name in service.drop if name not in names]:
        raise ConfigError(f"{where} drops {', '.join(map(repr, unknown))}, which it does not have")
    for view in service.views:
        _read_ttl(view, where)
    return service


def _read_ttl(view: FeatureView, where: str) -> None:
    if view.ttl is not None:
        try:
            span_of(view.ttl)
        except ValueError as error:
            raise ConfigError(f"{where}, view {view.name!r}, ttl: {error}") from error


def _arranged(view: FeatureView, read: pl.DataFrame) -> _Source:
    where = f"the source of view {view.name!r}"
    names = [view.entity, view.time, *([view.created] if view.created else []), *view.features]
    for name in names:
        require_column(name, read.columns, where=where)
    rows = typed(read.select(list(dict.fromkeys(names))), where)
    known = timeline(
        rows,
        entity=view.entity,
        event_time=view.time,
        created=view.created,
        ttl=span_of(view.ttl) if view.ttl else None,
        features=view.features,
        where=where,
    )
    times = as_times(rows[view.time], where)
    visible = pl.select(pl.max_horizontal(times, as_times(rows[view.created], where))) if view.created else times.to_frame()
    return _Source(read, rows.with_columns(visible.to_series().alias(VISIBLE)), known)
