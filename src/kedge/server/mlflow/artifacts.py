"""Artifacts in the MLflow protocol: the proxy that a client up- and downloads through, listings, uploads in parts.

    mlflow-artifacts:/EXPERIMENT/RUN/artifacts/...          files of a run
    mlflow-artifacts:/EXPERIMENT/models/m-ID/artifacts/...  files of a logged model
No other place exists: what a client calls a location is read as one of these two, or refused. There are no addresses that
bypass the server ("presigned"), and the answers to those who ask for one send the client back to the proxy.
"""

import asyncio
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec

from kedge.domain.artifacts import PARTS_AT_MOST, Listed, RunFile, UploadPart
from kedge.domain.ids import Digest, LoggedModelId, RunId
from kedge.domain.paths import clean_path
from kedge.errors import KedgeError, NotFound
from kedge.security.hosts import address_of
from kedge.server.downloads import ASKED, give
from kedge.server.house import House
from kedge.server.mlflow.entities import model_folder, run_folder
from kedge.server.mlflow.errors import INVALID, MISSING, NOT_BUILT, ProtocolError, missing
from kedge.server.mlflow.router import Ask, Handled, Send, calls, send_json, streams
from kedge.server.mlflow.wire import Int, Text
from kedge.server.uploads import take

_PROXY = "/api/2.0/mlflow-artifacts"
_EVERY_PAGE = 200  # pages of one listing through the proxy, whose answer has no pages
_NO_DOWNLOAD = "Multipart download is not supported for the current artifact repository"


class ArtifactPlace(msgspec.Struct, frozen=True):
    """What a path of the proxy names: an owner, and a path among its files ("" is all of them)."""

    owner: str
    path: str


class FileInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a listing, as the client reads it."""

    path: str
    is_dir: bool | None = None
    file_size: int | None = None


class ListRequest(msgspec.Struct, frozen=True):
    """GET artifacts/list."""

    run_id: Text
    path: str = ""
    page_token: str = ""


class ListAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page of a listing; `root_uri` is the place that paths are relative to."""

    root_uri: str
    files: tuple[FileInfo, ...] = ()
    next_page_token: str = ""


class ProxyListRequest(msgspec.Struct, frozen=True):
    """GET mlflow-artifacts/artifacts."""

    path: str = ""


class ProxyList(msgspec.Struct, frozen=True, omit_defaults=True):
    """The listing of a place; paths are relative to it."""

    files: tuple[FileInfo, ...] = ()


class ModelFolderRequest(msgspec.Struct, frozen=True):
    """GET logged-models/{id}/artifacts/directories."""

    model_id: Text
    artifact_directory_path: str = ""
    page_token: str = ""


class BeginRequest(msgspec.Struct, frozen=True):
    """POST mpu/create: `path` is the name of the file on the client's side, of which only the last part counts."""

    path: Text
    num_parts: Annotated[int, msgspec.Meta(ge=1, le=PARTS_AT_MOST)] = 1


class Credential(msgspec.Struct, frozen=True):
    """Where a part is to be sent."""

    url: str
    part_number: int
    headers: dict[str, str]


class BeginAnswer(msgspec.Struct, frozen=True):
    """An upload in parts has begun."""

    upload_id: str
    credentials: tuple[Credential, ...]


class SentPart(msgspec.Struct, frozen=True):
    """A part as the client names it; `etag` is what the server answered when it took it."""

    part_number: Int
    etag: str = ""
    url: str = ""


class CompleteRequest(msgspec.Struct, frozen=True):
    """POST mpu/complete."""

    path: Text
    upload_id: Text
    parts: Annotated[tuple[SentPart, ...], msgspec.Meta(min_length=1, max_length=PARTS_AT_MOST)]


class AbortRequest(msgspec.Struct, frozen=True):
    """POST mpu/abort."""

    path: Text
    upload_id: Text


class PresignedUpload(msgspec.Struct, frozen=True):
    """POST artifacts/presigned-upload-url."""

    path: Text
    run_id: str = ""
    model_id: str = ""


class PresignedDownload(msgspec.Struct, frozen=True):
    """POST artifacts/presigned-download-url."""

    run_id: Text
    path: Text


