"""Requests that wait are answered together, and still each by itself: own answers, own failures, own deadlines."""

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.unit.serving.fakes import NUMBERS, NUMERIC, Around, question_of, settled, tensor

from kedge.domain.monitoring import COPIED
from kedge.domain.predictions import Ack
from kedge.domain.project import ServingRules
from kedge.domain.rollout import Strategy
from kedge.errors import DeadlineExceeded, KedgeError, ModelRefused, Overloaded
from kedge.serving.plane import Limits
from kedge.serving.server import limits_of
from kedge.serving.wire.questions import InferRequest, InferResponse


def numbers(**more: Any) -> Around:
    around = Around(service=NUMERIC, signature=NUMBERS, sticky="", **more)
    around.evaluation.answers[1] = lambda matrix: matrix.sum(axis=1)
    return around.deployed(1)


def asked(*rows: tuple[float, float], id: str | None = None, **more: Any) -> InferRequest:
    data = [value for row in rows for value in row]
    body = {"inputs": [tensor("x", "FP64", data, [len(rows), 2])], **({"id": id} if id else {})}
    question = question_of(msgspec.json.encode(body))
    return msgspec.structs.replace(question, **more)


def together(around: Around, *questions: InferRequest) -> list[Any]:
    """Ask in one turn of the loop; give answers or errors."""

    async def ask() -> list[Any]:
        answers = await asyncio.gather(*map(waiting, questions), return_exceptions=True)
        await settled(around.host)
        return answers

    async def waiting(question: InferRequest) -> InferResponse:
        return await around.host.ask(question)

    around.evaluation.calls.clear()
    return asyncio.run(ask())


def values(answer: InferResponse) -> list[float]:
    return answer.outputs[0].data.tolist()


def test_requests_of_one_turn_are_one_call_and_each_gets_its_own_answers() -> None:
    around = numbers()
    answers = together(around, asked((1, 2)), asked((3, 4), (5, 6)), asked((7, 8)))
    assert [values(answer) for answer in answers] == [[3.0], [7.0, 11.0], [15.0]]
    assert around.evaluation.calls == [(1, 4)]
    batches = around.logged()
    assert [batch.outputs for batch in batches] == [[3.0], [7.0, 11.0], [15.0]]
    (call, *_), *_ = [batch.calls[1] for batch in batches]
    assert [batch.calls for batch in batches] == [{1: (call, place, 3)} for place in range(3)], "why --replay needs it"


def test_each_version_of_a_joint_turn_is_timed_by_its_own_call() -> None:
    def slow(matrix: Any) -> Any:
        time.sleep(0.05)
        return matrix.sum(axis=1)

    for strategy in (Strategy.BLUE_GREEN, Strategy.SHADOW):
        around = numbers()
        around.evaluation.answers[2] = slow
        around.deployments.deploy(1, 2, share=1.0, strategy=strategy)
        around.plane.refresh()
        together(around, asked((1, 2)), asked((3, 4), id="tester", variant="champion"))
        logged = {(batch.request == "tester", batch.variant == COPIED): batch.seconds for batch in around.logged()}
        ours, theirs = logged[False, strategy is Strategy.SHADOW], logged[True, False]
        assert ours["challenger"] >= 0.05
        assert (ours["predict"] >= 0.05) is (strategy is Strategy.BLUE_GREEN), "a shadow is none of the answer's time"
        assert "challenger" not in theirs
        assert theirs["predict"] < 0.05, "it waited for the other version, and is not to blame for it"


def test_the_only_caller_is_answered_at_once_and_counted_afterwards() -> None:
    around = numbers()

    async def ask() -> None:
        alone = around.host.ask(asked((1, 2), alone=True))
        assert not alone.waits, "not at the end of the turn"
        assert values(alone.result()) == [3.0]
        assert len(around.logged()) == 1, "logged, then answered"
        served = around.plane.metrics.version(1, "champion")
        assert served.requests[200].value == 0
        await asyncio.sleep(0)
        assert served.requests[200].value == 1

    asyncio.run(ask())


def test_a_request_alone_is_no_part_of_a_call() -> None:
    around = numbers()
    together(around, asked((1, 2)))
    assert around.logged()[0].calls == {}


