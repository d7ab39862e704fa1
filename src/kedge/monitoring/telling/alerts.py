"""Alerts: what a person is told. An alert says what, since when, how sure, and what follows."""

from collections.abc import Sequence
from datetime import datetime

from kedge.domain.alerting import Alert, AlertKind
from kedge.domain.ids import ModelName, digest_of
from kedge.domain.monitoring import Drift, Risk, Window
from kedge.domain.quality import ConceptEvidence
from kedge.domain.skew import Skew

FEW_NAMES = 5
THE_LOOP = "the loop"


def in_window(
    kind: AlertKind,
    window: Window,
    *,
    model: ModelName,
    at: datetime,
    message: str,
    subject: str,
    evidence: float | None = None,
    limit: float | None = None,
) -> Alert:
    """Make the alert of a window: there is one of each kind and subject."""
    return Alert(
        key=f"{model}/{kind.value}/{window.id}/{subject}",
        model=model,
        kind=kind,
        message=message,
        raised_at=at,
        subject=subject,
        evidence=evidence,
        limit=limit,
        window=window.id,
    )


def retrains(policy: str) -> str:
    """Say what a drift alarm does to training under a policy of retraining."""
    return "Policy drift trains by it" if policy == "drift" else "Nothing is retrained by this alone"


def drift_alert(
    model: ModelName,
    window: Window,
    *,
    at: datetime,
    drift: Sequence[Drift],
    evidence: float,
    limit: float,
    since: datetime | None = None,
    policy: str = "",
) -> Alert:
    """Tell that the inputs moved, naming the columns that did (or the one that speaks loudest), and since when.

    `policy` is the project's, of retraining.
    """
    moved = sorted((one for one in drift if one.alarm), key=lambda one: -one.evidence)
    alone = "" if moved else ", and others a little, which no column shows by itself"
    moved = moved or sorted(drift, key=lambda one: -one.evidence)[:1]
    names = ", ".join(one.column for one in moved[:FEW_NAMES])
    told = ", ".join(f"{one.column} ({one.stream})" for one in moved[:FEW_NAMES])
    more = f" and {len(moved) - FEW_NAMES} more" if len(moved) > FEW_NAMES else ""
    return in_window(
        AlertKind.DATA_DRIFT,
        window,
        model=model,
        at=at,
        message=f"{told}{more} moved away from the training data in the window that ended {window.end:%Y-%m-%d %H:%M}"
        f"{alone}{_since(since, window)}; {odds(evidence, limit)}. {retrains(policy)}",
        subject=names,
        evidence=evidence,
        limit=limit,
    )


def answers_alert(
    model: ModelName,
    window: Window,
    *,
    at: datetime,
    version: int,
    evidence: float,
    limit: float,
    since: datetime | None = None,
    policy: str = "",
) -> Alert:
    """Tell that the answers moved, and since when. `policy` is the project's, of retraining."""
    return in_window(
        AlertKind.PREDICTION_DRIFT,
        window,
        model=model,
        at=at,
        message=f"the answers of version {version} moved away from those at its gate in the window that ended "
        f"{window.end:%Y-%m-%d %H:%M}{_since(since, window)}; {odds(evidence, limit)}. {retrains(policy)}",
        subject=f"version {version}",
        evidence=evidence,
        limit=limit,
    )


def risk_alert(model: ModelName, window: Window, *, at: datetime, version: int, risk: Risk) -> Alert:
    """Tell that the live loss is above what was accepted."""
    return in_window(
        AlertKind.RISK,
        window,
        model=model,
        at=at,
        message=f"version {version} loses more than was accepted: at least {risk.lower:.4g} a row over {risk.days} days of "
        f"labels (95 % sure at any time), {risk.mean:.4g} on average; the limit is {risk.limit:.4g}. See why "
        "with: kedge monitor explain",
        subject=f"version {version}",
        evidence=risk.lower,
        limit=risk.limit,
    )


