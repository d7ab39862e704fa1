"""Values as JSON text."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kedge.errors import StoreBroken
from kedge.storage.sql.bodies import Body

floats = st.floats(allow_nan=True, allow_infinity=True)


class Inner(msgspec.Struct, frozen=True):
    at: datetime
    losses: dict[int, float]


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    value: float
    maybe: float | None = None
    items: tuple[float, ...] = ()
    facts: dict[str, str | int | float | bool | None] = {}
    inner: Inner | None = None


body = Body(Whole)
inners = st.builds(
    Inner,
    at=st.datetimes(timezones=st.just(UTC), allow_imaginary=False).map(lambda at: at.replace(fold=0)),
    losses=st.dictionaries(st.integers(-(2**53), 2**53), floats),
)
wholes = st.builds(
    Whole,
    name=st.text(),
    value=floats,
    maybe=st.none() | floats,
    items=st.lists(floats).map(tuple),
    facts=st.dictionaries(st.text(), st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text() | floats),
    inner=st.none() | inners,
)


@settings(max_examples=200, derandomize=True, database=None)
@given(wholes)
def test_what_goes_in_comes_out(value: Whole) -> None:
    assert repr(body.read(body.write(value))) == repr(value)


def test_plain_values_are_plain_json() -> None:
    text = body.write(Whole(name="ü", value=1.5))
    assert json.loads(text) == {"name": "ü", "value": 1.5, "maybe": None, "items": [], "facts": {}, "inner": None}
    assert "ü" in text


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_no_number_is_taken_for_missing(number: float) -> None:
    found = body.read(body.write(Whole(name="x", value=0.0, maybe=number)))
    assert found.maybe is not None
    assert repr(found.maybe) == repr(number)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": 1, "value": 2}', '{"name": "x"}', '{"name": NaN}'])
def test_what_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(StoreBroken, match="a Whole in the metadata store cannot be read"):
        body.read(text)
