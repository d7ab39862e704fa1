"""How a model of late flights is made: gradient boosting with settings chosen on January and February alone."""

from sklearn.ensemble import HistGradientBoostingClassifier

from kedge.pipelines.step import TrainingData


def pipeline(data: TrainingData) -> HistGradientBoostingClassifier:
    """Fit 80 trees of at most 31 leaves. Text comes as its place in the alphabet, missing values as NaN."""
    model = HistGradientBoostingClassifier(
        max_iter=80, max_leaf_nodes=31, learning_rate=0.1, early_stopping=False, random_state=data.seed
    )
    return model.fit(data.x, data.y, sample_weight=data.weight)
