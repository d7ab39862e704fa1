"""Files of runs and logged models. A path names a row, the row names a blob: nothing a client sends names a file here.

    receive -> write ... write -> keep     the blob is whole, then the row is written: before that nothing is seen
    begin -> part, part ... -> complete    the same in parts that may come at the same time and again after a failure
A file that is written again is replaced. What the loop's own trainings left (`Run.artifacts`) is listed among the files
and cannot be changed. Deleting takes away the row; bytes that other rows name are shared and stay.
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from kedge.domain.artifacts import PARTS_AT_MOST, Listed, Listing, RunFile, Upload, UploadPart
from kedge.domain.ids import Digest, LoggedModelId, RunId
from kedge.domain.paths import clean_folder, clean_path, is_within
from kedge.domain.tracking import Lifecycle, Run
from kedge.errors import Conflict, NotFound, RequestInvalid, StoreBroken, WasDeleted
from kedge.ports import BlobStore, Clock, Incoming, LoggedModels, RunFiles, Runs

PAGE = 1000
TREE_AT_MOST = 100_000  # files that one model version may have
UPLOAD_KEPT = timedelta(days=7)
_MODEL = "m-"


class Receiving:
    """A file that is arriving. `keep` or `drop` ends it."""

    def __init__(self, artifacts: "Artifacts", owner: str, *, path: str, blob: Incoming) -> None:
        self._artifacts, self._owner, self._path, self._blob = artifacts, owner, path, blob
        self._size = 0

    def write(self, data: bytes) -> None:
        """Take the next bytes. Raises StoreFull."""
        self._blob.write(data)
        self._size += len(data)

    def keep(self) -> RunFile:
        """Make the file be there, whole, in place of what had its path. Raises Conflict, StoreFull."""
        return self._artifacts.place(self._owner, self._path, digest=self._blob.keep(), size=self._size)

    def drop(self) -> None:
        """Forget what came."""
        self._blob.drop()


class Artifacts:
    """Keeps the files of runs and logged models. An owner is the id of either."""

    def __init__(self, *, files: RunFiles, runs: Runs, models: LoggedModels, blobs: BlobStore, clock: Clock) -> None:
        self._files, self._runs, self._models, self._blobs, self._clock = files, runs, models, blobs, clock

    def put(self, owner: str, path: str, *, pieces: Iterable[bytes]) -> RunFile:
        """Write a file from its pieces. Raises NotFound, WasDeleted, RequestInvalid for the path, Conflict, StoreFull."""
        coming, file = self.receive(owner, path), None
        try:
            for piece in pieces:
                coming.write(piece)
            file = coming.keep()
        finally:
            if file is None:
                coming.drop()
        return file

    def receive(self, owner: str, path: str) -> Receiving:
        """Begin a file that arrives piece by piece. Raises NotFound, WasDeleted, RequestInvalid for the path."""
        path = clean_path(path)
        self._require_open(owner)
        return Receiving(self, owner, path=path, blob=self._blobs.incoming())

    def place(self, owner: str, path: str, *, digest: Digest, size: int) -> RunFile:
        """Give a blob that is there a path. Raises NotFound, WasDeleted, RequestInvalid for the path, Conflict."""
        path = clean_path(path)
        self._require_free(self._require_open(owner), path)
        file = RunFile(path=path, digest=digest, size=size, modified_at=self._clock.now())
        self._files.put(owner, file)
        return file

    def get(self, owner: str, path: str) -> RunFile:
        """Find a file. Raises NotFound, RequestInvalid for the path."""
        path = clean_path(path)
        run = self._require(owner)
        file = self._files.find(owner, path) or next((one for one in self._made(run) if one.path == path), None)
        if file is None:
            raise NotFound(f"{owner} has no artifact {path!r}; list its folder to see what there is")
        return file

    def in_tree(self, tree: Digest, path: str, *, at: datetime) -> RunFile:
        """Find a file of a tree that was made `at` some time. Raises NotFound, RequestInvalid for the path."""
        path = clean_path(path)
        for file in self._blobs.files(tree):
            if file.name == path:
                return RunFile(path=path, digest=file.digest, size=file.size, modified_at=at)
        raise NotFound(f"there is no file {path!r} in this version")

    def read(self, file: RunFile, *, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Read a file's bytes from `start` to before `end`, some at a time. Raises StoreBroken."""
        return self._blobs.read(file.digest, start=start, end=end)

    def list(self, owner: str, folder: str = "", *, page: str | None = None, limit: int = PAGE) -> Listing:
        """List what is right in a folder; one that is not there is empty. Raises NotFound for the owner, RequestInvalid."""
        folder = clean_folder(folder)
        after = _page(page, folder)
        if not 1 <= limit <= PAGE:
            raise RequestInvalid(f"a page has 1 to {PAGE} lines, not {limit}")
        run = self._require(owner)
        entries = list(self._files.list(owner, folder, after=after, limit=limit + 1))
        made = (one for one in self._made_in(run, folder) if one.place > after)
        found = sorted({one.place: one for one in (*entries, *made)}.values(), key=lambda one: one.place)
        more = len(found) > limit
        return Listing(tuple(found[:limit]), found[limit - 1].place if more else None)

    def walk(self, owner: str, folder: str = "") -> Sequence[RunFile]:
        """List all files below a folder, in the order of paths. Raises NotFound, RequestInvalid where there are too many."""
        folder = clean_folder(folder)
        run = self._require(owner)
        made = {file.path: file for file in self._made(run) if is_within(file.path, folder)}
        found = self._files.walk(owner, folder, limit=TREE_AT_MOST + 1)
        if len(found) > TREE_AT_MOST:
            raise RequestInvalid(f"{owner} has over {TREE_AT_MOST:,} files below {folder!r}; name a folder with fewer")
        return sorted([*{**made, **{file.path: file for file in found}}.values()], key=lambda file: file.path)

    def tree(self, owner: str, folder: str = "") -> Digest:
        """Make one tree of all files below a folder, names relative to it: what a model version is made of.

        Raises NotFound where there is none.
        """
        start = len(clean_folder(folder)) + 1 if clean_folder(folder) else 0
        files = {file.path[start:]: file.digest for file in self.walk(owner, folder)}
        if not files:
            raise NotFound(f"{owner} has no artifacts below {folder!r}; log the model there first")
        return self._blobs.bind(files)

    def delete(self, owner: str, path: str = "") -> int:
        """Take away a file, or a folder with all below it ("": everything); give the number of files. Raises NotFound."""
        path = clean_folder(path)
        run = self._require(owner)
        if any(file.path == path or is_within(file.path, path) for file in self._made(run)):
            raise Conflict(f"{path!r} of run {owner} is what its training made; it cannot be taken away")
        count = self._files.delete(owner, path)
        if path and not count:
            raise NotFound(f"{owner} has no artifact {path!r}; list its folder to see what there is")
        return count

    def begin(self, owner: str, path: str) -> Upload:
        """Begin a file that is sent in parts; uploads that began over 7 days ago are forgotten. Raises as `receive` does."""
        path = clean_path(path)
        self._require_free(self._require_open(owner), path)
        now = self._clock.now()
        self._files.end_before(now - UPLOAD_KEPT)
        upload = Upload(id=secrets.token_hex(32), owner=owner, path=path, begun_at=now)
        self._files.begin(upload)
        return upload

    def upload(self, upload: str) -> Upload:
        """Find an upload that has not ended. Raises NotFound."""
        found = self._files.upload(upload)
        if found is None:
            raise NotFound("this upload has ended, or never began; begin a new one")
        return found

    def part(self, upload: str, number: int) -> "ReceivingPart":
        """Begin to take a part. Raises NotFound, RequestInvalid for its number."""
        if not 1 <= number <= PARTS_AT_MOST:
            raise RequestInvalid(f"part {number} is not a part; parts are counted from 1 to {PARTS_AT_MOST}")
        return ReceivingPart(self._files, self.upload(upload), number=number, blob=self._blobs.incoming())

    def complete(self, upload: str, parts: Sequence[UploadPart]) -> RunFile:
        """Make the file of these parts be there, whole. Raises NotFound, RequestInvalid where they are not what arrived."""
        begun = self.upload(upload)
        self._require_free(self._require_open(begun.owner), begun.path)
        there = {part.number: part for part in self._files.parts(upload)}
        wanted = [part.number for part in parts]
        if wanted != sorted(set(wanted)) or not wanted:
            raise RequestInvalid("the parts of an upload must be given once each, in order; at least one is needed")
        for part in parts:
            if part.number not in there or part.digest != there[part.number].digest:
                raise RequestInvalid(f"part {part.number} has not arrived as it is named here; send it again")
        if missing := there.keys() - set(wanted):
            raise RequestInvalid(f"part {min(missing)} has arrived but is not named; name every part, or begin a new upload")
        digest = self._blobs.join([part.digest for part in parts])
        size = sum(there[number].size for number in wanted)
        file = RunFile(path=begun.path, digest=digest, size=size, modified_at=self._clock.now())
        self._files.end(upload, file)
        return file

    def abort(self, upload: str) -> None:
        """Forget an upload. Raises NotFound."""
        self._files.end(self.upload(upload).id)

    def sweep(self) -> int:
        """Remove what uploads that were killed left on the disk; give its bytes."""
        return self._blobs.sweep()

    def _require(self, owner: str) -> Run | None:
        """Find the owner; None for a logged model. Raises NotFound."""
        if owner.startswith(_MODEL):
            self._models.get(LoggedModelId(owner))
            return None
        return self._runs.get(RunId(owner))

    def _require_open(self, owner: str) -> Run | None:
        """Find the owner of a file that is to be written. Raises NotFound, WasDeleted."""
        if owner.startswith(_MODEL):
            life, run = self._models.get(LoggedModelId(owner)).lifecycle, None
        else:
            run = self._runs.get(RunId(owner))
            life = run.lifecycle
        if life is not Lifecycle.ACTIVE:
            raise WasDeleted("logged model" if run is None else "run", owner)
        return run

    def _require_free(self, run: Run | None, path: str) -> None:
        """Check that a path is not that of something the loop made."""
        for name in run.artifacts if run is not None else ():
            if name == path or is_within(name, path) or is_within(path, name):
                raise Conflict(f"{path!r} cannot be written: the run's training made {name!r}; use another path")

    def _made(self, run: Run | None) -> Iterator[RunFile]:
        """Walk what the loop's training left: blobs, and the files of trees."""
        for name, digest in sorted(run.artifacts.items()) if run is not None else ():
            at = run.ended_at or run.started_at if run is not None else self._clock.now()
            files = [(name, digest, self._blobs.size(digest))]
            if b"".join(self._blobs.read(digest, end=2)) == b"[{":  # a tree's list of files begins like this
                with suppress(StoreBroken):
                    files = [(f"{name}/{file.name}", file.digest, file.size) for file in self._blobs.files(digest)]
            for path, blob, size in files:
                yield RunFile(path=path, digest=blob, size=size, modified_at=at)

    def _made_in(self, run: Run | None, folder: str) -> Iterator[Listed]:
        start = len(folder) + 1 if folder else 0
        for file in self._made(run):
            if is_within(file.path, folder):
                name, inner, _ = file.path[start:].partition("/")
                yield Listed(file.path[: start + len(name)], None if inner else file.size)


class ReceivingPart:
    """A part of an upload that is arriving."""

    def __init__(self, files: RunFiles, upload: Upload, *, number: int, blob: Incoming) -> None:
        self._files, self._upload, self._number, self._blob = files, upload, number, blob
        self._size = 0

    def write(self, data: bytes) -> None:
        """Take the next bytes. Raises StoreFull."""
        self._blob.write(data)
        self._size += len(data)

    def keep(self) -> UploadPart:
        """Keep the part, in place of what had its number. Raises NotFound where the upload has ended, StoreFull."""
        part = UploadPart(number=self._number, digest=self._blob.keep(), size=self._size)
        self._files.put_part(self._upload.id, part)
        return part

    def drop(self) -> None:
        """Forget what came."""
        self._blob.drop()


def _page(page: str | None, folder: str) -> str:
    """Read a page's token: the place of the last line before it. Raises RequestInvalid for what is none of this folder."""
    if not page:
        return ""
    try:
        place = clean_folder(page)
    except RequestInvalid:
        place = ""
    start = f"{folder}/" if folder else ""
    if not place.startswith(start) or not place[len(start) :] or "/" in place[len(start) :]:
        raise RequestInvalid("the page token is not one that this listing gave; ask for the first page again")
    return page
