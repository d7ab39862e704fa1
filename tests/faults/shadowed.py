"""A model with another in its shadow that is slow, around a real log. `python -m tests.faults.shadowed FOLDER` asks it in
turn, and prints each request's id when it is answered."""

import asyncio
import sys
import time
from pathlib import Path

import msgspec
from tests.unit.serving.fakes import NUMBERS, NUMERIC, Around, question_of, tensor

from kedge.domain.rollout import Strategy
from kedge.storage.journal import FileJournal


def main(folder: Path) -> None:
    """Ask until killed."""
    around = Around(service=NUMERIC, signature=NUMBERS, sticky="", journal=FileJournal(folder, "serve"))  # type: ignore[arg-type]

    def slow(matrix):  # type: ignore[no-untyped-def]
        time.sleep(0.02)
        return -matrix.sum(axis=1)

    around.evaluation.answers[1] = lambda matrix: matrix.sum(axis=1)
    around.deployed(1, 2, strategy=Strategy.SHADOW)
    around.evaluation.answers[2] = slow
    around.host.log.start()

    async def ask() -> None:
        for number in range(100_000):
            body = {"id": f"r{number}", "inputs": [tensor("x", "FP64", [float(number), 1.0], [1, 2])]}
            await around.host.ask(question_of(msgspec.json.encode(body)))
            sys.stdout.write(f"r{number}\n")
            sys.stdout.flush()
            await asyncio.sleep(0.001)

    asyncio.run(ask())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
