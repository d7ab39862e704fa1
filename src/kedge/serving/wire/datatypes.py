"""The datatypes of the Open Inference Protocol v2, as one table: numpy's, struct's and JSON's word for each.

A value of JSON is read by a typed decoder that refuses what its datatype cannot hold, so that nothing wraps around or
loses its sign on the way into an array.
"""

import struct
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

MOST_AXES = 16
"""The most axes that a tensor may have."""


class Datatype(msgspec.Struct, frozen=True):
    """One datatype: its numpy dtype, the code that `struct` packs it by, what JSON may hold, that in words, and
    whether it has NaN."""

    name: str
    dtype: np.dtype[Any]
    code: str
    element: Any
    holds: str
    floating: bool = False


def _integer(name: str, code: str, *, bits: int, signed: bool) -> Datatype:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    # msgspec's own bounds end at int64; beyond it, its decoder gives the integer and numpy's packing refuses the rest.
    element = Annotated[int, Meta(ge=low, le=high)] if high < 2**63 else Annotated[int, Meta(ge=low)]
    return Datatype(name, np.dtype(name.lower()), code, element, f"a whole number from {low} to {high}")


def _float(name: str, code: str, *, most: float, dtype: str) -> Datatype:
    # The bound is the largest double that rounds to a finite number of the datatype.
    element = Annotated[float, Meta(ge=-most, le=most)]
    return Datatype(name, np.dtype(dtype), code, element, "a number or null", floating=True)


DATATYPES = {
    each.name: each
    for each in (
        Datatype("BOOL", np.dtype(bool), "?", bool, "true or false"),
        *(_integer(f"INT{8 << place}", code, bits=8 << place, signed=True) for place, code in enumerate("bhiq")),
        *(_integer(f"UINT{8 << place}", code, bits=8 << place, signed=False) for place, code in enumerate("BHIQ")),
        _float("FP16", "e", most=65519.99999999999, dtype="float16"),
        _float("FP32", "f", most=3.4028235677973362e38, dtype="float32"),
        Datatype("FP64", np.dtype(np.float64), "d", float, "a number or null", floating=True),
        Datatype("BYTES", np.dtype(object), "", str, "text"),
    )
}
"""Every datatype of the protocol, by name."""

DTYPES = {name: each.dtype for name, each in DATATYPES.items()}
"""The numpy dtype of a datatype's arrays."""


@cache
def decoder(name: str, depth: int, *, nulls: bool) -> msgspec.json.Decoder[Any]:
    """Make the decoder of lists nested `depth` deep whose elements a datatype can hold, or null where `nulls`."""
    of = DATATYPES[name].element
    of = of | None if nulls else of
    for _ in range(depth):
        of = list[of]  # type: ignore[valid-type]
    return msgspec.json.Decoder(of)


def array(values: Sequence[Any], datatype: Datatype, *, shape: tuple[int, ...]) -> NDArray[Any]:
    """Make an array of a flat list that the datatype's decoder gave, without null but in a float, where it is NaN.

    Raises ValueError for an unsigned integer that is too large.
    """
    if not datatype.code:
        texts = np.empty(len(values), object)
        texts[:] = values
        return texts.reshape(shape)
    count = len(values)
    try:
        # Twice as fast as np.array, which asks each value for its type.
        packed = struct.pack(f"{count}{datatype.code}", *values)
    except struct.error as error:
        if not datatype.floating:
            raise ValueError(str(error)) from error
        flat = np.array(values, datatype.dtype)
        if flat.ndim != 1:
            raise ValueError("lists within a flat list") from error
        return flat.reshape(shape)
    if not packed:
        return np.empty(shape, datatype.dtype)
    return np.ndarray(shape, datatype.dtype, packed)
