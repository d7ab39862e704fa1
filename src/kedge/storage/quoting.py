"""What is wrong with a CSV file, by line: quotes that do not add up, which Polars may put together as it sees fit, names
that stand twice, another separator; and, once Polars has refused a file, the line that it refused."""

import csv
import mmap
from collections import Counter
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


def odd_header(path: Path, separator: str) -> str:
    """Say what is odd about the first line: a name twice, or one name that holds another separator; "" where nothing is."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        names = next(csv.reader(file, delimiter=separator), [])
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        return f"line 1: column {twice[0]!r} is there twice; give each a name of its own"
    other = next((mark for mark in ",;\t|" if len(names) == 1 and mark in names[0]), "")
    return f"line 1: it has the one column {names[0]!r}, which looks separated by {other!r}" if other else ""


def refused_line(path: Path, separator: str) -> str:
    """Find the first line that is not UTF-8, or has more fields than the header; "" where there is none."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return f"line {number}: bytes that are not UTF-8; save the file as UTF-8"
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=separator)
        try:
            names = next(rows, [])
            for row in rows:
                if len(row) > len(names):
                    return f"line {rows.line_num}: {len(row)} fields, where the header has {len(names)}"
        except csv.Error as error:
            return f"line {rows.line_num}: {error}"
    return ""


def _line(data: mmap.mmap, at: int) -> int:
    line, start = 1, data.find(b"\n")
    while 0 <= start < at:
        line, start = line + 1, data.find(b"\n", start + 1)
    return line
