"""The values between the doors and the engine."""

import numpy as np
import pytest

from kedge.errors import RequestInvalid
from kedge.serving.wire.questions import Tensor


def test_text_is_text_whatever_wire_it_came_over() -> None:
    data = np.array([b"a\xc3\xa9", "b", None, b""], object).reshape(2, 2)
    told = Tensor("x", "BYTES", (2, 2), data, missing=np.array([[False, False], [True, False]]))
    assert told.text().tolist() == [["aé", "b"], [None, ""]]
    with pytest.raises(RequestInvalid, match=r"input 'x' \(BYTES\): element 1 is not UTF-8"):
        Tensor("x", "BYTES", (2,), np.array([b"a", b"\xff"], object)).text()
