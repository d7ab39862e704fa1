"""The event stream, and this process's own figures for Prometheus."""

from typing import Annotated

from litestar import Controller, Request, Response, get
from litestar.datastructures import State as Shared
from litestar.params import QueryParameter
from litestar.response import ServerSentEvent

from kedge.server.metrics import exposition
from kedge.server.routes.given import TheHouse, ThePulse, TheScenes

After = Annotated[
    int | None, QueryParameter(name="after", ge=0, description="Tell of what came after this serial; left out, from now on.")
]


class Signals(Controller):
    """What is listened to and scraped."""

    @get("/api/v1/stream", include_in_schema=True)
    async def stream(self, request: Request[None, None, Shared], pulse: ThePulse, after: After = None) -> ServerSentEvent:
        """Listen to changes: server-sent events with names and ids. `Last-Event-ID` goes on where a line was cut."""
        resumed = request.headers.get("last-event-id", "")
        seen = int(resumed) if resumed.isdecimal() else after
        return ServerSentEvent(pulse.listen(seen), headers={"x-accel-buffering": "no"})

    @get("/metrics", sync_to_thread=True, include_in_schema=False)
    def metrics(self, scenes: TheScenes, house: TheHouse) -> Response[str]:
        """Read the gauges in Prometheus text format."""
        return Response(exposition(scenes.of(), house.meta), media_type="text/plain; version=0.0.4; charset=utf-8")
