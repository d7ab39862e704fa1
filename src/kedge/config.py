"""The project file: the only reader of `kedge.toml`; and the settings, for whoever needs both.

A project file becomes one `ProjectSpec`, checked whole before anything runs. Each error names file and line and says
what would be right.
"""

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from kedge.alert_settings import check_alerts, read_alerts
from kedge.data.expect import checked
from kedge.document import Document, choices_at
from kedge.domain.data import Expectation
from kedge.domain.durations import seconds_of, share_of
from kedge.domain.evaluation import GateRules, Task
from kedge.domain.fairness import CLASS_GAPS, CROSS, NUMBER_GAPS, RATE_GAPS
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import COMING, MonitoringRules
from kedge.domain.predictions import PredictionRules
from kedge.domain.project import DataRules, FeatureRules, ProjectSpec, ReplayRules, ServingRules, TrainingRules
from kedge.domain.retraining import RetrainingRules
from kedge.domain.rollout import RolloutRules
from kedge.domain.sizes import bytes_of
from kedge.domain.trust import Trust
from kedge.domain.worth import MissedWhen
from kedge.errors import ConfigError, RequestInvalid
from kedge.retraining.policy import ALARMS_OF, policy_of
from kedge.rollout.steps import check_rules
from kedge.settings import Settings, settings

__all__ = ["PROJECT_FILE", "Settings", "read_project", "settings"]

PROJECT_FILE = "kedge.toml"
TRUST_FILE = "trust.toml"
TRIGGERS = ("dataset", "webhook")
_WITHOUT_LOOP = {"project", "serving", "predictions", "monitoring", "alerts"}
_SECTIONS = (
    "project",
    "data",
    "features",
    "training",
    "gate",
    "rollout",
    "serving",
    "predictions",
    "monitoring",
    "retraining",
    "replay",
    "alerts",
)


def read_project(folder: Path) -> ProjectSpec:
    """Read and check `kedge.toml` of a folder. Raises ConfigError with file, line and what would be right."""
    path = folder / PROJECT_FILE
    document = Document.read(path, or_else="make a project with: kedge init DIR --template tabular")
    document.only(*_SECTIONS)
    name = document.table("project", required=True).get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
        document.fail(("project", "name"), f'project.name is {name!r}; write 1 to 63 letters, digits, "-" or "_"')
    document.only("name", "remote", inside="project")
    spec = ProjectSpec(
        name=ModelName(name),
        data=document.section("data", DataRules, required=True),
        features=document.section("features", FeatureRules),
        training=document.section("training", TrainingRules),
        gate=document.section("gate", GateRules),
        rollout=document.section("rollout", RolloutRules),
        monitoring=document.section("monitoring", MonitoringRules),
        retraining=document.section("retraining", RetrainingRules),
        serving=document.section("serving", ServingRules),
        predictions=document.section("predictions", PredictionRules),
        replay=document.section("replay", ReplayRules),
        alerts=read_alerts(document),
    )
    check_alerts(document, spec)
    _check_durations(document, spec)
    _check_policy(document, spec)
    _check_choices(document, spec)
    _check_fairness(document, spec)
    _check_business(document, spec)
    _check_operations(document, spec)
    _check_serving(document, spec.serving)
    _check_predictions(document, spec)
    _check_gate(document, spec)
    _check_files(document, spec, folder=folder)
    return msgspec.structs.replace(spec, expectations=_expectations(document, spec, folder=folder))


def read_serving(folder: Path) -> tuple[ModelName, ServingRules]:
    """Read what a data plane must know before it imports anything: the project's name ("" where there is no loop), and how
    it is served. Raises ConfigError; whoever opens the house then checks the whole file.
    """
    if not (folder / PROJECT_FILE).exists():
        return ModelName(""), ServingRules()
    document = Document.read(folder / PROJECT_FILE, or_else="make a project with: kedge init DIR --template tabular")
    serving = document.section("serving", ServingRules)
    _check_serving(document, serving)
    name = document.table("project", required=True).get("name") if document.content.keys() - _WITHOUT_LOOP else ""
    return ModelName(str(name)), serving


