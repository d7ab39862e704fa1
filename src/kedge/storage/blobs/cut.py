"""Where to cut bytes into chunks: at borders that the content itself sets, so that an edit moves only those near it.

FastCDC (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems", IEEE
TPDS 2020): 64 KiB on average; 16 KiB for Parquet, whose pages Kedge writes with 32 to 128 KiB.
"""

from collections.abc import Iterator

from pyfastcdc import FastCDC

_PARQUET = b"PAR1"


def cut(data: bytes) -> Iterator[memoryview]:
    """Cut into chunks of 8 to 256 KiB (Parquet: 4 to 64 KiB; the last may be shorter). Same bytes, same borders."""
    yield from cut_some(data, parquet=is_parquet(data), whole=True)


def cut_some(data: bytes, *, parquet: bool, whole: bool) -> Iterator[memoryview]:
    """Cut what has arrived of a blob, from one of its borders on.

    Where more is to come (not `whole`), the tail whose borders later bytes may still set is left uncut: put it before
    those. The borders are those of the blob cut in one piece.
    """
    average = 16 << 10 if parquet else 64 << 10
    smallest, largest = (average // 4, average * 4) if parquet else (8 << 10, 256 << 10)
    if len(data) <= smallest:
        if whole:
            yield memoryview(data)
        return
    start = 0
    for chunk in FastCDC(average, min_size=smallest, max_size=largest).cut_buf(data):
        if not whole and len(data) - start < largest:
            return
        yield memoryview(data)[start : start + chunk.length]
        start += chunk.length


def is_parquet(head: bytes) -> bool:
    """Say whether a blob that begins like this is a Parquet file."""
    return head[:4] == _PARQUET
