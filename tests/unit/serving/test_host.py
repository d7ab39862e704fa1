"""Several models in one process: loaded when they are asked for, let go of when others need the room."""

import asyncio
from time import monotonic
from typing import Any

import pytest
from tests.unit.serving.fakes import MODEL, NUMBERS, NUMERIC, Around, tensor

from kedge.domain.ids import ModelName
from kedge.errors import NotFound, NothingDeployed, StoreBroken
from kedge.serving.follow import Follower
from kedge.serving.plane import Limits

A, B, C = map(ModelName, "abc")
BODY = {"inputs": [tensor("x", "FP64", [1, 2], [1, 2])]}


def several(**more: Any) -> Around:
    """A project's model in version 1, and beside it the models a, b and c in versions 2, 3 and 4."""
    around = Around(service=NUMERIC, signature=NUMBERS, sticky="", **more).deployed(1)
    for number, name in enumerate((A, B, C), 2):
        around.deployments.deploy(number, model=name)
    return around


def infer(around: Around, model: str, number: int | None = None) -> Any:
    version = "" if number is None else f"/versions/{number}"
    return around.call("POST", f"/v2/models/{model}{version}/infer", BODY)


def loaded(around: Around) -> list[str]:
    return [plane.model for plane in around.host.planes if plane.active is not None]


def test_another_deployed_model_is_loaded_when_it_is_first_asked_for() -> None:
    around = several()
    assert around.host.models() == (MODEL, A, B, C)
    assert loaded(around) == [MODEL]
    assert around.host.ready(A)
    answer = infer(around, A)
    assert (answer.status, answer.json["model_name"], answer.output("value")) == (200, A, [0.2])
    assert infer(around, A).output("value") == [0.2]
    assert loaded(around) == [MODEL, A]
    assert around.registry.verified == [1, 2], "once"
    assert [(batch.model, batch.service) for batch in around.logged()] == [(A, A), (A, A)], "it brings all that it reads"


def test_many_first_questions_load_a_model_once() -> None:
    around = several()

    async def ask() -> list[Any]:
        from tests.unit.serving.test_batching import asked, msgspec

        question = msgspec.structs.replace(asked((1, 2)), model=A)
        return await asyncio.gather(*(around.host.ask(question) for _ in range(9)))

    assert [answer.version for answer in asyncio.run(ask())] == ["2"] * 9
    assert around.registry.verified == [1, 2]


@pytest.mark.parametrize("model", ["other", "a.b"])
def test_an_unknown_model_is_404_and_counted_under_no_name(model: str) -> None:
    around = several()
    assert infer(around, model).status == 404
    with pytest.raises(NotFound):
        around.host.ready(model)
    assert around.host.metrics.nowhere[404].value == 1


def test_others_may_be_narrowed() -> None:
    around = several(only=[B])
    assert around.host.models() == (MODEL, B)
    assert infer(around, A).status == 404
    assert infer(around, B).status == 200


def test_a_version_asked_for_by_its_number_is_loaded_if_the_registry_has_it() -> None:
    around = several()
    answer = infer(around, MODEL, 5)
    assert (answer.status, answer.output("version")) == (200, [5])
    assert answer.json["parameters"] == {"revision": 1, "logged": False}, "no deployment names it"
    assert infer(around, A, 6).output("value") == [0.6]
    assert infer(around, MODEL, 9).status == 404
    around.registry.broken.add(7)
    assert infer(around, MODEL, 7).status == 422
    assert around.logged() == []
    assert around.host.metadata(MODEL, 5).versions == ("5",)


def test_what_was_used_longest_ago_is_unloaded_and_comes_back() -> None:
    around = several(limits=Limits(models_bytes=3000))
    for model in (A, B, A, C):
        assert infer(around, model).status == 200
    assert loaded(around) == [MODEL, A, C]
    assert infer(around, B).status == 200
    assert loaded(around) == [MODEL, B, C]
    Follower(around.host).look()
    assert loaded(around) == [MODEL, B, C], "who follows loads nothing that was unloaded"


def test_what_is_let_go_of_while_it_is_asked_is_loaded_again() -> None:
    around = several()
    assert infer(around, A).status == 200
    plane = around.host.planes[-1]
    ask = plane.ask

    def too_late(question: Any) -> Any:
        plane.ask = ask
        plane.unload(all=True)
        return ask(question)

    plane.ask = too_late
    assert infer(around, A).output("value") == [0.2]


def test_what_is_loaded_for_a_question_stays_until_that_is_asked() -> None:
    around = several(limits=Limits(models_bytes=2000))
    load, held = around.host.load, []

    def loading(model: str, version: int | None = None) -> Any:
        plane = load(model, version)
        if model == A:
            load(B)  # another caller's, which makes room
            held.append(plane.active is not None)
        return plane

    around.host.load = loading
    assert infer(around, A).status == 200
    assert held == [True]
    assert not around.host._coming


