"""Values to fill a metadata store with, and where the stores of the contract suite live."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache

from kedge.domain.alerting import Alert, AlertKind
from kedge.domain.data import Column, ColumnType, DatasetVersion, Part, Schema, ValidationReport
from kedge.domain.evaluation import Task, conclude
from kedge.domain.events import Event, EventKind, Fact
from kedge.domain.ids import DEFAULT_EXPERIMENT, DatasetName, Digest, ModelName, RunId, digest_of
from kedge.domain.lineage import Edge, Node, NodeKind
from kedge.domain.monitoring import Block, Drift, Health, Risk, StepLosses, VersionHealth, Window
from kedge.domain.registry import AliasMove, ModelVersion, Signature
from kedge.domain.retraining import LedgerEntry, Trigger
from kedge.domain.rollout import Deployment, Move, RolloutLook
from kedge.domain.tracking import Code, Environment, Run, RunStatus, Usage

NOW = datetime(2013, 3, 1, 12, tzinfo=UTC)
MODEL = ModelName("flights")
DEFAULT_POSTGRESQL = "postgresql://postgres@127.0.0.1:5432/test"
MISSING = f"no PostgreSQL: set KEDGE_TEST_POSTGRESQL, or start one at {DEFAULT_POSTGRESQL}"


def event(*key: object, kind: EventKind = EventKind.TURN_ENDED, subject: str = MODEL, **more: object) -> Event:
    facts: dict[str, Fact] = {"rows": 7, "loss": 0.25, "passed": True, "note": "ä€", "none": None}
    values = {"actor": "policy:ledger", "message": "It happened.", "at": NOW, "facts": facts} | more
    return Event(key=digest_of(*key), kind=kind, subject=subject, **values)  # type: ignore[arg-type]


def edge(made: str, source: str, role: str = "training data") -> Edge:
    return Edge(made=Node(NodeKind.RUN, made), source=Node(NodeKind.DATASET_VERSION, source), role=role)


def dataset(number: int = 1, name: str = "flights") -> DatasetVersion:
    part = Part(digest=digest_of("part", number), rows=number * 10, bytes=1000, after=None, upto=NOW)
    return DatasetVersion(
        dataset=DatasetName(name),
        number=number,
        digest=digest_of("dataset", name, number),
        schema=Schema((Column(name="carrier", type=ColumnType.STRING, categories=("AA", "ÜÄ")),)),
        parts=(part,),
        rows=number * 10,
        order="known_at__",
        created_at=NOW + timedelta(microseconds=number),
        parent=digest_of("dataset", name, number - 1) if number > 1 else None,
    )


def report(version: Digest, *, passed: bool = True) -> ValidationReport:
    return ValidationReport(dataset=DatasetName("flights"), version=version, passed=passed, rows=10)


def run(key: str = "a", status: RunStatus = RunStatus.FINISHED, **more: object) -> Run:
    content_key = digest_of("run", key)
    values: dict[str, object] = {
        "id": RunId(content_key[:16]),
        "experiment": DEFAULT_EXPERIMENT,
        "name": f"train-{key}",
        "content_key": content_key,
        "status": status,
        "code": Code(commit="c0ffee", dirty=False, digest=digest_of("code")),
        "environment": Environment(python="3.11", platform="linux", packages=("numpy==2",), digest=digest_of("env")),
        "inputs": (digest_of("dataset"),),
        "started_at": NOW,
        "params": {"depth": "3", "rate": "0.1"},
        "metrics": {"log_loss": 0.61, "roc_auc": 0.71},
        "artifacts": {"model": digest_of("tree")},
        "tags": {"by": "test"},
        "usage": Usage(cpu_seconds=1.5),
    }
    return Run(**(values | more))  # type: ignore[arg-type]


def version(number: int = 1, model: str = MODEL) -> ModelVersion:
    return ModelVersion(
        model=ModelName(model),
        number=number,
        digest=digest_of("model", number),
        format="sklearn",
        run=RunId(f"run{number}"),
        candidate_run=RunId(f"candidate{number}"),
        signature=Signature(
            inputs=(Column(name="hour", type=ColumnType.INTEGER),),
            task=Task.CLASSIFICATION,
            output="late",
            positive="1",
        ),
        service="delay",
        verdict=conclude(()),
        datasets=(digest_of("dataset"),),
        example=digest_of("example"),
        trained_upto=NOW,
        registered_at=NOW + timedelta(days=number),
    )


def move(number: int | None, previous: int | None, serial: int, **more: object) -> AliasMove:
    values = {"model": MODEL, "alias": "champion", "moved_at": NOW, "actor": "policy:ledger", "reason": "better"}
    return AliasMove(number=number, previous=previous, serial=serial, **(values | more))  # type: ignore[arg-type]


def deployment(revision: int = 1, **more: object) -> Deployment:
    values = {"model": MODEL, "champion": 1, "since": NOW, "actor": "policy:ledger", "reason": "first"} | more
    return Deployment(revision=revision, **values)  # type: ignore[arg-type]


def look(window: str, revision: int = 1) -> RolloutLook:
    return RolloutLook(
        model=MODEL,
        revision=revision,
        window=window,
        challenger=2,
        step=0,
        share=0.05,
        move=Move.HOLD,
        reason="no harm",
        looked_at=NOW,
    )


def alert(key: str, day: int = 0, model: str = MODEL) -> Alert:
    return Alert(
        key=key,
        model=ModelName(model),
        kind=AlertKind.RISK,
        message="The loss rose.",
        raised_at=NOW + timedelta(days=day),
        evidence=2000.0,
        limit=1000.0,
    )


def health(day: int = 0, *alerts: Alert, model: str = MODEL, **more: object) -> Health:
    start = NOW + timedelta(days=day)
    window = Window(start, start + timedelta(days=1))
    values: dict[str, object] = {
        "model": ModelName(model),
        "window": window,
        "rows": 900,
        "labels": 880,
        "versions": (VersionHealth(version=1, rows=900, errors=0, mean_output=0.2, latency_seconds=0.01),),
        "blocks": (Block(day=start, version=1, rows=880, loss=400.5),),
        "drift": (Drift(column="hour", psi=0.1, jensen_shannon=0.1, shift=0.0, evidence=1.5, limit=1000.0, alarm=False),),
        "risk": Risk(accepted=0.4, limit=0.42, mean=0.41, lower=0.39, days=12, alarm=False),
        "alerts": alerts,
        "loss": 0.45,
        "step": StepLosses(
            start=start, end=window.end, rows=880, champion=1, losses={1: 0.45, 2: 0.44}, ages={1: 3.0, 2: 1.0}
        ),
    }
    return Health(**(values | more))  # type: ignore[arg-type]


def trigger(number: int, **more: object) -> Trigger:
    values = {"key": digest_of("trigger", number), "model": MODEL, "kind": "person", "reason": f"reason {number}"}
    return Trigger(**values | {"actor": "person:ana", "asked_at": NOW} | more)  # type: ignore[arg-type]


def entry(step: int, **more: object) -> LedgerEntry:
    words = {"policy": "ledger", "decision": "wait", "reason": "regret below price", "model": MODEL, "decided_at": NOW}
    whole = {"champion": 1, "rows": 900, "since_look": 2, "step": step, "window": f"window-{step}"}
    names = ("loss", "slope", "gain", "regret", "price", "phi", "interval", "level", "gains", "gaps")
    values = words | whole | {name: index / 8 for index, name in enumerate(names)} | more
    return LedgerEntry(**values)  # type: ignore[arg-type]


def child(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a process that runs a script with what this one can import, its standard output a pipe."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", script, *arguments], env=environment, stdout=subprocess.PIPE, text=True)


@cache
def postgresql_url() -> str | None:
    """Find the PostgreSQL for the tests: KEDGE_TEST_POSTGRESQL, else the one on this machine; None where none is."""
    url = os.environ.get("KEDGE_TEST_POSTGRESQL", DEFAULT_POSTGRESQL)
    try:
        import psycopg

        psycopg.connect(url, connect_timeout=3).close()
    except Exception:
        if "KEDGE_TEST_POSTGRESQL" in os.environ:
            raise
        return None
    return url


@contextmanager
def fresh_schema(url: str) -> Iterator[str]:
    """Make a schema for one test and drop it after; give the URL of a store in it."""
    import psycopg

    name = f"kedge_{secrets.token_hex(8)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")  # type: ignore[call-overload]
        try:
            yield f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{name}"
        finally:
            connection.execute(f"DROP SCHEMA {name} CASCADE")  # type: ignore[call-overload]
