"""A project: the loop as written in `kedge.toml`, as one value."""

from datetime import date

import msgspec

from kedge.domain.channels import AlertRules
from kedge.domain.data import Expectation
from kedge.domain.durations import seconds_of
from kedge.domain.evaluation import GateRules, Task
from kedge.domain.ids import DatasetName, ModelName
from kedge.domain.monitoring import MonitoringRules
from kedge.domain.predictions import PredictionRules
from kedge.domain.retraining import RetrainingRules
from kedge.domain.rollout import RolloutRules


class DataRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the rows come from. `source` is "FILE.py:CALLABLE", a file or a glob; `key` names a row, `time` is when an
    answer is wanted, `label` the fact, known at `label_time` (a column) or `label_delay` after `time`."""

    source: str
    time: str
    label: str
    key: str = ""
    task: Task = Task.CLASSIFICATION
    label_time: str = ""
    label_delay: str = ""
    expectations: str = ""
    ignore: tuple[str, ...] = ()


class FeatureRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`service` is "FILE.py:NAME" of a FeatureService; left out, every column of the source but key, times and label is
    a request column."""

    service: str = ""


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hard limits on training: hours of CPU in a month, trainings in seven days."""

    cpu_hours: float | None = None
    runs_per_week: int | None = None


class TrainingRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`pipeline` is "FILE.py:NAME" (a function or a Pipeline; left out, gradient boosting). `rows` is "all" or a window
    ("180d"); `half_life` in steps weights older rows; `seed` starts all randomness; `time_limit` ends a training."""

    pipeline: str = ""
    rows: str = "all"
    half_life: float | None = 10.0
    seed: int = 0
    time_limit: str = "30min"
    budget: Budget = Budget()


class ReplayRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a project's past is played. Rows before `live_from` are history (left out: the first fifth of the time); all
    rows of one `tick` are one request."""

    live_from: date | None = None
    tick: str = "1h"


class ServingRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the data plane runs. Processes: how many `workers`, how much `memory` one may take ("" any), how long a model's
    call may `hang`, how long a worker has to `drain`, how many `threads` one call uses. Requests: how many may wait in the
    `queue` of a model, how many rows one call of it takes (`call_rows`), the `timeout` of one that names none, `body_limit`;
    `grpc_port` opens the gRPC door. Models: how much `loaded` ones may take together ("" any) before the one used least
    recently goes. Traces: the OTLP/HTTP address
    that is told (`traces`), of which share of the requests ("" none) and of all that took `trace_slow`. Labels: the share
    of entities that are served a coin (`holdout`, "" none), where decisions change what is learnt."""

    workers: int = 1
    memory: str = ""
    hang: str = "60s"
    drain: str = "30s"
    threads: int = 1
    queue: int = 1024
    call_rows: int = 2048
    timeout: str = "30s"
    body_limit: str = "16MiB"
    grpc_port: int | None = None
    loaded: str = ""
    traces: str = ""
    trace_share: str = "1%"
    trace_slow: str = "1s"
    holdout: str = ""


class ProjectSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One project's loop. Made by `config.py` from the project file; every duration in it has been read once."""

    name: ModelName
    data: DataRules
    features: FeatureRules = FeatureRules()
    training: TrainingRules = TrainingRules()
    gate: GateRules = GateRules()
    rollout: RolloutRules = RolloutRules()
    monitoring: MonitoringRules = MonitoringRules()
    retraining: RetrainingRules = RetrainingRules()
    serving: ServingRules = ServingRules()
    predictions: PredictionRules = PredictionRules()
    replay: ReplayRules = ReplayRules()
    alerts: AlertRules = AlertRules()
    expectations: tuple[Expectation, ...] = ()

    @property
    def dataset(self) -> DatasetName:
        """Name the project's dataset: as the project."""
        return DatasetName(self.name)

    @property
    def step_seconds(self) -> float:
        """Give the length of a retraining step in seconds."""
        return seconds_of(self.retraining.step)
