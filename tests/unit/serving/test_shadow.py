"""Nobody waits for a version in shadow: its answers come later, in records of their own; what it cannot do is left out."""

import asyncio
import threading
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tests.unit.serving.fakes import NUMBERS, NUMERIC, Around, question_of, settled, tensor

from kedge.domain.monitoring import COPIED, PredictionBatch
from kedge.domain.predictions import Ack
from kedge.domain.rollout import Strategy
from kedge.serving.plane import Limits
from kedge.serving.wire.questions import InferRequest


class Held:
    """A model in a version's place whose calls do not return before they are let go."""

    def __init__(self) -> None:
        self.entered, self.free = threading.Event(), threading.Event()

    def __call__(self, matrix: Any) -> Any:
        self.entered.set()
        assert self.free.wait(60)
        return -matrix.sum(axis=1)


def shadowed(**limits: Any) -> tuple[Around, Held]:
    around, held = Around(service=NUMERIC, signature=NUMBERS, sticky="", limits=Limits(**limits)), Held()
    around.evaluation.answers[1] = lambda matrix: matrix.sum(axis=1)
    around.deployed(1, 2, strategy=Strategy.SHADOW)
    around.evaluation.answers[2] = held
    return around, held


def asked(*rows: tuple[float, float], **more: Any) -> InferRequest:
    data = [value for row in rows for value in row]
    question = question_of(msgspec.json.encode({"inputs": [tensor("x", "FP64", data, [len(rows), 2])]}))
    return msgspec.structs.replace(question, **more)


def parted(around: Around) -> tuple[list[PredictionBatch], list[PredictionBatch]]:
    """Give the records of answers, and those of copies."""
    logged = around.logged()
    return [one for one in logged if one.variant != COPIED], [one for one in logged if one.variant == COPIED]


def left_out(around: Around) -> float:
    return around.plane.metrics.left_out.value


def test_answers_leave_and_are_logged_while_the_shadow_computes() -> None:
    around, held = shadowed()

    async def ask() -> None:
        for number in range(3):
            answer = await around.host.ask(asked((number, 1.0), (number, 2.0), alone=number == 2))
            assert answer.outputs[0].data.tolist() == [number + 1.0, number + 2.0]
            await asyncio.to_thread(held.entered.wait, 60)
        answers, copies = parted(around)
        assert (len(answers), copies, around.host.metrics.segment.called) == (3, [], 0.0)
        held.free.set()
        await settled(around.host)

    asyncio.run(ask())
    answers, copies = parted(around)
    for one, again in zip(answers, copies, strict=True):
        assert (one.shadow, again.shadow) == ({}, {2: [-value for value in one.outputs]})
        assert {version for version, _ in again.batches} == {1, 2}
        assert again.seconds["predict"] == one.seconds["predict"]
        more = {"shadow": {}, "batches": one.batches, "seconds": one.seconds, "calls": one.calls, "variant": ""}
        assert msgspec.structs.replace(again, **more) == one, "the same request again, with what the shadow said"
    assert copies[1].calls[2][0] == copies[2].calls[2][0], "what waited while the shadow computed is one call of it"
    assert around.plane.metrics.version(2, COPIED).stages["predict"]._counts[-1] > 0
    assert left_out(around) == 0


def test_rows_that_a_shadow_cannot_keep_up_with_are_left_out_and_counted() -> None:
    around, held = shadowed(call_rows=4)

    async def ask() -> None:
        await around.host.ask(asked((0, 1)))
        await asyncio.to_thread(held.entered.wait, 60)
        for number in range(1, 8):
            await around.host.ask(asked((number, 1)))
        await around.host.ask(asked(*[(9.0, 9.0)] * 5))
        held.free.set()
        await settled(around.host)

    asyncio.run(ask())
    answers, copies = parted(around)
    assert len(answers) == 9
    assert [one.outputs for one in copies] == [[1.0], [2.0], [3.0], [4.0], [5.0]]
    assert left_out(around) == 3 + 5
    assert b'kedge_shadow_left_out_rows_total{model="flights"} 8' in around.call("GET", "/metrics").body


def test_a_request_of_more_rows_than_may_wait_is_copied_where_none_waits() -> None:
    around, held = shadowed(call_rows=4)
    held.free.set()

    async def ask() -> None:
        await around.host.ask(asked(*[(1.0, 1.0)] * 9))
        await settled(around.host)

    asyncio.run(ask())
    (_,), (copy,) = parted(around)
    assert (copy.shadow, left_out(around)) == ({2: [-2.0] * 9}, 0)


