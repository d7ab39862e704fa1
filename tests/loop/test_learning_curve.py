"""A project's training function logs its learning curve by kedge.log; each of the loop's runs has it, once."""

import os

import pytest
from tests.loop.small import PROJECT, TRAIN, opened, played, write

from kedge.replay.play import NoFirstModel

CURVE = TRAIN.replace(
    "def fit(data):",
    """
import kedge

def fit(data):
    for step in range(3):
        kedge.log(loss=1 / (step + 1), rows=len(data.y))
    kedge.log({"done": 1}, step=9)
""",
)
NEVER = PROJECT.replace("[retraining]", '[retraining]\npolicy = "never"')

# the first call of all writes what it logs, then dies in the middle of the training; the next ones go on
KILLED = CURVE.replace(
    'kedge.log({"done": 1}, step=9)',
    """kedge.log({"done": 1}, step=9)
    import os, pathlib
    mark = pathlib.Path(__file__).with_name("tried")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), 9)
""",
)


def curves(folder) -> list[dict[str, list[tuple[int, float]]]]:
    """Read the points of each finished run by key: (step, value)."""
    house, _ = opened(folder)
    try:
        runs = [run for run in house.meta.runs.list("small", limit=1000) if run.status.value == "finished"]
        keys = ("loss", "rows", "done")
        return [
            {key: [(step, value) for _, step, value in house.logging.history(run.id, key, limit=100).items] for key in keys}
            for run in runs
        ]
    finally:
        house.close()


def test_each_run_has_the_curve_of_its_training(tmp_path) -> None:
    folder = write(tmp_path / "small", project=NEVER, train=CURVE)
    played(folder)
    candidate, refit = sorted(curves(folder), key=lambda curve: curve["rows"][0])  # the refit has more rows
    assert candidate["loss"] == refit["loss"] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert candidate["done"] == refit["done"] == [(9, 1.0)]
    assert [step for step, _ in refit["rows"]] == [0, 1, 2]
    assert len(set(refit["rows"])) == 3


def test_the_curve_comes_out_of_the_jobs_own_process(tmp_path) -> None:
    folder = write(tmp_path / "small", project=NEVER, train=CURVE)
    before = set(os.listdir(tmp_path))
    played(folder, in_process=False)
    assert [curve["loss"] for curve in curves(folder)] == [[(0, 1.0), (1, 0.5), (2, 1 / 3)]] * 2
    assert set(os.listdir(tmp_path)) == before
    assert not (folder / ".kedge" / "spool").exists()


def test_a_training_that_died_and_is_made_again_logs_nothing_twice(tmp_path) -> None:
    folder = write(tmp_path / "small", project=NEVER, train=KILLED)
    with pytest.raises(NoFirstModel, match="died"):
        played(folder, in_process=False)
    played(folder, in_process=False)
    assert (folder / "tried").exists()
    assert [curve["loss"] for curve in curves(folder)] == [[(0, 1.0), (1, 0.5), (2, 1 / 3)]] * 2


def test_what_a_framework_logs_by_itself_belongs_to_the_training(tmp_path) -> None:
    folder = write(
        tmp_path / "small", project=NEVER, train=TRAIN.replace("def fit", "import kedge\n\nkedge.autolog()\n\ndef fit")
    )
    played(folder, in_process=False)
    house, _ = opened(folder)
    keys = {key for run in house.meta.runs.list("small", limit=10) for key in run.metrics}
    experiments = house.logging.find_experiment("Default")
    made = house.logging.count_runs([experiments.id]) if experiments else {}
    house.close()
    assert keys > {"training_loss", "rows", "columns"}
    assert sum(count.runs for count in made.values()) == 0
    assert not (folder / ".kedge" / "spool").exists()
