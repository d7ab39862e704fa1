"""Has scikit-learn log what it fits: params, scores on the training rows, results of searches, the fitted model.

scikit-learn has no callbacks for this: `fit` of every estimator that predicts is wrapped, those that are defined later too.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kedge.training import Fitting, Trained

_SCORED_ROWS = 100_000  # scores on the training rows are of the first so many


class SklearnAutolog:
    """scikit-learn's estimators, and whatever else is one."""

    module = "sklearn.base"

    def prepare(self, fitting: Fitting) -> None:
        """Wrap `fit` of all estimators, now and to come."""
        from sklearn.base import BaseEstimator

        for kind in (BaseEstimator, *_below(BaseEstimator)):
            _wrap(kind, fitting)
        before = BaseEstimator.__init_subclass__.__func__

        def defined(cls: Any, /, **named: Any) -> None:
            before(cls, **named)
            _wrap(cls, fitting)

        BaseEstimator.__init_subclass__ = classmethod(defined)


def _below(kind: Any) -> Iterator[Any]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def _wrap(estimator: type, fitting: Fitting) -> None:
    own = estimator.__dict__.get("fit")
    if not callable(own) or hasattr(own, "kedge_wraps"):
        return

    @functools.wraps(own)
    def fit(self: Any, *args: Any, **named: Any) -> Any:
        if not hasattr(self, "predict"):
            return own(self, *args, **named)
        family = type(self).__module__.partition(".")[0]
        with fitting.outermost(family, type(self).__name__) as run:
            if run is None:
                return own(self, *args, **named)
            run.log_params(_params(self))
            run.set_tags(
                {"kedge.autolog": family, "kedge.model.class": f"{type(self).__module__}.{type(self).__qualname__}"}
            )
            fitted = own(self, *args, **named)
            _after(self, run, args=args, named=named)
            fitting.keep_model(run, self)
            return fitted

    fit.kedge_wraps = own  # type: ignore[attr-defined]
    estimator.fit = fit  # type: ignore[attr-defined]


def _params(estimator: Any) -> dict[str, Any]:
    """Read the params of an estimator and of those within it; estimators themselves are told by their class."""
    found = estimator.get_params(deep=True)
    return {name: type(value).__name__ if hasattr(value, "get_params") else value for name, value in found.items()}


def _after(estimator: Any, run: Trained, *, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Log what a fit found out."""
    rows = args[0] if args else named.get("X")
    labels = args[1] if len(args) > 1 else named.get("y")
    run.log({f"training_{name}": value for name, value in _scores(estimator, rows, labels=labels)})
    if hasattr(estimator, "cv_results_"):
        run.log_params({f"best_{name}": value for name, value in getattr(estimator, "best_params_", {}).items()})
        if hasattr(estimator, "best_score_"):
            run.log({"best_cv_score": estimator.best_score_})
        results = {name: [_plain(value) for value in values] for name, values in estimator.cv_results_.items()}
        run.log_table(results, "cv_results.csv")


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, dict) else value.item() if hasattr(value, "item") else value


def _scores(estimator: Any, rows: Any, *, labels: Any) -> Iterator[tuple[str, float]]:
    """Score an estimator on the rows it was fitted on, as far as that can be done."""
    if rows is None or labels is None:
        return
    from sklearn import metrics
    from sklearn.base import is_classifier, is_regressor

    try:
        some, truth = rows[:_SCORED_ROWS], labels[:_SCORED_ROWS]
        answers = estimator.predict(some)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError):
        return
    yield from _tried("score", lambda: estimator.score(some, truth))
    if is_classifier(estimator):
        yield from _tried("accuracy_score", lambda: metrics.accuracy_score(truth, answers))
        for name in ("precision", "recall", "f1"):
            score = functools.partial(getattr(metrics, f"{name}_score"), average="weighted", zero_division=0)
            yield from _tried(f"{name}_score", functools.partial(score, truth, answers))
        if hasattr(estimator, "predict_proba"):
            yield from _tried("log_loss", lambda: metrics.log_loss(truth, estimator.predict_proba(some)))
            yield from _tried("roc_auc", lambda: _roc_auc(estimator.predict_proba(some), truth))
    elif is_regressor(estimator):
        yield from _tried("mean_absolute_error", lambda: metrics.mean_absolute_error(truth, answers))
        yield from _tried("mean_squared_error", lambda: metrics.mean_squared_error(truth, answers))
        yield from _tried("r2_score", lambda: metrics.r2_score(truth, answers))


def _roc_auc(chances: Any, truth: Any) -> float:
    from sklearn.metrics import roc_auc_score

    score = chances[:, 1] if chances.shape[1] == 2 else chances
    return float(roc_auc_score(truth, score, multi_class="ovr", average="weighted"))


def _tried(name: str, score: Callable[[], Any]) -> Iterator[tuple[str, float]]:
    try:
        yield name, float(score())
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError):
        return
