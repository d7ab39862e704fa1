"""Importing this module imports scikit-learn and skops, and not pandas beside them.

`sklearn.utils.fixes` imports pandas wherever it is installed and makes no use of it: 67 MiB and 0.4 s in every process of
the loop. Here the import finds none; whoever imports pandas itself, before or after, gets it as ever.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from threading import get_ident
from types import ModuleType

_WANTED = ("sklearn.ensemble", "sklearn.tree", "skops.io")
_UNUSED = "pandas"


class _Without(MetaPathFinder):
    """Says in one thread that a module is not installed."""

    def __init__(self, name: str) -> None:
        self._name, self._thread = name, get_ident()

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Refuse the module here; leave everything else to the finders after this one."""
        if fullname == self._name and get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


@contextmanager
def _without(name: str) -> Iterator[None]:
    finder = _Without(name)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


with _without(_UNUSED):
    for _module in _WANTED:
        import_module(_module)

skops_io = import_module("skops.io")
