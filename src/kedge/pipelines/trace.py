"""Where in the project's own code a training went wrong, read from a traceback's text."""

import re
from typing import NamedTuple

_OWN_ERROR = re.compile(r"^kedge\.errors\.\w+: ")
_FRAME = re.compile(r'^ *File "(?P<file>[^"]+)", line (?P<line>\d+)', re.MULTILINE)


class Place(NamedTuple):
    """A line of the project's code; the file is named relative to the project."""

    file: str
    line: int


def place_of(traceback: str, root: str) -> Place | None:
    """Find the innermost line of a file under `root` (libraries installed under it do not count); None without one."""
    prefix = root.rstrip("/\\")
    found = None
    for frame in _FRAME.finditer(traceback):
        file = frame["file"]
        inside = file.startswith((prefix + "/", prefix + "\\")) and "site-packages" not in file
        if inside:
            found = Place(file[len(prefix) + 1 :], int(frame["line"]))
    return found


def sentence_of(reason: str) -> str:
    """Shorten why a job failed to its first line; what Kedge itself says needs no class before it."""
    return _OWN_ERROR.sub("", reason.strip().split("\n", 1)[0])