def concept_alert(model: ModelName, window: Window, *, at: datetime, version: int, concept: ConceptEvidence) -> Alert:
    """Tell that the relation between input and truth moved."""
    since = f" since {concept.since:%Y-%m-%d}" if concept.since is not None else ""
    rise = f"; a row costs {concept.rise:.4g} more than at the gate" if concept.rise else ""
    share = f", of which that explains {concept.explained:.0%}" if concept.explained is not None else ""
    moved = (
        f"the inputs moved too ({', '.join(concept.moved)}){share}"
        if concept.moved
        else ("inputs and answers stayed as they were")
    )
    return in_window(
        AlertKind.CONCEPT_DRIFT,
        window,
        model=model,
        at=at,
        message=f"what the inputs say of the truth changed{since}: truth less answer of version {version} is "
        f"{concept.recent:.4g} a row, {concept.accepted:.4g} at its gate{rise}; {moved}; "
        f"{odds(concept.evidence, concept.limit)}. Nothing is retrained by this alone",
        subject=f"version {version}",
        evidence=concept.evidence,
        limit=concept.limit,
    )


def skew_alert(model: ModelName, window: Window, *, at: datetime, skew: Skew) -> Alert:
    """Tell that served and trained have come apart, naming the columns and a row."""
    said = []
    if skew.skewed:
        names = ", ".join(list(skew.columns)[:FEW_NAMES])
        said.append(
            f"{skew.skewed} of {skew.rows} sampled rows were served with features that the join gives otherwise ({names})"
        )
    if skew.changed:
        said.append(f"{skew.changed} of {skew.answers} sampled answers are not what the model itself gives")
    rows = [*(one.prediction for one in skew.mismatches), *(one.prediction for one in skew.examples)]
    row = f"; for one, {rows[0]}" if rows else ""
    return in_window(
        AlertKind.PREDICTION_SKEW,
        window,
        model=model,
        at=at,
        message=f"{' and '.join(said) or 'served rows differ'}, in the window that ended {window.end:%Y-%m-%d %H:%M}{row}; "
        f"{odds(skew.evidence, skew.limit)}; see the values with: kedge monitor skew",
        subject=", ".join(list(skew.columns)[:FEW_NAMES]) or "answers",
        evidence=skew.evidence,
        limit=skew.limit,
    )


def silence_alert(
    model: ModelName, window: Window, *, at: datetime, what: str, windows: int, declared: bool = False
) -> Alert:
    """Tell that predictions or labels stopped coming, for longer than is usual or declared."""
    than = "as long as monitoring.silence allows" if declared else "longer than is usual here"
    return in_window(
        AlertKind.SILENCE,
        window,
        model=model,
        at=at,
        message=f"no {what} for {windows} {'window' if windows == 1 else 'windows'}, {than}; the last "
        f"window ended {window.end:%Y-%m-%d %H:%M}. See whether who sends them still reaches the server",
        subject=what,
    )


def unwatched_alert(model: ModelName, version: int, *, at: datetime, lacks: str, drift: bool) -> Alert:
    """Tell that the champion was not made by the loop, and what it lacks for being compared and watched; its `drift` may
    be measured nevertheless."""
    unknown = "What it loses" if drift else "Its drift and risk"
    return Alert(
        key=f"{model}/{AlertKind.UNWATCHED.value}/{version}",
        model=model,
        kind=AlertKind.UNWATCHED,
        message=f"version {version} is champion, was not made by the loop, and lacks something: {lacks}. {unknown} cannot be"
        " measured on the project's rows, and a check against the champion holds every candidate. Register one that answers"
        " these rows, or promote another",
        raised_at=at,
        subject=f"version {version}",
    )


def stuck_alert(model: ModelName, *, at: datetime, said: str) -> Alert:
    """Tell that closed windows cannot be watched: nothing is measured nor trained until that is mended."""
    return Alert(
        key=f"{model}/{AlertKind.UNWATCHED.value}/loop/{digest_of(said, at.date().isoformat())[:16]}",
        model=model,
        kind=AlertKind.UNWATCHED,
        message=f"closed windows are not watched: {said}. Nothing is measured nor trained meanwhile; it is tried again. Run"
        " `kedge watch` to see the whole of it",
        raised_at=at,
        subject=THE_LOOP,
    )


def _since(since: datetime | None, window: Window) -> str:
    """Say since when something moves, where that is not this window alone."""
    return f"; it began about {since:%Y-%m-%d %H:%M}" if since is not None and since < window.start else ""


def odds(evidence: float, limit: float) -> str:
    """Say evidence as odds: "evidence 3,200 : 1, alarms at 1,000 : 1"."""
    shown = f"{evidence:,.0f}" if evidence < 1e9 else f"{evidence:.0e}"
    return f"evidence {shown} : 1, alarms at {limit:,.0f} : 1"
