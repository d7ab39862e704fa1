"""Where to cut bytes into chunks: at borders that the content itself sets, so that an edit moves only those near it.

FastCDC (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems", IEEE
TPDS 2020): 64 KiB on average; 16 KiB for Parquet, whose pages Kedge writes with 32 to 128 KiB.
"""

from collections.abc import Iterator

from pyfastcdc import FastCDC

_PARQUET = b"PAR1"
_PLAIN = FastCDC(64 << 10, min_size=8 << 10, max_size=256 << 10)
_PAGES = FastCDC(16 << 10, min_size=4 << 10, max_size=64 << 10)
LARGEST = 256 << 10


def cut(data: bytes) -> Iterator[memoryview]:
    """Cut into chunks of 8 to 256 KiB (Parquet: 4 to 64 KiB; the last may be shorter). Same bytes, same borders."""
    yield from cut_some(data, parquet=is_parquet(data), whole=True)


def cut_some(data: bytes, *, parquet: bool, whole: bool) -> Iterator[memoryview]:
    """Cut what has arrived of a blob, from one of its borders on.

    Where more is to come (not `whole`), the tail whose borders later bytes may still set is left uncut: put it before
    those. The borders are those of the blob cut in one piece.
    """
    largest = (_PAGES if parquet else _PLAIN).max_size
    view, start = memoryview(data), 0
    for length in lengths(view, parquet=parquet):
        if not whole and len(data) - start < largest:
            return
        yield view[start : start + length]
        start += length


def lengths(data: memoryview, *, parquet: bool) -> Iterator[int]:
    """Give the lengths of the chunks of a blob, from one of its borders on."""
    chunker = _PAGES if parquet else _PLAIN
    if 0 < len(data) <= chunker.min_size:
        yield len(data)
    elif data:
        for chunk in chunker.cut_buf(data):
            yield chunk.length


def is_parquet(head: bytes | memoryview) -> bool:
    """Say whether a blob that begins like this is a Parquet file."""
    return head[:4] == _PARQUET