def place_of(house: House, path: str) -> ArtifactPlace:
    """Read a path of the proxy. Raises ProtocolError where it names no run or logged model, or not in this experiment."""
    try:
        parts = clean_path(path).split("/")
    except KedgeError as error:
        raise ProtocolError(INVALID, f"Invalid path: {error}") from None
    experiment = parts.pop(0)
    is_model = parts[:1] == ["models"]
    owner, *rest = parts[1:] if is_model else parts or [""]
    if rest[:1] != ["artifacts"]:
        raise _nowhere(path)
    try:
        found = house.meta.logged_models.get(LoggedModelId(owner)) if is_model else house.meta.runs.get(RunId(owner))
    except NotFound:
        raise _nowhere(path) from None
    if found.experiment != experiment:
        raise _nowhere(path)
    return ArtifactPlace(owner, "/".join(rest[1:]))


def _nowhere(path: str) -> ProtocolError:
    told = "there is such a place for each run (EXPERIMENT/RUN/artifacts) and logged model (EXPERIMENT/models/ID/artifacts)"
    return ProtocolError(MISSING, f"no run or logged model keeps its artifacts at {path[:200]!r}; {told}")


def list_run(ask: Ask, request: ListRequest) -> ListAnswer:
    """List a folder of a run's files, a page at a time."""
    run = ask.house.meta.runs.get(RunId(request.run_id))
    listing = ask.house.artifacts.list(run.id, request.path, page=request.page_token or None)
    files = tuple(_info(entry) for entry in listing.entries)
    return ListAnswer(run_folder(run.experiment, run.id), files, listing.next or "")


def list_model(ask: Ask, request: ModelFolderRequest) -> ListAnswer:
    """List a folder of a logged model's files, a page at a time."""
    model = ask.house.meta.logged_models.get(LoggedModelId(request.model_id))
    listing = ask.house.artifacts.list(model.id, request.artifact_directory_path, page=request.page_token or None)
    files = tuple(_info(entry) for entry in listing.entries)
    return ListAnswer(model_folder(model.experiment, model.id), files, listing.next or "")


def list_proxy(ask: Ask, request: ProxyListRequest) -> ProxyList:
    """List a folder of a place; where there is none, the answer is empty."""
    if not request.path.strip("/"):
        return ProxyList()
    place = place_of(ask.house, request.path.removesuffix("/"))
    entries: list[Listed] = []
    page: str | None = None
    for _ in range(_EVERY_PAGE):
        listing = ask.house.artifacts.list(place.owner, place.path, page=page)
        entries.extend(listing.entries)
        page = listing.next
        if page is None:
            break
    else:
        told = f"{request.path!r} holds over {len(entries):,} files; list it with artifacts/list, by pages"
        raise ProtocolError(INVALID, told)
    return ProxyList(tuple(_info(entry, entry.path.rpartition("/")[2]) for entry in entries))


def _info(entry: Listed, path: str | None = None) -> FileInfo:
    return FileInfo(entry.path if path is None else path, is_dir=entry.is_folder, file_size=entry.size)


async def download(ask: Ask, send: Send) -> None:
    """Send a file of the proxy."""
    place = await asyncio.to_thread(place_of, ask.house, ask.names["path"])
    await _give(ask, send, place=place)


async def get_artifact(ask: Ask, send: Send) -> None:
    """Send a file of a run: GET /get-artifact?run_id=&path=."""
    query = _query(ask)
    run = query.get("run_id") or query.get("run_uuid")
    if not run:
        raise missing("run_id")
    await _give(ask, send, place=ArtifactPlace(run, _path(query)))


async def get_model_artifact(ask: Ask, send: Send) -> None:
    """Send a file of a logged model: GET /ajax-api/2.0/mlflow/logged-models/{id}/artifacts/files?artifact_file_path=."""
    path = _query(ask).get("artifact_file_path", "")
    if not path:
        raise ProtocolError("BAD_REQUEST", 'Request must include the "artifact_file_path" query parameter.')
    await _give(ask, send, place=ArtifactPlace(ask.names["model_id"], path))


async def get_version_artifact(ask: Ask, send: Send) -> None:
    """Send a file of a model version, as it was registered: GET /model-versions/get-artifact?name=&version=&path=."""
    query = _query(ask)
    for name in ("name", "version"):
        if not query.get(name):
            raise missing(name)
    file = await asyncio.to_thread(_in_version, ask.house, query)
    await _send(ask, send, file=file)


