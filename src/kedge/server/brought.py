"""Files that a person brings to a page, to be compared: told by their first bytes, put aside for one job, then gone.

    body (at most 128 MiB) -> each file at most 64 MiB -> Parquet, or text in UTF-8 -> a folder of its own -> the job
Only tables are read, by a job with bounded memory and time; two at once. Nothing is unpacked that is not Parquet, nothing is
unpickled, and a name is only ever shown.
"""

import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from time import time
from typing import IO, NamedTuple

from kedge.errors import RequestInvalid

FILE_AT_MOST = 64 << 20
BODY_AT_MOST = 2 * FILE_AT_MOST + (1 << 20)
PLACES = ("reference", "current")
_FOLDER = "kedge-brought-"
_LEFT_SECONDS = 3600.0  # far longer than any job may take
_HEAD = 1 << 16
_NAME = 80
_AT_ONCE = threading.BoundedSemaphore(2)


class BroughtFile(NamedTuple):
    """A file as it was sent: the name that its sender gives it, and its bytes."""

    name: str
    data: IO[bytes]


class PlacedFile(NamedTuple):
    """A file that lies where a job can read it, and the name to show for it."""

    path: str
    shown: str


@contextmanager
def placed(files: Mapping[str, BroughtFile]) -> Iterator[dict[str, PlacedFile]]:
    """Put files aside by the side that they are, until the block ends. Raises RequestInvalid for what is no table, or too
    large, and where two others are being compared."""
    kinds = {side: _kind(one) for side, one in files.items()}
    if not _AT_ONCE.acquire(blocking=False):
        raise RequestInvalid("two comparisons of files are being made already; send yours again in a moment")
    try:
        _sweep()
        with TemporaryDirectory(prefix=_FOLDER) as folder:
            found = {}
            for side, one in files.items():
                path = Path(folder) / f"{side}{kinds[side]}"
                with path.open("wb") as kept:
                    shutil.copyfileobj(one.data, kept)
                found[side] = PlacedFile(str(path), shown(one.name))
            yield found
    finally:
        _AT_ONCE.release()


def _sweep() -> None:
    """Remove what a server that was killed has left: nobody's rows stay for longer than they are compared."""
    for left in Path(gettempdir()).glob(f"{_FOLDER}*"):
        with suppress(OSError):  # another user's, or gone by now
            if time() - left.stat().st_mtime > _LEFT_SECONDS:
                shutil.rmtree(left)


def shown(name: str) -> str:
    """Give a sender's name of a file as it is shown: its last part, printable, and short."""
    last = name.replace("\\", "/").rpartition("/")[2]
    plain = "".join(letter for letter in last if letter.isprintable()).strip()[-_NAME:]
    return plain or "a file without a name"


def _kind(file: BroughtFile) -> str:
    """Say how a file is read, by its bytes: ".parquet", ".tsv" or ".csv". Raises RequestInvalid."""
    name, data = shown(file.name), file.data
    size = data.seek(0, 2)
    data.seek(0)
    head = data.read(_HEAD)
    data.seek(0)
    if size > FILE_AT_MOST:
        said = f"the file {name} has {size / 2**20:,.0f} MiB, and a page takes {FILE_AT_MOST >> 20}"
        raise RequestInvalid(f"{said}; compare it where it lies: kedge monitor compare A B")
    if not head:
        raise RequestInvalid(f"the file {name} is empty")
    if head[:4] == b"PAR1":
        return ".parquet"
    try:
        text = head.decode("utf-8-sig") if size <= _HEAD else _cut(head)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise RequestInvalid(
            f"the file {name} is neither Parquet nor text in UTF-8; save it as one of these (Excel: CSV UTF-8)"
        )
    return ".tsv" if name.lower().endswith(".tsv") else ".csv"


def _cut(head: bytes) -> str:
    """Read text whose last letter may be cut in two."""
    for spared in range(3):
        try:
            return head[: len(head) - spared].decode("utf-8-sig")
        except UnicodeDecodeError:
            continue
    return head[:-3].decode("utf-8-sig")
