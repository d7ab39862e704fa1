"""What XGBoost and LightGBM share: a `train` that takes callbacks, and that several of their modules hold by name."""

import sys
from collections.abc import Callable
from typing import Any


def with_callback(named: dict[str, Any], callback: Any) -> dict[str, Any]:
    """Add a callback to the named arguments of a training."""
    return {**named, "callbacks": [*(named.get("callbacks") or ()), callback]}


def replace_train(package: str, own: Callable[..., Any], *, train: Callable[..., Any]) -> None:
    """Put `train` in the place of the package's own, in each of its modules that holds it."""
    modules: list[Any] = list(sys.modules.values())
    for module in modules:
        if getattr(module, "__name__", "").partition(".")[0] == package and vars(module).get("train") is own:
            module.train = train
