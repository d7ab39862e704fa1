"""Blobs in memory, for what need not outlive its process."""

from collections.abc import Iterator, Mapping, Sequence

from blake3 import blake3

from kedge.domain.ids import Digest
from kedge.errors import NotFound
from kedge.ports import TreeFile
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
        sizes = {name: len(data) for name, data in files.items()}
        return self.put(write_manifest(sizes, {name: self.put(data) for name, data in files.items()}))

    def get_tree(self, digest: Digest) -> dict[str, bytes]:
        """Read all files of a tree. Raises NotFound; StoreBroken where the blob is no manifest."""
        return {file.name: self.get(file.digest) for file in read_manifest(self.get(digest), digest)}

    def bind(self, files: Mapping[str, Digest]) -> Digest:
        """Make a tree of blobs that are there. Raises ValueError for a name as `put_tree` does, NotFound."""
        for name in files:
            require_plain(name)
        return self.put(write_manifest({name: self.size(digest) for name, digest in files.items()}, files))

    def files(self, tree: Digest) -> list[TreeFile]:
        """List the files of a tree. Raises NotFound; StoreBroken where the blob is no manifest."""
        return [TreeFile(file.name, file.digest, file.size) for file in read_manifest(self.get(tree), tree)]

    def manifest(self, tree: Digest) -> Iterator[TreeFile]:
        """Walk the files of a tree."""
        return iter(self.files(tree))

    def size(self, digest: Digest) -> int:
        """Tell the size of a blob in bytes. Raises NotFound."""
        return len(self.get(digest))

    def read(self, digest: Digest, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Read the bytes from `start` to before `end`. Raises NotFound."""
        data = self.get(digest)[start:end]
        return iter([data] if data else [])

    def incoming(self) -> "MemoryIncoming":
        """Begin a blob that arrives piece by piece; nothing of it is seen before its `keep`."""
        return MemoryIncoming(self)

    def join(self, parts: Sequence[Digest]) -> Digest:
        """Make one blob of several, end to end. Raises NotFound."""
        return self.put(b"".join(self.get(part) for part in parts))

    def sweep(self) -> int:
        """Remove what killed uploads left behind: nothing, as it was gone with its process."""
        return 0


class MemoryIncoming:
    """A blob on its way into memory."""

    def __init__(self, blobs: MemoryBlobs) -> None:
        self._blobs = blobs
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        self._pieces.append(data)

    def keep(self) -> Digest:
        """Make the blob be there, whole, and give its name."""
        return self._blobs.put(b"".join(self._pieces))

    def drop(self) -> None:
        """Forget what came."""
        self._pieces = []
