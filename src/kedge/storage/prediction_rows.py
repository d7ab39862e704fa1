"""The prediction log as tables: one row per prediction, a column per feature, and each record to be had back from them.

    id model answered_at revision version variant asked_variant form service entity output error
    feature_NAME   input_NAME   as_of_VIEW   output_NAME   shadow_VERSION   seconds_STAGE
    share   of entities that is logged: weigh by its inverse
    segment segment_end place rest record   Kedge's own: where the record stood, and what of it no row says

`rest` is the record without what the columns have; the same for most records, so that it costs nothing. A record that its
columns do not give back byte for byte (text among numbers) stands whole in `record`, in its first row. Gaps (records
without rows) have a table of their own, and so have the records that say a request again with its shadow's answers: a
model's table has each prediction once.
"""

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from kedge.domain.buffers import Block, columns_of, packed
from kedge.domain.ids import ModelName, RequestId, prediction_id, split_prediction_id
from kedge.domain.monitoring import COPIED
from kedge.domain.records import (
    PredictionRecord,
    decode_answers,
    decode_batch,
    decode_entities,
    decode_record,
    encode_batch,
    encode_record,
    is_old,
)
from kedge.storage.shelf import LogRecord

if TYPE_CHECKING:
    import polars as pl

GAPS = "_gaps"
SHADOWS = "_shadows"
_LONGEST = 200
_UTC = "UTC"


class PredictionRows:
    """The form of the prediction log."""

    time = "answered_at"
    names: tuple[str, ...] = ("id", "model", "answered_at", "entity", "version", "segment", "segment_end", "place")

    def index(self, records: Sequence[LogRecord]) -> "pl.DataFrame":
        """Tell which predictions there are."""
        import polars as pl

        rows: list[tuple[object, ...]] = []
        for recorded in records:
            answers, entities = decode_answers(recorded.payload), decode_entities(recorded.payload)
            if answers.variant == COPIED:
                continue  # its predictions are those of another record
            for place, version in enumerate(answers.versions):
                name = prediction_id(answers.request, answers.rows[place] if answers.rows else place)
                entity = entities[place] if entities else None
                rows.append((name, answers.model, answers.at, entity, version, recorded.segment, recorded.end, place))
        kinds = (pl.String, pl.String, pl.Datetime("us", _UTC), pl.String, pl.Int64, pl.String, pl.Int64, pl.Int32)
        return pl.DataFrame(rows, schema=dict(zip(self.names, kinds, strict=True)), orient="row")

    def tables(self, records: Sequence[LogRecord]) -> "Mapping[str, pl.DataFrame]":
        """Lay records out: a table per model, and one of gaps."""
        made: dict[str, _Table] = {}
        for recorded in records:
            old = is_old(recorded.payload)
            record = decode_record(encode_batch(decode_batch(recorded.payload)) if old else recorded.payload)
            folder = folder_of(record.model) if record.count else GAPS
            if record.variant == COPIED:
                folder = f"{SHADOWS}/{folder}"
            made.setdefault(folder, _Table()).add(recorded, record, whole=old or not record.count)
        return {folder: self._checked(table.frame(), table.recorded) for folder, table in made.items()}

    def records(self, table: "pl.DataFrame") -> list[LogRecord]:
        """Give the records of a table."""
        return _records(table)

    def _checked(self, frame: "pl.DataFrame", recorded: Sequence[LogRecord]) -> "pl.DataFrame":
        """Keep whole what the columns do not give back."""
        import polars as pl

        given = {(one.segment, one.end): one.payload for one in _records(frame)}
        wrong = [one for one in recorded if given.get((one.segment, one.end)) != one.payload]
        if not wrong:
            return frame
        whole = pl.DataFrame(
            {
                "segment": [one.segment for one in wrong],
                "segment_end": [one.end for one in wrong],
                "whole": [one.payload for one in wrong],
            }
        )
        first = pl.struct("segment", "segment_end").is_first_distinct()
        return (
            frame.join(whole, on=["segment", "segment_end"], how="left", maintain_order="left")
            .with_columns(record=pl.when(first).then(pl.coalesce("record", "whole")))
            .drop("whole")
        )


def folder_of(model: str) -> str:
    """Name the folder of a model: its name, with what a file system minds written as %XX; a long one shortened."""
    named = "".join(
        each if (each.isascii() and each.isalnum()) or each in "-." else "".join(f"%{b:02X}" for b in each.encode())
        for each in model
    )
    if named.startswith("."):  # no hidden folder, and not the one above
        named = f"%2E{named[1:]}"
    return named if len(named) <= _LONGEST else f"{named[: _LONGEST - 33]}-{sha256(model.encode()).hexdigest()[:32]}"