def project_or_none(folder: Path) -> ProjectSpec | None:
    """Read the project file of a folder; None where there is none, or one that only names the project: it has no loop.

    Raises ConfigError for one that is wrong.
    """
    path = folder / PROJECT_FILE
    if not path.exists() or set(Document.read(path, or_else="").content) <= _WITHOUT_LOOP:
        return None
    return read_project(folder)


def read_trust(where: Settings) -> Trust:
    """Read whose code may run here: KEDGE_TRUST, else trust.toml in the project's folder; nobody's where there is none.

    Raises ConfigError.
    """
    path = Path(where.trust) if where.trust else where.project / TRUST_FILE
    if not path.exists() and not where.trust:
        return Trust()
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Trust)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}; it has [keys], and lists `classes` and `pickles`") from error


def bare_project(folder: Path) -> ProjectSpec:
    """Make what stands for a project where there is none: named as the folder, without data, so nothing is ever trained.

    How its models are served and watched, and their predictions kept, is read from its file, if there is one. Raises
    ConfigError.
    """
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-_")[:63]
    bare = ProjectSpec(name=ModelName(plain or "kedge"), data=DataRules(source="", time="", label=""))
    if not (folder / PROJECT_FILE).exists():
        return bare
    document = Document.read(folder / PROJECT_FILE, or_else="")
    spec = msgspec.structs.replace(
        bare,
        serving=document.section("serving", ServingRules),
        predictions=document.section("predictions", PredictionRules),
        monitoring=document.section("monitoring", MonitoringRules),
        alerts=read_alerts(document),
    )
    check_alerts(document, spec)
    _check_durations(document, spec)
    _check_choices(document, spec)
    _check_fairness(document, spec)
    _check_business(document, spec)
    _check_operations(document, spec)
    _check_serving(document, spec.serving)
    _check_predictions(document, spec)
    return spec


def _check_durations(document: Document, spec: ProjectSpec) -> None:
    durations = {
        ("data", "label_delay"): spec.data.label_delay,
        ("training", "time_limit"): spec.training.time_limit,
        ("training", "rows"): "" if spec.training.rows == "all" else spec.training.rows,
        ("monitoring", "window"): spec.monitoring.window,
        ("retraining", "step"): spec.retraining.step,
        ("retraining", "cooldown"): spec.retraining.cooldown,
        ("retraining", "longest"): spec.retraining.longest,
        ("predictions", "keep"): spec.predictions.keep,
        ("predictions", "close"): spec.predictions.close,
        ("replay", "tick"): spec.replay.tick,
    }
    for place, text in durations.items():
        if text:
            try:
                seconds_of(text)
            except ValueError as error:
                document.fail(place, f"{'.'.join(place)}: {error}")
    try:
        check_rules(spec.rollout)
    except RequestInvalid as error:
        rule = re.split(r"\W", str(error))[0]
        document.fail(("rollout", rule), f"rollout.{error}")
    if seconds_of(spec.monitoring.window) % 60:
        said = f'monitoring.window is {spec.monitoring.window}; write a whole number of minutes, such as "1min"'
        document.fail(("monitoring", "window"), said)
    if spec.data.source and seconds_of(spec.retraining.step) % seconds_of(spec.monitoring.window):
        document.fail(("retraining", "step"), "retraining.step must be a whole number of monitoring windows")


