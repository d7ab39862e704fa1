"""What the believable year has before its days: dataset versions, runs, model versions with their gates' verdicts."""

import random
from datetime import UTC, datetime, timedelta

from kedge.domain.data import (
    Breach,
    Column,
    ColumnType,
    DatasetVersion,
    Expectation,
    Part,
    Rule,
    Schema,
    Severity,
    ValidationReport,
)
from kedge.domain.evaluation import Finding, Outcome, Task, conclude
from kedge.domain.events import Event, EventKind, Fact
from kedge.domain.ids import DatasetName, ExperimentId, ModelName, RunId, digest_of
from kedge.domain.registry import ModelVersion, Signature
from kedge.domain.tracking import Code, Environment, Experiment, Run, RunStatus, Usage
from kedge.ports import MetaStore

START = datetime(2013, 3, 1, tzinfo=UTC)
END = datetime(2013, 12, 29, tzinfo=UTC)
DAY = timedelta(days=1)
MODEL = ModelName("flights")
FEATURES = (
    "origin_delay_1h", "wind_gust", "prev_arr_delay", "visib", "dest_delay_1d", "precip", "dep_hour", "pressure", "distance",
    "plane_age", "carrier", "origin", "dest", "temp", "humid", "wind_speed", "weekday", "month", "seats",
)  # fmt: skip
PROMOTED = {
    1: START,
    2: datetime(2013, 5, 6, tzinfo=UTC),
    3: datetime(2013, 6, 12, tzinfo=UTC),
    5: datetime(2013, 9, 18, tzinfo=UTC),
}
TRIAL_FROM = datetime(2013, 12, 27, tzinfo=UTC)


