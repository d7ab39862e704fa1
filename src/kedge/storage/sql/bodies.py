"""Values as JSON text in a `body` column: what goes in comes out.

JSON has no NaN and no infinities, and msgspec writes null for them. A value with such numbers is written with Python's
own words for them (NaN, Infinity) instead, so that no measurement is changed and no row becomes unreadable.
"""

import json
from typing import Generic, TypeVar

import msgspec

from kedge.errors import StoreBroken

T = TypeVar("T", bound=msgspec.Struct)


class Body(Generic[T]):
    """Reads and writes the bodies of one struct."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(kind)

    def write(self, value: T) -> str:
        """Give the text of a value."""
        raw = self._encoder.encode(value)
        if b"null" in raw and self._changed(raw, value):
            return json.dumps(msgspec.to_builtins(value, str_keys=True))
        return raw.decode()

    def read(self, body: str) -> T:
        """Give the value of a text. Raises StoreBroken."""
        try:
            return self._decoder.decode(body)
        except msgspec.DecodeError:
            return self._read_with_nan(body)

    def _changed(self, raw: bytes, value: T) -> bool:
        try:
            return self._decoder.decode(raw) != value
        except msgspec.ValidationError:
            return True

    def _read_with_nan(self, body: str) -> T:
        try:
            return msgspec.convert(json.loads(body), self._kind, str_keys=True)
        except ValueError as error:
            raise StoreBroken(
                f"a {self._kind.__name__} in the metadata store cannot be read ({error}); restore it from a backup"
            ) from error
