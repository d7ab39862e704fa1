"""A data plane in a process of its own, over the tests' rooms and a real journal: `python -m ... FOLDER PORT`."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from tests.unit.serving.fakes import MODEL, SERVICE, Around, Clock, Evaluation

from kedge.adapters.opentelemetry.export import OtlpTraces
from kedge.domain.project import DataRules, FeatureRules, ProjectSpec, ServingRules
from kedge.domain.rollout import RolloutRules
from kedge.serving.server import serve
from kedge.storage.journal import FileJournal


class Slow(Evaluation):
    """Takes a moment for each call."""

    def score(self, number: int, matrix: Any) -> Any:
        time.sleep(0.3)
        return super().score(number, matrix)


def house_of(folder: Path, *, slow: bool = False, rules: ServingRules | None = None) -> Any:
    """Wire what `serve` asks of a house."""
    around = Around(evaluation=Slow() if slow else Evaluation()).deployed(1)
    return SimpleNamespace(
        spec=ProjectSpec(
            name=MODEL,
            data=DataRules(source="x", time="t", label="late"),
            features=FeatureRules(service="features.py:delay"),
            rollout=RolloutRules(sticky="flight_id"),
            serving=rules or ServingRules(),
        ),
        meta=SimpleNamespace(
            deployments=around.deployments,
            datasets=SimpleNamespace(entries=list),
        ),
        secret=lambda: b"key",
        registry=around.registry,
        features=SimpleNamespace(service=lambda spec: SERVICE, reader=lambda service: around.reader),
        loader=around.evaluation,
        blobs=SimpleNamespace(files=lambda digest: []),
        predictions=FileJournal(folder, "serve"),
        clock=Clock(),
        traces=OtlpTraces,
    )


if __name__ == "__main__":
    more = dict(word.partition("=")[::2] for word in sys.argv[3:])
    rules = msgspec.convert({name: value for name, value in more.items() if value}, ServingRules, strict=False)
    serve(house_of(Path(sys.argv[1]), slow="slow" in more, rules=rules), port=int(sys.argv[2]))
    sys.stdout.write("drained\n")
