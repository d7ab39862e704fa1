"""Writes names and conditions as the text that reads back as the same: for pages that make filters and orders."""

import math
import re
from collections.abc import Sequence

from kedge.domain.finding import Condition, Operator, Subject
from kedge.errors import SearchInvalid
from kedge.tracking.words import WordKind, words_of

_ENTITIES = {
    Subject.ATTRIBUTE: "attributes",
    Subject.METRIC: "metrics",
    Subject.PARAM: "params",
    Subject.TAG: "tags",
    Subject.DATASET: "dataset",
}
_BARE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)


def filter_of(where: Sequence[Condition]) -> str:
    """Write conditions as a filter. Raises SearchInvalid for what no text says: an infinity, a name with a backtick."""
    return " AND ".join(_condition(one) for one in where)


def written(subject: Subject, key: str) -> str:
    """Write a name, as a filter and an order have it. Raises SearchInvalid for one that no text says."""
    if subject is Subject.ATTRIBUTE:
        return key
    # a bare key may be a word that the language keeps for itself: only plain words of attributes and datasets stay bare
    if subject is Subject.DATASET or (_BARE.fullmatch(key) and not _kept(key)):
        return f"{_ENTITIES[subject]}.{key}"
    if "`" in key:
        if '"' in key or "\\" in key:
            raise SearchInvalid(f"no filter says the name {key!r}")
        return f'{_ENTITIES[subject]}."{key}"'
    return f"{_ENTITIES[subject]}.`{key}`"


def _condition(one: Condition) -> str:
    name = written(one.subject, one.key)
    if one.operator in {Operator.IS_NULL, Operator.IS_NOT_NULL}:
        return f"{name} {one.operator.value}"
    if isinstance(one.value, tuple):
        return f"{name} {one.operator.value} ({', '.join(_item(value) for value in one.value)})"
    if isinstance(one.value, str):
        return f"{name} {one.operator.value} {_text(one.value)}"
    if one.value is None or not math.isfinite(one.value):
        raise SearchInvalid(f"no filter says {name} {one.operator.value} {one.value}")
    return f"{name} {one.operator.value} {repr(one.value).replace('e+', 'e')}"


def _kept(key: str) -> bool:
    return any(part.upper() in {"CASE", "IN", "VALUES", "USING", "FROM", "AS", "ASC", "DESC"} for part in key.split("."))


def _text(value: str) -> str:
    for quoted, kind in ((f"'{value}'", WordKind.STRING), (f'"{value}"', WordKind.SYMBOL)):
        words = words_of(f"{quoted} '\" '\"")  # with quotes behind it, as of further values
        if words[0].kind is kind and words[0].text == quoted:
            return quoted
    raise SearchInvalid(f"no filter says the text {value!r}: it has both kinds of quotes, or ends in a backslash")


def _item(value: str) -> str:
    return "'" + "".join(_ESCAPED.get(character, character) for character in value) + "'"


# in lists; no quote and no lone backslash may be left, for either would move the end of the text
_ESCAPED = {character: f"\\x{ord(character):02x}" for character in "\\'\n\r\0"}
