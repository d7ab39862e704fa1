"""/api/v1/runs/RUN/artifacts and /api/v1/logged-models/ID/artifacts: files of runs and logged models, as bytes.

The router makes one slash of two, so the path of a file is read from the request itself: what was asked for is what is
checked.
"""

import asyncio
from typing import Annotated, Any, cast
from urllib.parse import unquote

from litestar import Controller, Request, delete, get, put
from litestar.datastructures import State as Shared
from litestar.params import FromPath, QueryParameter
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from kedge.domain.artifacts import Listing, RunFile
from kedge.server import wire
from kedge.server.downloads import ASKED, give
from kedge.server.preview import Preview, preview
from kedge.server.routes.given import ANSWERS, TheHouse
from kedge.server.uploads import take
from kedge.tracking.artifacts import PAGE, Artifacts

Asked = Request[None, None, Shared]
Folder = Annotated[str, QueryParameter(name="folder", description="List what is right in this folder; left out, the root.")]
Page = Annotated[str, QueryParameter(name="page", description="The `next` of the page before; opaque.")]
Limit = Annotated[int, QueryParameter(ge=1, le=PAGE, description="How many at most.")]
File = Annotated[str, QueryParameter(name="path", description="The file's path.")]


class FileAnswer(ASGIResponse):
    """Sends a file, or the part of it that was asked for."""

    def __init__(self, artifacts: Artifacts, file: RunFile, *, request: Asked) -> None:
        super().__init__()
        self._artifacts, self._file = artifacts, file
        self._asked = {name: request.headers[name] for name in ASKED if name in request.headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        await give(cast("Any", send), self._file, artifacts=self._artifacts, asked=self._asked)


class RunArtifacts(Controller):
    """The files of runs and logged models. `owner` is the id of either."""

    path = "/api/v1"

    @get(["/runs/{owner:str}/artifacts", "/logged-models/{owner:str}/artifacts"], sync_to_thread=True, responses=ANSWERS)
    def listing(
        self, house: TheHouse, owner: FromPath[str], folder: Folder = "", page: Page = "", limit: Limit = 200
    ) -> Listing:
        """List a folder of a run's files, a page at a time: files with their size, folders without."""
        return house.artifacts.list(owner, folder, page=page or None, limit=limit)

    @get(["/runs/{owner:str}/preview", "/logged-models/{owner:str}/preview"], sync_to_thread=True, responses=ANSWERS)
    def preview(self, house: TheHouse, owner: FromPath[str], path: File) -> Preview:
        """Read the head of a file as text, table or picture."""
        return preview(house.artifacts, house.artifacts.get(owner, path), jobs=house.jobs)

    @get(
        ["/runs/{owner:str}/artifacts/{path:path}", "/logged-models/{owner:str}/artifacts/{path:path}"],
        responses=ANSWERS,
        media_type="application/octet-stream",
    )
    async def download(self, request: Asked, house: TheHouse, owner: FromPath[str], path: FromPath[str]) -> ASGIResponse:
        """Download a file, or a range of its bytes. It is sent as an attachment, whatever it is."""
        del path
        file = await asyncio.to_thread(house.artifacts.get, owner, _path(request))
        return FileAnswer(house.artifacts, file, request=request)

    @put(
        ["/runs/{owner:str}/artifacts/{path:path}", "/logged-models/{owner:str}/artifacts/{path:path}"],
        responses=ANSWERS,
    )
    async def upload(self, request: Asked, house: TheHouse, owner: FromPath[str], path: FromPath[str]) -> RunFile:
        """Upload a file: the body is its bytes, of any type. What had its path is replaced; a retry is safe."""
        del path
        coming = await asyncio.to_thread(house.artifacts.receive, owner, _path(request))
        return await take(cast("Any", request.receive), coming)

    @delete(
        ["/runs/{owner:str}/artifacts/{path:path}", "/logged-models/{owner:str}/artifacts/{path:path}"],
        status_code=200,
        sync_to_thread=True,
        responses=ANSWERS,
    )
    def remove(self, request: Asked, house: TheHouse, owner: FromPath[str], path: FromPath[str]) -> wire.Removed:
        """Take away a file, or a folder with all below it."""
        del path
        return wire.Removed(removed=house.artifacts.delete(owner, _path(request)))


def _path(request: Asked) -> str:
    """Decode the path of a file, once, from what was sent: the router has tidied its own copy."""
    sent = request.scope["raw_path"].partition(b"?")[0].partition(b"/artifacts/")[2]
    return unquote(sent.decode("latin-1"), errors="replace")
