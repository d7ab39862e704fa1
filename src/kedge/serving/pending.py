"""An answer that is to come, and whoever waits for it.

It is awaited like a future, but who asks to be called is called at once, by whoever sets it: a future's way through the loop
costs as much as writing the answer. It belongs to the loop's thread alone.
"""

import asyncio
from collections.abc import Callable, Generator
from typing import Any

from kedge.serving.wire.questions import InferResponse


class Pending:
    """An answer or an error, once. Cancelled, it need not be computed. `waits` until then."""

    __slots__ = ("_answer", "_error", "_then", "waits")

    def __init__(self) -> None:
        self.waits = True
        self._answer: InferResponse | None = None
        self._error: BaseException | None = None
        self._then: list[Callable[[Pending], Any]] = []

    def cancelled(self) -> bool:
        """Say whether whoever waited has gone."""
        return not self.waits and self._answer is None and self._error is None

    def cancel(self) -> bool:
        """Say that nobody waits any more; False where it was done."""
        return self._settle()

    def set_result(self, answer: InferResponse) -> None:
        """Give the answer, unless it is done."""
        if self.waits:
            self._answer = answer
            self._settle()

    def set_exception(self, error: BaseException) -> None:
        """Give what went wrong, unless it is done."""
        if self.waits:
            self._error = error
            self._settle()

    def result(self) -> InferResponse:
        """Give the answer that was set, or raise what was. CancelledError where it was cancelled."""
        if self._error is not None:
            raise self._error
        if self._answer is None:
            raise asyncio.CancelledError
        return self._answer

    def add_done_callback(self, then: Callable[["Pending"], Any]) -> None:
        """Have a function called with this when it is done."""
        if self.waits:
            self._then.append(then)
        else:
            then(self)

    def __await__(self) -> Generator[Any, None, InferResponse]:
        if self.waits:
            woken = asyncio.get_running_loop().create_future()
            self.add_done_callback(lambda _: _wake(woken))
            try:
                yield from woken
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.result()

    def _settle(self) -> bool:
        if not self.waits:
            return False
        self.waits = False
        for then in self._then:
            then(self)
        self._then.clear()
        return True


def _wake(woken: "asyncio.Future[None]") -> None:
    if not woken.done():
        woken.set_result(None)
