"""The control plane from its first moment: the MLflow protocol answers at once, the rest is built beside it.

Building the native API and the pages takes longer than all else that a start needs. So it happens in a thread, right after
the server listens; who asks for a page meanwhile waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from kedge.server.door import App, Door, Receive, Scope, Send
from kedge.server.guard import Guard
from kedge.server.house import House
from kedge.server.mlflow.protocol import protocol
from kedge.server.mlflow.router import is_ours

_FIRST_ANSWERS = 0.2


class Early:
    """The whole control plane of a house as one ASGI application. `hosts` as in `application`."""

    def __init__(self, house: House, *, hosts: Collection[str] | None = None) -> None:
        guard = Guard(house, house.settings.token)
        self._house, self._hosts = house, hosts
        self._protocol = Door(protocol(house, guard), hosts=guard.hosts(hosts), upload_limit=house.settings.upload_limit)
        self._building: asyncio.Task[App] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and is_ours(scope["path"]):
            await self._protocol(scope, receive, send)
        else:
            whole = await asyncio.shield(self._whole(wait=0.0))
            await whole(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                # a moment later, so that whoever waits for this server hears from it first
                self._whole(wait=_FIRST_ANSWERS)
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    def _whole(self, *, wait: float) -> asyncio.Task[App]:
        if self._building is None:
            self._building = asyncio.create_task(self._build(wait))
        return self._building

    async def _build(self, wait: float) -> App:
        await asyncio.sleep(wait)
        return await asyncio.to_thread(_application, self._house, self._hosts)


def _application(house: House, hosts: Collection[str] | None) -> Any:
    from kedge.server.application import application

    return application(house, hosts=hosts)
