"""The content key of a training: everything that its result depends on. Same key, same model: nothing is trained twice.

`time_limit` and `budget` are left out: they can stop a training, not change what it returns.
"""

from kedge.domain.evaluation import Task
from kedge.domain.ids import Digest, digest_of
from kedge.domain.project import TrainingRules


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
