"""`kedge monitor fairness|business|operations MODEL`: tables of the newest window, and how it went over the last ones."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from kedge.cli.monitor.asked import Model, Project, asked_model
from kedge.cli.opening import HERE, Json, Store, print_json
from kedge.cli.showing import bars, show_records
from kedge.domain.fairness import Fairness, Gap
from kedge.domain.operations import Objective, Operations
from kedge.domain.worth import BusinessFound
from kedge.server.reading.declared import DeclaredWindow, DeclaredWindows, declared_windows

Windows = Annotated[int, typer.Option(min=1, max=500, help="How many windows back.")]
SHARES = ("errors", "availability")


def fairness(
    model: Model = None, project: Project = HERE, store: Store = None, windows: Windows = 30, as_json: Json = False
) -> None:
    """Show what groups got lately, the gaps between them, and the evidence against each limit."""
    _show(_read(model, project, store=store, kind="fairness", windows=windows), _fairness, as_json=as_json)


def business(
    model: Model = None, project: Project = HERE, store: Store = None, windows: Windows = 30, as_json: Json = False
) -> None:
    """Show what answers are worth, with intervals, targets, and the worth of answering all alike."""
    _show(_read(model, project, store=store, kind="business", windows=windows), _business, as_json=as_json)


def operations(
    model: Model = None, project: Project = HERE, store: Store = None, windows: Windows = 30, as_json: Json = False
) -> None:
    """Show latency by version and stage, errors, throughput, and the objectives."""
    _show(_read(model, project, store=store, kind="operations", windows=windows), _operations, as_json=as_json)


def _read(model: str | None, project: Path, *, store: str | None, kind: str, windows: int) -> DeclaredWindows:
    with asked_model(model, project, store=store) as asked:
        return declared_windows(asked.house.meta, asked.name, kind=kind, limit=windows)


def _show(found: DeclaredWindows, show: Callable[[DeclaredWindows, DeclaredWindow], bool], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    elif not show(found, found.windows[-1]):
        typer.echo(f"nothing of this was declared or measured for {found.model} in its newest window")


def _figure(value: float | None, form: str = ".4g") -> str:
    return "" if value is None else format(value, form)


def _fairness(found: DeclaredWindows, newest: DeclaredWindow) -> bool:
    told = newest.fairness
    if told is None:
        return False
    rows = [
        (
            f"{one.column} = {one.group}",
            f"{one.rows:,}",
            f"{one.labelled:,}",
            _figure(one.selection_rate, ".3f"),
            _figure(one.true_positive_rate, ".3f"),
            _figure(one.false_positive_rate, ".3f"),
            _figure(one.answer),
            _figure(one.error),
            _figure(one.loss),
        )
        for one in told.recent
    ]
    columns = ("group", "rows", "labelled", "selected", "true positive", "false positive", "answer", "error", "loss")
    show_records(f"{found.model}, version {told.version}: lately, by group", columns, rows=rows)
    gaps = [
        (
            f"{gap.measure} by {gap.column}",
            _figure(gap.value, ".3g"),
            _figure(gap.ratio, ".2f"),
            f"{gap.highest} over {gap.lowest}" if gap.highest else "too few rows",
            _figure(gap.limit, "g"),
            f"{gap.evidence:,.1f} of {gap.evidence_limit:,.0f}" if gap.limit is not None else "",
            "ALARM" if gap.alarm else "",
            bars([_gap_in(each.fairness, gap) for each in found.windows]),
        )
        for gap in told.recent_gaps
    ]
    show_records("Gaps", ("gap", "difference", "ratio", "between", "limit", "evidence", "", "windows"), rows=gaps)
    for note in told.notes:
        typer.echo(note)
    return True


def _gap_in(told: Fairness | None, gap: Gap) -> float | None:
    same = (
        one.value for one in (told.recent_gaps if told else ()) if (one.measure, one.column) == (gap.measure, gap.column)
    )
    return next(same, None)


def _business(found: DeclaredWindows, newest: DeclaredWindow) -> bool:
    if not newest.business:
        return False
    rows = [
        (
            one.name,
            _figure(one.total),
            _figure(one.lately),
            f"{one.lower:.4g} to {one.upper:.4g}" if one.lower is not None and one.upper is not None else "",
            one.per.value,
            _figure(one.target, "g"),
            "MISSED" if one.missed else "",
            "" if one.known is None else f"{one.known:.0%}",
            ", ".join(f"all {answer}: {mean:.4g}" for answer, mean in one.always.items()),
            bars([_mean_in(each.business, one.name) for each in found.windows]),
        )
        for one in newest.business
    ]
    columns = ("metric", "window", "lately", "95 % sure", "per", "target", "", "known", "if all alike", "windows")
    show_records(f"{found.model}: what answers are worth", columns, rows=rows)
    for one in newest.business:
        if one.note:
            typer.echo(f"{one.name}: {one.note}")
    return True


def _mean_in(metrics: Sequence[BusinessFound], name: str) -> float | None:
    return next((one.mean for one in metrics if one.name == name), None)


def _operations(found: DeclaredWindows, newest: DeclaredWindow) -> bool:
    told = newest.operations
    if told is None:
        return False
    times = [
        (
            f"v{one.version}",
            one.stage,
            f"{one.requests:,}",
            *(f"{1000 * seconds:.3g} ms" for seconds in (one.mean, one.p50, one.p95, one.p99)),
            bars([_p99_in(each.operations, one.version, stage=one.stage) for each in found.windows]),
        )
        for one in told.times
    ]
    title = f"{found.model}: {told.requests:,} requests, {told.rows:,} rows, {told.errors:,} errors"
    show_records(title, ("version", "stage", "requests", "mean", "p50", "p95", "p99", "p99 by window"), rows=times, head=2)
    if told.objectives:
        goals = [_objective(one) for one in told.objectives]
        show_records(
            "Objectives", ("objective", "limit", "bad", "may be", "burn, 3 days", "burn, worst hour", ""), rows=goals
        )
    typer.echo(
        f"{told.per_second:.3g} requests a second, {told.peak_minute:,} in the busiest minute; "
        f"{told.missing:,} answered rows are missing from the log"
    )
    _show_plane(told)
    for what, usual in told.usual.items():
        typer.echo(f"usual for these hours of the week: {usual:,} {what}")
    return True


def _show_plane(told: Operations) -> None:
    """Show what the data planes told of themselves."""
    if told.training_cpu_seconds:
        typer.echo(f"trainings that began in the window used {told.training_cpu_seconds:,.0f} s of CPU")
    plane = told.plane
    if plane is None:
        return
    rows = [
        ("hosts", ", ".join(plane.hosts)),
        ("not heard of", f"{plane.unheard_seconds:,.0f} s"),
        ("requests", f"{plane.requests:,}, {plane.failed:,} failed by us, {plane.rejected:,} of them rejected (503)"),
        ("availability", "" if plane.availability is None else f"{plane.availability:.4%}"),
        ("rows answered", f"{plane.rows:,}" + (f", {plane.unlogged:,} of them in no log" if plane.unlogged else "")),
        ("queue at most", f"{plane.queue_most:,} requests"),
        ("a model's call", f"{plane.batch_mean:.1f} rows, {plane.batch_most:,} at most"),
        ("workers' time on CPUs", f"{plane.busy:.1%}, {plane.busy_most:.1%} in the busiest minute"),
        ("memory at most", f"{plane.memory_most / (1 << 20):,.0f} MiB on one host"),
        ("log waits for a sync", f"{plane.lag_most_seconds:.2f} s at most"),
        ("CPU", f"{plane.cpu_seconds:,.0f} s" + (f", {plane.cost:.4g} for 1,000 rows" if plane.cost is not None else "")),
    ]
    show_records("What data planes tell of themselves", ("what", "in the newest window"), rows=rows)


def _objective(one: Objective) -> tuple[str, ...]:
    limit = f"{one.limit:.2%}" if one.name in SHARES else f"{1000 * one.limit:g} ms"
    alarm = "ALARM" if one.alarm else ""
    return one.name, limit, f"{one.bad:.2%}", f"{one.budget:.2%}", f"{one.burn:.2f}", f"{one.worst:.2f}", alarm


def _p99_in(told: Operations | None, version: int, *, stage: str) -> float | None:
    times = told.times if told else ()
    return next((one.p99 for one in times if (one.version, one.stage) == (version, stage)), None)
