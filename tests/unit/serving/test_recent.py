"""The memory of requests answered last."""

from kedge.serving.recent import Recent


def test_the_first_body_owns_the_id() -> None:
    recent = Recent()
    exact, name = recent.name("a", b"1")
    assert name == "a"
    recent.keep(exact, "a", answer=b"answer")
    assert recent.find(exact) == b"answer"
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
        recent.keep(exact, "always", answer=b"")
    for turn in range(100):
        told = f"r{turn}"
        recent.keep(recent.name(told, b"")[0], told, answer=b"")
    assert recent.find(recent.name("r0", b"")[0]) is None
    assert recent.find(recent.name("r99", b"")[0]) == b""


def test_long_answers_are_forgotten_sooner() -> None:
    recent = Recent(most_bytes=10)
    names = [recent.name(told, b"")[0] for told in ("a", "b", "b")]
    for name in names:
        recent.keep(name, name, answer=b"7 bytes")
    assert [recent.find(name) for name in names] == [None, b"7 bytes", b"7 bytes"]