def _check_policy(document: Document, spec: ProjectSpec) -> None:
    policy = spec.retraining.policy
    try:
        policy_of(policy)
    except ConfigError as error:
        document.fail(("retraining", "policy"), str(error))
    if policy == "threshold" and spec.retraining.threshold is None:
        document.fail(("retraining", "policy"), 'policy "threshold" needs retraining.threshold, a loss over which to train')
    for alarm in spec.retraining.look_on:
        if alarm not in ALARMS_OF:
            known = ", ".join(f'"{name}"' for name in ALARMS_OF)
            document.fail(("retraining", "look_on"), f"retraining.look_on: {alarm!r} is not known; known are {known}")
    for trigger in spec.retraining.triggers:
        kind, _, name = trigger.partition(":")
        if kind not in TRIGGERS or not re.fullmatch(r"[\w.-]+", name):
            document.fail(
                ("retraining", "triggers"),
                f'retraining.triggers: {trigger!r} is not known; write "dataset:NAME" or "webhook:NAME"',
            )
    if spec.retraining.min_labels < 0:
        said = f"retraining.min_labels is {spec.retraining.min_labels}; write 0 or more new labels"
        document.fail(("retraining", "min_labels"), said)
    price = spec.retraining.price
    if price.loss <= 0 or price.retrain <= 0 or price.cpu_hour < 0:
        document.fail(("retraining", "price"), "retraining.price: loss and retrain must be above 0, cpu_hour 0 or more")


def _check_choices(document: Document, spec: ProjectSpec) -> None:
    declared = spec.monitoring.tolerance
    for name, tolerance in (declared if isinstance(declared, dict) else {"": declared}).items():
        if tolerance != "auto" if isinstance(tolerance, str) else not 0 < tolerance < 0.5:
            said = f"monitoring.tolerance.{name}" if name else "monitoring.tolerance"
            document.fail(("monitoring", "tolerance"), f'{said} is "auto" or a share of ranks between 0 and 0.5')
    _check_silence(document, spec.monitoring.silence)
    risk = spec.monitoring.risk_tolerance
    if not 0 <= risk < math.inf:
        document.fail(
            ("monitoring", "risk_tolerance"),
            f"monitoring.risk_tolerance is {risk:g}; write a share of 0 or more, such as 0.05",
        )
    if spec.monitoring.run_length < 1:
        document.fail(("monitoring", "run_length"), "monitoring.run_length must be 1 or more windows")
    if spec.data.label_time and spec.data.label_delay:
        document.fail(("data", "label_delay"), "data.label_time and data.label_delay say the same thing twice; keep one")
    if spec.serving.holdout and spec.data.task is not Task.CLASSIFICATION:
        document.fail(("serving", "holdout"), "serving.holdout serves a coin, which is no answer to a regression; leave it")
    if spec.training.half_life is not None and spec.training.half_life <= 0:
        document.fail(("training", "half_life"), "training.half_life must be above 0 steps")


def _check_silence(document: Document, declared: str | dict[str, str]) -> None:
    for what, text in (declared if isinstance(declared, dict) else {"": declared}).items():
        said = f"monitoring.silence.{what}" if what else "monitoring.silence"
        if what and what not in COMING:
            document.fail(
                ("monitoring", "silence"), f"{said} is not known; those that may be silent are: {', '.join(COMING)}"
            )
        try:
            if text != "auto":
                seconds_of(text)
        except ValueError as error:
            document.fail(("monitoring", "silence"), f'{said} is "auto" or a duration: {error}')


def _check_fairness(document: Document, spec: ProjectSpec) -> None:
    rules, task = spec.monitoring, spec.data.task
    for group in rules.groups:
        parts = group.split(CROSS)
        if not all(part.strip() for part in parts) or len({*parts}) < len(parts):
            document.fail(("monitoring", "groups"), f'monitoring.groups: {group!r} is no column, nor columns as in "a+b"')
    if not 1 <= rules.intersections <= 3:
        document.fail(("monitoring", "intersections"), "monitoring.intersections is how many columns are crossed: 1 to 3")
    known = CLASS_GAPS if task is Task.CLASSIFICATION else NUMBER_GAPS
    for measure, limit in rules.fairness.items():
        where = ("monitoring", "fairness", measure)
        if measure not in known:
            document.fail(where, f"monitoring.fairness: {measure!r} is not one of {', '.join(known)} ({task.value})")
        if not 0 < limit < math.inf:
            document.fail(where, f"monitoring.fairness: {measure} is {limit:g}; write a difference above 0")
        if task is Task.CLASSIFICATION and measure in RATE_GAPS and limit >= 1:
            said = f"{measure} is {limit:g}, which no difference of rates exceeds; write one below 1, such as 0.1"
            document.fail(where, f"monitoring.fairness: {said}")
    if rules.fairness and not rules.groups and all(check.fairness is None for check in spec.gate.checks):
        document.fail(("monitoring", "fairness"), "monitoring.fairness needs monitoring.groups: the columns of groups")


