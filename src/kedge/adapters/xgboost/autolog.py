"""Has XGBoost log each iteration's metrics through its own `TrainingCallback`, and params and model of `xgboost.train`."""

import functools
import importlib
from typing import Any

from kedge.adapters.boosters import replace_train, with_callback
from kedge.training import Fitting, Trained

_KIND = "xgboost"


class XgboostAutolog:
    """`xgboost.train`, and the scikit-learn wrappers, which call it."""

    module = "xgboost"

    def prepare(self, fitting: Fitting) -> None:
        """Give our callback to every training."""
        package: Any = importlib.import_module("xgboost")
        own = package.train
        heard = _callback_class()

        @functools.wraps(own)
        def train(*args: Any, **named: Any) -> Any:
            if (wrapper := fitting.current(_KIND)) is not None:  # the wrappers log their params and model themselves
                return own(*args, **with_callback(named, heard(wrapper)))
            with fitting.outermost(_KIND, "train") as run:
                if run is None:
                    return own(*args, **named)
                params = named.get("params", args[0] if args else {})
                rounds = named.get("num_boost_round", args[2] if len(args) > 2 else 10)
                run.log_params({**dict(params), "num_boost_round": rounds})
                run.set_tags({"kedge.autolog": _KIND, "kedge.model.class": "xgboost.Booster"})
                booster = own(*args, **with_callback(named, heard(run)))
                fitting.keep_model(run, booster)
                return booster

        replace_train(_KIND, own, train=train)


def _callback_class() -> Any:
    """Make the callback; its base class is the framework's."""
    from xgboost.callback import TrainingCallback

    class Heard(TrainingCallback):
        """Logs what XGBoost evaluates."""

        def __init__(self, run: Trained) -> None:
            super().__init__()
            self._run = run

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            """Log the newest value of each metric."""
            found = {
                f"{data}-{name}": _last(values) for data, metrics in evals_log.items() for name, values in metrics.items()
            }
            if found:
                self._run.log(found, step=epoch)
            return False

        def after_training(self, model: Any) -> Any:
            """Log where early stopping found the best."""
            best = getattr(model, "best_iteration", None) if model.attr("best_iteration") is not None else None
            if best is not None:
                self._run.log({"best_iteration": best, "best_score": model.best_score})
            return model

    return Heard


def _last(values: list[Any]) -> float:
    value = values[-1]
    return float(value[0] if isinstance(value, tuple) else value)