def test_a_shadow_that_fails_and_a_log_that_is_full_harm_no_answer_and_are_no_gap() -> None:
    around, _ = shadowed()
    around.evaluation.answers[2] = ValueError("no")

    async def ask(*, full: bool) -> None:
        await around.host.ask(asked((1, 1), (2, 2)))
        around.journal.full = full
        await settled(around.host)
        around.journal.full = False

    asyncio.run(ask(full=False))
    (answer,), (copy,) = parted(around)
    assert (answer.errors, sorted(copy.errors), copy.shadow) == ({}, [0, 1], {})
    assert around.plane.metrics.version(2, COPIED).row_errors.value == 2
    asyncio.run(ask(full=True))
    answers, copies = parted(around)
    assert (len(answers), len(copies), left_out(around), around.host.log.gap_rows) == (2, 1, 2, 0)


def test_what_nobody_foresaw_in_the_thread_leaves_out_its_rows_and_the_next_are_answered() -> None:
    around, held = shadowed()
    held.free.set()
    real, seen = around.plane._shadow._call, []

    def once(group: Any) -> None:
        seen.append(group)
        if len(seen) == 1:
            raise KeyError("ours")
        real(group)

    around.plane._shadow._call = once

    async def ask() -> None:
        for _ in range(2):
            await around.host.ask(asked((1, 1)))
            await settled(around.host)

    asyncio.run(ask())
    answers, copies = parted(around)
    assert (len(answers), len(copies), left_out(around)) == (2, 1, 1)


def test_only_answers_that_are_logged_are_copied() -> None:
    around, held = shadowed()
    held.free.set()

    async def ask(**more: Any) -> None:
        await around.host.ask(asked((1, 1), **more))
        await settled(around.host)

    asyncio.run(ask(variant="champion"))
    asyncio.run(ask(version=1))
    around.journal.full = True
    asyncio.run(ask())
    around.journal.full = False
    around.host.log.ack = Ack.SYNCED
    asyncio.run(ask())
    answers, copies = parted(around)
    assert [one.variant for one in answers if one.versions] == ["champion", ""]
    assert [one.request for one in copies] == [answers[-1].request]


def test_a_slow_shadow_is_no_reason_to_answer_in_a_thread() -> None:
    around, _ = shadowed()
    active = around.plane.active
    assert active is not None
    slow = replace(active, versions={**active.versions, 2: replace(active.versions[2], call_seconds=1.0)})
    assert (slow.inline_rows, slow.copied_rows) == (active.inline_rows, 0)


def test_a_tester_who_asks_the_shadow_itself_waits_for_its_calls_and_holds_up_no_loop() -> None:
    around, held = shadowed()
    inside: list[int] = []
    most: list[int] = []

    def counted(matrix: Any) -> Any:
        inside.append(1)
        most.append(len(inside))
        try:
            return held(matrix)
        finally:
            inside.pop()

    around.evaluation.answers[2] = counted

    async def ask() -> None:
        await around.host.ask(asked((1, 1)))
        await asyncio.to_thread(held.entered.wait, 60)
        tester = asyncio.ensure_future(waiting(around, asked((2, 2), variant="challenger", alone=True)))
        await asyncio.sleep(0.05)  # the loop turns while the tester waits
        assert not tester.done()
        held.free.set()
        assert (await tester).outputs[0].data.tolist() == [-4.0]
        await settled(around.host)

    asyncio.run(ask())
    assert most == [1, 1], "one call at a time"


@pytest.mark.parametrize("role", ["champion", "challenger"])
def test_a_shadow_that_is_let_in_while_it_answers_a_copy_holds_up_no_loop(role: str) -> None:
    around, held = shadowed()

    async def ask() -> None:
        await around.host.ask(asked((1, 1)))
        await asyncio.to_thread(held.entered.wait, 60)
        if role == "champion":
            around.deployed(2)
        else:
            around.deployed(1, 2, strategy=Strategy.CANARY, share=1.0)
        let_in = asyncio.ensure_future(waiting(around, asked((2, 2), alone=True)))
        await asyncio.sleep(0.05)  # the loop turns while the request waits for the call
        assert not let_in.done()
        held.free.set()
        assert (await let_in).outputs[0].data.tolist() == [-4.0]
        await settled(around.host)

    asyncio.run(ask())


async def waiting(around: Around, question: InferRequest) -> Any:
    return await around.host.ask(question)
