"""What the data plane counts. `FAMILIES` is the list of it; `exposition.py` writes it for Prometheus.

The hot path counts into doubles that it holds already (`board.py`): 0.1 us a counter, 0.2 us a histogram; looking series
up happens when a version is loaded, not when a request comes. Each series has one writing thread. Label sets are bounded
by the registry (model, version, variant) and beyond `MOST` of them by "other".

    metrics.model("flights").batch(rows=12)
    served = metrics.model("flights").version(3, "champion")
    served.stages["predict"].observe(seconds); served.requests[200].add()
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, Protocol

from kedge.serving.board import Board, Segment

SECONDS = (*(round(base * 10.0**power, 10) for power in range(-5, 1) for base in (1.0, 2.5, 5.0)), 10.0)
ROWS = tuple(2.0**power for power in range(13))
STAGES = ("parse", "queue", "features", "predict", "serialize", "log", "total")
MOST = 500

Kind = Literal["counter", "gauge", "histogram"]
Over = Literal["sum", "min", "max"]
_MODEL = ("model",)
_VERSION = ("model", "version", "variant")


class Family(NamedTuple):
    """One metric: what it is called, its labels, what it tells, and how the workers' gauges become one."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    told: str
    over: Over = "sum"
    bounds: tuple[float, ...] = ()


FAMILIES = (
    Family("kedge_requests_total", "counter", (*_VERSION, "code"), "Inference requests by who answered and HTTP status."),
    Family("kedge_rows_total", "counter", _VERSION, "Rows answered."),
    Family("kedge_row_errors_total", "counter", _VERSION, "Rows that a version failed on."),
    Family("kedge_request_seconds", "histogram", (*_VERSION, "stage"), "Seconds of answered requests.", bounds=SECONDS),
    Family("kedge_batch_rows", "histogram", _MODEL, "Rows in one call of a model.", bounds=ROWS),
    Family("kedge_queue_requests", "gauge", _MODEL, "Requests that wait for a model."),
    Family("kedge_shadow_left_out_rows_total", "counter", _MODEL, "Rows not copied to a shadow that could not keep up."),
    Family("kedge_repeated_requests_total", "counter", _MODEL, "Requests sent again, answered as before, counted once."),
    Family("kedge_gone_requests_total", "counter", _MODEL, "Requests not computed, because the caller had gone."),
    Family("kedge_loads_total", "counter", _MODEL, "Versions loaded, verified and warmed."),
    Family("kedge_unloads_total", "counter", _MODEL, "Versions let go of."),
    Family("kedge_load_failures_total", "counter", _MODEL, "Loads that failed; what was active went on serving."),
    Family("kedge_revision", "gauge", _MODEL, "The deployment's revision that every worker answers by; 0 for none.", "min"),
    Family("kedge_revision_wanted", "gauge", _MODEL, "The newest revision that was tried.", "max"),
    Family("kedge_trial_share", "gauge", _MODEL, "The share of traffic on trial.", "max"),
    Family("kedge_loaded_workers", "gauge", ("model", "version"), "Workers that hold a version."),
    Family("kedge_model_bytes", "gauge", ("model", "version"), "What a loaded version takes in a worker.", "max"),
    Family("kedge_log_rows_total", "counter", (), "Rows logged."),
    Family("kedge_log_gap_rows_total", "counter", (), "Rows answered that could not be logged."),
    Family("kedge_log_sync_failures_total", "counter", (), "Syncs of the prediction log that failed."),
    Family("kedge_log_lag_rows", "gauge", (), "Rows logged that are not yet synced."),
    Family("kedge_log_lag_seconds", "gauge", (), "How long the oldest of them has been waiting.", "max"),
    Family("kedge_worker_memory_bytes", "gauge", ("worker",), "Resident memory of a worker."),
    Family("kedge_workers_ready", "gauge", (), "Workers that take requests."),
    Family("kedge_worker_ends_total", "counter", ("reason",), "Workers that had to be replaced: died, hung, memory."),
)
BY_NAME = {family.name: family for family in FAMILIES}


