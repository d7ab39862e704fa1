"""`kedge alerts`: what is wrong, and what people do about it.

An alert is named by its id, or the beginning of it. Exit codes: 0 done; 1 refused, said in one line; 2 wrong usage; 3 a
channel did not take its test message.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from kedge.app import House
from kedge.cli.models import Place, Reason
from kedge.cli.opening import HERE, Json, Store, opened, print_json
from kedge.cli.showing import plain, show_records
from kedge.cli.who import person
from kedge.domain.alert_life import AlertLife
from kedge.domain.counts import count
from kedge.domain.durations import span_of
from kedge.domain.ids import ModelName
from kedge.errors import NotFound, RequestInvalid
from kedge.registry.names import check_reason

NOUN = "alerts"
NOT_TAKEN = 3
nouns = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Id = Annotated[str, typer.Argument(help="The alert's id, or the beginning of it.")]
Lasts = Annotated[str, typer.Option("--for", help='How long, such as "4h" or "2d".')]


@nouns.command("list")
def show_list(
    every: Annotated[bool, typer.Option("--all", help="Those that were resolved, too.")] = False,
    model: Annotated[str, typer.Option(help="Only this model's.")] = "",
    project: Place = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """List the alerts that are open, the one seen last first."""
    with opened(project, store, writer=NOUN, bare=True, make=False) as house:
        found = house.meta.alerts.list(model=ModelName(model) if model else None, resolved=every)
    if as_json:
        print_json(found)
        return
    columns = ("id", "severity", "state", "model", "what", "about", "since", "last seen", "times")
    show_records(count(len(found), "alert"), columns, rows=[_row(life) for life in found], head=3)


@nouns.command()
def show(id: Id, project: Place = HERE, store: Store = None, as_json: Json = False) -> None:
    """Show one alert: what, since when, how sure, what was done about it, and who was told."""
    with _named(id, project, store=store) as (house, life):
        deliveries = house.meta.alerts.deliveries(life.id)
    if as_json:
        print_json({"alert": life, "deliveries": deliveries})
        return
    typer.echo(f"{life.model}: {_kind(life)}, {life.severity.value}, {life.state.value}")
    typer.echo(f"  {plain(life.newest.message)}")
    typer.echo(f"  since {_when(life.opened_at)}, seen {count(life.count, 'time')}, last {_when(life.seen_at)}")
    for act in life.acts:
        typer.echo(f"  {_when(act.at)}  {act.move.value} by {plain(act.actor)}: {plain(act.reason)}")
    for one in reversed(deliveries):
        typer.echo(f"  {one.channel}: {one.move.value} {one.state.value} {plain(one.answer)}")


@nouns.command()
def ack(id: Id, reason: Reason, project: Place = HERE, store: Store = None, as_json: Json = False) -> None:
    """Take an alert in hand: no reminder and no escalation any more, unless it gets worse."""
    with _named(id, project, store=store) as (house, life):
        done = house.alert_desk.acknowledge(life.id, **_given(reason))
    _told(done, as_json=as_json)


@nouns.command()
def snooze(
    id: Id, reason: Reason, lasts: Lasts = "4h", project: Place = HERE, store: Store = None, as_json: Json = False
) -> None:
    """Tell nobody of an alert for a while; then it fires again, unless it is resolved."""
    with _named(id, project, store=store) as (house, life):
        done = house.alert_desk.snooze(life.id, until=house.clock.now() + _span(lasts), **_given(reason))
    _told(done, as_json=as_json)


@nouns.command()
def resolve(id: Id, reason: Reason, project: Place = HERE, store: Store = None, as_json: Json = False) -> None:
    """End an alert; it opens again where the next window still shows its condition."""
    with _named(id, project, store=store) as (house, life):
        done = house.alert_desk.resolve(life.id, **_given(reason))
    _told(done, as_json=as_json)


@nouns.command()
def reopen(id: Id, reason: Reason, project: Place = HERE, store: Store = None, as_json: Json = False) -> None:
    """Open a resolved alert again."""
    with _named(id, project, store=store) as (house, life):
        done = house.alert_desk.reopen(life.id, **_given(reason))
    _told(done, as_json=as_json)


@nouns.command()
def mute(
    reason: Reason,
    model: Annotated[str, typer.Argument(help="The model.", show_default="the project's")] = "",
    lasts: Lasts = "4h",
    end: Annotated[bool, typer.Option("--end", help="End the mute instead.")] = False,
    project: Place = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Tell nobody of a model for a while, as for maintenance. What still fires then is told then."""
    with opened(project, store, writer=NOUN, bare=True, make=False) as house:
        name, made = ModelName(model or house.spec.name), None
        if end:
            house.alert_desk.unmute(name, **_given(reason))
        else:
            made = house.alert_desk.mute(name, until=house.clock.now() + _span(lasts), **_given(reason))
    if as_json:
        print_json({"model": name, "until": made.until if made else None})
        return
    typer.echo(f"{name} is muted until {_when(made.until)}" if made else f"{name} is not muted any more")


@nouns.command("test")
def try_channel(
    channel: Annotated[str, typer.Argument(help="The channel.", show_default="every one")] = "",
    project: Place = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Send a test message, and say what the receiver answered."""
    with opened(project, store, writer=NOUN, bare=True, make=False) as house:
        names = [channel] if channel else house.alert_desk.channels()
        tried = [house.alert_desk.test(name) for name in names]
    if as_json:
        print_json(tried)
    else:
        for one in tried:
            typer.echo(f"{one.channel}  {'taken' if one.taken else 'not taken'}: {plain(one.answer)}")
        if not tried:
            typer.echo('no channel is declared; write [monitoring] alerts = ["log"] in kedge.toml')
    if not all(one.taken for one in tried):
        raise typer.Exit(NOT_TAKEN)


@contextmanager
def _named(id: str, project: Path, *, store: str | None) -> Iterator[tuple[House, AlertLife]]:
    """Open the house, and find the alert whose id begins so; at the end, tell what is to be told. Raises NotFound,
    RequestInvalid where several begin so."""
    with opened(project, store, writer=NOUN, bare=True, make=False) as house:
        found = house.meta.alerts.list(begins=id, limit=2) if id else []
        if not found:
            raise NotFound(f"there is no alert {id!r}; list them with: kedge alerts list --all")
        if len(found) > 1:
            raise RequestInvalid(f"several alerts begin with {id!r}; write more of the id")
        yield house, found[0]
        house.messenger.tick()


def _given(reason: str) -> dict[str, str]:
    """Say who acts, and why. Raises RequestInvalid for a reason that is none."""
    return {"actor": person(), "reason": check_reason(reason, parameter="--reason")}


def _told(life: AlertLife, *, as_json: bool) -> None:
    if as_json:
        print_json(life)
        return
    until = f" until {_when(life.until)}" if life.until else ""
    typer.echo(f"{life.id}  {_kind(life)} of {life.model} is {life.state.value}{until}")


def _row(life: AlertLife) -> tuple[str, ...]:
    return (
        life.id,
        life.severity.value,
        life.state.value,
        life.model,
        _kind(life),
        life.newest.subject,
        _when(life.opened_at),
        _when(life.seen_at),
        str(life.count),
    )


def _kind(life: AlertLife) -> str:
    return life.kind.value.replace("_", " ")


def _span(text: str) -> timedelta:
    try:
        return span_of(text)
    except ValueError as error:
        raise RequestInvalid(f"--for: {error}") from None


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
