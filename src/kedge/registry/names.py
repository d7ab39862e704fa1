"""What names, aliases, tags and stages may be. The words of a refusal are part of the MLflow protocol."""

import json
import posixpath
import re
from collections.abc import Mapping

from kedge.domain.registry import ModelStage
from kedge.errors import RequestInvalid

KEY, VALUE, ALIAS, NAME = 250, 100_000, 255, 256
TEXT = 5_000  # characters of a description
REASON_LEAST, REASON_MOST = 3, 300
_ALIAS = re.compile(r"[\w\-]*")
_VERSION_ALIAS = re.compile(r"[vV]\d+")
_KEY = re.compile(r"[/\w.\- :]*")
_STAGES = {stage.value.lower(): stage for stage in ModelStage}
_CHARACTERS = (
    "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."
)


def check_name(name: str, *, parameter: str = "name") -> str:
    """Give a model's name. Raises RequestInvalid."""
    if not name.strip():
        raise RequestInvalid(f"Missing value for required parameter '{parameter}'.")
    if "/" in name or ":" in name:
        raise RequestInvalid(f"Invalid model name '{name}'. Names cannot contain '/' or ':'.")
    if _resolves(name):
        raise _invalid("name", name, why=_moves(name))
    if len(name) > NAME:
        raise _too_long("name", NAME)
    _check_letters("name", name)
    return name


def check_alias(alias: str) -> str:
    """Give an alias that may be read or taken away. Raises RequestInvalid."""
    if not alias:
        raise RequestInvalid("Registered model alias name cannot be empty.")
    if not _ALIAS.fullmatch(alias):
        raise RequestInvalid(
            f"Invalid alias name: '{alias}'. Names may only contain alphanumerics, underscores (_), and dashes (-)."
        )
    if len(alias) > ALIAS:
        raise _too_long("Registered model alias name", ALIAS)
    return alias


def check_new_alias(alias: str) -> str:
    """Give an alias that may be set: `latest` and `v1` mean versions already. Raises RequestInvalid."""
    check_alias(alias)
    if alias.lower() == "latest":
        raise RequestInvalid("'latest' alias name (case insensitive) is reserved.")
    if _VERSION_ALIAS.fullmatch(alias):
        raise RequestInvalid(f"Version alias name '{alias}' is reserved.")
    return alias


def check_key(key: str) -> str:
    """Give the key of a tag. Raises RequestInvalid."""
    if not _KEY.fullmatch(key):
        raise _invalid("key", key, why=_CHARACTERS)
    if _resolves(key):
        raise _invalid("key", key, why=_moves(key))
    return key


def check_tag(key: str, value: str) -> None:
    """Check a tag. Raises RequestInvalid."""
    check_key(key)
    if len(key) > KEY:
        raise _too_long("key", KEY)
    if len(value) > VALUE:
        raise _too_long("value", VALUE)
    _check_letters("value", value)


def check_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Give tags. Raises RequestInvalid."""
    for key, value in tags.items():
        check_tag(key, value)
    return dict(tags)


def check_description(description: str | None) -> str | None:
    """Give a description. Raises RequestInvalid."""
    if description is not None:
        if len(description) > TEXT:
            raise _too_long("description", TEXT)
        _check_letters("description", description)
    return description


def check_reason(reason: str, *, parameter: str = "reason") -> str:
    """Give why a person moves something, as it stands in the history. Raises RequestInvalid."""
    told = " ".join(reason.split())
    if not REASON_LEAST <= len(told) <= REASON_MOST:
        raise RequestInvalid(
            f"{parameter}: say in {REASON_LEAST} to {REASON_MOST} characters why; it is kept in the history"
        )
    return told


def check_stage(stage: str) -> ModelStage:
    """Read a stage, whatever the case of its letters. Raises RequestInvalid."""
    found = _STAGES.get(stage.lower())
    if found is None:
        named = ", ".join(one.value for one in ModelStage)
        raise RequestInvalid(f"Invalid Model Version stage: {stage}. Value must be one of {named}.")
    return found


def check_number(version: str) -> int:
    """Read a version's number. Raises RequestInvalid."""
    text = version.strip().removeprefix("+")
    if not text.removeprefix("-").isdecimal() or len(text) > 18:
        raise RequestInvalid(f"Parameter 'version' must be an integer, got '{version}'.")
    return int(text)


def _resolves(name: str) -> bool:
    plain = posixpath.normpath(name)
    return plain != name or plain == "." or plain.startswith(("..", "/"))


def _moves(name: str) -> str:
    return (
        "Names may be treated as files in certain cases, and must not resolve to other names when treated as such."
        f" This name would resolve to {posixpath.normpath(name)!r}"
    )


def _invalid(parameter: str, value: str, *, why: str) -> RequestInvalid:
    return RequestInvalid(f"Invalid value {json.dumps(value)} for parameter '{parameter}' supplied: {why}")


def _too_long(what: str, limit: int) -> RequestInvalid:
    return RequestInvalid(f"'{what}' exceeds the maximum length of {limit} characters")


def _check_letters(what: str, text: str) -> None:
    """Check that a store can keep the text: PostgreSQL has no NUL, and half a character is none."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise RequestInvalid(f"'{what}' holds a NUL or half a character; write it as text in UTF-8")