class Counter:
    """A number that grows."""

    __slots__ = ("_value",)

    def __init__(self, value: "memoryview[float]") -> None:
        self._value = value

    @property
    def value(self) -> float:
        """Tell what it has reached in this process."""
        return self._value[0]

    def add(self, amount: float = 1.0) -> None:
        """Count once, or `amount` at once."""
        self._value[0] += amount


class Gauge:
    """A number that is what it is now."""

    __slots__ = ("_value",)

    def __init__(self, value: "memoryview[float]") -> None:
        self._value = value

    @property
    def value(self) -> float:
        """Tell what was set."""
        return self._value[0]

    def set(self, value: float) -> None:
        """Say what it is now."""
        self._value[0] = value


class Histogram:
    """Values in log-spaced buckets: a count for each upper bound, one for what is beyond, and the sum."""

    __slots__ = ("_bounds", "_counts")

    def __init__(self, counts: "memoryview[float]", bounds: tuple[float, ...]) -> None:
        self._counts, self._bounds = counts, bounds

    def observe(self, value: float, *, times: int = 1) -> None:
        """Count a value, so many times at once."""
        counts = self._counts
        counts[bisect_left(self._bounds, value)] += times
        counts[-1] += value * times


class Codes:
    """Requests with the same labels, by HTTP status."""

    __slots__ = ("_counters", "_labels", "_metrics")

    def __init__(self, metrics: "Metrics", labels: tuple[str, str, str]) -> None:
        self._metrics, self._labels = metrics, labels
        self._counters: dict[int, Counter] = {}

    def __getitem__(self, code: int) -> Counter:
        """Give the counter of a status."""
        counter = self._counters.get(code)
        if counter is None:
            counter = self._counters[code] = self._metrics.counter("kedge_requests_total", *self._labels, str(code))
        return counter


class VersionMetrics:
    """What is counted of one version in one role: champion, challenger, shadow, or mixed (a request that both answered)."""

    def __init__(self, metrics: "Metrics", labels: tuple[str, str, str]) -> None:
        self.requests = Codes(metrics, labels)
        self.rows = metrics.counter("kedge_rows_total", *labels)
        self.row_errors = metrics.counter("kedge_row_errors_total", *labels)
        self.stages = {stage: metrics.histogram("kedge_request_seconds", *labels, stage) for stage in STAGES}


class ModelMetrics:
    """What is counted of one model. `unanswered` has the requests that were refused before a version was chosen."""

    def __init__(self, metrics: "Metrics", model: str) -> None:
        self._metrics, self._model = metrics, model
        self._versions: dict[tuple[int, str], VersionMetrics] = {}
        self._batch = metrics.histogram("kedge_batch_rows", model)
        self.queue = metrics.gauge("kedge_queue_requests", model)
        self.left_out = metrics.counter("kedge_shadow_left_out_rows_total", model)
        self.repeated = metrics.counter("kedge_repeated_requests_total", model)
        self.gone = metrics.counter("kedge_gone_requests_total", model)
        self.loads = metrics.counter("kedge_loads_total", model)
        self.unloads = metrics.counter("kedge_unloads_total", model)
        self.load_failures = metrics.counter("kedge_load_failures_total", model)
        self.revision = metrics.gauge("kedge_revision", model)
        self.revision_wanted = metrics.gauge("kedge_revision_wanted", model)
        self._held: set[int] = set()
        self._counted = (0, 0)
        self.trial_share = metrics.gauge("kedge_trial_share", model)
        self.unanswered = Codes(metrics, (model, "", ""))

    def version(self, number: int, variant: str) -> VersionMetrics:
        """Give what is counted of a version in a role."""
        known = self._versions.get((number, variant))
        if known is None:
            known = self._versions[number, variant] = self._metrics.version(self._model, number, variant=variant)
        return known

    def batch(self, *, rows: int) -> None:
        """Count one call of the model with so many rows."""
        self._batch.observe(rows)

    def holds(self, weights: Mapping[int, int], *, loads: int, unloads: int) -> None:
        """Say which versions this process holds now and how many bytes each takes, how many it has loaded and let go of."""
        for number in self._held - weights.keys():
            self._metrics.gauge("kedge_loaded_workers", self._model, str(number)).set(0)
        for number, weight in weights.items():
            if number not in self._held:
                self._metrics.gauge("kedge_loaded_workers", self._model, str(number)).set(1)
                self._metrics.gauge("kedge_model_bytes", self._model, str(number)).set(weight)
        self._held = set(weights)
        self.loads.add(loads - self._counted[0])
        self.unloads.add(unloads - self._counted[1])
        self._counted = (loads, unloads)