class _Table:
    """Rows as they gather: columns that a record lacks are null in its rows."""

    def __init__(self) -> None:
        self.recorded: list[LogRecord] = []
        self._columns: dict[str, list[Any]] = {}
        self._rows = 0

    def add(self, recorded: LogRecord, record: PredictionRecord, *, whole: bool) -> None:
        """Add the rows of one record; one row for a record that has none."""
        self.recorded.append(recorded)
        count = max(record.count, 1)
        numbers = record.rows or range(record.count)
        versions = [record.versions] * record.count if isinstance(record.versions, int) else record.versions
        columns: dict[str, Sequence[Any]] = {
            "id": [prediction_id(record.request, row) for row in numbers] or [record.request],
            "model": [record.model] * count,
            "answered_at": [record.at] * count,
            "revision": [record.revision] * count,
            "version": versions or [None],
            "variant": [record.roles.get(version) for version in versions] or [None],
            "asked_variant": [record.variant or None] * count,
            "form": [record.forms.get(version) for version in versions] or [None],
            "service": [record.service or None] * count,
            "entity": record.entities or [None] * count,
            "output": _outputs(record) or [None],
            "error": [record.errors.get(place) for place in range(count)],
            "share": [record.share] * count,
            "missing": [record.missing] * count,
            "segment": [recorded.segment] * count,
            "segment_end": [recorded.end] * count,
            "place": range(count),
            "rest": [encode_record(_rest(record))] * count,
            "record": [recorded.payload if whole else None, *[None] * (count - 1)],
        }
        if record.count:
            columns |= {f"feature_{name}": values for name, values in columns_of(record.features).items()}
            columns |= {f"output_{name}": values for name, values in columns_of(record.tensors).items()}
            columns |= {f"input_{name}": values for name, values in record.inputs.items()}
            columns |= {f"as_of_{view}": values for view, values in record.as_of.items()}
            columns |= {f"shadow_{version}": values for version, values in record.shadow.items()}
            columns |= {f"seconds_{stage}": [value] * count for stage, value in record.seconds.items()}
        for name, values in columns.items():
            column = self._columns.setdefault(name, [])
            column.extend([None] * (self._rows - len(column)))
            column.extend(values[:count])
        self._rows += count

    def frame(self) -> "pl.DataFrame":
        """Give the table, sorted by time. A column without any value is left out: of what type it is, nobody can say, and
        another file's would contradict a guess."""
        import polars as pl

        there = {
            name: values for name, values in self._columns.items() if name in _TYPES or values.count(None) < len(values)
        }
        columns = {name: values + [None] * (self._rows - len(values)) for name, values in there.items()}
        frame = pl.DataFrame([_series(name, values) for name, values in columns.items()])
        return frame.sort("answered_at", "segment", "segment_end", "place")


def _rest(record: PredictionRecord) -> PredictionRecord:
    """Take out of a record what its rows have, and leave its shape."""
    return msgspec.structs.replace(
        record,
        request=RequestId(""),
        model=ModelName(""),
        at=_EPOCH,
        revision=0,
        count=0,
        versions=0 if isinstance(record.versions, int) else [],
        outputs=b"" if isinstance(record.outputs, bytes) else [],
        shadow=dict.fromkeys(record.shadow, _NONE),
        errors={},
        seconds=dict.fromkeys(record.seconds, 0.0),
        rows=[0] if record.rows else [],
        entities=[""] if record.entities else [],
        features=_emptied(record.features),
        as_of=dict.fromkeys(record.as_of, _NONE),
        inputs=dict.fromkeys(record.inputs, _NONE),
        tensors=_emptied(record.tensors),
    )


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_NONE: list[Any] = []


def _emptied(blocks: Sequence[Block]) -> list[Block]:
    return [(names, tag, shape, b"" if isinstance(data, bytes) else []) for names, tag, shape, data in blocks]


def _records(table: "pl.DataFrame") -> list[LogRecord]:
    """Put the records of a table together again."""
    rows = table.sort("segment", "segment_end", "place")
    columns = {name: rows[name].to_list() for name in rows.columns}
    places, rests = columns["place"], dict[bytes, PredictionRecord]()
    starts = [row for row, place in enumerate(places) if place == 0 or _begins(columns, row)]
    found = []
    for start, end in zip(starts, [*starts[1:], len(places)], strict=True):
        segment, end_at = columns["segment"][start], columns["segment_end"][start]
        payload = columns["record"][start]
        if payload is None:
            raw = columns["rest"][start]
            rest = rests.get(raw)
            if rest is None:
                rest = rests[raw] = decode_record(raw)
            payload = _again(columns, start, end=end, rest=rest)
        found.append(LogRecord(segment, end_at, payload))
    return found


