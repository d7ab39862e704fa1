"""The ten stations of the loop, in order: each looks at its part of the scene and says state, word and one figure."""

from kedge.domain.alerting import AlertKind
from kedge.domain.evaluation import Outcome
from kedge.domain.rollout import Move
from kedge.domain.tracking import RunStatus
from kedge.retraining.ledger import RETRAIN
from kedge.server.reading.scene import Scene
from kedge.server.reading.state import State, Station
from kedge.server.reading.watchlist import above_unsure
from kedge.web import words


def stations(scene: Scene) -> tuple[Station, ...]:
    """Describe all ten, data first."""
    return tuple(
        Station(
            name=name, state=state, word=word, figure=figure, link=link.format(model=scene.model, data=scene.spec.dataset)
        )
        for name, link, look in _STATIONS
        for state, word, figure in (look(scene),)
    )


_Seen = tuple[State, str, str]


def _data(scene: Scene) -> _Seen:
    if scene.dataset is None:
        return State.IDLE, "idle", "no rows yet"
    rows = words.many(scene.dataset.rows, "row")
    if scene.report is None:
        return State.HOLDS, "not checked", rows
    if not scene.report.passed:
        return State.ALARM, "refused", words.many(len(scene.report.breaches), "breach", more="breaches")
    if scene.report.quarantined:
        return State.WATCH, "watch", f"{words.count(scene.report.quarantined)} set aside"
    return State.WELL, "well", rows


def _features(scene: Scene) -> _Seen:
    newest = scene.versions[0] if scene.versions else None
    if newest is None:
        return State.IDLE, "idle", "no model yet"
    if scene.parity is not None and not scene.parity.holds:
        return State.WATCH, "watch", f"{words.many(scene.parity.mismatched, 'value')} served otherwise"
    return State.WELL, "well", words.many(len(newest.signature.inputs), "feature")


def _training(scene: Scene) -> _Seen:
    if not scene.runs:
        return State.IDLE, "idle", "no run yet"
    run = scene.runs[0]
    if run.status is RunStatus.RUNNING:
        return State.RUNNING, "running", f"since {words.when(run.started_at, scene.now)}"
    if run.status is RunStatus.FAILED:
        return State.ALARM, "failed", words.when(run.started_at, scene.now)
    return State.IDLE, "idle", f"last run {words.when(run.ended_at or run.started_at, scene.now)}"


def _gate(scene: Scene) -> _Seen:
    newest = scene.versions[0] if scene.versions else None
    refused = next((alert for alert in scene.alerts if alert.kind is AlertKind.GATE_REFUSED), None)
    if refused and (newest is None or refused.raised_at > newest.registered_at):
        return State.WATCH, "refused", words.when(refused.raised_at, scene.now)
    if newest is None:
        return State.IDLE, "idle", "nothing judged"
    judged = [finding for finding in newest.verdict.findings if finding.outcome is not Outcome.HELD]
    passed = sum(finding.outcome is Outcome.PASSED for finding in judged)
    return State.WELL, "passed", f"{passed} of {words.many(len(judged), 'check')}"


def _registry(scene: Scene) -> _Seen:
    if not scene.versions:
        return State.IDLE, "idle", "no version yet"
    return State.WELL, "well", words.many(len(scene.versions), "version")


def _rollout(scene: Scene) -> _Seen:
    deployment = scene.deployment
    if deployment is None:
        return State.IDLE, "idle", "nothing live"
    if deployment.challenger is not None:
        return State.TRIAL, "on trial", f"v{deployment.challenger} at {words.percent(deployment.share)} %"
    look = scene.looks[-1] if scene.looks else None
    if look is not None and look.move is Move.ROLL_BACK and look.challenger > deployment.champion:
        return State.WATCH, "rolled back", f"v{look.challenger}"
    return State.IDLE, "idle", f"v{deployment.champion} has all"


def _serving(scene: Scene) -> _Seen:
    health = scene.health
    if health is None:
        return State.IDLE, "idle", "no window yet"
    errors = sum(version.errors for version in health.versions)
    if errors:
        return State.WATCH, "watch", words.many(errors, "error")
    if not health.rows:
        return State.HOLDS, "silent", "no predictions"
    return State.WELL, "well", f"{words.count(health.rows)} in {words.duration(scene.window.total_seconds())}"


def _monitoring(scene: Scene) -> _Seen:
    health = scene.health
    if health is None:
        return State.IDLE, "idle", "no window yet"
    moved = sum(drift.alarm for drift in scene.drift)
    figure = f"{moved} of {len(scene.drift)} drift" if scene.drift else "no drift measured"
    if health.risk is not None and health.risk.alarm:
        return State.ALARM, "alarm", "loss above limit"
    if moved or health.alerts:
        return State.WATCH, "watch", figure
    if above_unsure(health):
        return State.WATCH, "watch", "loss above limit, not yet sure"
    return State.WELL, "well", figure


def _truth(scene: Scene) -> _Seen:
    health = scene.health
    if health is None:
        return State.IDLE, "idle", "no window yet"
    if not health.blocks:
        return State.HOLDS, "holds", "no labels yet"
    behind = health.window.end - max(block.day for block in health.blocks)
    return State.WELL, "arriving", f"{words.duration(behind.total_seconds())} behind"


def _retraining(scene: Scene) -> _Seen:
    policy, entry = scene.spec.retraining.policy, scene.entry
    if policy in ("never", "manual"):
        return State.IDLE, "idle", f"policy {policy}"
    if entry is None:
        return State.IDLE, "idle", f"policy {policy}"
    if entry.decision == RETRAIN:
        state, word = (State.WATCH, "stopped") if scene.stopped else (State.RUNNING, "ordered")
        if scene.ended is not None and scene.ended.outcome == "released":
            state, word = State.HOLDS, f"made v{scene.ended.version}"
        return state, word, words.when(entry.decided_at, scene.now)
    if policy == "ledger":
        return State.HOLDS, "holds", f"regret {words.number(entry.regret, 2)} of {words.number(entry.price, 2)}"
    return State.HOLDS, "holds", f"policy {policy}"


_STATIONS = (
    ("Data", "/data/{data}", _data),
    ("Features", "/models/{model}#features", _features),
    ("Training", "/runs", _training),
    ("Gate", "/models/{model}#gate", _gate),
    ("Registry", "/models/{model}#versions", _registry),
    ("Rollout", "/models/{model}#rollout", _rollout),
    ("Serving", "/monitoring#serving", _serving),
    ("Monitoring", "/monitoring", _monitoring),
    ("Ground truth", "/models/{model}#loss", _truth),
    ("Retraining", "/models/{model}#ledger", _retraining),
)
