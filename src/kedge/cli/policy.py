"""`kedge policy`: what decides on retraining, what it decided and why, and what other policies would have cost.

Exit codes: 0 done; 1 refused, said in one line; 2 wrong usage.
"""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from kedge.cli.opening import HERE, Folder, Json, Store, opened, print_json
from kedge.cli.progress import Counted
from kedge.cli.showing import bars, show_rows
from kedge.domain.backtest import Backtest, PolicyCost, PricedBacktest
from kedge.domain.events import Event
from kedge.domain.retraining import RetrainingStanding, Trigger
from kedge.replay.backtest import BacktestAsked, backtest
from kedge.retraining.ended import newest_end, turn_end
from kedge.retraining.standing import standing
from kedge.web.backtest import page_of

PRINTED_WIDTH = 118
ASKED_SHOWN = 3
COURSE = 60
"""How many of the newest steps are drawn."""


class PolicyShown(msgspec.Struct, frozen=True, kw_only=True):
    """What is printed as JSON: where retraining stands, and the waits between steps that were written down last; what
    asked for a training besides the policy, newest first, which limit holds that back ("": none), and how the newest turn
    ended (None: none has)."""

    standing: RetrainingStanding
    waits: tuple[Event, ...]
    asked: tuple[Trigger, ...] = ()
    held: str = ""
    turn: Event | None = None


nouns = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@nouns.command("show")
def show_command(folder: Folder = HERE, store: Store = None, as_json: Json = False) -> None:
    """Say where the project's retraining stands: regret against price, and the last decisions with their reasons."""
    with opened(folder, store, writer="show", make=False) as house:
        spec = house.spec
        entries = house.meta.ledgers.list(spec.name)
        found = standing(spec, entries, ended=turn_end(house.meta, entries[-1] if entries else None))
        waits = house.retraining.newest_waits(spec.name)
        asked, turn = tuple(house.meta.triggers.list(spec.name, limit=ASKED_SHOWN)), newest_end(house.meta, spec.name)
        held = house.retraining.held_by(spec) if any(one.taken_at is None for one in asked) else ""
    if as_json:
        print_json(PolicyShown(standing=found, waits=waits, asked=asked, held=held, turn=turn))
        return
    typer.echo(f"{found.model}, policy {found.policy}: {found.words}")
    for one in reversed(asked):
        taken = f"taken {one.taken_at:%Y-%m-%d %H:%M}" if one.taken_at else f"it waits: {held}" if held else "it waits"
        typer.echo(f"{one.actor} asked for a training at {one.asked_at:%Y-%m-%d %H:%M}, {one.reason}: {taken}")
    if turn is not None:
        typer.echo(f"the newest turn ended at {turn.at:%Y-%m-%d %H:%M}: {turn.message.removeprefix('Turn ended: ')}")
    if found.course:
        course, price = found.course[-COURSE:], found.entry.price if found.entry else 0.0
        typer.echo(f"regret, step by step, newest last: {bars(course, low=0.0, high=max(price, *course))}")
    rows = [
        (f"{one.decided_at:%Y-%m-%d %H:%M}", one.decision, f"v{one.champion}", "yes" if one.looked else "", one.reason)
        for one in found.decisions
    ]
    rows += [(f"{one.at:%Y-%m-%d %H:%M}", "wait", "", "", one.message.removeprefix("Wait: ")) for one in waits]
    if rows:
        show_rows("the last decisions", ("at", "decided", "champion", "looked", "because"), rows=sorted(rows))


@nouns.command("backtest")
def backtest_command(
    folder: Folder = HERE,
    store: Store = None,
    as_json: Json = False,
    price: Annotated[
        list[float] | None, typer.Option(help="A price of a retraining, in the project's units; may be repeated.")
    ] = None,
    delay: Annotated[list[str] | None, typer.Option(help='Labels come so much later ("7d"); may be repeated.')] = None,
    against: Annotated[str, typer.Option(help="The policy that the others are compared with.")] = "never",
    page: Annotated[Path | None, typer.Option(help="Write a page with the curves of cost and decisions.")] = None,
) -> None:
    """Walk the project's own past under several policies: what would each have cost?

    One model a step is trained and scored on all that came later; what is made is kept, so that a run that was stopped
    goes on and the next one only walks. The ledger of a project that goes live later starts from what was seen.
    """
    with opened(folder, store, writer="backtest") as house, Counted("models made and scored", unit="models") as bar:
        asked = BacktestAsked(prices=tuple(price or ()), delays=tuple(delay or ()), against=against)
        made = backtest(house, house.spec, asked, told=bar.told)
    if page is not None:
        page.write_text(page_of(made))
    if as_json:
        print_json(made)
        return
    print_backtest(made)
    if page is not None:
        typer.echo(f"the curves are in {page}")


def print_backtest(made: Backtest) -> None:
    """Print a table for each price and delay."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, PRINTED_WIDTH))
    console.print(
        f"{made.project}: {made.rows:,} labelled rows in {len(made.begins)} steps of {made.step} from "
        f"{made.begins[0]:%Y-%m-%d}; cost relative to never retraining, {made.metric}"
    )
    for result in made.results:
        console.print(_table(made, result))
    for note in made.notes:
        console.print(note)


def _table(made: Backtest, result: PricedBacktest) -> Table:
    title = f"price {result.price:g} = {result.ratio:.2g} steps of loss, phi {result.phi:.2g}, labels {result.delay} later"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("policy")
    for name in ("cost", f"against {made.against}", "trained", "looks"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("worst step", no_wrap=True)
    table.add_column("worst group", no_wrap=True)
    for one in result.policies:
        table.add_row(*_cells(one), style="dim" if one.hindsight else None)
    return table


def _cells(one: PolicyCost) -> tuple[str, ...]:
    group = f"{one.worst_group.name} {one.worst_group.loss:.3g}" if one.worst_group else "–"
    return (
        f"{one.policy}{' *' if one.hindsight else ''}",
        f"{one.relative:.3f}",
        f"{one.difference:+.3f} [{one.low:+.3f}, {one.high:+.3f}]".replace("-", "−"),
        str(one.trainings),
        str(one.looks),
        f"{one.worst_step.name} {one.worst_step.loss:.3g}",
        group,
    )