def test_records_that_are_alike_say_each_their_own() -> None:
    around = numbers()
    for turn in range(2):  # the second time, what they share is known
        together(around, asked((1 + turn, 2)), asked((3, 4), (5, 6), id=f"both-{turn}", entity="e"))
        around.deployments.deploy(1)
        around.plane.refresh()
    first, both, second, again = around.logged()
    assert [batch.features["a"] for batch in (first, both, second, again)] == [[1.0], [3.0, 5.0], [2.0], [3.0, 5.0]]
    assert (both.request, again.request, again.entities) == ("both-0", "both-1", ["e", "e"])
    assert again.batches == both.batches == [(1, [0, 1])]
    assert [batch.revision for batch in (both, again)] == [1, 2], "another revision shares other things"
    assert first.calls != second.calls


def test_only_the_request_that_the_model_cannot_bear_fails() -> None:
    around = numbers()

    def superstitious(matrix: Any) -> Any:
        if (matrix == 13).any():
            raise ValueError("13")
        return matrix.sum(axis=1)

    around.evaluation.answers[1] = superstitious
    good, bad, other = together(around, asked((1, 2)), asked((13, 0)), asked((3, 4)))
    assert (values(good), values(other)) == ([3.0], [7.0])
    assert isinstance(bad, ModelRefused)
    assert [batch.outputs for batch in around.logged()] == [[3.0], [7.0]]
    assert all(batch.calls == {} for batch in around.logged()), "they were asked alone in the end"


def test_an_answer_that_is_not_finite_fails_its_own_request() -> None:
    around = numbers()
    around.evaluation.answers[1] = lambda matrix: np.where(matrix[:, 0] == 13, np.inf, 1.0)
    good, bad = together(around, asked((1, 2)), asked((1, 0), (13, 0)))
    assert values(good) == [1.0]
    assert isinstance(bad, ModelRefused)
    assert "row 1" in str(bad)


def test_wrong_shapes_of_a_joint_call_harm_nobody() -> None:
    around = numbers()
    around.evaluation.answers[1] = lambda matrix: matrix.sum(axis=1)[: 2 if len(matrix) > 2 else None]
    assert [values(answer) for answer in together(around, asked((1, 2)), asked((3, 4)), asked((5, 6)))] == [[3], [7], [11]]


@pytest.mark.parametrize("strategy", [Strategy.CANARY, Strategy.SHADOW])
def test_a_trial_is_two_calls_for_all_requests(strategy: Strategy) -> None:
    around = numbers()
    around.deployed(1, 2, share=0.5, strategy=strategy, salt="s")
    around.evaluation.answers[2] = lambda matrix: -matrix.sum(axis=1)
    questions = [asked(*((row, turn) for row in range(4)), id=f"r{turn}") for turn in range(8)]
    answers = together(around, *questions)
    assert len(around.evaluation.calls) == 2
    assert sorted(version for version, _ in around.evaluation.calls) == [1, 2]
    logged = around.logged()
    if strategy is Strategy.SHADOW:
        logged = logged[len(questions) :]  # the same again, with what the shadow said
    for turn, (answer, batch) in enumerate(zip(answers, logged, strict=True)):
        sums = [float(row + turn) for row in range(4)]
        assert values(answer) == [-s if v == 2 else s for s, v in zip(sums, answer.outputs[1].data.tolist(), strict=True)]
        if strategy is Strategy.SHADOW:
            assert batch.shadow == {2: [-each for each in sums]}
        assert {version for version, _ in batch.batches} == set(batch.calls)


def test_a_challenger_that_fails_leaves_its_rows_to_the_champion_and_only_where_it_fails() -> None:
    around = numbers()
    around.deployed(1, 2, share=1.0, salt="s")

    def picky(matrix: Any) -> Any:
        if (matrix == 13).any():
            raise ValueError("13")
        return -matrix.sum(axis=1)

    around.evaluation.answers[2] = picky
    good, bad = together(around, asked((1, 2)), asked((13, 0)))
    assert (values(good), values(bad)) == ([-3.0], [13.0])
    assert [batch.versions for batch in around.logged()] == [[2], [1]]
    assert list(around.logged()[1].errors) == [0]


