"""The content key of a training, and what was made under it. Same key, same model: nothing is trained twice.

A key holds everything that the result depends on; `time_limit` and `budget` are left out, since they can stop a training
but not change what it returns. Results are kept beside the runs: whoever needs one that is there tracks a run of its
own over the same files, so that policies that are compared share trainings without sharing records.
"""

import msgspec

from kedge.domain.evaluation import Task
from kedge.domain.ids import Digest, digest_of
from kedge.domain.project import TrainingRules
from kedge.domain.tracking import Usage
from kedge.ports import Clock, Notes, Runs


def content_key(rules: TrainingRules, task: Task, *, code: Digest, environment: Digest, frame: Digest) -> Digest:
    """Name a training by its code, environment, rules and rows."""
    return digest_of("train", code, environment, frame, task, params_of(rules))


def params_of(rules: TrainingRules) -> dict[str, str]:
    """Write the rules that shape the model as a run's params."""
    return {
        "pipeline": rules.pipeline or "built-in gradient boosting",
        "rows": rules.rows,
        "half_life": "none" if rules.half_life is None else repr(float(rules.half_life)),
        "seed": str(rules.seed),
    }


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a training made: the tree of its model's files, its figures, the tags of its run, what it used, and the blob
    of the points that it logged, if any."""

    files: Digest
    metrics: dict[str, float]
    tags: dict[str, str]
    usage: Usage
    points: Digest | None = None


class Results:
    """Results by content key, and the claims that let one process at a time make one. Leases run on the wall's clock."""

    def __init__(self, *, notes: Notes, runs: Runs, wall: Clock) -> None:
        self._notes, self._runs, self._wall = notes, runs, wall

    def find(self, key: Digest) -> Result | None:
        """Find what was made under a key."""
        raw = self._notes.get(_note(key))
        return None if raw is None else msgspec.json.decode(raw, type=Result)

    def keep(self, key: Digest, result: Result) -> None:
        """Keep what was made."""
        self._notes.put(_note(key), msgspec.json.encode(result))

    def claim(self, key: Digest, owner: str, *, seconds: float) -> bool:
        """Take the right to make it; False where another process holds it and its lease has not ended."""
        return self._runs.claim(key, owner, now=self._wall.now(), seconds=seconds)

    def release(self, key: Digest, owner: str) -> None:
        """Give the right back."""
        self._runs.release(key, owner)


def _note(key: Digest) -> str:
    return f"trained:{key}"
