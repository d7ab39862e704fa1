"""What a window would tell of quality, fairness and the join, for the seeded year: believable figures by a fixed rule."""

import math
from datetime import datetime, timedelta

import msgspec

from kedge.domain.causes import Causes, MovedFeature, RisenSlice
from kedge.domain.fairness import CalibrationBin, Fairness, Gap, GroupMeasure
from kedge.domain.ids import PredictionId
from kedge.domain.monitoring import Health, JoinReport
from kedge.domain.operations import Objective, Operations, PlaneFigures, StageTimes
from kedge.domain.quality import (
    Banded,
    Calibration,
    Cohort,
    ConceptEvidence,
    EstimateCheck,
    ModelQuality,
    ReliabilityBin,
    SliceQuality,
)
from kedge.domain.skew import Skew, SkewedValue
from kedge.domain.worth import Better, BusinessFound, Per

DAY = timedelta(days=1)
ROW = PredictionId("flights-2013-12-27T19.3")


def told(health: Health, *, hostile: str = "", named: bool = False) -> Health:
    """Give a window that says everything that a window can say."""
    return msgspec.structs.replace(
        health,
        quality=quality(health, hostile=hostile, named=named),
        fairness=fairness(hostile=hostile),
        join=JoinReport(waiting_labels=12, contradicting_labels=1, repeated_labels=4, late_predictions=2, invalid_labels=1),
        evidence={"data": 2210.0, "prediction": 3.1},
        evidence_limit=1000.0,
        business=(
            BusinessFound(
                name=f"saved{hostile}",
                per=Per.DAY,
                better=Better.HIGHER,
                rows=840,
                total=812.0,
                mean=0.97,
                known=0.9,
                lately=790.0,
                lower=700.0,
                upper=880.0,
                days=20,
                month=20_412.0,
                target=750.0,
                evidence=0.2,
                evidence_limit=1000.0,
            ),
        ),
        causes=causes(health, hostile=hostile),
        operations=operations(health, hostile=hostile),
        skew=Skew(
            rows=200,
            skewed=1,
            columns={f"wind_gust{hostile}": 1},
            answers=200,
            evidence=0.4,
            limit=1000.0,
            tolerance=0.01,
            mismatches=(SkewedValue(prediction=ROW, column=f"wind_gust{hostile}", served=12.5, joined=None),),
        ),
        answered=health.rows + 3,
        missing=3,
        late=2,
        notes=(f"column wind_dir{hostile} vanished", "3 answered rows are missing from the log, which could not be written"),
    )