def test_a_call_takes_so_many_rows_and_the_rest_is_the_next() -> None:
    around = numbers(limits=Limits(call_rows=4))
    rows = [(1.0, 1.0)] * 3
    together(around, asked(*rows), asked(rows[0]), asked(*rows), asked(*rows, *rows))
    assert around.evaluation.calls == [(1, 4), (1, 3), (1, 6)], "a request is never cut"


def test_how_much_a_call_takes_and_how_much_waits_is_the_projects_to_say() -> None:
    rules = ServingRules(queue=7, call_rows=64, timeout="3s", loaded="1KiB", holdout="1%")
    expected = Limits(queue=7, call_rows=64, patience=3.0, models_bytes=1024, holdout=0.01)
    assert limits_of(rules) == expected
    assert limits_of(ServingRules()) == Limits(), "what the reference page says holds without a project, too"


def test_more_than_may_wait_are_refused_at_once() -> None:
    around = numbers(limits=Limits(queue=2))
    *answers, refused = together(around, *(asked((1, 2)) for _ in range(3)))
    assert [values(answer) for answer in answers] == [[3.0], [3.0]]
    assert isinstance(refused, Overloaded)
    assert refused.seconds >= 1
    assert len(around.logged()) == 2


def test_who_is_late_or_gone_is_not_computed() -> None:
    around = numbers()

    async def ask() -> list[Any]:
        late = around.host.ask(asked((1, 2), deadline=time.monotonic() - 1))
        gone = around.host.ask(asked((3, 4)))
        here = around.host.ask(asked((5, 6)))
        gone.cancel()
        return await asyncio.gather(late, gone, here, return_exceptions=True)

    around.evaluation.calls.clear()
    late, gone, here = asyncio.run(ask())
    assert isinstance(late, DeadlineExceeded)
    assert isinstance(gone, asyncio.CancelledError)
    assert values(here) == [11.0]
    assert around.evaluation.calls == [(1, 1)]
    assert len(around.logged()) == 1
    assert around.plane.metrics.gone.value == 1


class Held:
    """A model that is slow when it is warmed, and then answers when it is let."""

    def __init__(self) -> None:
        self.entered, self.free, self.warm = threading.Event(), threading.Event(), False

    def __call__(self, matrix: Any) -> Any:
        if self.warm:
            self.entered.set()
            assert self.free.wait(10)
        else:
            time.sleep(0.006)
        return matrix.sum(axis=1)


def held() -> tuple[Around, Held]:
    around, model = Around(service=NUMERIC, signature=NUMBERS, sticky=""), Held()
    around.evaluation.answers[1] = model
    around.deployed(1)
    model.warm = True
    around.evaluation.calls.clear()
    return around, model


def test_a_slow_model_has_a_thread_so_that_deadlines_go_on_and_what_comes_meanwhile_is_one_call() -> None:
    around, model = held()

    async def ask() -> list[Any]:
        first = around.host.ask(asked((1, 2)))
        await asyncio.to_thread(model.entered.wait, 10)
        segment = around.host.metrics.segment
        assert segment.called > 0, "the watchdog sees it"
        hasty = around.host.ask(asked((3, 4), deadline=time.monotonic() + 0.01))
        gone, second, third = (around.host.ask(asked((row, row))) for row in (5, 6, 7))
        with pytest.raises(DeadlineExceeded):
            await hasty
        gone.cancel()
        model.free.set()
        answers = await asyncio.gather(first, second, third)
        assert segment.called == 0
        return answers

    assert [values(answer) for answer in asyncio.run(ask())] == [[3.0], [12.0], [14.0]]
    assert around.evaluation.calls == [(1, 1), (1, 2)]


def test_an_answer_that_comes_after_its_deadline_is_neither_given_nor_logged() -> None:
    around, model = held()

    async def ask() -> None:
        hasty = around.host.ask(asked((1, 2), deadline=time.monotonic() + 0.01))
        with pytest.raises(DeadlineExceeded, match="no answer within"):
            await hasty
        model.free.set()
        await around.host.ask(asked((3, 4)))

    asyncio.run(ask())
    assert [batch.outputs for batch in around.logged()] == [[7.0]]


