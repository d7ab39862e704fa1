"""`kedge.autolog()`: frameworks log what they train, through their own callbacks. No framework is imported for it: one that
is there already is prepared now, any other when the script imports it."""

import importlib.abc
import importlib.machinery
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from types import ModuleType
from typing import Any

from kedge.client.channel import log as told
from kedge.client.process import PROCESS
from kedge.client.run import ActiveRun, run
from kedge.errors import KedgeError
from kedge.pipelines.measured import Measured, current_training
from kedge.scripts import autologgers
from kedge.training import Autologger, Fitting, Trained


class OfTraining:
    """A fit within a training of the loop: its points are the training's; params, tags and the model the loop keeps."""

    id, is_open = "", True

    def __init__(self, training: Measured) -> None:
        self._training = training

    def log(self, values: Mapping[str, Any] | None = None, /, *, step: int | None = None) -> None:
        """Log numbers to the training's run."""
        self._training.log(values, step=step)

    def log_params(self, params: Mapping[str, Any] | None = None, /) -> None:
        """Leave params to the loop."""

    def set_tags(self, tags: Mapping[str, Any] | None = None, /) -> None:
        """Leave tags to the loop."""

    def log_model(self, model: Any, name: str = "model") -> None:
        """Leave the model to the loop."""

    def log_table(self, table: Any, path: str = "table.parquet") -> None:
        """Leave tables out: a training's result is shared, and holds points alone."""


class Fits:
    """The fits that go on in this process. What is trained within another fit (a search, a pipeline, jobs of a forest in
    threads) is part of that fit, and not logged by itself."""

    def __init__(self) -> None:
        self.experiment, self.models = "Default", True
        self._going: list[tuple[str, ActiveRun | OfTraining]] = []
        self._guard = threading.Lock()
        self._last = ""

    @contextmanager
    def outermost(self, kind: str, name: str) -> Iterator[Trained | None]:
        """Give the run that a fit is logged to; None where it is part of another fit.

        The first fit in an open run is that run's own; each further one gets a run within it.
        """
        with self._guard:
            here = None if self._going else self._run_of(name)
            if here is not None:
                self._going.append((kind, here))
        if here is None:
            yield None
            return
        try:
            with here if isinstance(here, ActiveRun) and not here.is_open else nullcontext():
                yield here
        finally:
            with self._guard:
                self._going.clear()

    def current(self, kind: str) -> Trained | None:
        """Give the run of the fit that goes on, where it is of this kind."""
        going = self._going[-1:]
        return going[0][1] if going and going[0][0] == kind else None

    def keep_model(self, run: Trained, model: Any) -> None:
        """Keep a fitted model, where models are wanted and a safe format takes it."""
        if self.models:
            try:
                run.log_model(model)
            except KedgeError as error:
                told.warning("the fitted %s is not kept: %s", type(model).__name__, error)

    def _run_of(self, name: str) -> ActiveRun | OfTraining:
        here = PROCESS.innermost()
        if here is None and (training := current_training()) is not None:
            return OfTraining(training)
        if here is not None and here.id != self._last:
            self._last = here.id
            return here
        where = here.settings if here is not None else None
        return run(self.experiment, name=name, system_metrics=here is None, within=where)


class _Finder(importlib.abc.MetaPathFinder):
    """Waits for frameworks to be imported, and prepares each once it is there."""

    def __init__(self, waiting: dict[str, Autologger], fits: Fitting) -> None:
        self._waiting, self._fits = waiting, fits

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Let the others find a module that is waited for, and prepare it after it has run."""
        if name not in self._waiting:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next((found for finder in others if (found := finder.find_spec(name, path, target)) is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, name, waiting=self._waiting, fits=self._fits)
        return spec


class _Loader(importlib.abc.Loader):
    """Runs a module with its own loader, then prepares what it belongs to."""

    def __init__(self, own: Any, name: str, *, waiting: dict[str, Autologger], fits: Fitting) -> None:
        self._own, self._name, self._waiting, self._fits = own, name, waiting, fits

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Make the module as its own loader does."""
        made: ModuleType | None = self._own.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, then prepare."""
        self._own.exec_module(module)
        autologger = self._waiting.pop(self._name, None)  # now, not when it was found: whoever only asks imports nothing
        if autologger is not None:
            autologger.prepare(self._fits)

    def __getattr__(self, name: str) -> Any:
        """Answer for the module's own loader: resources and sources are asked of it."""
        return getattr(self._own, name)


_fits = Fits()
_waiting: dict[str, Autologger] = {}
_prepared: set[str] = set()


def autolog(experiment: str = "Default", *, models: bool = True) -> None:
    """Have scikit-learn, XGBoost, LightGBM and PyTorch Lightning log what they train: params, scores, each iteration's
    metrics, results of searches, and the fitted model (unless `models` is False).

    A fit is logged to the run that is open, else to a run of its own in `experiment`.
    """
    _fits.experiment, _fits.models = experiment, models
    for autologger in autologgers():
        if autologger.module in _prepared:
            continue
        _prepared.add(autologger.module)
        if autologger.module in sys.modules:
            autologger.prepare(_fits)
        else:
            _waiting[autologger.module] = autologger
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(_waiting, _fits))
