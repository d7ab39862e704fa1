"""Pages from templates: autoescape on, nothing user-made marked safe, values for scripts as JSON with `<` escaped."""

import re
from datetime import datetime
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from kedge.web import backtest, charts, curves, datapictures, spread, watching, words, year
from kedge.web.addresses import address, part
from kedge.web.assets import HERE, Assets

_VERSION = re.compile(r"\b(?:v|[Vv]ersion )(\d{1,6})\b")
_CLASSES = {
    "well": "ok",
    "trial": "trial",
    "watch": "warn",
    "alarm": "bad",
    "holds": "idle",
    "idle": "idle",
    "running": "trial",
}


class Pages:
    """Renders templates."""

    def __init__(self, assets: Assets, *, project: str) -> None:
        self.assets = assets
        self._jinja = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._jinja.globals |= {
            "assets": assets,
            "project": project,
            "charts": charts,
            "words": words,
            "figure": year.figure,
            "curves": curves,
            "drawn": datapictures,
            "spread": spread,
            "watching": watching,
            "address": address,
        }
        self._jinja.filters |= {
            "css": state_class,
            "icon_of": state_icon,
            "time": time_element,
            "versions": link_versions,
            "script_json": script_json,
            "part": part,
            "zip": zip,
            **backtest.FILTERS,
        }

    def render(self, template: str, **values: Any) -> bytes:
        """Render a page."""
        return self._jinja.get_template(f"{template}.html").render(**values).encode()

    def problem(self, status: int, problem: Any) -> bytes:
        """Render an error as a page."""
        return self.render("problem", title=f"{status}", noun="", status=status, problem=problem)


def state_class(state: Any) -> str:
    """Give the colour class of a state."""
    return _CLASSES[getattr(state, "value", state)]


def state_icon(state: Any) -> str:
    """Give the icon of a state."""
    return str(getattr(state, "value", state))


def time_element(at: datetime | None, now: datetime | None = None, *, exact: bool = False) -> Markup:
    """Write a time: relative to now, or exact, with the exact time always in reach."""
    if at is None:
        return escape(words.NONE)
    shown = f"{at:%Y-%m-%d %H:%M}" if exact or now is None else words.when(at, now)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(words.iso(at), words.utc(at), shown)


def link_versions(text: str, model: str) -> Markup:
    """Escape a sentence, and link the versions that it names to their pages; without a model they are of something else."""
    if not model:
        return escape(text)
    parts, after = [], 0
    for match in _VERSION.finditer(text):
        parts.append(escape(text[after : match.start()]))
        parts.append(Markup('<a href="/models/{}/versions/{}">{}</a>').format(part(model), match[1], match[0]))
        after = match.end()
    parts.append(escape(text[after:]))
    return Markup("").join(parts)


def script_json(value: Any) -> Markup:
    """Write a value as JSON that may stand inside a script element."""
    text = (
        msgspec.json.encode(value).decode().replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    )
    return Markup(text)  # noqa: S704 - every "<" is escaped
