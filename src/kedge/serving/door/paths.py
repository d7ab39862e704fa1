"""What lies at which path, and by which method it is asked for.

GET  /v2  /v2/health/live  /v2/health/ready  /ping  /health  /metrics  /v1/models
GET  /v2/models/NAME[/versions/V][/ready]
POST /v2/models/NAME[/versions/V]/infer
POST /v1/models/NAME[/versions/V]:predict   /invocations
POST /v2/models/NAME/refresh
"""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from kedge.errors import NotFound
from kedge.serving.door.reading import HttpRefusal


class Destination(NamedTuple):
    """What a path names: which of the door's answers, by which method, of which model and version."""

    answer: str
    method: str
    model: str = ""
    version: int | None = None

    @property
    def infers(self) -> bool:
        """Tell whether a model is asked for answers there."""
        return self.answer in ("infer", "predict", "invocations")


_FIXED = {
    "/v2": Destination("server", "GET"),
    "/v2/health/live": Destination("live", "GET"),
    "/v2/health/ready": Destination("ready", "GET"),
    "/ping": Destination("ready", "GET"),
    "/health": Destination("ready", "GET"),
    "/metrics": Destination("metrics", "GET"),
    "/v1/models": Destination("models", "GET"),
    "/invocations": Destination("invocations", "POST"),
}
OPEN = frozenset(path for path, place in _FIXED.items() if place.answer in ("server", "live", "ready"))
"""The paths that need no token."""

_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/(infer|ready))?")
_REFRESH = re.compile(r"/v2/models/([^/]+)/refresh")
_PREDICT = re.compile(r"/v1/models/([^/]+?)(?:/versions/([^/]+))?:predict")


# As many paths as a busy server is asked for; what a stranger makes up pushes them out and costs microseconds.
@lru_cache(maxsize=1024)
def place_of(path: str) -> Destination:
    """Find what a path names, percent-encoded as it came: a name may hold a slash.

    Raises HttpRefusal 404 where it names nothing, NotFound for a version that is no number.
    """
    path = path.rstrip("/")
    if path in _FIXED:
        return _FIXED[path]
    if match := _REFRESH.fullmatch(path):
        return Destination("refresh", "POST", unquote(match[1]))
    if match := _MODEL.fullmatch(path):
        answer, method = _OF_MODEL[match[3]]
        return Destination(answer, method, unquote(match[1]), _number(match[2]))
    if match := _PREDICT.fullmatch(path):
        return Destination("predict", "POST", unquote(match[1]), _number(match[2]))
    raise HttpRefusal(404, f"there is nothing at {path[:200] or '/'}; the models are under /v2/models/NAME")


_OF_MODEL = {None: ("metadata", "GET"), "ready": ("model_ready", "GET"), "infer": ("infer", "POST")}


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NotFound(f"there is no version {text[:40]!r}; versions are numbers")
    return int(text)
