"""The short way for the commonest request: an inference that arrives whole on a connection that is idle.

    parser -> door.begin -> the engine's future -> door.end -> one write
uvicorn's own way makes a scope, a task and an event for it, and sends twice: about 25 us, as much as all else together.
What is read, asked, counted and written is the same on both ways, by the same functions; whatever is not plain (a body
in pieces of unknown length, a request behind another, a caller that does not read, an upgrade) goes uvicorn's way.
"""

from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from kedge.serving.door.paths import Destination
from kedge.serving.door.reading import Given, Headers
from kedge.serving.pending import Pending

if TYPE_CHECKING:
    from kedge.serving.door.application import HttpDoor, HttpReply
    from kedge.serving.door.connection import Connection


class _Nobody:
    """The event that uvicorn sets for whoever waits for a body: here nobody does."""

    def set(self) -> None: ...


class DirectCycle:
    """One request on the short way. It stands where uvicorn keeps its own cycle, which tells it that one is under way."""

    message_event = _Nobody()
    response_started = False

    def __init__(self, connection: "Connection", door: "HttpDoor", *, place: Destination, given: Given) -> None:
        self.keep_alive, self.disconnected, self.response_complete = True, False, False
        self._connection, self._door, self._place, self._given = connection, door, place, given
        self._parts: list[bytes] = []
        self._asked: Any = None

    def take(self, part: bytes) -> None:
        """Take a piece of the body."""
        self._parts.append(part)

    def whole(self) -> None:
        """Ask, now that the body is whole."""
        parts = self._parts
        raw = parts[0] if len(parts) == 1 else b"".join(parts)
        try:
            self._asked = self._door.begin(self._place, self._given, raw=raw)
            future = cast(Pending, self._door.ask(self._asked[0]))
        except Exception as error:  # the request door
            self._write(self._door.refusal(self._place, error))
            return
        self._connection.asked = future  # None again when it is answered, which may be now
        future.add_done_callback(self._answered)

    def _answered(self, future: Pending) -> None:
        self._connection.asked = None
        if future.cancelled() or self.disconnected:
            return
        try:
            reply = self._door.end(future.result(), self._asked)
        except Exception as error:  # the request door
            reply = self._door.refusal(self._place, error)
        self._write(reply)

    def _write(self, reply: "HttpReply") -> None:
        connection = self._connection
        head = [STATUS_LINE[reply.status], *_lines(connection.server_state.default_headers), *_lines(reply.headers)]
        head.append(b"content-length: %d\r\n" % len(reply.body))
        closes = (b"connection", b"close") in reply.headers
        if not self.keep_alive and not closes:
            head.append(b"connection: close\r\n")
        connection.transport.write(b"%b\r\n%b" % (b"".join(head), reply.body))
        self.response_complete = True
        if closes or not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()


def _lines(headers: Headers) -> list[bytes]:
    return [b"%b: %b\r\n" % header for header in headers]