def _begins(columns: Mapping[str, list[Any]], row: int) -> bool:
    return any(columns[name][row] != columns[name][row - 1] for name in ("segment", "segment_end"))


def _again(columns: Mapping[str, list[Any]], start: int, *, end: int, rest: PredictionRecord) -> bytes:
    """Write a record from its rows; b"" where they cannot be those of it."""

    def taken(name: str) -> list[Any]:
        return columns[name][start:end] if name in columns else [None] * (end - start)

    names = [split_prediction_id(name) for name in taken("id")]
    versions, outputs = taken("version"), taken("output")
    errors = taken("error")
    try:
        record = msgspec.structs.replace(
            rest,
            request=names[0][0] if names[0] is not None else RequestId(""),
            model=columns["model"][start],
            at=columns["answered_at"][start],
            revision=columns["revision"][start],
            count=end - start,
            versions=versions[0] if isinstance(rest.versions, int) else versions,
            outputs=packed("<f8", outputs) if isinstance(rest.outputs, bytes) else outputs,
            shadow={version: taken(f"shadow_{version}") for version in rest.shadow},
            errors={place: error for place, error in enumerate(errors) if error is not None},
            seconds={stage: columns[f"seconds_{stage}"][start] for stage in rest.seconds},
            rows=[name[1] for name in names if name is not None] if rest.rows else [],
            entities=taken("entity") if rest.entities else [],
            features=_filled(rest.features, "feature_", taken=taken),
            as_of={view: taken(f"as_of_{view}") for view in rest.as_of},
            inputs={name: taken(f"input_{name}") for name in rest.inputs},
            tensors=_filled(rest.tensors, "output_", taken=taken),
        )
        return encode_record(record)
    except (struct.error, OverflowError, TypeError, ValueError):
        return b""


def _filled(blocks: Sequence[Block], prefix: str, *, taken: Any) -> list[Block]:
    filled: list[Block] = []
    for names, tag, shape, data in blocks:
        columns = [taken(prefix + name) for name in names]
        filled.append((names, tag, shape, packed(tag, _flat(columns, shape)) if isinstance(data, bytes) else columns))
    return filled


def _flat(columns: Sequence[list[Any]], shape: Sequence[int]) -> list[Any]:
    """Give values row by row."""
    if not shape:
        return columns[0] if len(columns) == 1 else [value for row in zip(*columns, strict=True) for value in row]
    values: list[Any] = columns[0]
    for _ in shape:
        values = [value for row in values for value in row]
    return values


def _outputs(record: PredictionRecord) -> list[float]:
    return (
        record.outputs
        if isinstance(record.outputs, list)
        else columns_of([(["output"], "<f8", [], record.outputs)])["output"]
    )


def _series(name: str, values: list[Any]) -> "pl.Series":
    """Make a column of the type that most of its values have; the others are null, and stand in their whole records."""
    import polars as pl

    kind = _TYPES.get(name) or _kind_of(values)
    if kind == "Float64":
        return pl.Series(name, [float(value) if type(value) in (int, float) else None for value in values], dtype=pl.Float64)
    if kind == "List":
        return pl.Series(name, [value if isinstance(value, list) else None for value in values], strict=False)
    wanted = _PYTHON.get(kind)
    if wanted is not None:
        values = [value if type(value) is wanted else None for value in values]
    return pl.Series(name, values, dtype=pl.Datetime("us", _UTC) if kind == "Datetime" else getattr(pl, kind))


def _kind_of(values: list[Any]) -> str:
    counts = Counter(map(type, values))
    floats, whole = counts.pop(float, 0), counts.pop(int, 0)
    counts.pop(type(None), None)
    kind, most = max(((kind, counts[kind]) for kind in _KINDS), key=lambda each: each[1])
    if most > floats + whole:
        return _KINDS[kind]
    fits = not floats and whole and all(type(value) is not int or -(2**63) <= value < 2**63 for value in values)
    return "Int64" if fits else "Float64"


_KINDS = {bool: "Boolean", str: "String", datetime: "Datetime", list: "List"}
_PYTHON: dict[str, type] = {"Int64": int, "Boolean": bool, "String": str, "Datetime": datetime}
_TYPES = {
    "id": "String",
    "model": "String",
    "revision": "Int64",
    "version": "Int64",
    "variant": "String",
    "asked_variant": "String",
    "form": "String",
    "service": "String",
    "entity": "String",
    "output": "Float64",
    "error": "String",
    "share": "Float64",
    "missing": "Int64",
    "segment": "String",
    "segment_end": "Int64",
    "place": "Int32",
    "rest": "Binary",
    "record": "Binary",
}
