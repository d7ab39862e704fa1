"""The index of the chunk store: where each chunk lies, and of which chunks each blob is made.

Digests are kept as raw bytes, a blob's recipe as its chunks' digests end to end. The first place of a chunk counts: a
second writer of the same chunk changes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kedge.domain.ids import Digest
from kedge.storage.blobs.index import ChunkPlace, Recipe
from kedge.storage.sql.session import Row, Session, Sessions, chunks, places

_ADD_CHUNK = 'INSERT INTO chunks (digest, pack, "offset", length) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING'
_ADD_BLOB = "INSERT INTO blobs (digest, size, chunks, reclaimable) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_FIND_CHUNKS = "SELECT digest FROM chunks WHERE digest IN ({})"
_FIND_PLACES = 'SELECT digest, pack, "offset", length FROM chunks WHERE digest IN ({})'
_FIND_RECIPES = "SELECT digest, size, chunks FROM blobs WHERE digest IN ({})"
_SCAN_CHUNKS = 'SELECT digest, pack, "offset", length FROM chunks WHERE digest > ? ORDER BY digest LIMIT ?'
_SCAN_BLOBS = "SELECT digest, chunks FROM blobs WHERE digest > ? ORDER BY digest LIMIT ?"
_SCAN_RECLAIMABLE = "SELECT digest, size FROM blobs WHERE reclaimable AND digest > ? ORDER BY digest LIMIT ?"
_REMOVE_BLOBS = "DELETE FROM blobs WHERE digest IN ({})"
_REMOVE_CHUNKS = "DELETE FROM chunks WHERE digest IN ({})"
_MOVE_CHUNK = 'UPDATE chunks SET pack = ?, "offset" = ?, length = ? WHERE digest = ?'
_FIND_BLOBS = "SELECT digest, size, reclaimable FROM blobs WHERE digest IN ({})"
_CLAIM = "UPDATE blobs SET reclaimable = NULL WHERE reclaimable AND digest IN ({})"
_DIGEST_BYTES = 32
_PAGE = 5000

_COUNT_BLOBS = "SELECT COUNT(*) FROM blobs"
_COUNT_CHUNKS = "SELECT COUNT(*), COALESCE(SUM(length), 0) FROM chunks"


class Totals(NamedTuple):
    """What the index holds: blobs, chunks, and the bytes of all chunks."""

    blobs: int
    chunks: int
    bytes: int


class SqlChunks:
    """The index of the chunk store (`storage.blobs.index.ChunkIndex`)."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def find_many(self, digests: Sequence[Digest]) -> dict[Digest, ChunkPlace]:
        """Find the places of those chunks that are there."""
        found: dict[Digest, ChunkPlace] = {}
        if digests:
            with self._sessions.reading() as session:
                for some in chunks(_raw(digests)):
                    for digest, *place in session.rows(_FIND_PLACES.format(places(some)), *some):
                        found[Digest(bytes(digest).hex())] = ChunkPlace(*place)
        return found

    def find_blob(self, digest: Digest) -> Recipe | None:
        """Find what a blob is made of."""
        return self.find_recipes([digest]).get(digest)

    def find_recipes(self, digests: Sequence[Digest]) -> dict[Digest, Recipe]:
        """Find what those blobs that are there are made of."""
        found: dict[Digest, Recipe] = {}
        with self._sessions.reading() as session:
            for some in chunks(_raw(digests)):
                for digest, size, raw in session.rows(_FIND_RECIPES.format(places(some)), *some):
                    found[Digest(bytes(digest).hex())] = Recipe(size, _split(bytes(raw)))
        return found

    def find_blobs(self, digests: Sequence[Digest]) -> dict[Digest, int]:
        """Find the sizes of those blobs that are there."""
        with self._sessions.reading() as session:
            found = _blobs_of(session, digests)
        return {Digest(digest.hex()): size for digest, (size, _) in found.items()}

    def add(
        self, places: Mapping[Digest, ChunkPlace], recipes: Mapping[Digest, Recipe], *, reclaimable: bool = False
    ) -> set[Digest]:
        """Write places and recipes in one transaction; what is already there stays.

        Give the chunks that recipes name and that are nowhere; nothing is written then.
        """
        named = {chunk for recipe in recipes.values() for chunk in recipe.chunks if chunk not in places}
        # In order of digest, so that two writers of the same chunks never wait for each other in a circle.
        rows = [(bytes.fromhex(digest), *place) for digest, place in sorted(places.items())]
        wholes = [
            (bytes.fromhex(digest), recipe.size, bytes.fromhex("".join(recipe.chunks)), True if reclaimable else None)
            for digest, recipe in sorted(recipes.items())
        ]
        with self._sessions.writing() as session:
            if session.postgresql:
                session.run("LOCK TABLE blobs IN ROW EXCLUSIVE MODE")  # a removal ends first, or begins after
            if lost := _lost(session, named):
                return lost
            session.many(_ADD_CHUNK, rows)
            session.many(_ADD_BLOB, wholes)
            if not reclaimable:
                _claim(session, list(recipes))
        return set()

    def scan(self, packs: set[str] | None = None) -> Iterator[tuple[Digest, ChunkPlace]]:
        """Give all chunks, or those in these packs, in the order of their digests."""
        for digest, *place in self._pages(_SCAN_CHUNKS):
            if packs is None or place[0] in packs:
                yield Digest(digest.hex()), ChunkPlace(*place)

    def reclaimable(self) -> Iterator[tuple[Digest, int]]:
        """Give the blobs that are reclaimable, with their sizes."""
        for digest, size in self._pages(_SCAN_RECLAIMABLE):
            yield Digest(digest.hex()), int(size)

    def made_of(self, chunks: set[Digest]) -> Iterator[tuple[Digest, set[Digest]]]:
        """Give the blobs that are made of any of these chunks, and of which."""
        for digest, raw in self._pages(_SCAN_BLOBS):
            if found := chunks.intersection(_split(bytes(raw))):
                yield Digest(digest.hex()), found

    def remove(self, blobs: Iterable[Digest]) -> int:
        """Remove blobs, and all chunks that no blob is made of then, in one transaction; give the number of chunks."""
        raw = _raw(blobs)
        with self._sessions.writing() as session:
            if session.postgresql:  # whoever adds what it found waits until this is done, and looks again
                session.run("LOCK TABLE blobs IN EXCLUSIVE MODE")
            for some in chunks(raw):
                session.run(_REMOVE_BLOBS.format(places(some)), *some)
            named: set[bytes] = set()
            for _, parts in _pages(session, _SCAN_BLOBS):
                named.update(parts[start : start + _DIGEST_BYTES] for start in range(0, len(parts), _DIGEST_BYTES))
            dead = [digest for digest, *_ in _pages(session, _SCAN_CHUNKS) if digest not in named]
            for some in chunks(dead):
                session.run(_REMOVE_CHUNKS.format(places(some)), *some)
        return len(dead)

    def move(self, places: Mapping[Digest, ChunkPlace]) -> None:
        """Change the places of chunks that are there, in one transaction."""
        rows = [(*place, bytes.fromhex(digest)) for digest, place in sorted(places.items())]
        with self._sessions.writing() as session:
            session.many(_MOVE_CHUNK, rows)

    def _pages(self, statement: str) -> Iterator[Row]:
        """Read a whole table some thousand rows at a time, each time anew: no reader holds the store up."""
        after = b""
        while True:
            with self._sessions.reading() as session:
                rows = _page(session, statement, after=after)
            yield from rows
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def claim(self, digests: Sequence[Digest]) -> set[Digest]:
        """Let blobs no longer be reclaimable; give those that are there."""
        with self._sessions.reading() as session:
            found = _blobs_of(session, digests)
        if any(reclaimable for _, reclaimable in found.values()):
            with self._sessions.writing() as session:
                _claim(session, digests)
                found = _blobs_of(session, digests)
        return {Digest(digest.hex()) for digest in found}

    def totals(self) -> Totals:
        """Count blobs, chunks and bytes."""
        with self._sessions.reading() as session:
            (blobs,), (chunks, size) = session.rows(_COUNT_BLOBS)[0], session.rows(_COUNT_CHUNKS)[0]
        return Totals(blobs, chunks, int(size))


