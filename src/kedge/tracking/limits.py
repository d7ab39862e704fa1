"""What names and values may be: checked where they come in, so that a store never holds what it cannot give back."""

import re
from collections.abc import Iterable, Mapping

from kedge.domain.ids import RunId
from kedge.domain.tracking import Metric
from kedge.errors import ParamChanged, RequestInvalid

KEY = 250
PARAM = 6000
TAG = 8000
EXPERIMENT_TAG = 20_000
NAME = 500
DIGEST = 250
DESCRIPTION = 16 * 1024 * 1024  # a dataset's source, schema or profile

_WHOLE = 2**63
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def check_text(what: str, value: str, *, longest: int, empty: bool = True) -> str:
    """Give the text. Raises RequestInvalid where it is too long, empty, or not text that can be kept."""
    if not isinstance(value, str):
        raise RequestInvalid(f"{what} is {value!r}, which is not text")
    if not value and not empty:
        raise RequestInvalid(f"{what} is empty; give it at least one character")
    if len(value) > longest:
        raise RequestInvalid(f"{what} has {len(value)} characters; at most {longest} are kept: {value[:40]!r}...")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise RequestInvalid(f"{what} holds half a character at {error.start} and cannot be written") from error
    if "\x00" in value:
        raise RequestInvalid(f"{what} holds a zero byte at {value.index(chr(0))} and cannot be kept")
    return value


def check_run_id(id: str) -> RunId:
    """Give an id that a client chose. Raises RequestInvalid where it cannot stand in an address, or names a logged model."""
    if not isinstance(id, str) or not _RUN_ID.fullmatch(id) or id.startswith("m-"):
        raise RequestInvalid(f"run id {id!r} is not allowed: use up to 64 letters, digits, - and _, not beginning with m-")
    return RunId(id)


def check_labels(what: str, labels: Mapping[str, str], *, longest: int) -> dict[str, str]:
    """Give tags or params whose keys and values can be kept. Raises RequestInvalid."""
    for key, value in labels.items():
        check_text(f"key of a {what}", key, longest=KEY, empty=False)
        check_text(f"{what} {key!r}", value, longest=longest)
    return dict(labels)


def one_of_each(owner: str, params: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, str]:
    """Give params by key. Raises ParamChanged where a key is given twice with different values."""
    found: dict[str, str] = {}
    for key, value in params.items() if isinstance(params, Mapping) else params:
        if found.setdefault(key, value) != value:
            raise ParamChanged(owner, key, old=found[key], new=value)
    return found


def check_metrics(metrics: Iterable[Metric]) -> list[Metric]:
    """Give points that can be kept. Raises RequestInvalid for a key too long, a value that is no number, a huge whole."""
    found = list(metrics)
    for key in {metric.key for metric in found}:
        check_text("key of a metric", key, longest=KEY, empty=False)
    for metric in found:
        plain = type(metric.value) is float and type(metric.step) is int and type(metric.at) is int
        if not (plain and -_WHOLE <= metric.step < _WHOLE and -_WHOLE <= metric.at < _WHOLE):
            _check_numbers(metric)
    return found


def _check_numbers(metric: Metric) -> None:
    if isinstance(metric.value, bool) or not isinstance(metric.value, float | int):
        raise RequestInvalid(f"metric {metric.key!r} is {metric.value!r}, which is not a number")
    check_whole(f"step of metric {metric.key!r}", metric.step)
    check_whole(f"time of metric {metric.key!r}", metric.at)


def check_whole(what: str, number: int) -> int:
    """Give a whole number of 64 bits. Raises RequestInvalid."""
    if isinstance(number, bool) or not isinstance(number, int) or not -_WHOLE <= number < _WHOLE:
        raise RequestInvalid(f"{what} is {number!r}, which is not a whole number of 64 bits")
    return number
