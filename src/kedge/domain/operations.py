"""How a model's service did: latency, errors, throughput, what its log lacks, and the objectives that were declared."""

import msgspec


class OperationsRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Objectives: the time within which half, 95 % or 99 % of the logged requests are to be answered ("50ms"), the share of
    rows that a version may fail on ("1%"), and the share of requests not to fail by us ("99.9%"). Left out: none."""

    p50: str = ""
    p95: str = ""
    p99: str = ""
    errors: str = ""
    availability: str = ""


class StageTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of one stage ("total" is all of them) of the requests that a version answered. `counts` are (bin, requests) of
    a histogram with bins evenly spaced in the logarithm: those of two windows can be added."""

    version: int
    stage: str
    requests: int
    mean: float
    p50: float
    p95: float
    p99: float
    counts: tuple[tuple[int, int], ...] = ()


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """An objective in a window: the share that was `bad` of the `counted`, and the share that may be (`budget`).

    `burn` is how many times faster than allowed the budget went over the last three days, `worst` the greatest rate of the
    window over an hour; `alarm` says that long and short spans both burnt too fast.
    """

    name: str
    limit: float
    budget: float
    counted: int = 0
    bad: float = 0.0
    burn: float = 0.0
    worst: float = 0.0
    alarm: bool = False


class PlaneFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the data planes told of a window, over all hosts, by their `reports`.

    `failed` requests had a status of 500 or more, `rejected` ones 503 (among the failed); `availability` is the share of
    the others. `busy` is the share of the workers' time that CPUs were used, `busy_most` that of the busiest report,
    `memory_most` bytes of one host. `unheard_seconds` are those, after the first report, in which no data plane told of
    itself. `cpu_seconds` are this model's: a process's, shared out by the seconds spent within each model's calls.
    `unlogged` are rows that were answered and are in no log, None where that cannot be known. `cost` is that of 1,000
    rows, in the project's currency.
    """

    hosts: tuple[str, ...] = ()
    reports: int = 0
    requests: int = 0
    failed: int = 0
    rejected: int = 0
    availability: float | None = None
    rows: int = 0
    unlogged: int | None = None
    queue_most: int = 0
    batch_mean: float = 0.0
    batch_most: int = 0
    busy: float = 0.0
    busy_most: float = 0.0
    memory_most: int = 0
    lag_most_seconds: float = 0.0
    unheard_seconds: float = 0.0
    cpu_seconds: float = 0.0
    cost: float | None = None


class Operations(msgspec.Struct, frozen=True, kw_only=True):
    """One window by its log. `requests` and `rows` weigh a sampled log; `errors` are rows that a version failed on,
    `missing` rows that were answered and could not be logged; `per_second` and `peak_minute` count requests. `usual` gives
    how many predictions and labels were usual for the window's hours of the week, where that is known. `plane` is what
    data planes told of themselves, `training_cpu_seconds` what trainings used that began in the window."""

    requests: int = 0
    rows: int = 0
    errors: int = 0
    missing: int = 0
    per_second: float = 0.0
    peak_minute: int = 0
    times: tuple[StageTimes, ...] = ()
    objectives: tuple[Objective, ...] = ()
    usual: dict[str, int] = {}
    plane: PlaneFigures | None = None
    training_cpu_seconds: float = 0.0
