"""Blobs in memory, for what need not outlive its process."""

from collections.abc import Mapping

import msgspec
from blake3 import blake3

from kedge.domain.ids import Digest
from kedge.errors import NotFound


class MemoryBlobs:
    """A blob store that is gone with its process."""

    def __init__(self) -> None:
        self._kept: dict[Digest, bytes] = {}

    def put(self, data: bytes) -> Digest:
        """Keep a blob and give its name."""
        name = Digest(blake3(data).hexdigest())
        self._kept[name] = data
        return name

    def get(self, digest: Digest) -> bytes:
        """Read a blob. Raises NotFound."""
        if digest not in self._kept:
            raise NotFound(f"no blob {digest} in memory; was it written to another store?")
        return self._kept[digest]

    def has(self, digest: Digest) -> bool:
        """Tell whether a blob is there."""
        return digest in self._kept

    def put_tree(self, files: Mapping[str, bytes]) -> Digest:
        """Keep named files as one tree and give its name."""
        return self.put(msgspec.json.encode({name: self.put(files[name]) for name in sorted(files)}))

    def get_tree(self, digest: Digest) -> dict[str, bytes]:
        """Read all files of a tree. Raises NotFound."""
        names = msgspec.json.decode(self.get(digest), type=dict[str, Digest])
        return {name: self.get(found) for name, found in names.items()}
