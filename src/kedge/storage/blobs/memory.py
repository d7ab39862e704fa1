"""Blobs in memory, for what need not outlive its process."""

from collections.abc import Mapping

from blake3 import blake3

from kedge.domain.ids import Digest
from kedge.errors import NotFound
from kedge.storage.blobs.trees import read_manifest, require_plain, write_manifest


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
        """Keep named files as one tree and give its name. Raises ValueError for a name that could leave a folder."""
        for name in files:
            require_plain(name)
        return self.put(write_manifest(files, {name: self.put(data) for name, data in files.items()}))

    def get_tree(self, digest: Digest) -> dict[str, bytes]:
        """Read all files of a tree. Raises NotFound; StoreBroken where the blob is no manifest."""
        return {file.name: self.get(file.digest) for file in read_manifest(self.get(digest), digest)}