def _check_business(document: Document, spec: ProjectSpec) -> None:
    for name, rules in spec.monitoring.business.items():
        from kedge.evaluation.value import read_value  # here: it needs Polars, which a project without any does not

        where = ("monitoring", "business", name)
        if not re.fullmatch(r"[A-Za-z_]\w{0,62}", name):
            document.fail(where, f"monitoring.business: {name!r} is no name; write letters, digits and underscores")
        try:
            read_value(rules.value)
        except RequestInvalid as error:
            document.fail((*where, "value"), f"monitoring.business.{name}.{error}")
        if rules.target is not None and not math.isfinite(rules.target):
            document.fail((*where, "target"), f"monitoring.business.{name}.target is {rules.target:g}; write a number")
        asked = document.table("monitoring")["business"][name].get("alarm", MissedWhen.NEVER.value)
        if rules.target is None and asked != MissedWhen.NEVER.value:
            said = f'monitoring.business.{name}.alarm is "{asked}", and there is no target to miss; write target = NUMBER'
            document.fail((*where, "alarm"), said)


def _check_operations(document: Document, spec: ProjectSpec) -> None:
    rules = spec.monitoring.operations
    objectives: tuple[tuple[str, Callable[[str], object]], ...] = (
        ("p50", seconds_of),
        ("p95", seconds_of),
        ("p99", seconds_of),
        ("errors", share_of),
        ("availability", _below_all),
    )
    for name, reads in objectives:
        try:
            if text := getattr(rules, name):
                reads(text)
        except ValueError as error:
            document.fail(("monitoring", "operations", name), f"monitoring.operations.{name}: {error}")


def _below_all(text: str) -> float:
    """Read a share that leaves some to fail. ValueError says what would be right."""
    if (share := share_of(text)) >= 1:
        raise ValueError('"100%" leaves no request to fail, and nothing keeps that; write "99.9%"')
    return share


def _check_serving(document: Document, serving: ServingRules) -> None:
    for name, number, most in (
        ("workers", serving.workers, 1024),
        ("threads", serving.threads, 1024),
        ("queue", serving.queue, 10**6),
        ("call_rows", serving.call_rows, 10**6),
        ("grpc_port", 1 if serving.grpc_port is None else serving.grpc_port, 65535),
    ):
        if not 1 <= number <= most:
            document.fail(("serving", name), f"serving.{name} is {number}; write a number from 1 to {most}")
    for name in ("hang", "drain", "timeout", "trace_slow"):
        _require(document, ("serving", name), reads=seconds_of, text=getattr(serving, name))
    _require(document, ("serving", "holdout"), reads=share_of, text=serving.holdout or "1%")
    _require(document, ("serving", "trace_share"), reads=share_of, text=serving.trace_share or "1%")
    if serving.traces and not re.match(r"https?://[^/]", serving.traces):
        document.fail(("serving", "traces"), f"serving.traces is {serving.traces!r}; write http://HOST:4318/v1/traces")
    for name in ("memory", "body_limit", "loaded"):
        _require(document, ("serving", name), reads=bytes_of, text=getattr(serving, name) or "1B")


def _require(document: Document, place: tuple[str, str], *, reads: Callable[[str], object], text: str) -> None:
    try:
        reads(text)
    except ValueError as error:
        document.fail(place, f"{'.'.join(place)}: {error}")