def _in_version(house: House, query: dict[str, str]) -> RunFile:
    path, number = _path(query), query["version"]
    if not (number.isascii() and number.isdecimal() and len(number) <= 9):
        raise ProtocolError(INVALID, f"Invalid value {number[:100]!r} for parameter 'version' supplied: it is no number.")
    version = house.catalog.version(query["name"], int(number))
    if version.digest is None:
        raise NotFound(f"version {number} of {version.model!r} had no files when it was registered")
    return house.artifacts.in_tree(version.digest, path, at=version.created_at)


async def _give(ask: Ask, send: Send, *, place: ArtifactPlace) -> None:
    await _send(ask, send, file=await asyncio.to_thread(ask.house.artifacts.get, place.owner, place.path))


async def _send(ask: Ask, send: Send, *, file: RunFile) -> None:
    asked = {name: ask.header(name) for name in ASKED if ask.header(name)}
    await give(send, file, artifacts=ask.house.artifacts, asked=asked)


async def upload(ask: Ask, send: Send) -> None:
    """Take a file of the proxy."""
    place = await asyncio.to_thread(place_of, ask.house, ask.names["path"])
    await take(ask.receive, await asyncio.to_thread(ask.house.artifacts.receive, place.owner, place.path))
    await send_json(send, {})


async def upload_artifact(ask: Ask, send: Send) -> None:
    """Take a file of a run: POST /ajax-api/2.0/mlflow/upload-artifact?run_uuid=&path=."""
    query = _query(ask)
    for name in ("run_uuid", "path"):
        if not query.get(name):
            raise ProtocolError(INVALID, f"Request must specify {name}.")
    coming = await asyncio.to_thread(ask.house.artifacts.receive, query["run_uuid"], query["path"])
    await take(ask.receive, coming)
    await send_json(send, {})


async def delete(ask: Ask, send: Send) -> None:
    """Take away a file or folder of the proxy; a slash may end a folder."""
    place = await asyncio.to_thread(place_of, ask.house, ask.names["path"].removesuffix("/"))
    await asyncio.to_thread(ask.house.artifacts.delete, place.owner, place.path)
    await send_json(send, {})


def begin(ask: Ask, request: BeginRequest) -> BeginAnswer:
    """Begin an upload in parts, and say where each part is to be sent: to this server, with the token that asked."""
    name = request.path.replace("\\", "/").rpartition("/")[2]
    place = place_of(ask.house, f"{ask.names['where']}/{name}")
    begun = ask.house.artifacts.begin(place.owner, place.path)
    token = ask.header("authorization")
    headers = {"Authorization": token} if token else {}
    root = f"{ask.scope.get('scheme', 'http')}://{_host(ask)}{_PROXY}/mpu/parts/{begun.id}"
    credentials = tuple(Credential(f"{root}/{number}", number, headers) for number in range(1, request.num_parts + 1))
    return BeginAnswer(begun.id, credentials)


def _host(ask: Ask) -> str:
    host = ask.header("host")
    if address_of(host) is None:
        raise ProtocolError("BAD_REQUEST", f"the host {host[:100]!r} is no name to send parts to")
    return host


async def upload_part(ask: Ask, send: Send) -> None:
    """Take one part; its ETag is what `complete` names it by."""
    number = ask.names["number"]
    if not (number.isascii() and number.isdecimal() and len(number) <= 5):
        raise ProtocolError(INVALID, f"{number[:40]!r} is not the number of a part")
    coming = await asyncio.to_thread(ask.house.artifacts.part, ask.names["upload"], int(number))
    part = await take(ask.receive, coming)
    await send_json(send, {}, headers=[(b"etag", f'"{part.digest}"'.encode())])


def complete(ask: Ask, request: CompleteRequest) -> None:
    """Make the file of an upload's parts be there."""
    _require_same(ask, request.upload_id)
    parts = [
        UploadPart(number=part.part_number, digest=Digest(part.etag.strip('"')), size=0)
        for part in sorted(request.parts, key=lambda part: part.part_number)
    ]
    ask.house.artifacts.complete(request.upload_id, parts)


