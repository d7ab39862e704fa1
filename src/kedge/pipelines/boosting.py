"""The learner of a project that names none: histogram gradient boosting, which takes gaps and unscaled columns."""

from typing import Any

from kedge.domain.evaluation import Task
from kedge.pipelines.step import TrainingData


def boosting(data: TrainingData) -> Any:
    """Fit 100 trees. Strings come as ordinal numbers: native categories would need a type that safe files refuse."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    learner = HistGradientBoostingClassifier if data.task is Task.CLASSIFICATION else HistGradientBoostingRegressor
    # early stopping would set rows aside at random; a fixed number of trees keeps the model a function of its rows
    model = learner(max_iter=100, early_stopping=False, random_state=data.seed)
    return model.fit(data.x, data.y, sample_weight=data.weight)