def _check_predictions(document: Document, spec: ProjectSpec) -> None:
    predictions = spec.predictions
    if predictions.queue < 1:
        document.fail(("predictions", "queue"), f"predictions.queue is {predictions.queue}; write 1 row or more")
    try:
        share_of(predictions.sample)
    except ValueError as error:
        document.fail(("predictions", "sample"), f"predictions.sample: {error}")
    if predictions.archive and "://" not in predictions.archive:
        document.fail(
            ("predictions", "archive"), f'predictions.archive is {predictions.archive!r}; write a URL: "s3://BUCKET/FOLDER"'
        )


def _check_gate(document: Document, spec: ProjectSpec) -> None:
    # here, not above: both need numpy, which a server without a project does not
    from kedge.evaluation.gate import FORMS_WRITTEN, has_one_form
    from kedge.evaluation.metrics import loss_name, metric_of

    try:
        loss_name(spec.gate.metric, spec.data.task)
        for check in spec.gate.checks:
            if check.metric is not None:
                metric_of(check.metric, spec.data.task)
    except ConfigError as error:
        document.fail(("gate", "metric" if "metric" in document.table("gate") else "checks"), str(error))
    for check in spec.gate.checks:
        if not has_one_form(check):
            document.fail(("gate", "checks"), f"gate.checks: a check must have just one of these forms: {FORMS_WRITTEN}")


def _check_files(document: Document, spec: ProjectSpec, *, folder: Path) -> None:
    references = {
        ("data", "source"): spec.data.source,
        ("features", "service"): spec.features.service,
        ("training", "pipeline"): spec.training.pipeline,
        ("data", "expectations"): spec.data.expectations,
    }
    for place, reference in references.items():
        code = re.fullmatch(r"(.+\.py):([A-Za-z_]\w*)", reference)
        file = code[1] if code else reference
        if place in (("features", "service"), ("training", "pipeline")) and reference and not code:
            document.fail(place, f'{".".join(place)} is {reference!r}; write "FILE.py:NAME"')
        if file and not any(c in file for c in "*?[") and "://" not in file and not (folder / file).is_file():
            document.fail(place, f"{'.'.join(place)}: {folder / file} does not exist")


def _expectations(document: Document, spec: ProjectSpec, *, folder: Path) -> tuple[Expectation, ...]:
    """Read a project's expectations; those in Python are loaded where they are asked (`data/room.py`)."""
    if not spec.data.expectations or ".py:" in spec.data.expectations:
        return ()
    return read_expectations(folder / spec.data.expectations, or_else=f"it is named in {document.path}")


def read_expectations(path: Path, *, or_else: str) -> tuple[Expectation, ...]:
    """Read a file of expectations. Raises ConfigError with file, line and what would be right."""
    rules = Document.read(path, or_else=or_else)
    rules.only("expectation")
    heads = [number for number, line in enumerate(rules.lines, 1) if line.strip().startswith("[[")]
    made = []
    for index, entry in enumerate(rules.content.get("expectation", [])):
        try:
            made.append(checked(msgspec.convert(_with_times(entry), Expectation)))
        except (msgspec.ValidationError, ConfigError) as error:
            line = heads[index] if index < len(heads) else 1
            raise ConfigError(f"{rules.path}, line {line}: expectation {index + 1}: {_said(error)}") from None
    return tuple(made)


def _said(error: Exception) -> str:
    """Say what is wrong with an expectation, and what would be right where it is one of a few words."""
    said = str(error).replace("Invalid RFC3339 encoded datetime", "Expected `float`, or a time such as 2013-01-31")
    field = re.search(r"Invalid enum value '.*' - at `\$\.(\w+)`", said)
    return said + choices_at(Expectation, (field[1],)) if field else said


def _with_times(entry: object) -> object:
    """Take a day that is written as a bound as its start."""
    if not isinstance(entry, dict):
        return entry
    days = {name: bound for name, bound in entry.items() if isinstance(bound, date) and not isinstance(bound, datetime)}
    return entry | {name: datetime(day.year, day.month, day.day, tzinfo=UTC) for name, day in days.items()}
