"""Requests and answers as bytes: typed at once where they fit, read again slowly where they do not.

Fast: msgspec decodes the body straight into the request's struct (a number may be written as a string, unknown fields are
passed over). Slow, only after a failure: what Protobuf's JSON allows besides (null for a field left out, a bare NaN, a
body encoded twice, run_uuid for run_id), and if it still does not fit, MLflow's own words for what is wrong.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin
from urllib.parse import parse_qs

import msgspec

from kedge.server.mlflow.errors import INVALID, SEE, ProtocolError, missing

T = TypeVar("T", bound=msgspec.Struct)

Text = Annotated[str, msgspec.Meta(min_length=1)]
Long = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Int = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]

encode = msgspec.json.Encoder().encode


class Nothing(msgspec.Struct, frozen=True):
    """An empty answer, or a request whose body says nothing."""


class Decoder(Generic[T]):
    """Reads requests of one type, from a body or from a query string."""

    def __init__(self, takes: type[T]) -> None:
        self._takes = takes
        self._fast = msgspec.json.Decoder(takes, strict=False)
        self._fields = {field.encode_name: field for field in msgspec.structs.fields(takes)}

    def body(self, body: bytes, *, names: Mapping[str, str]) -> T:
        """Read a body; what stands in the path wins over it. Raises ProtocolError."""
        if not names:
            try:
                return self._fast.decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass
        return self._slow({**_parsed(body), **self._named(names)})

    def query(self, query: bytes, *, names: Mapping[str, str]) -> T:
        """Read a query string. Raises ProtocolError."""
        try:
            given = parse_qs(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=1000)
        except ValueError:
            raise ProtocolError(
                INVALID, "the query string is not UTF-8 in percent encoding, or has over 1000 fields"
            ) from None
        data: dict[str, Any] = {}
        for name, values in given.items():
            if name in self._fields:
                kind = _kind(self._fields[name].type)
                data[name] = values if kind is list else _boolean(values[0]) if kind is bool else values[0]
            elif name == "run_uuid":
                data[name] = values[0]
        return self._slow({**data, **self._named(names)})

    def _named(self, names: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in names.items() if name in self._fields}

    def _slow(self, data: dict[str, Any]) -> T:
        data = _without_nulls(data)
        if not data.get("run_id") and data.get("run_uuid"):
            data["run_id"] = data["run_uuid"]
        try:
            return msgspec.convert(data, self._takes, strict=False)
        except msgspec.ValidationError as error:
            raise _said(data, self._takes) or ProtocolError(INVALID, f"{error}.{SEE}") from None


def _parsed(body: bytes) -> dict[str, Any]:
    """Read a body as Python reads JSON: bare NaN and a text that holds JSON once more are taken."""
    if not body.strip():
        return {}
    try:
        data = json.loads(body)
        if isinstance(data, str):
            data = json.loads(data)
        json.dumps(data, ensure_ascii=False).encode()  # a lone surrogate is no text
    except (ValueError, RecursionError):
        raise ProtocolError("BAD_REQUEST", "the body is not JSON in UTF-8; send one JSON object") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ProtocolError("BAD_REQUEST", f"the body is a JSON {type(data).__name__}; send one JSON object")
    return data


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value if inner is not None]
    return value


def _boolean(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ProtocolError(INVALID, f"Invalid boolean value: {value}, must be 'true' or 'false'.")
    return value.lower() == "true"


def _kind(annotation: Any) -> Any:
    """Find the plain type behind an annotation: int for Long, list for tuple[...], None for a choice of several."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) in (list, tuple):
        return list
    if annotation in (str, int, float, bool):
        return annotation
    options = [one for one in get_args(annotation) if one is not type(None) and one is not msgspec.UnsetType]
    return _kind(options[0]) if len(options) == 1 else annotation if not options else None


def _said(data: Any, takes: Any, *, path: str = "") -> ProtocolError | None:
    """Find what is wrong, in MLflow's words: the first field that is missing, or not of its type."""
    for field in sorted(msgspec.structs.fields(takes), key=lambda one: one.name != "run_id"):
        name, value = f"{path}{field.encode_name}", data.get(field.encode_name)
        if field.required and value in (None, ""):
            return missing(name)
        if value is None:
            continue
        kind = _kind(field.type)
        if not _fits(value, kind):
            return _invalid(name, value)
        if kind is list:
            inner = next((one for one in get_args(field.type) if one is not Ellipsis), str)
            for index, item in enumerate(value):
                place = f"{name}[{index}]"
                if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                    if not isinstance(item, dict):
                        return _invalid(place, item)
                    if (said := _said(item, inner, path=f"{place}.")) is not None:
                        return said
                elif not _fits(item, _kind(inner)):
                    return _invalid(name, value)
    return None


def _invalid(name: str, value: Any) -> ProtocolError:
    hint = f" Hint: Value was of type '{type(value).__name__}'."
    shown = json.dumps(value, sort_keys=True, separators=(",", ":"))
    shown = shown if len(shown) <= 1000 else f"{shown[:1000]}..."
    return ProtocolError(INVALID, f"Invalid value {shown} for parameter '{name}' supplied: {hint}{SEE}")


def _fits(value: Any, kind: Any) -> bool:
    if kind in (int, float):
        try:
            number = msgspec.convert(value, Long if kind is int else float, strict=False)
        except msgspec.ValidationError:
            return False
        return number is not None
    if kind is list:
        return isinstance(value, list)
    if kind in (str, bool):
        return isinstance(value, kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return isinstance(value, dict)
    return True
