"""uvicorn's connection with what it lacks for strangers: limits in time and size, and callers that hang up.

    waiting -> head (10 s, 64 KiB) -> body (120 s) -> answered -> waiting (5 s, uvicorn's own)
Whoever sends a head or a body drop by drop is cut off; whoever hangs up has its question cancelled. A request that comes
whole in one piece, as almost all do, costs two assignments, and one whose head is known (`heads.py`) no parser either.
"""

import asyncio
import re
from collections import deque
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from kedge.serving.door.application import CARRIER, HttpDoor
from kedge.serving.door.direct import DirectCycle
from kedge.serving.pending import Pending

_HEAD_BYTES = 64 * 2**10
_HEAD_END = b"\r\n\r\n"
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*(?=\r\n)", re.IGNORECASE)
_NO_HEADERS: deque[tuple[bytes, bytes]] = deque(maxlen=0)


class Connection(HttpToolsProtocol):
    """One connection of a caller."""

    head_seconds = 10.0
    body_seconds = 120.0

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.asked: asyncio.Future[Any] | Pending | None = None
        self._door = self.config.app if isinstance(self.config.app, HttpDoor) else None
        self._whole_app = self.app
        self._direct: DirectCycle | None = None
        self._idle_since: float | None = None
        self._carries = {CARRIER: self}
        self._state, self._timed = "waiting", ""
        self._head_size = 0
        self._wrong = ""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a first request."""
        super().connection_made(transport)
        self._time("waiting", self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel what the caller no longer waits for."""
        if self._timer is not None:
            self._timer.cancel()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        if self.asked is not None:
            self.asked.cancel()
        super().connection_lost(exc)

    def end_with(self, last: Any) -> None:
        """Have `last`, an application whose answers close their connection, answer what comes yet: this process drains."""
        self.app, self._door = last, None
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def data_received(self, data: bytes) -> None:
        """Take what arrived, and see to it that what is not whole yet becomes so in time."""
        before: Any = self.cycle
        door, between = self._door, self._state == "whole" and before.response_complete
        if between and door is not None and not self.flow.write_paused:
            known = door.heads.find(data)
            if known is not None:
                self._idle_since = None
                self.cycle = direct = DirectCycle(self, door, head=known[0])  # type: ignore[assignment]
                direct.ask(known[1])
                return
        if self._state == "head":
            self._head_size += len(data)
        elif self._state != "body":
            end = data.find(_HEAD_END)
            if len(data) > _HEAD_BYTES and not 0 <= end <= _HEAD_BYTES:
                self._too_long()
                return
            # Another protocol that is offered (often HTTP/2) is not taken, and the parser would leave out the body.
            if (offered := _UPGRADE.search(data, 0, end + 2)) is not None:
                data = data[: offered.start()] + data[offered.end() :]
        super().data_received(data)
        if self._state == "whole":
            if self._timed:
                self._time("", 0)
            cycle: Any = self.cycle
            if between and door is not None and cycle is not before and isinstance(cycle, DirectCycle):
                door.heads.learn(data, cycle.head)
        elif self._state == "head" and self._head_size > _HEAD_BYTES:
            self._too_long()
        elif self._state not in (self._timed, "waiting"):
            self._time(self._state, self.head_seconds if self._state == "head" else self.body_seconds)

    def on_response_complete(self) -> None:
        """Go on with what waits behind, or wait for another request.

        One timer stays, and looks at its end how long nothing was asked: to move it with each request costs as much as
        to read one.
        """
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        if self.flow.read_paused:
            self.flow.resume_reading()
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._wait_alive(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Hang up where nothing was asked for long."""
        self.timeout_keep_alive_task = None
        if self._idle_since is not None:
            left = self._idle_since + self.timeout_keep_alive - self.loop.time()
            if left > 0:
                self._wait_alive(left)
            else:
                super().timeout_keep_alive_handler()

    def _wait_alive(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        """Do nothing: blanks between two requests keep no connection open."""

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._idle_since = None
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._state, self._head_size = "head", 0

    def on_headers_complete(self) -> None:
        """Have a request's head whole: see which way it goes. Raises ValueError for one that names no host, or several."""
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts != 1 and (hosts or self.parser.get_http_version() == "1.1"):
            self._wrong = f"the request has {hosts} Host headers, and needs one (RFC 9112, section 3.2)"
            raise ValueError(self._wrong)
        self._state = "body"
        if self._goes_direct():
            return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        self.scope["extensions"] = self._carries  # type: ignore[typeddict-item]
        super().on_headers_complete()
        # A chunked body may end in more headers, without end: they are none of the request's.
        self.headers = _NO_HEADERS  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        """Take a piece of a request's body."""
        if self._direct is not None:
            self._direct.take(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Have a request whole."""
        self._state = "whole"
        direct, self._direct = self._direct, None
        if direct is not None:
            direct.whole()
        else:
            super().on_message_complete()

    def _goes_direct(self) -> bool:
        """Say whether a request goes the short way, and begin it if it does."""
        parser = self.parser
        if (
            self._door is None
            or self.app is not self._whole_app  # draining: each answer is the last of its connection
            or self.url not in self._door.direct
            or not (self.cycle is None or self.cycle.response_complete)
            or self.expect_100_continue
            or self.flow.write_paused
            or parser.get_method() != b"POST"
            or parser.get_http_version() != "1.1"
            or parser.should_upgrade()
            or not parser.should_keep_alive()
        ):
            return False
        head = self._door.takes(self.url, dict(self.headers))
        if head is None:
            return False
        self._direct = self.cycle = DirectCycle(self, self._door, head=head)  # type: ignore[assignment]
        return True

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, in the shape of every other error."""
        self._refuse(400, self._wrong or f"this is not a whole HTTP request: {msg}")

    def _time(self, what: str, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timed = what
        self._timer = self.loop.call_later(seconds, self._too_slow) if what else None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            if self._timed == "waiting":
                self.transport.close()
            else:
                self._refuse(408, f"the {self._state} of the request did not arrive in time")

    def _too_long(self) -> None:
        self._refuse(431, f"the head of a request has at most {_HEAD_BYTES} bytes")

    def _refuse(self, status: int, message: str) -> None:
        """Answer without an application, where nothing is being answered yet, and hang up."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = msgspec.json.encode({"error": message})
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()
