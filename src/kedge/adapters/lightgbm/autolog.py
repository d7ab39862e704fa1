"""Has LightGBM log each iteration's metrics through a callback, and params and model of `lightgbm.train`."""

import functools
from collections.abc import Callable
from typing import Any

from kedge.adapters.boosters import replace_train, with_callback
from kedge.training import Fitting, Trained

_KIND = "lightgbm"


class LightgbmAutolog:
    """`lightgbm.train`, and the scikit-learn wrappers, which call it."""

    module = "lightgbm"

    def prepare(self, fitting: Fitting) -> None:
        """Give our callback to every training."""
        import lightgbm

        own = lightgbm.train

        @functools.wraps(own)
        def train(*args: Any, **named: Any) -> Any:
            if (wrapper := fitting.current(_KIND)) is not None:  # the wrappers log their params and model themselves
                return own(*args, **with_callback(named, _hears(wrapper)))
            with fitting.outermost(_KIND, "train") as run:
                if run is None:
                    return own(*args, **named)
                params = named.get("params", args[0] if args else {})
                rounds = named.get("num_boost_round", args[2] if len(args) > 2 else 100)
                run.log_params({"num_boost_round": rounds, **dict(params)})
                run.set_tags({"kedge.autolog": _KIND, "kedge.model.class": "lightgbm.Booster"})
                booster = own(*args, **with_callback(named, _hears(run)))
                if booster.best_iteration > 0:
                    run.log({"best_iteration": booster.best_iteration})
                fitting.keep_model(run, booster)
                return booster

        replace_train(_KIND, own, train=train)


def _hears(run: Trained) -> Callable[[Any], None]:
    """Make the callback that logs what LightGBM evaluates."""

    def heard(env: Any) -> None:
        found = {f"{item[0]}-{item[1]}": item[2] for item in env.evaluation_result_list or ()}
        if found:
            run.log(found, step=env.iteration)

    return heard
