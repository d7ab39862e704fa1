"""The plain lists: datasets, alerts and features watched, events. Each is a page and its JSON."""

from datetime import datetime

import msgspec

from kedge.domain.data import DatasetVersion, ValidationReport
from kedge.domain.ids import DatasetName
from kedge.domain.monitoring import Alert, AlertKind, Health, Risk, VersionHealth
from kedge.errors import NotFound
from kedge.ports import MetaStore
from kedge.server.reading.glance import Drifts, drifts
from kedge.server.reading.happened import happened
from kedge.server.reading.scene import Scene
from kedge.server.reading.sentence import verdict
from kedge.server.reading.state import Happened, Sentence, State
from kedge.web import words

_KINDS = {AlertKind.RISK: State.ALARM, AlertKind.SILENCE: State.ALARM}


class DatasetPage(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset: its newest version's report, and its versions, newest first."""

    dataset: str
    verdict: Sentence
    report: ValidationReport | None
    versions: tuple[DatasetVersion, ...]


class DatasetsPage(msgspec.Struct, frozen=True, kw_only=True):
    """All datasets."""

    say: str
    datasets: tuple[DatasetVersion, ...]


class AlertsPage(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched now, and the alerts, newest first."""

    verdict: Sentence
    window: str
    measured_at: datetime | None
    rows: int
    labels: int
    versions: tuple[VersionHealth, ...]
    risk: Risk | None
    drifts: Drifts
    alerts: tuple[Alert, ...]


class EventsPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of events, newest first; `next` is the token of the page after it, empty at the end."""

    events: tuple[Happened, ...]
    next: str


def datasets_page(meta: MetaStore) -> DatasetsPage:
    """List the newest version of each dataset."""
    found = [meta.datasets.find(name) for name in meta.datasets.names()]
    versions = tuple(version for version in found if version is not None)
    rows = sum(version.rows for version in versions)
    return DatasetsPage(
        say=f"{words.many(len(versions), 'dataset')}, {words.many(rows, 'row')} in the newest versions.", datasets=versions
    )


def dataset_page(meta: MetaStore, name: DatasetName) -> DatasetPage:
    """Describe one dataset. Raises NotFound."""
    versions = tuple(sorted(meta.datasets.list(name), key=lambda version: -version.number))
    if not versions:
        raise NotFound(f"no dataset is named {name!r}; /api/v1/datasets lists them")
    report = meta.datasets.find_report(versions[0].digest)
    return DatasetPage(dataset=name, verdict=_dataset_verdict(versions[0], report), report=report, versions=versions)


def _dataset_verdict(newest: DatasetVersion, report: ValidationReport | None) -> Sentence:
    what = f"{newest.dataset}@{newest.number}"
    upto = f"Rows known up to {words.utc(newest.upto)}." if newest.upto else "It holds no rows."
    if report is None:
        return Sentence(
            state=State.HOLDS, say=f"{what} has {words.many(newest.rows, 'row')}; nobody has checked them.", sub=upto
        )
    if not report.passed:
        return Sentence(
            state=State.ALARM,
            say=f"{what} was refused: {words.many(len(report.breaches), 'expectation')} did not hold.",
            sub=f"Nothing was trained on it; what is live stays live. {upto}",
        )
    rows = words.many(newest.rows, "row")
    if report.quarantined:
        aside = words.many(report.quarantined, "row")
        return Sentence(state=State.WATCH, say=f"{what} is as expected but for {aside} set aside: {rows}.", sub=upto)
    return Sentence(state=State.WELL, say=f"{what} is as expected: {rows}, every expectation met.", sub=upto)


def alerts_page(scene: Scene) -> AlertsPage:
    """Describe what is watched, and every alert so far."""
    health: Health | None = scene.health
    return AlertsPage(
        verdict=verdict(scene),
        window=health.window.id if health else "",
        measured_at=health.window.end if health else None,
        rows=health.rows if health else 0,
        labels=health.labels if health else 0,
        versions=health.versions if health else (),
        risk=health.risk if health else None,
        drifts=drifts(scene, most=100),
        alerts=scene.alerts,
    )


def alert_state(alert: Alert) -> State:
    """Give the state in which an alert is shown: what says that people were harmed is an alarm, the rest a watch."""
    return _KINDS.get(alert.kind, State.WATCH)


def events_page(meta: MetaStore, dataset: DatasetName, *, before: int | None, subject: str | None, limit: int) -> EventsPage:
    """List a page of events."""
    page = meta.events.list(subject=subject, before=before, limit=limit + 1)
    shown = page[:limit]
    token = to_token(shown[-1][0]) if len(page) > limit else ""
    return EventsPage(events=tuple(happened(serial, event, dataset=dataset) for serial, event in shown), next=token)


def to_token(serial: int) -> str:
    """Make an opaque page token."""
    return f"e{serial:x}"


def from_token(token: str) -> int:
    """Read a page token. ValueError where it is none of ours."""
    if not token.startswith("e"):
        raise ValueError("not a page token; take the `next` of the page before, as it is")
    return int(token[1:], 16)
