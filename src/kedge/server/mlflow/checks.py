"""What a name or value may be, as MLflow says it: the texts are those that its clients know.

Rooms check what they store themselves; here stands only what this protocol says in its own words.
"""

import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

from kedge.server.mlflow.entities import Pair, SentPoint
from kedge.server.mlflow.errors import INVALID, ProtocolError

KEY_LENGTH = 250
PARAM_LENGTH = 6000
TAG_LENGTH = 8000
EXPERIMENT_NAME_LENGTH = 500
EXPERIMENT_TAG_LENGTH = 20000
METRICS_PER_BATCH = 1000
PAIRS_PER_BATCH = 100

_RUN = re.compile(r"[a-zA-Z0-9][\w-]{0,255}", re.ASCII)
_KEY = re.compile(r"[/\w.\- :]*")
_CHARACTERS = (
    "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."
)


def run_id(run: str) -> str:
    """Check a run's id."""
    if _RUN.fullmatch(run) is None:
        raise _invalid("run_id", run)
    return run


@lru_cache(maxsize=4096)
def _problem(key: str) -> str:
    """Say what is wrong with a key; "" where nothing is. The same keys come again and again, so answers are kept."""
    if not _KEY.fullmatch(key):
        return _CHARACTERS
    plain = posixpath.normpath(key)
    if plain != key or plain == "." or plain.startswith(("..", "/")):
        return (
            "Names may be treated as files in certain cases, and must not resolve to other names"
            f" when treated as such. This name would resolve to {plain!r}"
        )
    return ""


def key(name: str, *, path: str, what: str) -> str:
    """Check a key. `path` is where it stands in the request, `what` what is said to be too long."""
    if len(name) > KEY_LENGTH:
        raise _too_long(what, KEY_LENGTH)
    if problem := _problem(name):
        raise _invalid(path, name, said=f": {problem}")
    return name


def points(metrics: Sequence[SentPoint], *, batch: bool) -> None:
    """Check measured points."""
    for index, one in enumerate(metrics):
        if one.at < 0 or len(one.key) > KEY_LENGTH or _problem(one.key):
            path = f"metrics[{index}]." if batch else ""
            key(one.key, path=f"{path}name", what="Metric name")
            raise _invalid(
                f"{path}timestamp",
                one.at,
                said=f": metric '{one.key}' (value={one.value}). Timestamp must be a nonnegative long (64-bit integer) ",
            )


def params(sent: Sequence[Pair], *, batch: bool) -> dict[str, str]:
    """Check params; values that are too long are cut, as MLflow's server cuts them."""
    given: dict[str, str] = {}
    for index, one in enumerate(sent):
        key(one.key, path=f"params[{index}].key" if batch else "key", what="Param key")
        given[one.key] = one.value[:PARAM_LENGTH]
    if len(given) < len(sent):
        twice = [name for name, times in Counter(one.key for one in sent).items() for _ in range(times - 1)]
        raise ProtocolError(
            INVALID,
            f"Duplicate parameter keys have been submitted: {twice}. Please ensure the request contains only one "
            "param value per param key.",
        )
    return given


def tags(sent: Iterable[Pair], *, batch: bool = False) -> dict[str, str]:
    """Check tags; values that are too long are cut, as MLflow's server cuts them."""
    return {
        key(one.key, path=f"tags[{index}].key" if batch else "key", what="key"): one.value[:TAG_LENGTH]
        for index, one in enumerate(sent)
    }


def experiment_tags(sent: Iterable[Pair]) -> dict[str, str]:
    """Check an experiment's tags."""
    given = {key(one.key, path="key", what="key"): one.value for one in sent}
    if any(len(value) > EXPERIMENT_TAG_LENGTH for value in given.values()):
        raise _too_long("value", EXPERIMENT_TAG_LENGTH)
    return given


def experiment_name(name: str) -> str:
    """Check an experiment's name."""
    if len(name) > EXPERIMENT_NAME_LENGTH:
        raise _too_long("name", EXPERIMENT_NAME_LENGTH)
    return name


def batch(metrics: Sequence[object], *, params: Sequence[object], tags: Sequence[object]) -> None:
    """Check how much one request may hold."""
    limits = (
        ("metrics", METRICS_PER_BATCH, len(metrics)),
        ("params", PAIRS_PER_BATCH, len(params)),
        ("tags", PAIRS_PER_BATCH, len(tags)),
        ("metrics, params, and tags", METRICS_PER_BATCH, len(metrics) + len(params) + len(tags)),
    )
    for what, limit, given in limits:
        if given > limit:
            raise ProtocolError(
                INVALID,
                f"A batch logging request can contain at most {limit} {what}. Got {given} {what}. Please split up {what} "
                "across multiple requests and try again.",
            )


def page_size(given: int | None, *, most: int) -> None:
    """Check the size of a page."""
    if given is not None and not 1 <= given <= most:
        said = f"Invalid value {given} for parameter 'max_results' supplied."
        raise ProtocolError(INVALID, f"{said} It must be a positive integer, at most {most}.")


def _invalid(path: str, value: object, *, said: str = ".") -> ProtocolError:
    shown = json.dumps(value)
    shown = shown if len(shown) <= KEY_LENGTH * 2 else f"{shown[: KEY_LENGTH * 2]}..."
    return ProtocolError(INVALID, f"Invalid value {shown} for parameter '{path}' supplied{said}")


def _too_long(what: str, limit: int) -> ProtocolError:
    return ProtocolError(INVALID, f"'{what}' exceeds the maximum length of {limit} characters")
