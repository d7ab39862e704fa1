"""The memory of requests answered last."""

import numpy as np

from kedge.serving.recent import Recent
from kedge.serving.wire.questions import InferResponse, Tensor


def answer_of(size: int) -> InferResponse:
    data = np.zeros(size, np.uint8)
    return InferResponse(model="m", version="1", id="", outputs=[Tensor("y", "UINT8", data.shape, data)])


ANSWER = answer_of(1)


def test_the_first_body_owns_the_id() -> None:
    recent = Recent()
    exact, name = recent.name("a", b"1")
    assert name == "a"
    recent.keep(exact, "a", answer=ANSWER)
    assert recent.find(exact) is ANSWER
    assert recent.name("a", b"1") == (exact, "a")
    other, name = recent.name("a", b"2")
    assert name == other != exact
    assert other.startswith("a~")
    assert recent.find(other) is None


def test_it_is_bounded_and_an_id_in_use_is_never_given_away() -> None:
    recent = Recent(most=4)
    for turn in range(100):
        exact, name = recent.name("always", b"%d" % turn)
        assert (name == "always") == (turn == 0)
        recent.keep(exact, "always", answer=ANSWER)
    for turn in range(100):
        told = f"r{turn}"
        recent.keep(recent.name(told, b"")[0], told, answer=ANSWER)
    assert recent.find(recent.name("r0", b"")[0]) is None
    assert recent.find(recent.name("r99", b"")[0]) is ANSWER


def test_long_answers_are_forgotten_sooner() -> None:
    recent, long = Recent(most_bytes=10_000), answer_of(6000)
    names = [recent.name(told, b"")[0] for told in ("a", "b", "b")]
    for name in names:
        recent.keep(name, name, answer=long)
    assert [recent.find(name) for name in names] == [None, long, long]


def test_an_id_is_the_first_ones_while_it_is_under_way_and_free_again_where_it_was_refused() -> None:
    recent = Recent()
    first, name = recent.name("a", b"1")
    recent.claim(first, "a")
    other, beside = recent.name("a", b"2")
    assert (name, beside) == ("a", other)
    recent.release(other, "a")
    assert recent.name("a", b"1")[1] == "a"
    recent.release(first, "a")
    assert recent.name("a", b"2")[1] == "a"
    recent.keep(first, "a", answer=ANSWER)
    recent.release(first, "a")
    assert recent.name("a", b"2")[1] == other, "what was answered keeps its id"


def test_who_is_to_answer_is_part_of_a_request() -> None:
    recent = Recent()
    names = {recent.name("a", b"1", beside=beside)[0] for beside in (b"", b"champion", b"challenger")}
    assert len(names) == 3
