"""Looking features up for a request: the newest row of each entity, under the rules of the point-in-time join.

The store holds each entity's newest row. Against the request's time it counts only while it is visible and not older
than the view's ttl, so that serving sees what training saw. Values are packed as a MessagePack array, in the order of
the view's features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from kedge.data.source import column_type
from kedge.data.times import UTC as UTC_TYPE
from kedge.domain.data import ColumnType
from kedge.domain.durations import EPOCH, seconds_of
from kedge.domain.features import FeatureService, FeatureView, feature_name
from kedge.domain.ids import digest_of
from kedge.domain.monitoring import Value
from kedge.errors import RequestInvalid
from kedge.features.derive import AT, derived
from kedge.features.join import key_text
from kedge.ports import OnlineRow, OnlineStore

LEAST = -(2**63)
_MICROSECOND = timedelta(microseconds=1)

pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Any]).decode
_types = msgspec.msgpack.Decoder(dict[str, str]).decode


@dataclass(frozen=True)
class Served:
    """A request's features: values by column in the service's order, and per view the event time of the row used."""

    features: dict[str, list[Value]]
    as_of: dict[str, list[datetime | None]]


def microseconds(moment: datetime) -> int:
    """Count the microseconds since 1970."""
    return (moment - EPOCH) // _MICROSECOND


def stored_name(view: FeatureView) -> str:
    """Name a view in the online store, by all that decides what its rows mean: a changed view starts anew."""
    return f"{view.name}@{digest_of(view.entity, view.time, view.created, view.features)[:12]}"


def types_name(service: FeatureService) -> str:
    """Name the row that holds the types of a service's columns."""
    return f"types:{service.name}@{digest_of(service.request, [stored_name(view) for view in service.views])[:12]}"


class _Lookup:
    """One view of a service, prepared: where its rows are, and what to call its values."""

    def __init__(self, view: FeatureView, store: OnlineStore) -> None:
        self.view, self._store = view, store
        self._stored = stored_name(view)
        self._ttl_us = round(seconds_of(view.ttl) * 1e6) if view.ttl else None
        self.names = tuple(feature_name(view, feature) for feature in view.features)
        self._nothing: tuple[list[Value], datetime | None] = ([None] * len(self.names), None)

    def read(self, keys: Sequence[object], at_us: int) -> tuple[list[list[Value]], list[datetime | None]]:
        """Read the features of some entities as of a time: a list per feature, and the event times of the rows."""
        texts = [key_text(key) for key in keys]
        asked = [text for text in dict.fromkeys(texts) if text is not None]
        rows = self._store.get(self._stored, asked)
        known = {text: self._seen(row, at_us) for text, row in zip(asked, rows, strict=True) if row is not None}
        found = [known.get(text, self._nothing) if text is not None else self._nothing for text in texts]
        columns = [list(column) for column in zip(*(values for values, _ in found), strict=True)]
        return columns or [[] for _ in self.names], [event for _, event in found]

    def _seen(self, row: OnlineRow, at_us: int) -> tuple[list[Value], datetime | None]:
        if max(row.event_us, row.created_us) > at_us or (self._ttl_us is not None and row.event_us < at_us - self._ttl_us):
            return self._nothing
        return _unpack(row.values), EPOCH + row.event_us * _MICROSECOND


class OnlineReader:
    """A prepared handle on one service: everything that does not depend on the request is done once."""

    def __init__(self, service: FeatureService, store: OnlineStore) -> None:
        self._service, self._store = service, store
        self._columns = service.columns()
        self._lookups = [_Lookup(view, store) for view in service.views]
        self._reads = tuple(dict.fromkeys((*service.entities(), *service.request)))
        self._schema: dict[str, pl.DataType] = {}

    def read(self, columns: Mapping[str, Sequence[Any]], at: datetime) -> Served:
        """Complete a request's columns: look the views up as of `at`, then derive. Raises RequestInvalid.

        `columns` holds the service's entity keys and request columns, a list of one value per row each.
        """
        if missing := [name for name in self._reads if name not in columns]:
            raise RequestInvalid(f"missing column {', '.join(map(repr, missing))}; send {', '.join(self._reads)}")
        at_us = microseconds(at)
        values: dict[str, list[Value]] = {name: list(columns[name]) for name in self._service.request}
        as_of: dict[str, list[datetime | None]] = {}
        for lookup in self._lookups:
            found, as_of[lookup.view.name] = lookup.read(columns[lookup.view.entity], at_us)
            values.update(zip(lookup.names, found, strict=True))
        if self._service.derive is not None:
            values.update(self._derive(values, at))
        return Served({name: values[name] for name in self._columns}, as_of)

    def _derive(self, values: dict[str, list[Value]], at: datetime) -> dict[str, list[Value]]:
        if not self._schema:
            self._schema = read_types(self._store, self._service)
        series = [series_of(name, column, dtype=self._schema.get(name)) for name, column in values.items()]
        rows = len(series[0]) if series else 0
        frame = pl.DataFrame([*series, pl.Series(AT, [at] * rows, dtype=UTC_TYPE)])
        made = derived(self._service, frame)
        return {name: made[name].to_list() for name in self._service.derived}


def write_types(store: OnlineStore, service: FeatureService, *, schema: Mapping[str, pl.DataType], at: datetime) -> None:
    """Keep the types of a service's columns, so that `derive` sees the same types in serving as in training."""
    names = {name: column_type(dtype).value for name, dtype in schema.items()}
    store.put(types_name(service), {"": OnlineRow(microseconds(at), LEAST, pack(names))})


def read_types(store: OnlineStore, service: FeatureService) -> dict[str, pl.DataType]:
    """Read the types of a service's columns; empty before the first materialization."""
    (row,) = store.get(types_name(service), [""])
    return {name: _TYPES[kind] for name, kind in _types(row.values).items()} if row is not None else {}


_TYPES: dict[str, pl.DataType] = {
    ColumnType.FLOAT.value: pl.Float64(),
    ColumnType.INTEGER.value: pl.Int64(),
    ColumnType.BOOLEAN.value: pl.Boolean(),
    ColumnType.STRING.value: pl.String(),
    ColumnType.TIME.value: UTC_TYPE,
}


def series_of(name: str, values: list[Value], *, dtype: pl.DataType | None) -> pl.Series:
    """Read a request's values as a column of a type, or as they come (None). RequestInvalid where they do not fit."""
    if dtype is None:
        return pl.Series(name, values, strict=False)
    if dtype == UTC_TYPE:
        return pl.Series(name, [_moment(value) for value in values], dtype=UTC_TYPE)
    try:
        return pl.Series(name, values, dtype=dtype, strict=True)
    except (TypeError, pl.exceptions.PolarsError):
        return _cast(name, values, dtype=dtype)


def _cast(name: str, values: list[Value], *, dtype: pl.DataType) -> pl.Series:
    try:
        return pl.Series(name, values, strict=False).cast(dtype)
    except pl.exceptions.PolarsError as error:
        raise RequestInvalid(f"column {name!r} does not fit its type {dtype}: {error}") from error


def _moment(value: object) -> datetime | None:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if moment is None or isinstance(moment, datetime):
        return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
    raise RequestInvalid(f"{value!r} is not a time; send text such as 2013-01-31T10:00:00Z")
