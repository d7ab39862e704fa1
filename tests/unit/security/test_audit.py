"""Whatever is done to a written chain is found: edits, losses, insertions, swaps, and a cut-off end by its noted head."""

import hashlib
import random

import pytest

from kedge.security.audit import verify


def chain(events: int, *, first: int = 0) -> list[tuple[int, bytes, str]]:
    rows, previous = [], ""
    for serial in range(1, events + 1):
        body = f'{{"event": {first + serial}}}'.encode()
        previous = hashlib.sha256(previous.encode() + body).hexdigest()
        rows.append((serial, body, previous))
    return rows


def test_a_whole_chain_holds() -> None:
    rows = chain(5)
    report = verify(iter(rows))
    assert (report.holds, report.events, report.head, report.broken) == (True, 5, rows[-1][2], None)
    assert str(report) == f"5 events, unbroken; head {rows[-1][2]}"


def test_an_empty_chain_holds() -> None:
    assert verify([]).holds
    assert str(verify([])) == "0 events, unbroken; head none"


@pytest.mark.parametrize("at", range(5))
def test_an_edited_event_is_named(at) -> None:
    rows = chain(5)
    serial, body, written = rows[at]
    rows[at] = (serial, body + b" ", written)
    report = verify(rows)
    assert (report.broken, report.events, report.holds) == (serial, at, False)
    assert f"broken at event {serial}" in str(report)
    assert report.head == (rows[at - 1][2] if at else "")


@pytest.mark.parametrize("at", range(4))
def test_a_lost_event_is_named(at) -> None:
    rows = chain(5)
    del rows[at]
    assert verify(rows).broken == at + 1


def test_a_lost_event_whose_gap_was_closed_is_found() -> None:
    rows = chain(5)
    closed = [*rows[:2], *((serial - 1, body, written) for serial, body, written in rows[3:])]
    assert verify(closed).broken == 3


def test_an_event_edited_with_its_hash_breaks_the_next() -> None:
    rows = chain(5)
    body = b"{}"
    rows[1] = (2, body, hashlib.sha256(rows[0][2].encode() + body).hexdigest())
    assert verify(rows).broken == 3


def test_a_cut_or_rewritten_end_shows_by_the_noted_head() -> None:
    rows = chain(5)
    head = rows[-1][2]
    assert verify(rows[:3]).holds  # nothing inside tells
    cut = verify(rows[:3], head=head)
    assert (cut.broken, cut.events) == (4, 3)
    assert "cut off or written anew" in cut.reason
    assert verify(chain(5, first=7), head=head).broken == 6
    assert verify([*rows, *[]], head=head).holds
    assert verify(rows, head=rows[2][2]).holds  # the chain has grown since
    assert verify([], head=head).broken == 1


def test_a_thousand_random_changes_are_found() -> None:
    dice, rows = random.Random(5), chain(30)
    for _ in range(1000):
        changed = list(rows)
        one, two = dice.sample(range(30), 2)
        match dice.randrange(4):
            case 0:
                body = bytearray(changed[one][1])
                body[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
                changed[one] = (changed[one][0], bytes(body), changed[one][2])
            case 1:
                changed[one], changed[two] = changed[two], changed[one]
            case 2:
                changed.insert(two, changed[one])
            case 3:
                del changed[one]
        assert not verify(changed, head=rows[-1][2]).holds
