"""Has PyTorch Lightning log through its own `Callback`: hyperparameters, what the module logs by step and epoch."""

import functools
import importlib
from collections.abc import Mapping
from typing import Any

from kedge.training import Fitting, Trained

_KIND = "lightning"


class LightningAutolog:
    """`Trainer.fit`, under the package's newer or older name."""

    def __init__(self, module: str) -> None:
        self.module = module

    def prepare(self, fitting: Fitting) -> None:
        """Give our callback to every training."""
        package: Any = importlib.import_module(self.module)
        heard, own = _callback_class(package), package.Trainer.fit

        @functools.wraps(own)
        def fit(trainer: Any, model: Any, *args: Any, **named: Any) -> Any:
            with fitting.outermost(_KIND, type(model).__name__) as run:
                if run is None:
                    return own(trainer, model, *args, **named)
                run.set_tags(
                    {"kedge.autolog": _KIND, "kedge.model.class": f"{type(model).__module__}.{type(model).__name__}"}
                )
                callback = heard(run)
                trainer.callbacks.append(callback)
                try:
                    return own(trainer, model, *args, **named)
                finally:
                    trainer.callbacks.remove(callback)

        package.Trainer.fit = fit


def _callback_class(package: Any) -> Any:
    """Make the callback; its base class is the framework's."""

    class Heard(package.Callback):  # type: ignore[misc]
        """Logs what a module logs."""

        def __init__(self, run: Trained) -> None:
            self._run = run
            self._of_steps: set[str] = set()
            self._of_epochs: set[str] = set()

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            """Log what is trained, and how."""
            optimizers = {f"optimizer.{place}": type(one).__name__ for place, one in enumerate(trainer.optimizers)}
            hyper = {str(name): value for name, value in dict(getattr(pl_module, "hparams", {})).items()}
            self._run.log_params({"max_epochs": trainer.max_epochs, **optimizers, **hyper})

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any, **__: Any) -> None:
            """Log what a step logged, as often as the trainer does."""
            if trainer.global_step % max(1, trainer.log_every_n_steps) == 0:
                # what an epoch logged stands there still while the next one's steps go on
                names = {name for name in trainer.logged_metrics if not name.endswith("_epoch")} - self._of_epochs
                self._of_steps |= names
                self._log({name: trainer.logged_metrics[name] for name in sorted(names)}, trainer.global_step)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            """Log what the epoch came to; validation included, which ends before it."""
            names = {name for name in trainer.callback_metrics if not name.endswith("_step")} - self._of_steps
            self._of_epochs |= names
            self._log({name: trainer.callback_metrics[name] for name in sorted(names)}, trainer.current_epoch)

        def _log(self, values: Mapping[str, Any], step: int) -> None:
            numbers = {name: value for name, value in values.items() if getattr(value, "numel", lambda: 1)() == 1}
            if numbers:
                self._run.log({name: float(value) for name, value in numbers.items()}, step=step)

    return Heard