def test_what_was_asked_before_a_swap_is_answered_by_what_was_active_then() -> None:
    around = numbers()
    around.evaluation.answers[2] = lambda matrix: -matrix.sum(axis=1)

    async def ask() -> Sequence[InferResponse]:
        before = around.host.ask(asked((1, 2)))
        around.deployed(2)
        return await asyncio.gather(before, around.host.ask(asked((1, 2))))

    assert [values(answer) for answer in asyncio.run(ask())] == [[3.0], [-3.0]]


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (asked((1, 2), variant="challenger"), "no version of 'flights' is on trial"),
        (asked((1, 2), variant="best"), "is not one of champion, challenger"),
    ],
)
def test_a_variant_that_there_is_not(question: InferRequest, says: str) -> None:
    (error,) = together(numbers(), question)
    assert isinstance(error, KedgeError)
    assert says in str(error)


def test_a_tester_chooses_who_answers_and_the_log_says_so() -> None:
    around = numbers()
    around.deployed(1, 2, share=0.0)
    around.evaluation.answers[2] = lambda matrix: -matrix.sum(axis=1)
    answers = together(around, asked((1, 2), variant="challenger"), asked((1, 2), variant="champion"), asked((1, 2)))
    assert [values(answer) for answer in answers] == [[-3.0], [3.0], [3.0]]
    assert [batch.variant for batch in around.logged()] == ["challenger", "champion", ""]


def test_the_entity_of_a_header_decides_the_split() -> None:
    around = numbers()
    around.deployed(1, 2, share=0.5, salt="s")
    together(around, *(asked((1, 2), (3, 4), entity=f"e{turn}") for turn in range(20)))
    batches = around.logged()
    assert [batch.entities for batch in batches] == [[f"e{turn}"] * 2 for turn in range(20)]
    assert {tuple(batch.versions) for batch in batches} == {(1, 1), (2, 2)}


@pytest.mark.parametrize("slow", [False, True])
def test_a_fault_of_ours_is_told_to_all_who_wait_and_the_next_are_answered(slow: bool) -> None:
    around, model = held() if slow else (numbers(), None)
    if model is not None:
        model.free.set()
    append = around.host.log.append_all

    def broken(batches: Any) -> bool:
        around.host.log.append_all = append  # type: ignore[method-assign]
        raise RuntimeError("a fault")

    around.host.log.append_all = broken  # type: ignore[method-assign]

    async def ask() -> list[Any]:
        first = [around.host.ask(asked((row, row))) for row in (1, 2)]
        failed = await asyncio.wait_for(asyncio.gather(*first, return_exceptions=True), 10)
        return [*failed, await asyncio.wait_for(around.host.ask(asked((3, 4))), 10)]

    one, two, after = asyncio.run(ask())
    assert (str(one), str(two)) == ("a fault", "a fault")
    assert values(after) == [7.0]
    assert around.plane.spare, "nothing waits"


def test_a_synced_answer_that_cannot_be_told_is_an_error() -> None:
    around = numbers()
    around.host.log.ack = Ack.SYNCED

    async def broken() -> bool:
        raise RuntimeError("a fault")

    around.host.log.acknowledged = broken  # type: ignore[method-assign]

    async def ask() -> InferResponse:
        return await asyncio.wait_for(around.host.ask(asked((1, 2))), 10)

    with pytest.raises(RuntimeError, match="a fault"):
        asyncio.run(ask())


def test_a_deadline_that_was_over_is_no_negative_time() -> None:
    (late,) = together(numbers(), asked((1, 2), deadline=time.monotonic() - 1))
    assert str(late).startswith("no answer in the time that was given")


def test_one_id_at_the_same_time_is_two_requests_where_the_bodies_or_the_variants_differ() -> None:
    around = numbers()
    around.deployed(1, 2, share=0.0)
    together(around, asked((1, 2), id="r"), asked((3, 4), id="r"), asked((1, 2), id="r", variant="challenger"))
    names = [batch.request for batch in around.logged()]
    assert names[0] == "r"
    assert len(set(names)) == 3
