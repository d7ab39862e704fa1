"""The head of a file, so that a page can show it without running it: text, table, picture or nothing.

What a file is, is read from its bytes; its ending only chooses between readings of the same text. At most 64 KiB of a text
are read, and whole files only where they are small. Parquet is read by a job: this process holds no tables.
"""

import csv
import io
from collections.abc import Sequence
from enum import Enum
from typing import Any

import msgspec

from kedge.domain.artifacts import RunFile
from kedge.ports import JobFailed, JobRunner
from kedge.tracking.artifacts import Artifacts

TEXT_AT_MOST = 64 << 10
JSON_AT_MOST = 1 << 20
PARQUET_AT_MOST = 16 << 20
IMAGE_AT_MOST = 16 << 20
ROWS, COLUMNS, CELL = 50, 50, 200
_SECONDS = 20.0
_JOB_BYTES = 4 << 30  # of address space: what a file that lies about its size may take
_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "image/png", (".png",)),
    (b"\xff\xd8\xff", "image/jpeg", (".jpg", ".jpeg")),
    (b"GIF87a", "image/gif", (".gif",)),
    (b"GIF89a", "image/gif", (".gif",)),
)


class PreviewKind(Enum):
    """How the head of a file can be shown."""

    TEXT = "text"
    TABLE = "table"
    IMAGE = "image"
    NONE = "none"


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a file. Cells are plain text; `cut` says that there is more; `reason` why nothing is shown."""

    path: str
    size: int
    kind: PreviewKind
    media_type: str = ""
    text: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    cut: bool = False
    reason: str = ""


def preview(artifacts: Artifacts, file: RunFile, *, jobs: JobRunner) -> Preview:
    """Read the head of a file."""
    head = b"".join(artifacts.read(file, end=TEXT_AT_MOST))
    ending = file.path[file.path.rfind(".") :].lower() if "." in file.path else ""
    if image := _image_of(head, ending):
        if file.size > IMAGE_AT_MOST:
            return _nothing(file, f"the picture is over {IMAGE_AT_MOST >> 20} MiB; download it")
        return Preview(path=file.path, size=file.size, kind=PreviewKind.IMAGE, media_type=image)
    if head[:4] == b"PAR1":
        return _parquet(artifacts, file, jobs=jobs)
    text = _text_of(head, whole=file.size <= len(head))
    if text is None:
        return _nothing(file, "this is no text, table or picture; download it")
    return _text(artifacts, file, text=text, ending=ending, cut=file.size > len(head))


def _text(artifacts: Artifacts, file: RunFile, *, text: str, ending: str, cut: bool) -> Preview:
    if ending in (".csv", ".tsv") and (table := _delimited(text, "\t" if ending == ".tsv" else ",", cut=cut)):
        return _table(file, table[0], rows=table[1], cut=cut)
    if ending == ".json" and file.size <= JSON_AT_MOST and (found := _json_table(b"".join(artifacts.read(file)))):
        return _table(file, found[0], rows=found[1])
    return Preview(path=file.path, size=file.size, kind=PreviewKind.TEXT, text=text, cut=cut)


def _image_of(head: bytes, ending: str) -> str:
    """Name the type of a picture whose bytes and ending agree; "" for anything else."""
    for magic, media_type, endings in _IMAGES:
        if head.startswith(magic) and ending in endings:
            return media_type
    return "image/webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and ending == ".webp" else ""


def _text_of(head: bytes, *, whole: bool) -> str | None:
    """Read UTF-8; the last letter may be cut in two where more follows. None for what is no text."""
    if b"\0" in head:
        return None
    for spared in range(1 if whole else 4):
        try:
            return head[: len(head) - spared].decode("utf-8-sig")
        except UnicodeDecodeError:
            continue
    return None


def _delimited(text: str, delimiter: str, *, cut: bool) -> tuple[list[str], list[list[str]]] | None:
    lines = csv.reader(io.StringIO(text.rpartition("\n")[0] if cut else text), delimiter=delimiter)
    try:
        read = [line for line, _ in zip(lines, range(ROWS + 2), strict=False)]
    except csv.Error:
        return None
    return (read[0], read[1:]) if read and len(read[0]) > 1 else None


def _json_table(data: bytes) -> tuple[list[str], list[list[Any]]] | None:
    """Read a list of records, or `{"columns": [...], "data": [[...]]}`; None for other JSON."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None
    if isinstance(found, dict) and isinstance(found.get("columns"), list) and isinstance(found.get("data"), list):
        rows = [row for row in found["data"] if isinstance(row, list)]
        return [str(name) for name in found["columns"]], rows
    if isinstance(found, list) and found and all(isinstance(one, dict) for one in found):
        columns = list(dict.fromkeys(str(name) for one in found[:ROWS] for name in one))
        return columns, [[one.get(name) for name in columns] for one in found[: ROWS + 1]]
    return None


def _parquet(artifacts: Artifacts, file: RunFile, *, jobs: JobRunner) -> Preview:
    if file.size > PARQUET_AT_MOST:
        return _nothing(file, f"the table is over {PARQUET_AT_MOST >> 20} MiB; download it")
    result, _ = jobs.call(parquet_job, b"".join(artifacts.read(file)), seconds=_SECONDS)
    if isinstance(result, JobFailed):
        return _nothing(file, f"the table cannot be read: {result.reason}")
    columns, rows = result
    return _table(file, columns, rows=rows)


def parquet_job(data: bytes) -> tuple[list[str], list[list[str]]]:
    """Run in the job's process: read the first rows of a Parquet file as text, within a limit of memory."""
    import resource

    import polars as pl

    before = resource.getrlimit(resource.RLIMIT_AS)
    most = _JOB_BYTES if before[1] == resource.RLIM_INFINITY else min(_JOB_BYTES, before[1])
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        names = list(pl.read_parquet_schema(io.BytesIO(data)))
        frame = pl.read_parquet(io.BytesIO(data), columns=names[:COLUMNS], n_rows=ROWS + 1)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    return names, [[_cell(value) for value in row] for row in frame.rows()]


def _table(file: RunFile, columns: Sequence[Any], *, rows: Sequence[Sequence[Any]], cut: bool = False) -> Preview:
    shown = tuple(tuple(_cell(value) for value in row[:COLUMNS]) for row in rows[:ROWS])
    return Preview(
        path=file.path,
        size=file.size,
        kind=PreviewKind.TABLE,
        columns=tuple(_cell(name) for name in columns[:COLUMNS]),
        rows=shown,
        cut=cut or len(rows) > ROWS or len(columns) > COLUMNS,
    )


def _cell(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else str(value)
    return text if len(text) <= CELL else f"{text[:CELL]}..."


def _nothing(file: RunFile, reason: str) -> Preview:
    return Preview(path=file.path, size=file.size, kind=PreviewKind.NONE, reason=reason)
