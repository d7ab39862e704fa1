"""Reads every chunk of the store against its name, says what is damaged and whose it is, and mends it from a bucket.

read all -> fetch what a bucket has whole -> name what the rest belongs to: dataset, versions, file
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from kedge.domain.data import DatasetVersion
from kedge.domain.ids import DatasetName, Digest
from kedge.errors import StoreBroken, Unreachable
from kedge.ports import Bucket, Damage, Datasets, DataStore
from kedge.ports.world import Told

_NAMED = 20  # files that are named for one damaged chunk


class Struck(msgspec.Struct, frozen=True, kw_only=True):
    """What is made of damaged bytes: a file in versions of a dataset; "" for a table's rows, or a folder's list of files."""

    dataset: DatasetName
    file: str
    versions: tuple[int, ...]


class Harm(msgspec.Struct, frozen=True, kw_only=True):
    """Damaged bytes: the pack, offset and length, the chunk that stood there, what is wrong, whether it was mended; and what
    is made of them. `more` counts files that are not named, `others` what runs and models hold, or nobody any more."""

    pack: str
    offset: int
    bytes: int
    chunk: Digest
    reason: str
    mended: bool
    named: tuple[Struck, ...] = ()
    more: int = 0
    others: int = 0


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What was read, what of it was damaged, and how many chunks are so still; why a bucket could not be asked."""

    chunks: int
    bytes: int
    harms: tuple[Harm, ...] = ()
    left: int = 0
    unreachable: str = ""


class Healing:
    """Finds and mends damage."""

    def __init__(self, *, datasets: Datasets, blobs: DataStore) -> None:
        self._datasets, self._blobs = datasets, blobs

    def verify(self, *, told: Told, expect: Told, bucket: Bucket | None = None) -> Verified:
        """Read every chunk; with a bucket, fetch what is damaged and it has whole. Raises StoreFull."""
        done = (0, 0)

        def reading(chunks: int, size: int) -> None:
            nonlocal done
            done = chunks, size
            told(chunks, size)

        damages = list(self._blobs.verify(told=reading, expect=expect))
        mended: set[Digest] = set()
        unreachable = ""
        if damages and bucket is not None:
            try:
                mended = self._blobs.mend(damages, bucket)
            except Unreachable as error:
                unreachable = str(error)
        left = sum(one.chunk not in mended for one in damages)
        harms = self._harms(damages, mended) if damages else ()
        return Verified(chunks=done[0], bytes=done[1], harms=harms, left=left, unreachable=unreachable)

    def _harms(self, damages: Sequence[Damage], mended: set[Digest]) -> tuple[Harm, ...]:
        users = self._users({blob for one in damages for blob in one.blobs})
        harms = []
        for one in damages:
            named = {(dataset, file): versions for blob in one.blobs for (dataset, file), versions in users[blob].items()}
            struck = [
                Struck(dataset=dataset, file=file, versions=tuple(sorted(versions)))
                for (dataset, file), versions in sorted(named.items())
            ]
            harms.append(
                Harm(
                    pack=one.pack,
                    offset=one.offset,
                    bytes=one.length,
                    chunk=one.chunk,
                    reason=one.reason,
                    mended=one.chunk in mended,
                    named=tuple(struck[:_NAMED]),
                    more=max(0, len(struck) - _NAMED),
                    others=sum(not users[blob] for blob in one.blobs),
                )
            )
        return tuple(harms)

    def _users(self, blobs: set[Digest]) -> dict[Digest, dict[tuple[DatasetName, str], set[int]]]:
        """Find which files of which versions these blobs are."""
        users: dict[Digest, dict[tuple[DatasetName, str], set[int]]] = {blob: {} for blob in blobs}
        for dataset in self._datasets.names():
            for version in self._datasets.list(dataset):
                for file, blob in self._made_of(version, blobs):
                    users[blob].setdefault((dataset, file), set()).add(version.number)
        return users

    def _made_of(self, version: DatasetVersion, blobs: set[Digest]) -> list[tuple[str, Digest]]:
        found = [("", blob) for part in version.parts for blob in (part.digest, part.deleted) if blob in blobs]
        if version.tree is not None:
            found += [("", version.tree)] if version.tree in blobs else []
            with suppress(StoreBroken):  # the list of its files is damaged, and named; what it named is not known
                found += [(file.name, file.digest) for file in self._blobs.manifest(version.tree) if file.digest in blobs]
        return [(file, blob) for file, blob in found if blob is not None]