def _blobs_of(session: Session, digests: Sequence[Digest]) -> dict[bytes, tuple[int, bool]]:
    found = {}
    for some in chunks(_raw(digests)):
        for digest, size, reclaimable in session.rows(_FIND_BLOBS.format(places(some)), *some):
            found[bytes(digest)] = (int(size), bool(reclaimable))
    return found


def _pages(session: Session, statement: str) -> Iterator[Row]:
    after = b""
    while rows := _page(session, statement, after=after):
        yield from rows
        after = rows[-1][0]


def _page(session: Session, statement: str, *, after: bytes) -> list[Row]:
    return [(bytes(first), *rest) for first, *rest in session.rows(statement, after, _PAGE)]


def _lost(session: Session, named: Iterable[Digest]) -> set[Digest]:
    """Give the chunks that are not there."""
    raw = set(_raw(named))
    for some in chunks(list(raw)):
        raw.difference_update(bytes(row[0]) for row in session.rows(_FIND_CHUNKS.format(places(some)), *some))
    return {Digest(digest.hex()) for digest in raw}


def _claim(session: Session, digests: Iterable[Digest]) -> None:
    for some in chunks(sorted(_raw(digests))):
        session.run(_CLAIM.format(places(some)), *some)


def _raw(digests: Iterable[Digest]) -> list[bytes]:
    return [bytes.fromhex(digest) for digest in dict.fromkeys(digests)]


def _split(raw: bytes) -> tuple[Digest, ...]:
    digits = raw.hex()
    step = 2 * _DIGEST_BYTES
    return tuple(Digest(digits[start : start + step]) for start in range(0, len(digits), step))
