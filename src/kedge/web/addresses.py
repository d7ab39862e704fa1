"""Addresses of pages: the state of a page is its query string, so a link is the present state with something changed."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

Asked = Mapping[str, Any]


def address(path: str, asked: Asked | None = None, **changes: Any) -> str:
    """Write a page's address: what is asked now, with changes. Empty values, False and None are left out."""
    pairs = [
        (name.rstrip("_"), _text(value))
        for name, given in {**(asked or {}), **changes}.items()
        for value in _each(given)
        if value not in (None, "", False)
    ]
    return f"{path}?{urlencode(pairs)}" if pairs else path


def part(name: str) -> str:
    """Write a name as one part of a path."""
    return quote(name, safe="")


def _each(value: Any) -> Iterable[Any]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _text(value: Any) -> str:
    return "1" if value is True else str(value)
