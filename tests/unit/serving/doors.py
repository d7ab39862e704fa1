"""What stands behind the doors in their tests: models that echo, a table of flights, and faults that a request asks for."""

import asyncio
import os
from collections.abc import Awaitable, Sequence
from typing import Any

import numpy as np

from kedge.errors import DeadlineExceeded, ModelRefused, NotFound, NothingDeployed, Overloaded, RequestInvalid, StoreBroken
from kedge.serving.wire.questions import InferRequest, InferResponse, ModelMetadata, Tensor, TensorMetadata

FLIGHTS = ModelMetadata(
    "flights",
    ("1", "2"),
    "kedge_sklearn",
    (TensorMetadata("distance", "FP64", (-1,)), TensorMetadata("carrier", "BYTES", (-1,))),
    (
        TensorMetadata("late", "FP64", (-1,)),
        TensorMetadata("version", "INT64", (-1,)),
        TensorMetadata("prediction_id", "BYTES", (-1,)),
    ),
)
ECHO = ModelMetadata(
    "echo", ("1",), "kedge_onnx", (TensorMetadata("x", "FP32", (-1, 3)),), (TensorMetadata("x", "FP32", (-1, 3)),)
)
MODELS = {"flights": FLIGHTS, "echo": ECHO}
FAULTS = {
    "refused": ModelRefused("the model failed on these rows"),
    "overloaded": Overloaded("64 questions wait", seconds=3),
    "late": DeadlineExceeded("not in time"),
    "broken": StoreBroken("a secret place"),
    "fault": RuntimeError("a secret place"),
    "nothing": NothingDeployed("no version of 'flights' is deployed yet"),
}


class EchoHost:
    """Answers `echo` with its inputs, `flights` with a thousandth of the distance; parameter `raise` names a fault."""

    def __init__(self) -> None:
        self.asked: list[InferRequest] = []
        self.refusals: list[tuple[str, int]] = []
        self.cancelled = 0
        self.is_ready = True
        self.names: Sequence[str] = tuple(MODELS)

    def ask(self, question: InferRequest) -> Awaitable[InferResponse]:
        self.asked.append(question)
        del self.asked[:-100]
        self.metadata(question.model, question.version)
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        if fault := question.parameters.get("raise"):
            if fault == "later":
                answer.add_done_callback(self._done)
                asyncio.get_running_loop().call_later(
                    0.4, lambda: answer.done() or answer.set_result(self._answer(question))
                )
                return answer
            raise FAULTS[fault]
        answer.set_result(self._answer(question))
        return answer

    def _done(self, answer: "asyncio.Future[Any]") -> None:
        self.cancelled += answer.cancelled()

    def _answer(self, question: InferRequest) -> InferResponse:
        made = self._flights(question) if question.model == "flights" else {each.name: each for each in question.inputs}
        if question.outputs is not None:
            if unknown := [each.name for each in question.outputs if each.name not in made]:
                raise RequestInvalid(f"unknown output {', '.join(unknown)}; there are {', '.join(made)}")
            made = {each.name: made[each.name] for each in question.outputs}
        return InferResponse(
            model=question.model, version=str(question.version or 1), id=question.id or "made", outputs=list(made.values())
        )

    def _flights(self, question: InferRequest) -> dict[str, Tensor]:
        columns = {each.name: each for each in question.inputs}
        if missing := {"distance", "carrier"} - columns.keys():
            raise RequestInvalid(f"missing input {', '.join(sorted(missing))}; this model takes distance, carrier")
        distance, rows = columns["distance"].data.reshape(-1), columns["distance"].data.size
        columns["carrier"].text()
        ids = np.array([f"{question.id or 'made'}.{row}" for row in range(rows)] or [], object)
        return {
            "late": Tensor("late", "FP64", (rows,), distance / 1000),
            "version": Tensor("version", "INT64", (rows,), np.ones(rows, np.int64)),
            "prediction_id": Tensor("prediction_id", "BYTES", (rows,), ids),
        }

    def models(self) -> Sequence[str]:
        return self.names

    async def prepare(self, model: str, version: int | None = None) -> None:
        self.metadata(model, version)

    def metadata(self, model: str, version: int | None = None) -> ModelMetadata:
        if model not in self.names:
            raise NotFound(f"model {model!r} is not served here; {', '.join(self.names)} are")
        if version is not None and str(version) not in MODELS[model].versions:
            raise NotFound(f"version {version} of {model!r} is not served")
        return MODELS[model]

    def ready(self, model: str | None = None, version: int | None = None) -> bool:
        if model is not None:
            self.metadata(model, version)
        return self.is_ready

    async def refresh(self, model: str) -> int | None:
        self.metadata(model)
        if not self.is_ready:
            raise StoreBroken("its bytes are not what was written")
        return 7

    def exposition(self, accept: str) -> tuple[str, bytes]:
        return (
            "application/openmetrics-text" if "openmetrics" in accept else "text/plain"
        ), f"cancelled {self.cancelled}\n".encode()

    def refused(self, model: str, *, status: int) -> None:
        self.refusals.append((model, status))
        del self.refusals[:-100]


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


def flights(rows: int = 2, **more: Any) -> dict[str, Any]:
    """A request of so many good rows."""
    distance = tensor("distance", "FP64", [100.0 * (row + 1) for row in range(rows)])
    return {"inputs": [distance, tensor("carrier", "BYTES", ["AA"] * rows)], **more}


async def serve_doors(port_file: str, *models: str) -> None:
    """Serve both doors on free ports until SIGTERM, and write the ports into a file. Serves all models, or those named."""
    import uvicorn

    from kedge.serving.door.application import HttpDoor
    from kedge.serving.door.connection import Connection
    from kedge.serving.grpc.door import GrpcDoor

    class Hasty(Connection):
        head_seconds, body_seconds = 0.5, 1.0

    host = EchoHost()
    host.names = models or host.names
    grpc = GrpcDoor(host, version="9")
    config = uvicorn.Config(HttpDoor(host, version="9"), port=0, http=Hasty, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    ports = [server.servers[0].sockets[0].getsockname()[1], await grpc.start("127.0.0.1", 0)]
    with open(f"{port_file}.part", "w", encoding="utf-8") as file:
        file.write(" ".join(map(str, ports)))
    os.rename(f"{port_file}.part", port_file)
    await serving
    await grpc.stop(5)


if __name__ == "__main__":
    import signal
    import sys

    import uvloop

    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn drains, and raises it again for whoever handled it before
    uvloop.run(serve_doors(*sys.argv[1:]))
