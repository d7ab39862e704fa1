"""An answer that is to come, and whoever waits for it.

It is awaited like a future, but who asks to be called is called at once, by whoever sets it: a future's way through the loop
costs as much as writing the answer. It belongs to the loop's thread alone.
"""

import asyncio
from collections.abc import Callable, Generator
from typing import Any

from kedge.serving.wire.questions import InferResponse

_WAITED, _SET, _GONE = range(3)


class Pending:
    """An answer or an error, once. Cancelled, it need not be computed."""

    __slots__ = ("_answer", "_error", "_state", "_then")

    def __init__(self) -> None:
        self._state = _WAITED
        self._answer: InferResponse | None = None
        self._error: BaseException | None = None
        self._then: list[Callable[[Pending], Any]] = []

    def done(self) -> bool:
        """Say whether there is nothing to wait for any more."""
        return self._state != _WAITED

    def cancelled(self) -> bool:
        """Say whether whoever waited has gone."""
        return self._state == _GONE

    def cancel(self) -> bool:
        """Say that nobody waits any more; False where it was done."""
        return self._settle(_GONE)

    def set_result(self, answer: InferResponse) -> None:
        """Give the answer, unless it is done."""
        if self._state == _WAITED:
            self._answer = answer
            self._settle(_SET)

    def set_exception(self, error: BaseException) -> None:
        """Give what went wrong, unless it is done."""
        if self._state == _WAITED:
            self._error = error
            self._settle(_SET)

    def result(self) -> InferResponse:
        """Give the answer that was set, or raise what was. CancelledError where it was cancelled."""
        if self._error is not None:
            raise self._error
        if self._answer is None:
            raise asyncio.CancelledError
        return self._answer

    def add_done_callback(self, then: Callable[["Pending"], Any]) -> None:
        """Have a function called with this when it is done."""
        if self._state == _WAITED:
            self._then.append(then)
        else:
            then(self)

    def __await__(self) -> Generator[Any, None, InferResponse]:
        if self._state == _WAITED:
            woken = asyncio.get_running_loop().create_future()
            self.add_done_callback(lambda _: _wake(woken))
            try:
                yield from woken
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.result()

    def _settle(self, state: int) -> bool:
        if self._state != _WAITED:
            return False
        self._state = state
        for then in self._then:
            then(self)
        self._then.clear()
        return True


def _wake(woken: "asyncio.Future[None]") -> None:
    if not woken.done():
        woken.set_result(None)