class Log(Protocol):
    """The figures of a prediction log: what it wrote, could not write or sync since it began, and what waits for a sync."""

    logged_rows: int
    gap_rows: int
    sync_failures: int

    @property
    def lag_rows(self) -> int:
        """Count the rows appended and not yet synced."""
        ...

    @property
    def lag_seconds(self) -> float:
        """Tell how long the oldest row has been waiting for a sync."""
        ...


class Metrics:
    """What one process counts, and the sum over all processes of its board."""

    def __init__(self, board: Board | None = None, segment: Segment | None = None) -> None:
        self.board = board or Board()
        self.segment = segment or self.board.segments[0]
        self._models: dict[str, ModelMetrics] = {}
        self._versions = 0
        self._samplers: list[Callable[[], None]] = []
        for key, values in self.segment.items():  # what the process before measured of itself holds no longer
            if BY_NAME[json.loads(key)[0]].kind == "gauge":
                values[0] = 0.0
        # No model was found to count these under: the name may be the caller's invention.
        self.nowhere = Codes(self, ("", "", ""))

    def model(self, name: str) -> ModelMetrics:
        """Give what is counted of a model. Name models of the registry only: each stays for the life of the process."""
        known = self._models.get(name)
        if known is None:
            known = ModelMetrics(self, name if len(self._models) < MOST else "other")
            self._models[name] = known
        return known

    def version(self, model: str, number: int, *, variant: str) -> VersionMetrics:
        """Give what is counted of a model's version; ask `model(...).version(...)`, which remembers it."""
        self._versions += 1
        few = self._versions <= MOST
        return VersionMetrics(self, (model, str(number), variant) if few else ("other", "", ""))

    def counter(self, name: str, *labels: str) -> Counter:
        """Give the counter of a family and label values."""
        return Counter(self._series(name, labels, size=1))

    def gauge(self, name: str, *labels: str) -> Gauge:
        """Give the gauge of a family and label values."""
        return Gauge(self._series(name, labels, size=1))

    def histogram(self, name: str, *labels: str) -> Histogram:
        """Give the histogram of a family and label values."""
        bounds = BY_NAME[name].bounds
        return Histogram(self._series(name, labels, size=len(bounds) + 2), bounds)

    def watch_log(self, log: Log) -> None:
        """Have the prediction log's own figures sampled."""
        logged = self.counter("kedge_log_rows_total")
        gaps, failures = self.counter("kedge_log_gap_rows_total"), self.counter("kedge_log_sync_failures_total")
        rows, seconds = self.gauge("kedge_log_lag_rows"), self.gauge("kedge_log_lag_seconds")
        before = [0, 0, 0]

        def sample() -> None:
            now = [log.gap_rows, log.sync_failures, log.logged_rows]
            gaps.add(now[0] - before[0])
            failures.add(now[1] - before[1])
            logged.add(now[2] - before[2])
            before[:] = now
            rows.set(log.lag_rows)
            seconds.set(log.lag_seconds)

        self.sampled(sample)

    def sampled(self, sampler: Callable[[], None]) -> None:
        """Have a function set gauges now and then: at each heartbeat, and before this process is asked for its metrics."""
        self._samplers.append(sampler)

    def sample(self) -> None:
        """Have all gauges set that are not set by what they measure."""
        for sampler in self._samplers:
            sampler()

    def _series(self, name: str, labels: tuple[str, ...], *, size: int) -> "memoryview[float]":
        if len(labels) != len(BY_NAME[name].labels):
            raise ValueError(f"{name} has the labels {BY_NAME[name].labels}, not the values {labels}")
        return self.segment.series(json.dumps((name, *labels), separators=(",", ":")).encode(), size)
