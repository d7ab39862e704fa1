"""The short way for the commonest request: an inference that arrives whole on a connection that is idle.

    parser, or a head that is known -> door.begin -> the engine's future -> door.end -> one write
uvicorn's own way makes a scope, a task and an event for it, and sends twice: about 25 us, as much as all else together.
What is read, asked, counted and written is the same on both ways, by the same functions; whatever is not plain (a body
in pieces of unknown length, a request behind another, a caller that does not read, an upgrade) goes uvicorn's way.
"""

from asyncio import CancelledError, Task
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from kedge.serving.door.heads import Head
from kedge.serving.pending import Pending
from kedge.serving.wire.questions import InferResponse

if TYPE_CHECKING:
    from kedge.serving.door.application import HttpDoor, HttpReply
    from kedge.serving.door.connection import Connection


_LINE = b"%b: %b\r\n".__mod__


class _Nobody:
    """The event that uvicorn sets for whoever waits for a body: here nobody does."""

    def set(self) -> None: ...


class DirectCycle:
    """One request on the short way. It stands where uvicorn keeps its own cycle, which tells it that one is under way."""

    message_event = _Nobody()
    keep_alive, disconnected = True, False
    response_started = response_complete = False

    def __init__(self, connection: "Connection", door: "HttpDoor", *, head: Head) -> None:
        self.head, self._connection, self._door = head, connection, door
        self._parts: list[bytes] = []

    def take(self, part: bytes) -> None:
        """Take a piece of the body."""
        self._parts.append(part)

    def whole(self) -> None:
        """Ask, now that the body is whole."""
        parts = self._parts
        self.ask(parts[0] if len(parts) == 1 else b"".join(parts))

    def ask(self, body: bytes) -> None:
        """Ask, and answer as soon as there is an answer, which may be now."""
        connection, door = self._connection, self._door
        try:
            self._asked = asked = door.begin(self.head, body, alone=len(connection.connections) == 1)
            future: Pending = door.ask(asked[0])
        except Exception as error:  # the request door
            self._write(door.refusal(self.head.place, error))
            return
        connection.asked = future  # None again when it is answered
        future.add_done_callback(self._answered)

    def _answered(self, future: "Pending | Task[InferResponse]") -> None:
        self._connection.asked = None
        if self.disconnected:
            return
        try:
            reply = self._door.end(future.result(), self._asked)
        except CancelledError:
            return
        except Exception as error:  # the request door
            reply = self._door.refusal(self.head.place, error)
        self._write(reply)

    def _write(self, reply: "HttpReply") -> None:
        connection = self._connection
        body, headers = reply.body, reply.headers
        if connection.server_state.default_headers:
            headers = [*connection.server_state.default_headers, *headers]
        head = b"".join(map(_LINE, headers))
        closes = (b"connection", b"close") in reply.headers
        if not self.keep_alive and not closes:
            head += b"connection: close\r\n"
        written = (STATUS_LINE[reply.status], head, len(body), body)
        connection.transport.write(b"%b%bcontent-length: %d\r\n\r\n%b" % written)
        self.response_complete = True
        if closes or not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()
