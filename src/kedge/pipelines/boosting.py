"""The learner of a project that names none: histogram gradient boosting, which takes gaps and unscaled columns."""

from typing import Any

from kedge.domain.evaluation import Task
from kedge.pipelines.step import TrainingData

_ROWS_PER_LEAF = 500


def boosting(data: TrainingData) -> Any:
    """Fit 100 trees. Strings come as ordinal numbers: native categories would need a type that safe files refuse.

    A tree has 8 to 31 leaves, more with more rows: 31 learn the noise of a table of a thousand rows by heart, and the
    gate rightly refuses them. 63 bins: weighted rows are binned by weighted percentiles, and 255 of them on each column
    cost more than the trees themselves.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    learner = HistGradientBoostingClassifier if data.task is Task.CLASSIFICATION else HistGradientBoostingRegressor
    leaves = min(31, max(8, len(data.y) // _ROWS_PER_LEAF))
    # early stopping would set rows aside at random; a fixed number of trees keeps the model a function of its rows
    model = learner(max_iter=100, max_leaf_nodes=leaves, max_bins=63, early_stopping=False, random_state=data.seed)
    return model.fit(data.x, data.y, sample_weight=data.weight)
