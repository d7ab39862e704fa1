"""Page tokens of a series come back as they went, or are refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge.errors import RequestInvalid
from kedge.tracking.places import from_token, to_token

whole = st.integers(-(2**63), 2**63 - 1)


@given(whole, whole, st.floats(allow_nan=False))
def test_a_place_comes_back(at: int, step: int, value: float) -> None:
    assert from_token(to_token((at, step, value))) == (at, step, value)


def test_nan_comes_back() -> None:
    found = from_token(to_token((1, 2, math.nan)))
    assert found is not None
    assert found[:2] == (1, 2)
    assert math.isnan(found[2])


def test_no_token_is_the_first_page() -> None:
    assert from_token("") is None


@given(st.text(min_size=1, max_size=40).filter(lambda text: len(text.encode(errors="replace")) != 32))
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(RequestInvalid, match="page token"):
        from_token(text)
