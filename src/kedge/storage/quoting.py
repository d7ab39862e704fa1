"""CSV whose quotes do not add up: Polars may put such fields together as it sees fit, so they are looked for first."""

import mmap
from pathlib import Path

_QUOTE, _NEWLINES = 0x22, b"\r\n"
_MARK = b"\xef\xbb\xbf"
_MOST = 200_000


def broken_quoting(path: Path, separator: str, *, most: int | None = _MOST) -> str:
    """Name the first line whose quoting is broken, and how; "" where nothing is wrong with the first `most` quotes."""
    if not path.stat().st_size:
        return ""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        ends = separator.encode() + _NEWLINES
        at, opened, seen = data.find(b'"'), -1, 0
        while at >= 0 and (most is None or seen < most):
            seen += 1
            following = data[at + 1 : at + 2]
            if opened < 0:
                if at == 0 or data[at - 1] in ends or (at == 3 and data[:3] == _MARK):
                    opened = at
            elif following == b'"':
                at += 1
            elif following and following not in ends:
                return f"line {_line(data, at)}: text after a closing quote; a quote inside a field is written twice"
            else:
                opened = -1
            at = data.find(b'"', at + 1)
        if at < 0 <= opened:
            return f"line {_line(data, opened)}: a quote that is opened there is never closed"
    return ""


def _line(data: mmap.mmap, at: int) -> int:
    line, start = 1, data.find(b"\n")
    while 0 <= start < at:
        line, start = line + 1, data.find(b"\n", start + 1)
    return line