def operations(health: Health, *, hostile: str) -> Operations:
    day = (health.window.start - datetime(2013, 3, 1, tzinfo=health.window.start.tzinfo)).days
    return Operations(
        requests=health.rows // 2,
        rows=health.rows,
        per_second=health.rows / 2 / 86400,
        peak_minute=31,
        times=tuple(
            StageTimes(version=5, stage=stage, requests=health.rows // 2, mean=mean, p50=mean, p95=2 * mean, p99=3 * mean)
            for stage, mean in (("total", 0.0062), ("features", 0.0021), ("predict", 0.0034))
        ),
        objectives=(
            Objective(name="p95", limit=0.05, budget=0.05, counted=health.rows // 2, bad=0.012, burn=0.24, worst=0.9),
            Objective(name="availability", limit=0.999, budget=0.001, counted=health.rows // 2, burn=0.1),
        ),
        usual={"predictions": 860, "labels": 850},
        plane=PlaneFigures(
            hosts=(f"plane-a{hostile}", "plane-b"),
            reports=2880,
            requests=health.rows // 2 + 3,
            failed=3,
            rejected=2,
            availability=1 - 3 / (health.rows // 2 + 3),
            rows=health.rows,
            unlogged=3,
            queue_most=9,
            batch_mean=2.1,
            batch_most=16,
            busy=0.21 + 0.03 * math.sin(day),
            busy_most=0.62 + 0.1 * math.sin(day / 3),
            memory_most=198_000_000 + 400_000 * (day % 7),
            lag_most_seconds=0.08,
            cpu_seconds=412.0,
            cost=0.021,
        ),
        training_cpu_seconds=1710.0 if day % 30 == 0 else 0.0,
    )


def causes(health: Health, *, hostile: str) -> Causes:
    day = health.window.start
    return Causes(
        start=day - 28 * DAY,
        end=health.window.end,
        version=5,
        rows=22_104,
        gate_rows=41_202,
        loss=0.499,
        gate_loss=0.447,
        features=(
            MovedFeature(column=f"origin_delay_1h{hostile}", moved=0.21, worth=0.03, share=0.4, weight=0.084, listed=True),
            MovedFeature(column=f"wind_gust{hostile}", moved=0.15, worth=0.004, share=0.05, weight=0.0075),
        ),
        slices=(
            RisenSlice(
                slice=f"origin=LGA{hostile}",
                rows=812,
                gate_rows=2100,
                loss=0.61,
                gate_loss=0.46,
                rise=0.15,
                low=0.09,
                high=0.21,
                sure=True,
                share=0.31,
                since=day - 11 * DAY,
                examples=(ROW,),
            ),
        ),
        tried=96,
        least=200,
    )


def quality(health: Health, *, hostile: str, named: bool) -> ModelQuality:
    day, loss = health.window.start, health.loss or 0.47
    return ModelQuality(
        rows=health.labels,
        known={"log_loss": Banded(loss, loss - 0.021, loss + 0.019), "roc_auc": Banded(0.741), "accuracy": Banded(0.78)},
        recent={
            "log_loss": Banded(loss, loss - 0.009, loss + 0.009),
            "roc_auc": Banded(0.738, 0.722, 0.754),
            "accuracy": Banded(0.779, 0.77, 0.788),
        },
        recent_rows=22_104,
        days=28,
        arrived=0.94,
        cohorts=tuple(cohort(day - back * DAY, back, loss) for back in (3, 2, 1, 0)),
        slices=tuple(
            SliceQuality(
                slice=f"carrier={name}{hostile}",
                rows=rows,
                metrics={"log_loss": Banded(loss + off, loss + off - 0.03, loss + off + 0.03)},
                bias=off / 3,
            )
            for name, rows, off in (("EV", 4210, 0.06), ("UA", 5033, 0.01), ("B6", 3980, -0.02))
        ),
        unjudged=(f"carrier=HA{hostile}", "carrier=OO"),
        calibration=Calibration(
            rows=22_104,
            bias=Banded(0.013, 0.004, 0.022),
            error=Banded(0.024, 0.017, 0.031),
            slope=0.93,
            bins=tuple(ReliabilityBin(2210, index / 11, index / 11 + 0.02 * math.sin(index)) for index in range(1, 11)),
        ),
        estimates={"log_loss": loss + 0.006, "accuracy": 0.781},
        checks=(EstimateCheck(metric="log_loss", cohorts=60, bias=0.002, off=0.008, worst=0.031),),
        concept=ConceptEvidence(
            evidence=1410.0 if named else 0.7,
            limit=1000.0,
            days=40,
            accepted=0.001,
            recent=0.013,
            tolerance=0.02,
            since=day - 9 * DAY if named else None,
            rise=0.031 if named else None,
            explained=0.2 if named else None,
            named=named,
        ),
    )


def cohort(day: datetime, back: int, loss: float) -> Cohort:
    labels = (0, 0, 700, 820)[min(back, 3)]
    return Cohort(
        start=day,
        end=day + DAY,
        rows=840,
        labels=labels,
        metrics={"log_loss": Banded(loss, loss - 0.03, loss + 0.03)} if labels else {},
        estimates={"log_loss": loss + 0.006},
    )


def fairness(*, hostile: str = "") -> Fairness:
    return Fairness(
        version=5,
        recent=tuple(
            group(f"{name}{hostile}", rows, rate=rate)
            for name, rows, rate in (("EWR", 9012, 0.26), ("JFK", 8011, 0.22), ("LGA", 6120, 0.19))
        ),
        recent_gaps=(
            gap("demographic_parity", 0.07, limit=0.1, hostile=hostile),
            gap("equal_opportunity", 0.09, limit=0.15, hostile=hostile),
            gap("calibration", 0.02, limit=None, hostile=hostile),
        ),
        notes=(f"tail{hostile} is no column of what was answered",),
    )


def group(name: str, rows: int, *, rate: float) -> GroupMeasure:
    return GroupMeasure(
        column="origin",
        group=name,
        rows=rows,
        labelled=rows - 20,
        positives=rows // 4,
        selection_rate=rate,
        true_positive_rate=rate + 0.3,
        false_positive_rate=rate - 0.1,
        answer=rate,
        truth=rate - 0.01,
        error=0.01,
        loss=0.47,
        bins=(CalibrationBin(10, 0.2, 0.21),),
    )


def gap(measure: str, value: float, *, limit: float | None, hostile: str) -> Gap:
    return Gap(
        measure=measure,
        column="origin",
        value=value,
        ratio=0.73,
        highest=f"EWR{hostile}",
        lowest="LGA",
        rows=23_143,
        unjudged=("SWF",),
        limit=limit,
        low=value - 0.02,
        high=value + 0.02,
        evidence=1.9 if limit else 0.0,
        evidence_limit=1000.0 if limit else 0.0,
        days=80,
    )
