"""The files a page needs, served by content: the address holds a digest, so a browser keeps them for ever.

Own files are read once at start (the style sheets become one, so do the scripts of figures). Plotly's script is found in the
installed package without importing it, and read, hashed and compressed when a page first asks for it.
"""

import gzip
import hashlib
import re
import threading
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

HERE = Path(__file__).parent
_STYLES = ("tokens", "ground", "frame", "parts", "charts", "tracking", "data", "plotly")
_SCRIPTS = ("theme.js", "live.js", "table.js")
_PLOTS = ("plotting", "year", "course")
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_STYLE_ID = re.compile(rb'getElementById\("([0-9a-f]{64})"\)')


class Asset(NamedTuple):
    """A file as it is served."""

    name: str
    digest: str
    media_type: str
    plain: bytes
    packed: bytes

    @property
    def url(self) -> str:
        """Give its address."""
        return f"/static/{self.digest}/{self.name}"


def _asset(name: str, plain: bytes, *, level: int = 9) -> Asset:
    digest = hashlib.blake2b(plain, digest_size=8).hexdigest()
    return Asset(name, digest, _TYPES[Path(name).suffix], plain, gzip.compress(plain, level, mtime=0))


class Assets:
    """All files that pages link to."""

    def __init__(self) -> None:
        self._own = {name: _asset(name, (HERE / "static" / name).read_bytes()) for name in (*_SCRIPTS, "anchor.svg")}
        styles = b"\n".join((HERE / "static" / f"{name}.css").read_bytes() for name in _STYLES)
        self._own["kedge.css"] = _asset("kedge.css", styles)
        plots = b"\n".join((HERE / "static" / f"{name}.js").read_bytes() for name in _PLOTS)
        self._own["plots.js"] = _asset("plots.js", plots)
        self._lock = threading.Lock()

    def url(self, name: str) -> str:
        """Give the address of one of our own files."""
        return self._own[name].url

    def text(self, name: str) -> Markup:
        """Give one of our own files as it stands, for a page that links to none."""
        return Markup(self._own[name].plain.decode())  # noqa: S704 - our own style sheet

    def find(self, digest: str, name: str) -> Asset | None:
        """Find a file by its address; None for one that is not, or no longer, ours."""
        asset = self.plotly if name == "plotly.js" else self._own.get(name)
        return asset if asset is not None and asset.digest == digest else None

    @cached_property
    def _plotly_path(self) -> Path | None:
        spec = find_spec("plotly")
        path = Path(spec.origin).parent / "package_data" / "plotly.min.js" if spec and spec.origin else None
        return path if path is not None and path.is_file() else None

    @property
    def plotly(self) -> Asset | None:
        """Give the chart script, read on first use; None where the package does not bring it."""
        with self._lock:
            return self._plotly

    @cached_property
    def _plotly(self) -> Asset | None:
        return _asset("plotly.js", self._plotly_path.read_bytes(), level=6) if self._plotly_path else None

    @property
    def plotly_style_id(self) -> str:
        """Give the id under which the script would write a second style sheet of its own, for maps; the page takes that id
        first, since the content policy refuses the sheet."""
        found = _STYLE_ID.search(self.plotly.plain) if self.plotly else None
        return found[1].decode() if found else ""