def test_what_is_on_trial_is_never_unloaded() -> None:
    around = several(limits=Limits(models_bytes=2000))
    around.deployments.deploy(2, 5, model=A, share=0.1)
    for model in (A, B, C):
        assert infer(around, model).status == 200
    assert loaded(around) == [MODEL, A, C]


def test_versions_that_no_revision_names_go_first() -> None:
    around = several(limits=Limits(models_bytes=3000))
    assert infer(around, MODEL, 5).status == infer(around, A).status == infer(around, B).status == 200
    assert loaded(around) == [MODEL, A, B]
    assert infer(around, MODEL, 5).status == 200
    assert around.registry.verified.count(5) == 2


def test_what_is_asked_now_is_not_unloaded() -> None:
    around = several(limits=Limits(models_bytes=2000))

    async def ask() -> Any:
        from tests.unit.serving.test_batching import asked, msgspec

        await around.host.ask(msgspec.structs.replace(asked((1, 2)), model=A))
        waiting = around.host.ask(msgspec.structs.replace(asked((1, 2)), model=A))
        around.host.load(B)
        assert loaded(around) == [MODEL, A, B]
        return await waiting

    assert asyncio.run(ask()).version == "2"


def test_going_back_to_a_version_that_bakes_loads_nothing() -> None:
    around = several()
    around.deployed(2)
    around.deployed(1)
    assert around.registry.verified == [1, 2]
    baked = several(limits=Limits(bake_seconds=0))
    baked.deployed(2)
    Follower(baked.host).look()
    baked.deployed(1)
    assert baked.registry.verified == [1, 2, 1]


def test_nothing_is_deployed_and_a_model_that_cannot_be_loaded() -> None:
    around = Around(service=NUMERIC, signature=NUMBERS, sticky="")
    assert not around.host.ready()
    with pytest.raises(NothingDeployed):
        around.host.load(MODEL)
    around.deployments.deploy(2, model=A)
    around.registry.broken.add(2)
    assert around.host.ready(A), "nobody has asked for it yet"
    with pytest.raises(NothingDeployed, match="cannot be loaded here: version 2 answers otherwise"):
        around.host.load(A)
    assert not around.host.ready(A)
    told = [infer(around, A), around.call("GET", f"/v2/models/{A}"), around.call("GET", f"/v2/models/{A}/ready")]
    assert [each.status for each in told] == [503] * 3
    assert all(b"retry-after" in each.headers for each in told)
    assert around.registry.verified == [2], "a load that failed rests a while"


def test_a_model_that_could_not_be_loaded_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    around = several()
    around.registry.broken.add(2)
    assert infer(around, A).status == 503
    around.registry.broken.clear()
    now = monotonic()
    monkeypatch.setattr("kedge.serving.host.monotonic", lambda: now + 6)
    assert (infer(around, A).status, around.host.ready(A)) == (200, True)


def test_what_the_store_says_of_itself_is_for_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    around = several()

    def broken(version: object) -> None:
        raise StoreBroken("pack /secret/place is damaged")

    monkeypatch.setattr(around.registry, "verify", broken)
    answer = infer(around, A)
    assert (answer.status, answer.json["error"]) == (
        503,
        "model 'a' is deployed, but cannot be loaded here; the log of the server says why",
    )


def test_every_load_is_counted_however_short_it_stays() -> None:
    around = several(limits=Limits(models_bytes=2000))
    for model in (A, B, C, A, B):
        infer(around, model)
    text = around.call("GET", "/metrics").body.decode()
    counted = {name: text.count(f'{name}{{model="{A}"}} 2') for name in ("kedge_loads_total", "kedge_unloads_total")}
    assert counted == {"kedge_loads_total": 1, "kedge_unloads_total": 1}, text


def test_a_client_may_first_ask_what_a_model_is() -> None:
    around = several()
    told = around.call("GET", f"/v2/models/{A}")
    assert (told.status, told.json["versions"]) == (200, ["2"])
    assert around.call("POST", f"/v1/models/{B}:predict", {"rows": [{"a": 1.0, "b": 2}]}).json["rows"][0]["value"] == 0.3
    assert around.call("GET", "/v2/models/other").status == 404
    assert around.call("GET", f"/v2/models/{C}/versions/9").status == 404
    version = around.call("GET", f"/v2/models/{A}/versions/5")
    assert (version.status, version.json["versions"]) == (200, ["5"]), "as it would answer an inference"
    assert around.call("GET", f"/v2/models/{A}/versions/6/ready").status == 200
    assert around.call("GET", f"/v2/models/{A}/versions/9/ready").status == 404
