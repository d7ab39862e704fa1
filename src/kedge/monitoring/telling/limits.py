"""Alerts about what a project declared: fairness between groups, targets of the business, objectives of operations."""

from datetime import datetime

from kedge.domain.alerting import Alert, AlertKind
from kedge.domain.fairness import Gap
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Window
from kedge.domain.operations import Objective
from kedge.domain.worth import Better, BusinessFound
from kedge.monitoring.operations.rhythm import Heard
from kedge.monitoring.telling.alerts import in_window, odds

UNLOGGED = 0.01
"""The share of answered rows that the log may lack without an alert."""
LOST_ANSWERS = "answers that are in no log"
_MEASURES = {
    "demographic_parity": "the selection rate",
    "equal_opportunity": "the true positive rate",
    "equalized_odds": "the true or false positive rate",
    "calibration": "the mean error",
    "mean_error": "the mean error",
    "mean_answer": "the mean answer",
    "loss": "the mean loss",
}


def fairness_alert(model: ModelName, window: Window, *, at: datetime, gap: Gap, version: int) -> Alert:
    """Tell that two groups are further apart than was declared, beyond doubt."""
    above, below = gap.between
    lately = f"; lately the greatest difference is {gap.value:.3g}" if gap.value is not None else ""
    return in_window(
        AlertKind.FAIRNESS,
        window,
        model=model,
        at=at,
        message=f"{_MEASURES[gap.measure]} of version {version} for {gap.column} = {above} is above that for {below} by "
        f"more than {gap.limit:g} ({gap.measure}), over {gap.days} days{lately}; "
        f"{odds(gap.evidence, gap.evidence_limit)}. Nothing was changed: the next candidate has to pass the gate",
        subject=f"{gap.measure} by {gap.column}",
        evidence=gap.evidence,
        limit=gap.evidence_limit,
    )


def business_alert(model: ModelName, window: Window, *, at: datetime, found: BusinessFound) -> Alert:
    """Tell that a target of the business is missed: beyond doubt, or plainly where the project asks for that."""
    side = "below" if found.better is Better.HIGHER else "above"
    between = f" (95 % sure: {found.lower:.4g} to {found.upper:.4g})" if found.lower is not None else ""
    doubt = (
        odds(found.evidence, found.evidence_limit)
        if found.evidence_limit
        else "told as soon as it is missed, as the project asks; a single day may be chance"
    )
    lately = f"{found.lately:.4g}" if found.lately is not None else "unknown"
    return in_window(
        AlertKind.BUSINESS,
        window,
        model=model,
        at=at,
        message=f"{found.name} misses its target: {lately} a {found.per.value} over {found.days} days{between}, {side} the "
        f"target {found.target:g}; {doubt}. Nothing was changed",
        subject=found.name,
        evidence=found.lately,
        limit=found.target,
    )


def objective_alert(model: ModelName, window: Window, *, at: datetime, objective: Objective) -> Alert:
    """Tell that an objective's budget burns too fast."""
    failed = {"errors": "rows failed", "availability": "requests failed at the data plane"}
    happened = failed.get(objective.name, f"requests took more than {objective.limit * 1000:g} ms")
    what = f"{objective.bad:.2%} of the {happened}, {objective.budget:.2%} may"
    return in_window(
        AlertKind.OPERATIONS,
        window,
        model=model,
        at=at,
        message=f"the objective {objective.name} is missed: {what}; the window ended {window.end:%Y-%m-%d %H:%M}. Over its "
        f"worst hour the budget went {objective.worst:.1f} times too fast, over three days {objective.burn:.1f} times. "
        "What is declared is held plainly, without a test",
        subject=f"objective {objective.name}",
        evidence=objective.bad,
        limit=objective.budget,
    )


def fewer_alert(model: ModelName, window: Window, *, at: datetime, what: str, heard: Heard) -> Alert:
    """Tell that far less comes than is usual for these hours of the week."""
    return in_window(
        AlertKind.SILENCE,
        window,
        model=model,
        at=at,
        message=f"far fewer {what} than usual: {heard.came:,.0f} where {heard.usual:,.0f} are usual for these hours of the "
        f"week, in the window that ended {window.end:%Y-%m-%d %H:%M}; {odds(heard.evidence, heard.limit)}. See whether "
        "who sends them still reaches the server",
        subject=f"fewer {what}",
        evidence=heard.evidence,
        limit=heard.limit,
    )


def unlogged_alert(model: ModelName, window: Window, *, at: datetime, missing: int, answered: int) -> Alert:
    """Tell that answers are missing from the log."""
    return in_window(
        AlertKind.SILENCE,
        window,
        model=model,
        at=at,
        message=f"the prediction log lacks {missing:,} of {answered:,} rows that were answered in the window that ended "
        f"{window.end:%Y-%m-%d %H:%M}: it could not be written. They are in no figure, and their truth finds "
        "nothing. See the server's own log for why, and whether its disk is full",
        subject="the prediction log",
        evidence=missing / answered,
        limit=UNLOGGED,
    )


def silent_plane_alert(model: ModelName, window: Window, *, at: datetime, host: str, since: datetime) -> Alert:
    """Tell that a data plane does not tell of itself any more."""
    return in_window(
        AlertKind.SILENCE,
        window,
        model=model,
        at=at,
        message=f"a data plane on {host} told of itself each minute, and has not since {since:%Y-%m-%d %H:%M}; it was not "
        "told to end. It was killed, hangs, cannot write into the store, or its machine is gone: look there. Nothing was "
        "changed",
        subject=f"data plane {host}",
    )


def lost_answers_alert(model: ModelName, window: Window, *, at: datetime, lost: int, rows: int) -> Alert:
    """Tell that data planes counted answers that the log neither has nor says it lacks."""
    return in_window(
        AlertKind.SILENCE,
        window,
        model=model,
        at=at,
        message=f"at least {lost:,} of {rows:,} rows that data planes counted as answered are not in the prediction log, in "
        f"the window that ended {window.end:%Y-%m-%d %H:%M}, and no gap in it says why: see the server's own log, and "
        "whether files were lost or removed. They are in no figure, and their truth finds nothing",
        subject=LOST_ANSWERS,
        evidence=lost / rows,
        limit=UNLOGGED,
    )