class YearVersions:
    """Writes into a store what the year's versions were made of, and the versions."""

    def __init__(self, meta: MetaStore, *, model: str = MODEL, hostile: str = "") -> None:
        self.meta, self.model, self.hostile = meta, ModelName(model), hostile
        self.chance = random.Random(2013)

    def write_versions(self) -> None:
        self._dataset()
        for number in (1, 2, 3, 4, 5, 6):
            self._version(number)

    def event(self, sort: EventKind, at: datetime, message: str, /, *, actor: str = "kedge", **facts: Fact) -> Event:
        key = digest_of(sort.value, at.isoformat(), message, self.model)
        text = f"{message}{self.hostile}"
        return Event(
            key=key, kind=sort, at=at, subject=self.model, actor=f"{actor}{self.hostile}", message=text, facts=facts
        )

    def _dataset(self) -> None:
        columns = (
            *(Column(name=f"{name}{self.hostile}", type=ColumnType.FLOAT) for name in FEATURES),
            Column(name="late", type=ColumnType.BOOLEAN),
        )
        parts, parent = [], None
        for number in range(1, 6):
            upto = START + 60 * DAY * number
            parts.append(Part(digest=digest_of("part", number), rows=67_355, bytes=4_812_334, after=None, upto=upto))
            version = DatasetVersion(
                dataset=DatasetName(self.model),
                number=number,
                digest=digest_of("data", number, self.model),
                schema=Schema(columns),
                parts=tuple(parts),
                rows=67_355 * number + number,
                order="known_at__",
                created_at=upto,
                parent=parent,
            )
            parent = version.digest
            self.meta.datasets.add(
                version,
                self.event(EventKind.DATASET_COMMITTED, upto, f"{self.model}@{number} committed with {version.rows:,} rows"),
            )
            breach = Breach(
                expectation=Expectation(rule=Rule.FINITE, column="wind_gust", severity=Severity.QUARANTINE),
                rows=3,
                examples=("UA 1545", f"EV 4120{self.hostile}"),
                message=f"3 rows of wind_gust are not finite{self.hostile}",
            )
            report = ValidationReport(
                dataset=version.dataset,
                version=version.digest,
                passed=True,
                rows=version.rows,
                breaches=(breach,) if number == 5 else (),
                quarantined=3 * (number == 5),
            )
            self.meta.datasets.add_report(
                report, self.event(EventKind.DATA_VALIDATED, upto, f"{self.model}@{number} is as expected")
            )

    def run(self, number: int, at: datetime, *, status: RunStatus = RunStatus.FINISHED) -> Run:
        key = digest_of("run", number, self.model)
        run = Run(
            id=RunId(key[:16]),
            experiment=self._home(at),
            name=f"refit v{number}{self.hostile}",
            content_key=key,
            status=status,
            code=Code(commit=digest_of("commit")[:40], dirty=number == 6, digest=digest_of("code", number)),
            environment=Environment(
                python="3.11.9", platform="linux", packages=tuple(f"p{i}==1" for i in range(64)), digest=digest_of("lock")
            ),
            inputs=(digest_of("data", min(number, 5), self.model),),
            started_at=at,
            params={"learning_rate": "0.05", "max_leaf_nodes": "31", "seed": f"7{self.hostile}"},
            metrics={"log_loss": 0.47 - 0.004 * number, "roc_auc": 0.71 + 0.005 * number},
            artifacts={"model": digest_of("model", number)},
            tags={"because": f"policy:ledger{self.hostile}"},
            usage=Usage(cpu_seconds=1510.0 + 40 * number, wall_seconds=2280.0 + number, peak_bytes=734_003_200),
            ended_at=at + timedelta(minutes=38),
            error="the training ran out of memory" if status is RunStatus.FAILED else "",
        )
        self.meta.runs.put(
            run, self.event(EventKind.RUN_FINISHED, at, f"Run {run.id} (refit v{number}) finished after 38 min", run=run.id)
        )
        return run

    def _home(self, at: datetime) -> ExperimentId:
        if (home := self.meta.experiments.find(self.model)) is None:
            home = Experiment(id=ExperimentId("100000000000000001"), name=self.model, created_at=at, updated_at=at)
            self.meta.experiments.add(
                home, self.event(EventKind.EXPERIMENT_CREATED, at, f"Experiment {self.model} was created")
            )
        return home.id

    def _version(self, number: int) -> None:
        at = {**PROMOTED, 4: datetime(2013, 8, 5, tzinfo=UTC), 6: TRIAL_FROM}[number] - 2 * DAY
        run = self.run(number, at)
        verdict = conclude(self._findings(number))
        version = ModelVersion(
            model=self.model,
            number=number,
            digest=digest_of("model", number),
            format="sklearn",
            run=run.id,
            candidate_run=run.id,
            signature=Signature(
                inputs=tuple(Column(name=f"{name}{self.hostile}", type=ColumnType.FLOAT) for name in FEATURES),
                task=Task.CLASSIFICATION,
                output="late",
                positive="1",
            ),
            service="delay",
            verdict=verdict,
            datasets=run.inputs,
            example=digest_of("example", number),
            trained_upto=at - DAY,
            registered_at=at,
        )
        judged = self.event(
            EventKind.GATE_JUDGED, at, f"v{number} passed the gate on 8 of 8 checks", actor="policy:gate", outcome="passed"
        )
        self.meta.events.append(judged)
        self.meta.models.add(
            version, self.event(EventKind.MODEL_REGISTERED, at, f"v{number} registered from run {run.id}", number=number)
        )

    def _findings(self, number: int) -> tuple[Finding, ...]:
        rows = 41_202
        passed = Outcome.PASSED
        return (
            Finding(
                check="beats baseline",
                outcome=passed,
                reason="Log loss of the base rate is 0.561; the data can answer the question.",
                measured=0.447,
                limit=0.561,
                rows=rows,
            ),
            Finding(
                check="roc_auc",
                outcome=passed,
                reason="Enough separation on the newest step.",
                measured=0.742,
                limit=0.6,
                rows=rows,
            ),
            Finding(
                check="not worse than champion",
                outcome=passed,
                reason=f"Paired by day on {rows:,} newest flights: mean difference −0.012, standard error 0.006.",
                measured=-0.012,
                limit=0.0098,
                rows=rows,
            ),
            Finding(
                check="slices: roc_auc",
                outcome=passed,
                reason=f"Worst of 41 slices is carrier EV at LGA{self.hostile}.",
                measured=0.631,
                limit=0.55,
                group="carrier=EV, origin=LGA",
                rows=2019,
            ),
            Finding(
                check="slices: too small",
                outcome=passed,
                reason="OO at EWR has 6 flights, HA at JFK 31; 200 are needed. Named here, not judged.",
                measured=2.0,
                rows=37,
            ),
            Finding(
                check="equal opportunity",
                outcome=passed,
                reason="Largest gap is between EWR and LGA.",
                measured=0.09,
                limit=0.15,
                group="origin",
                rows=rows,
            ),
            Finding(
                check="agreement",
                outcome=passed,
                reason="The refit answers like the model that was judged: correlation 0.996 on 2,938 rows.",
                measured=0.996,
                limit=0.95,
                rows=2938,
            ),
        )
