"""What is measured of a window beside the loop: fairness between groups, what answers are worth, operations.

No policy, gate or rollout reads it. A window's rows are gathered once for the first two, and only where something is
declared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kedge.domain.alerting import Alert, AlertKind
from kedge.domain.durations import share_of
from kedge.domain.fairness import Fairness
from kedge.domain.operations import Operations
from kedge.domain.worth import BusinessFound
from kedge.monitoring.context import ContextRows, answered_rows, labelled_rows
from kedge.monitoring.groups.fairness import columns_of, fairness_of, read_by
from kedge.monitoring.operations.figures import HOUR, PlaneView, operations_of
from kedge.monitoring.operations.plane import FEWEST_UNLOGGED, silent_hosts
from kedge.monitoring.state import MonitorState
from kedge.monitoring.telling.limits import (
    UNLOGGED,
    business_alert,
    fairness_alert,
    fewer_alert,
    lost_answers_alert,
    objective_alert,
    silent_plane_alert,
    unlogged_alert,
)
from kedge.monitoring.truth.days import day_number, day_of
from kedge.monitoring.worth.business import business_of, read_by_worth

if TYPE_CHECKING:
    from kedge.monitoring.measure import Arrived, View


class Declared(NamedTuple):
    """What was found, and what is to be told of it."""

    fairness: Fairness | None = None
    business: tuple[BusinessFound, ...] = ()
    operations: Operations | None = None
    alerts: tuple[Alert, ...] = ()


class _Rows(NamedTuple):
    answered: ContextRows
    labelled: ContextRows
    first_day: int
    last_day: int


def declared_of(view: View, state: MonitorState, *, arrived: Arrived) -> Declared:
    """Measure what is declared; tell once of what alarms."""
    if not view.shown:
        return Declared()
    operations, slow = _operations(view, state, arrived=arrived)
    if not (columns_of(view.spec) or view.spec.monitoring.business):
        return Declared(operations=operations, alerts=tuple(slow))
    names = read_by(view.spec) | read_by_worth(view.spec)
    rows = _Rows(
        answered_rows(arrived.served, names),
        labelled_rows(arrived.losses, names),
        day_number(day_of(view.window.start)),
        day_number(day_of(view.window.end)) - 1,
    )
    fairness, unfair = _fairness(view, state, rows=rows)
    business, missed = _business(view, state, rows=rows)
    return Declared(fairness, business, operations, (*unfair, *missed, *slow))


def _fairness(view: View, state: MonitorState, *, rows: _Rows) -> tuple[Fairness | None, list[Alert]]:
    """Compare what groups got from the champion."""
    if view.champion is None:
        return None, []
    number, window = view.champion.number, view.window
    found = fairness_of(view.spec, state.fairness, version=number, unhashed=view.unhashed, **rows._asdict())
    alarmed = [gap for gap in found.recent_gaps if gap.alarm] if found else []
    raised = [fairness_alert(view.spec.name, window, at=view.at, gap=gap, version=number) for gap in alarmed]
    return found, _begun(raised, state)


def _business(view: View, state: MonitorState, *, rows: _Rows) -> tuple[tuple[BusinessFound, ...], list[Alert]]:
    """Compute the business metrics."""
    found = business_of(view.spec, state.worth, **rows._asdict())
    raised = [business_alert(view.spec.name, view.window, at=view.at, found=one) for one in found if one.missed]
    return found, _begun(raised, state)


def _operations(view: View, state: MonitorState, *, arrived: Arrived) -> tuple[Operations, list[Alert]]:
    """Measure the operations; hear whether far less comes than usual, and whether the log lacks what was answered."""
    model, window = view.spec.name, view.window
    found, heard = operations_of(
        view.spec.monitoring.operations,
        state.operations,
        window=window,
        answers=arrived.answers,
        labels=arrived.losses.rows,
        run_length=view.spec.monitoring.run_length,
        plane=_plane_view(view, arrived),
    )
    raised = [objective_alert(model, window, at=view.at, objective=one) for one in found.objectives if one.alarm]
    for what, one in heard.items():
        if one.alarm:
            raised.append(fewer_alert(model, window, at=view.at, what=what, heard=one))
        elif one.holds:
            state.episodes.goes_on(AlertKind.SILENCE, state.windows, subject=f"fewer {what}")
    answered = arrived.answered
    if found.missing > UNLOGGED * answered:
        raised.append(unlogged_alert(model, window, at=view.at, missing=found.missing, answered=answered))
    return found, _begun([*raised, *_unheard(view, state, arrived=arrived, found=found)], state)


def _begun(raised: Sequence[Alert], state: MonitorState) -> list[Alert]:
    """Take the alerts that begin an episode; the others add to the one that is under way."""
    return [alert for alert in raised if state.episodes.begins(alert.kind, state.windows, subject=alert.subject)]


def _plane_view(view: View, arrived: Arrived) -> PlaneView:
    """Gather what is known of the data planes. Whether the log has all rows is known where all are logged; what it lacks
    is told by the hour, so of windows that are no whole hours it is known only where the log has nothing at all."""
    whole = share_of(view.spec.predictions.sample) == 1 and all(one.share == 1 for one in arrived.answers)
    hours = not (view.window.end - view.window.start) % HOUR
    in_log = arrived.answered + arrived.odd.repeated_predictions
    return PlaneView(
        model=view.spec.name,
        told=view.told,
        cpu_hour=view.spec.retraining.price.cpu_hour,
        in_log=in_log if whole and (hours or not in_log) else None,
        training_cpu_seconds=view.training_cpu_seconds,
    )


def _unheard(view: View, state: MonitorState, *, arrived: Arrived, found: Operations) -> list[Alert]:
    """Hear which data planes do not tell of themselves any more, and whether answers that they counted are in no log."""
    told, model, window = view.told, view.spec.name, view.window
    if told is None or told.fault:
        return []
    silent = silent_hosts(state.operations.planes, told, end=window.end)
    raised = [silent_plane_alert(model, window, at=view.at, host=host, since=since) for host, since in silent.items()]
    plane = found.plane
    lost = plane.unlogged or 0 if plane is not None else 0
    fewest = max(FEWEST_UNLOGGED, UNLOGGED * plane.rows) if plane is not None and arrived.answered else 1
    if plane is not None and lost >= fewest:  # of an empty log any answer says that it is no night
        raised.append(lost_answers_alert(model, window, at=view.at, lost=lost, rows=plane.rows))
    return raised
