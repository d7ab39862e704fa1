"""A window by what the data planes told of themselves: what the log cannot know, and who does not tell any more.

Reports hold differences, so those of any number of processes and hosts are added. One belongs to the window in which
its middle lies. Where nobody ever told of itself (a replay, predictions that others log) nothing is said or missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from kedge.domain.monitoring import Window
from kedge.domain.operations import PlaneFigures
from kedge.domain.plane_reports import ModelCounts, PlaneReport

PATIENCE = timedelta(minutes=5)
"""How long a data plane that tells of itself each minute may say nothing, and how far its clock may be ahead."""
FORGOTTEN = timedelta(days=7)
"""After this long a silent host is taken to be gone for good."""
EDGE = timedelta(minutes=1)
FEWEST_UNLOGGED = 10
_NOBODY = ""


class LastHeard(msgspec.Struct, array_like=True):
    """When a process last told of itself, whether those were its last words, on which host, and since when it stands for
    a data plane there."""

    at: datetime
    ended: bool = False
    host: str = ""
    since: datetime | None = None


class ToldOf(msgspec.Struct, frozen=True, eq=False):
    """The reports that concern a model: those of a window, and when each process was heard last, by now. `fault` says why
    they could not be read."""

    reports: Sequence[PlaneReport] = ()
    heard: dict[str, LastHeard] = {}
    fault: str = ""


def told_of(model: str, window: Window, *, reports: Iterable[PlaneReport], now: datetime) -> ToldOf:
    """Sort what was told since some time before a window. What bears a time still to come is not believed."""
    inside: list[PlaneReport] = []
    heard: dict[str, LastHeard] = {}
    latest = max(window.end, now) + PATIENCE
    for report in reports:
        if model not in report.models or report.at > latest:
            continue
        name = f"{report.host}/{report.process}"
        last = heard.get(name)
        if last is None or report.at >= last.at:
            since = report.at if last is None else last.since
            heard[name] = LastHeard(report.at, report.ended, report.host, since)
        if window.start <= middle_of(report) < window.end:
            inside.append(report)
    return ToldOf(inside, heard)


def middle_of(report: PlaneReport) -> datetime:
    """Give the middle of the time that a report is about."""
    return report.at - timedelta(seconds=report.seconds / 2)


def silent_hosts(known: dict[str, LastHeard], told: ToldOf, *, end: datetime) -> dict[str, datetime]:
    """Note who was heard, and name the hosts with fewer data planes than told of themselves before, with since when.

    A process that began on a host after another fell silent there stands in its place: it was started again.
    """
    for name, last in told.heard.items():
        before = known.get(name)
        if before is None or last.at >= before.at:
            known[name] = last if before is None else msgspec.structs.replace(last, since=before.since)
    for name in [name for name, last in known.items() if last.ended or not last.host or last.at < end - FORGOTTEN]:
        del known[name]
    silent: dict[str, datetime] = {}
    for name, last in sorted(known.items(), key=lambda one: one[1].at):
        if last.at >= end - PATIENCE:
            continue
        successor = _successor(known, last)
        if successor is None:
            silent.setdefault(last.host, last.at)
        else:
            successor.since = last.since
            del known[name]
    return silent


def _successor(known: dict[str, LastHeard], silent: LastHeard) -> LastHeard | None:
    """Find who began after a process fell silent on its host, and stands for no other: the first of them."""
    later = [one for one in known.values() if one.host == silent.host and one.since is not None and one.since > silent.at]
    return min(later, key=lambda one: one.since or one.at, default=None)


def figures_of(
    model: str, window: Window, *, reports: Sequence[PlaneReport], cpu_hour: float, in_log: int | None
) -> PlaneFigures | None:
    """Add a window's reports up; None of none. `in_log` counts the rows of the window that the log has, or says it lacks;
    None where it is sampled."""
    if not reports:
        return None
    mine = [report.models[model] for report in reports]
    requests, failed, rejected = (
        sum(columns) for columns in zip(*map(counts_of, reports, [model] * len(reports)), strict=True)
    )
    rows, calls = sum(one.rows for one in mine), sum(one.calls for one in mine)
    cpu = sum(report.cpu_seconds * _part(report.models, model) for report in reports)
    time = sum(report.seconds * report.workers for report in reports)
    return PlaneFigures(
        hosts=tuple(sorted({report.host for report in reports})),
        reports=len(reports),
        requests=requests,
        failed=failed,
        rejected=rejected,
        availability=1 - failed / requests if requests else None,
        rows=rows,
        unlogged=_unlogged(model, window, reports=reports, in_log=in_log),
        queue_most=max(one.queue_most for one in mine),
        batch_mean=sum(one.call_rows for one in mine) / calls if calls else 0.0,
        batch_most=max(one.call_most for one in mine),
        busy=sum(report.cpu_seconds for report in reports) / time if time else 0.0,
        busy_most=max((_busy(report) for report in reports), default=0.0),
        memory_most=max(report.memory_bytes for report in reports),
        lag_most_seconds=max(report.lag_seconds for report in reports),
        unheard_seconds=_unheard(window, reports),
        cpu_seconds=cpu,
        cost=cpu / 3600 * cpu_hour / rows * 1000 if rows and cpu_hour else None,
    )


def counts_of(report: PlaneReport, model: str) -> tuple[int, int, int]:
    """Count a model's requests, those that failed by us, and those that were rejected. A request that no worker was there
    for is every model's."""
    codes = report.models[model].requests
    nobody = report.models.get(_NOBODY, ModelCounts()).requests.get("503", 0)
    failed = sum(count for code, count in codes.items() if code >= "500") + nobody
    return sum(codes.values()) + nobody, failed, codes.get("503", 0) + nobody


def _part(models: dict[str, ModelCounts], model: str) -> float:
    """Give a model's part of a process's CPU time: by the seconds within its calls, alike where nobody asked."""
    seconds = {name: one.seconds for name, one in models.items() if name != _NOBODY}
    total = sum(seconds.values())
    return seconds[model] / total if total > 0 else 1 / len(seconds)


def _busy(report: PlaneReport) -> float:
    """Give the share of its workers' time that a report's CPUs were used; of a second or less it says nothing."""
    return report.cpu_seconds / (report.seconds * report.workers) if report.seconds > 1 else 0.0


def _unlogged(model: str, window: Window, *, reports: Sequence[PlaneReport], in_log: int | None) -> int | None:
    """Count the rows that were answered for sure within the window, and that the log does not have."""
    if in_log is None:
        return None
    sure = [
        report.models[model].rows
        for report in reports
        if report.at - timedelta(seconds=report.seconds) >= window.start + EDGE and report.at <= window.end
    ]
    return max(sum(sure) - in_log, 0)


def _unheard(window: Window, reports: Sequence[PlaneReport]) -> float:
    """Sum the seconds from the first report to the window's end that no report is about."""
    spans = sorted((report.at - timedelta(seconds=report.seconds), report.at) for report in reports)
    covered, missing = spans[0][1], timedelta()
    for begin, end in spans[1:]:
        missing += max(begin - covered, timedelta())
        covered = max(covered, end)
    rest = max(window.end - covered, timedelta())
    return (missing + (rest if rest > PATIENCE else timedelta())).total_seconds()
