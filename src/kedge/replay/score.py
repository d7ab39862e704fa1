"""What a replay came to: the loss of every answer, by day, by month and in total, and what the loop did for it."""

from collections.abc import Iterable

import msgspec
import numpy as np
import polars as pl

from kedge.app import House
from kedge.domain.alerting import AlertKind
from kedge.domain.evaluation import Task
from kedge.domain.events import EventKind
from kedge.domain.ids import digest_of, split_prediction_id
from kedge.domain.project import ProjectSpec
from kedge.domain.records import Answers, decode_answers, decode_truth
from kedge.domain.registry import CHAMPION, Promotion
from kedge.evaluation.metrics import METRICS, loss_name, loss_rows
from kedge.ports import Journal

SHOWN = {
    Task.CLASSIFICATION: ("log_loss", "roc_auc", "brier"),
    Task.REGRESSION: ("squared_error", "absolute_error", "r2"),
}


class Day(msgspec.Struct, frozen=True):
    """The labelled answers of one day: how many, and their summed loss in the project's metric."""

    day: str
    rows: int
    loss: float


class Month(msgspec.Struct, frozen=True):
    """The labelled answers of one month and their metrics."""

    month: str
    rows: int
    metrics: dict[str, float]


class Track(msgspec.Struct, frozen=True, kw_only=True):
    """One policy's way through the replay. `trainings` counts the versions made after the first, `looks` and `refused`
    the candidates that were not released, `spare_cpu_seconds` what those cost in compute: each policy pays for the
    looks that it took, also where the training was shared with another policy and made once."""

    policy: str
    rows: int
    metrics: dict[str, float]
    loss: float
    months: tuple[Month, ...]
    days: tuple[Day, ...]
    trainings: int
    looks: int
    refused: int
    failed: int
    rollbacks: int
    alarms: dict[str, int]
    promotions: tuple[Promotion, ...]
    spare_cpu_seconds: float
    digest: str

    def cost(self, *, retrain: float, loss: float = 1.0, cpu_hour: float = 0.0) -> float:
        """Price the track: summed loss, trainings, and the compute of candidates that were not released."""
        return self.loss * loss + self.trainings * retrain + self.spare_cpu_seconds / 3600 * cpu_hour


def answered(predictions: Journal, truths: Journal) -> pl.DataFrame:
    """Join all predictions with their truth, each counted once: columns `at`, `output`, `truth`, in time order."""
    batches: dict[str, Answers] = {}
    for _, payload in predictions.scan():
        batch = decode_answers(payload)
        batches.setdefault(batch.request, batch)
    truth = {request: np.full(len(batch.outputs), np.nan) for request, batch in batches.items()}
    for _, payload in truths.scan():
        told = decode_truth(payload)
        for name, value in zip(told.predictions, told.values, strict=True):
            place = split_prediction_id(name)
            if place and place[0] in truth and np.isnan(truth[place[0]][place[1]]):
                truth[place[0]][place[1]] = value
    kept = sorted(batches.values(), key=lambda batch: batch.at)
    frame = pl.DataFrame(
        {
            "at": np.repeat(np.array([int(b.at.timestamp() * 1e6) for b in kept]), [len(b.outputs) for b in kept]),
            "output": np.concatenate([b.outputs for b in kept]) if kept else np.array([]),
            "truth": np.concatenate([truth[b.request] for b in kept]) if kept else np.array([]),
        }
    )
    return frame.with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))


def track(house: House, spec: ProjectSpec, *, policy: str) -> Track:
    """Sum up what a house's loop came to."""
    everything = answered(house.predictions, house.truths)
    rows = everything.filter(pl.col("truth").is_not_nan())
    losses = loss_rows(loss_name(spec.gate.metric, spec.data.task), rows["truth"].to_numpy(), p=rows["output"].to_numpy())
    rows = rows.with_columns(pl.Series("loss", losses), month=pl.col("at").dt.strftime("%Y-%m"), day=pl.col("at").dt.date())
    by_day = rows.group_by("day", maintain_order=True).agg(pl.len().alias("rows"), pl.col("loss").sum())
    events = [event for _, event in house.meta.events.list(subject=spec.name, limit=1_000_000)]
    turns = [event for event in events if event.kind is EventKind.TURN_ENDED]
    moves = [m for m in house.meta.models.moves(spec.name) if m.alias == CHAMPION and m.number is not None]
    versions = house.meta.models.list(spec.name)
    alerts = house.meta.watches.alerts(spec.name, limit=1_000_000)
    alarms = [alert.kind.value for alert in alerts if alert.kind in _ALARMS]
    outcomes = [str(event.facts.get("outcome")) for event in turns]
    ledger = house.meta.ledgers.list(spec.name)
    promotions = tuple(Promotion(m.moved_at, m.number or 0, m.actor, m.reason) for m in moves)
    released = {run for version in versions for run in (version.run, version.candidate_run)}
    runs = house.meta.runs.list(spec.name, limit=1_000_000)
    return Track(
        policy=policy,
        rows=len(rows),
        metrics=_metrics(spec, rows),
        loss=float(losses.sum()),
        months=tuple(
            Month(str(name), len(part), _metrics(spec, part))
            for (name,), part in rows.group_by("month", maintain_order=True)
        ),
        days=tuple(Day(str(day), count, loss) for day, count, loss in by_day.iter_rows()),
        trainings=len(versions) - 1,
        looks=sum(entry.last_gain is not None and entry.since_look == 0 for entry in ledger),
        refused=outcomes.count("refused"),
        failed=outcomes.count("failed"),
        rollbacks=sum(event.kind is EventKind.MODEL_ROLLED_BACK for event in events),
        alarms={kind: alarms.count(kind) for kind in sorted(set(alarms))},
        promotions=promotions,
        spare_cpu_seconds=sum(run.usage.cpu_seconds for run in runs if run.id not in released),
        digest=digest_of(
            [(v.number, v.digest, v.verdict.outcome) for v in versions],
            [(p.at, p.version, p.actor, p.reason) for p in promotions],
            [(e.window, e.decision, e.regret) for e in ledger],
            outcomes,
            [(d, r) for d, r, _ in by_day.iter_rows()],
            (len(everything), len(rows), float(losses.sum())),
        ),
    )


_ALARMS = (AlertKind.DATA_DRIFT, AlertKind.PREDICTION_DRIFT, AlertKind.RISK, AlertKind.SILENCE)


def _metrics(spec: ProjectSpec, rows: pl.DataFrame) -> dict[str, float]:
    truth, output = rows["truth"].to_numpy(), rows["output"].to_numpy()
    names: Iterable[str] = dict.fromkeys((loss_name(spec.gate.metric, spec.data.task), *SHOWN[spec.data.task]))
    return {name: METRICS[name](truth, output, spec.gate.threshold) for name in names}
