"""A TOML file with its text, so that every error can name file and line and say what would be right."""

import difflib
import re
import tomllib
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec

from kedge.errors import ConfigError

_Section = TypeVar("_Section", bound=msgspec.Struct)


class Document:
    """A TOML file that has been read."""

    def __init__(self, path: Path, text: str, *, content: dict[str, Any]) -> None:
        self.path, self.lines, self.content = path, text.splitlines(), content

    @classmethod
    def read(cls, path: Path, *, or_else: str) -> "Document":
        """Read a file. ConfigError where it is missing (with `or_else`, what to do), unreadable or not TOML."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigError(f"{path} does not exist; {or_else}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from None
        try:
            return cls(path, text, content=tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: not valid TOML: {error}") from None

    def fail(self, where: tuple[str, ...], message: str) -> NoReturn:
        """Raise ConfigError with the file and the line of a place, given as keys from the section down."""
        raise ConfigError(f"{self.path}, line {self.line(where)}: {message}") from None

    def line(self, where: tuple[str, ...]) -> int:
        """Find the line of a dotted place: its section's header, then the last of its keys that stands below it."""
        start, keys = self._header(where)
        found = start
        for key in keys:
            pattern = re.compile(rf"(?:^|[\s{{,]){re.escape(key)}\s*=")
            for number in range(found, len(self.lines) + 1):
                if number > start and self.lines[number - 1].lstrip().startswith("["):
                    break
                if pattern.search(self.lines[number - 1]):
                    found = number
                    break
        return found

    def _header(self, where: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
        """Find the header that says most of a place, such as [a.b] of ("a", "b", "c"); and the keys that it leaves."""
        for size in range(len(where), 0, -1):
            dotted = r"\s*\.\s*".join(map(re.escape, where[:size]))
            for number, text in enumerate(self.lines, 1):
                if re.match(rf"\s*\[+\s*{dotted}\b", text):
                    return number, where[size:]
        return 1, where[1:]

    def only(self, *known: str, inside: str = "") -> None:
        """Refuse keys of the file, or of one section, that are not known."""
        table = self.content[inside] if inside else self.content
        for key in table:
            if key not in known:
                place = (inside, key) if inside else (key,)
                kind = f"{inside}.{key}" if inside else f"[{key}]"
                self.fail(place, f"{kind} is not known{_near(key, known)}")

    def table(self, name: str, *, required: bool = False) -> dict[str, Any]:
        """Give one section as it was written; an empty one where it is left out."""
        table = self.content.get(name, {})
        if not isinstance(table, dict):
            self.fail((name,), f"{name} must be a table: [{name}]")
        if required and not table:
            raise ConfigError(f"{self.path}: section [{name}] is missing")
        return table

    def section(self, name: str, kind: type[_Section], *, required: bool = False) -> _Section:
        """Convert one section to its struct; an error names the key's line."""
        table = self.table(name, required=required)
        try:
            return msgspec.convert(table, kind)
        except msgspec.ValidationError as error:
            text, _, path = str(error).partition(" - at `$")
            keys = tuple(re.findall(r"\.([A-Za-z_]\w*)", path))
            unknown = re.search(r"unknown field `(\w+)`", text)
            if unknown:
                hint = _near(unknown[1], _fields_at(kind, keys))
                self.fail((name, *keys, unknown[1]), f"{'.'.join((name, *keys, unknown[1]))} is not known{hint}")
            missing = re.search(r"missing required field `(\w+)`", text)
            if missing:
                self.fail((name, *keys), f"{'.'.join((name, *keys, missing[1]))} is missing")
            self.fail((name, *keys), f"{'.'.join((name, *keys))}: {text[:1].lower()}{text[1:]}{choices_at(kind, keys)}")


def _fields_at(kind: type[msgspec.Struct], keys: tuple[str, ...]) -> tuple[str, ...]:
    """List the fields of the struct at a path of keys below a struct type."""
    for key in keys:
        kind = next((each for each in _types_of(kind, key) if issubclass(each, msgspec.Struct)), kind)
    return tuple(f.name for f in msgspec.structs.fields(kind))


def choices_at(kind: type[msgspec.Struct], keys: tuple[str, ...]) -> str:
    """Say what an enum field may hold, for the error about it."""
    for key in keys:
        for each in _types_of(kind, key):
            if issubclass(each, Enum):
                return f"; choose one of {', '.join(str(choice.value) for choice in each)}"
            if issubclass(each, msgspec.Struct):
                kind = each
                break
    return ""


def _types_of(kind: type[msgspec.Struct], key: str) -> list[type]:
    """List the types of a field, and of what it holds."""
    field = next((f for f in msgspec.structs.fields(kind) if f.name == key), None)
    return [t for t in (field.type, *getattr(field.type, "__args__", ())) if isinstance(t, type)] if field else []


def _near(word: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f'; did you mean "{close[0]}"?' if close else f"; known are {', '.join(known)}"
