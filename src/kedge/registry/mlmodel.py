"""The file MLmodel, which MLflow's clients write beside a model: what it says, and nothing that it could make happen.

It is read as a stream of events into plain texts, maps and lists. No tag, no alias, no type: a file that would make a
loader build an object, or grow from a kilobyte to a gigabyte, is told as a fault and its version registered all the same.
"""

from collections.abc import Iterator
from typing import Any

import yaml

from kedge.domain.registry import ModelFacts

FILE = "MLmodel"
LARGEST = 1 << 20
_DEEPEST = 12
_SIGNATURE = ("inputs", "outputs", "params")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _NotRead(Exception):
    """Why the file is not read."""


def read_mlmodel(data: bytes) -> ModelFacts:
    """Read the facts of a model; `fault` says why where they cannot be read."""
    if len(data) > LARGEST:
        return ModelFacts(fault=f"{FILE} has {len(data):,} bytes; at most {LARGEST:,} are read")
    try:
        said = _document(yaml.parse(data, Loader=_LOADER))
    except yaml.YAMLError as error:
        return ModelFacts(fault=f"{FILE} is not YAML: {' '.join(str(error).split())[:200]}")
    except (_NotRead, UnicodeDecodeError, ValueError) as error:
        return ModelFacts(fault=f"{FILE} is not read: {error}")
    signature, example = _map(said.get("signature")), _map(said.get("saved_input_example_info"))
    version = said.get("mlflow_version")
    return ModelFacts(
        flavors=tuple(sorted(_map(said.get("flavors")))),
        signature={name: text for name in _SIGNATURE if isinstance(text := signature.get(name), str) and text != "null"},
        example=example["artifact_path"] if isinstance(example.get("artifact_path"), str) else "",
        made_with=f"MLflow {version}" if isinstance(version, str) else "",
    )


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _document(events: Iterator[Any]) -> dict[str, Any]:
    """Build the one document that the file is."""
    for event in events:
        if isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
            continue
        if isinstance(event, yaml.StreamEndEvent):
            break
        return _map(_built(event, events, depth=0))
    return {}


def _built(event: Any, events: Iterator[Any], *, depth: int) -> Any:
    if depth > _DEEPEST:
        raise _NotRead(f"it nests deeper than {_DEEPEST}")
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        raise _NotRead("it has anchors or aliases")
    if getattr(event, "tag", None) not in (None, "", "!"):
        raise _NotRead(f"it has the tag {str(event.tag)[:60]!r}")
    if isinstance(event, yaml.ScalarEvent):
        return event.value
    made_list: list[Any] = []
    while not isinstance(following := next(events), yaml.CollectionEndEvent):
        made_list.append(_built(following, events, depth=depth + 1))
    if isinstance(event, yaml.SequenceStartEvent):
        return made_list
    keys = made_list[::2]
    if not all(isinstance(key, str) for key in keys):
        raise _NotRead("a key in it is no text")
    return dict(zip(keys, made_list[1::2], strict=True))
