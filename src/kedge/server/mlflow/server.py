"""What a client asks of the server itself before it works: does it live, which protocol does it speak, what can it do."""

from typing import Any

import msgspec

from kedge.server.mlflow.router import Ask, Handled, Send, calls, streams

PROTOCOL = "3.17.2"


class ServerInfo(msgspec.Struct, frozen=True):
    """What this server can do, as the client's probe reads it."""

    store_type: str = "SqlStore"
    workspaces_enabled: bool = False
    trace_archival_enabled: bool = False
    multipart_uploads_enabled: bool = False
    multipart_downloads_enabled: bool = False


def server_info(ask: Ask, _: Any) -> ServerInfo:
    """Say what this server can do."""
    del ask
    return ServerInfo()


async def _text(send: Send, text: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


async def health(ask: Ask, send: Send) -> None:
    """Say that this process answers, as MLflow's server says it."""
    del ask
    await _text(send, b"OK")


async def version(ask: Ask, send: Send) -> None:
    """Say which release's protocol is spoken."""
    del ask
    await _text(send, PROTOCOL.encode())


ROWS: tuple[Handled, ...] = (
    calls("GET", "/api/3.0/mlflow/server-info", act=server_info),
    streams("GET", "/health", act=health),
    streams("GET", "/version", act=version),
)