def abort(ask: Ask, request: AbortRequest) -> None:
    """Forget an upload."""
    _require_same(ask, request.upload_id)
    ask.house.artifacts.abort(request.upload_id)


def _require_same(ask: Ask, upload: str) -> None:
    """Check that an upload belongs to the place that the request names."""
    begun = ask.house.artifacts.upload(upload)
    place = place_of(ask.house, ask.names["where"])
    if begun.owner != place.owner or begun.path.rpartition("/")[0] != place.path:
        raise ProtocolError(MISSING, "this upload has ended, or never began; begin a new one")


def presigned(ask: Ask, request: Any) -> None:
    """Say that nothing is downloaded past this server."""
    del ask, request
    raise ProtocolError(NOT_BUILT, _NO_DOWNLOAD)


def presigned_upload(ask: Ask, request: PresignedUpload) -> None:
    """Say that nothing is uploaded past this server."""
    if bool(request.run_id) == bool(request.model_id):
        raise ProtocolError(INVALID, "Exactly one of run_id and model_id must be provided.")
    del ask
    raise ProtocolError(
        INVALID, _proxied("upload", "proxied artifact storage", needed="a direct cloud storage artifact URI")
    )


def presigned_download(ask: Ask, request: PresignedDownload) -> None:
    """Say that nothing is downloaded past this server."""
    del ask, request
    needed = "a run with a direct cloud storage artifact URI"
    raise ProtocolError(INVALID, _proxied("download", "runs with proxied artifact storage", needed=needed))


def _proxied(verb: str, what: str, *, needed: str) -> str:
    return (
        f"Presigned {verb} is not supported for {what} (artifact URI scheme: mlflow-artifacts). "
        f"This endpoint requires {needed}."
    )


def _path(query: dict[str, str]) -> str:
    if not query.get("path"):
        raise missing("path")
    return query["path"]


def _query(ask: Ask) -> dict[str, str]:
    """Read the query string; of a name given twice the first counts."""
    try:
        text = ask.scope["query_string"].decode("ascii")
        given = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise ProtocolError(INVALID, "the query string is not UTF-8 in percent encoding, or has over 20 fields") from None
    return dict(reversed(given))


ROWS: tuple[Handled, ...] = (
    calls("GET", "/api/2.0/mlflow/artifacts/list", act=list_run, takes=ListRequest, slow=True),
    calls("POST", "/api/2.0/mlflow/artifacts/presigned-upload-url", act=presigned_upload, takes=PresignedUpload),
    calls("POST", "/api/2.0/mlflow/artifacts/presigned-download-url", act=presigned_download, takes=PresignedDownload),
    calls("GET", f"{_PROXY}/artifacts", act=list_proxy, takes=ProxyListRequest, slow=True),
    streams("GET", f"{_PROXY}/artifacts/{{path:path}}", act=download),
    streams("PUT", f"{_PROXY}/artifacts/{{path:path}}", act=upload),
    streams("DELETE", f"{_PROXY}/artifacts/{{path:path}}", act=delete),
    calls("POST", f"{_PROXY}/mpu/create/{{where:path}}", act=begin, takes=BeginRequest, slow=True),
    streams("PUT", f"{_PROXY}/mpu/parts/{{upload}}/{{number}}", act=upload_part),
    calls("POST", f"{_PROXY}/mpu/complete/{{where:path}}", act=complete, takes=CompleteRequest, slow=True),
    calls("POST", f"{_PROXY}/mpu/abort/{{where:path}}", act=abort, takes=AbortRequest, slow=True),
    calls("GET", f"{_PROXY}/presigned/{{path:path}}", act=presigned),
    streams("GET", "/get-artifact", act=get_artifact),
    streams("GET", "/model-versions/get-artifact", act=get_version_artifact),
    streams("POST", "/api/2.0/mlflow/upload-artifact", act=upload_artifact),
    calls(
        "GET",
        "/api/2.0/mlflow/logged-models/{model_id}/artifacts/directories",
        act=list_model,
        takes=ModelFolderRequest,
        slow=True,
    ),
    streams("GET", "/api/2.0/mlflow/logged-models/{model_id}/artifacts/files", act=get_model_artifact),
)
