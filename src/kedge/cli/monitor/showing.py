"""`kedge monitor show`: the last windows of what is served, one line each, and what the newest says in full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from kedge.cli.monitor.asked import Model, Project, asked_model
from kedge.cli.opening import HERE, Json, Store, print_json
from kedge.cli.showing import bars, show_rows
from kedge.domain.monitoring import ANSWERS, Health
from kedge.domain.quality import Banded, ModelQuality
from kedge.errors import NotFound
from kedge.evaluation.metrics import loss_name

_TREND = 8
_CLASSES = ("roc_auc",)
_NUMBERS = ("bias",)


def show(
    model: Model = None,
    project: Project = HERE,
    last: Annotated[int, typer.Option(min=1, max=1000, help="So many windows, the newest last.")] = 14,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Show the last windows of what is served: rows, labels arrived, loss with its band, metrics, drift and alerts."""
    with asked_model(model, project, store=store) as asked:
        spec = asked.spec
        healths = list(asked.house.meta.watches.list(spec.name, limit=last + _TREND))
    if not healths:
        raise NotFound(f"no window of {spec.name!r} was measured yet; measure those that have closed with: kedge watch")
    if as_json:
        print_json({"model": spec.name, "windows": healths[-last:]})
        return
    metric = loss_name(spec.gate.metric, spec.data.task)
    _show_windows(healths, metric, last=last)
    newest = healths[-1]
    if newest.quality is not None:
        _show_quality(newest.quality)
    for note in newest.notes:
        typer.echo(f"note: {note}")


def _show_windows(healths: Sequence[Health], metric: str, *, last: int) -> None:
    names = _columns(healths, metric)
    rows = []
    for place, one in list(enumerate(healths))[-last:]:
        known = one.quality.known if one.quality is not None else {}
        moved = [each.column.replace(ANSWERS, "answers") for each in one.drift if each.alarm]
        rows.append(
            (
                _when(one),
                f"{one.rows:,}",
                f"{one.labels:,}",
                _arrived(healths, one),
                _loss(one, known.get(metric)),
                bars([each.loss for each in healths[max(0, place - _TREND + 1) : place + 1]]),
                *(f"{known[name].value:.3f}" if name in known else "" for name in names),
                ", ".join(
                    [
                        *sorted({alert.kind.value.replace("_", " ") for alert in one.alerts}),
                        *(f"{name} moved" for name in moved),
                    ]
                ),
            )
        )
    heads = ("window", "rows", "labels", "come", metric, "trend", *names, "alerts")
    span = f"{healths[-len(rows)].window.start:%Y-%m-%d} to {healths[-1].window.end:%Y-%m-%d}"
    show_rows(f"{healths[-1].model}, the last {len(rows)} windows: {span}", heads, rows=rows, whole=heads[:-1])


def _when(one: Health) -> str:
    """Write when a window began: its day, with the time where windows do not begin at midnight."""
    start = one.window.start
    return f"{start:%m-%d}" if start.hour == start.minute == 0 else f"{start:%m-%d %H:%M}"


def _columns(healths: Sequence[Health], metric: str) -> tuple[str, ...]:
    found = {name for one in healths if one.quality is not None for name in one.quality.known}
    names = _CLASSES if "accuracy" in found else _NUMBERS
    return tuple(name for name in names if name in found and name != metric)


def _loss(one: Health, known: Banded | None) -> str:
    if known is not None and known.low is not None and known.high is not None:
        return f"{known.value:.3g} ±{(known.high - known.low) / 2:.2g}"
    value = known.value if known is not None else one.loss
    return "" if value is None else f"{value:.3g}"


def _arrived(healths: Sequence[Health], one: Health) -> str:
    """Give the share of a window's own answers whose truth has come since, as the newest window to tell it says."""
    for later in reversed(healths):
        for cohort in later.quality.cohorts if later.quality is not None else ():
            if cohort.start <= one.window.start < cohort.end:
                return f"{cohort.arrived:.0%}"
    return ""


def _show_quality(quality: ModelQuality) -> None:
    typer.echo(
        f"last {'day' if quality.days == 1 else f'{quality.days} days'} with labels: "
        f"{quality.recent_rows:,} labelled rows, {quality.arrived:.0%} of the truths "
        "have arrived"
    )
    off = {check.metric: check for check in quality.checks}
    rows = [
        (
            name,
            f"{banded:.3g}",
            f"{quality.estimates[name]:.3g}" if name in quality.estimates else "",
            f"{off[name].off:.2g}, {off[name].cohorts} days" if name in off else "",
        )
        for name, banded in quality.recent.items()
    ]
    if rows:
        heads = ("metric", "28 days (95 % band)", "estimated", "was off by")
        show_rows("quality; estimated: the newest window, without truth", heads, rows=rows, whole=heads)
    if quality.held_out is not None:
        held = quality.held_out
        show_rows(
            f"hold-out, served at random: {held.recent_rows:,} labelled rows of {held.days} days, {held.rows:,} of them new",
            ("metric", "28 days (95 % band)", "all rows", "new"),
            rows=[
                (
                    name,
                    f"{banded:.3g}",
                    f"{quality.recent[name].value:.3g}" if name in quality.recent else "",
                    f"{held.known[name].value:.3g}" if name in held.known else "",
                )
                for name, banded in held.recent.items()
            ],
        )
    if quality.slices:
        worst = sorted(quality.slices, key=lambda one: -abs(one.bias))[:10]
        show_rows(
            "slices, by bias",
            ("slice", "rows", "bias", *(name for name in quality.slices[0].metrics)),
            rows=[
                (one.slice, f"{one.rows:,}", f"{one.bias:+.4g}", *(f"{value:.3g}" for value in one.metrics.values()))
                for one in worst
            ],
        )
    if quality.concept is not None:
        concept = quality.concept
        typer.echo(
            f"truth less answer: {concept.recent:+.4g} a row lately, {concept.accepted:+.4g} at the gate; evidence that it "
            f"moved {concept.evidence:,.3g} : 1, alarms at {concept.limit:,.0f} : 1"
        )
