"""`kedge watch`: the loop's second half, for the windows that have closed. Meant for a timer; safe to call at any time."""

from collections.abc import Iterator
from datetime import UTC, datetime

import typer

from kedge.app import House
from kedge.cli.opening import HERE, Folder, Json, Store, opened, print_json
from kedge.domain.durations import span_of
from kedge.domain.monitoring import Window
from kedge.errors import NotFound
from kedge.loop import watch


def command(folder: Folder = HERE, store: Store = None, as_json: Json = False) -> None:
    """Measure each closed window that was not measured yet, settle rollouts, decide on retraining."""
    with opened(folder, store, writer="watch") as house:
        outcomes = {window.id: watch(house, house.spec, window) for window in closed_windows(house)}
    if as_json:
        print_json(outcomes)
        return
    for name, outcome in outcomes.items():
        released = f"v{outcome.released} starts its rollout" if outcome.released is not None else ""
        refused = "refused: " + "; ".join(outcome.refused.reasons) if outcome.refused else ""
        typer.echo(f"{name}  {released or refused or outcome.failed or outcome.steady}")
    if not outcomes:
        typer.echo("no window has closed since the last look")


def closed_windows(house: House) -> Iterator[Window]:
    """Walk the whole windows from the last measured one, or from the first deployment, up to now."""
    length = span_of(house.spec.monitoring.window)
    measured = house.meta.watches.list(house.spec.name, limit=1)
    deployments = house.meta.deployments.list(house.spec.name)
    if not deployments:
        raise NotFound(f"nothing is deployed for {house.spec.name!r} yet; make a first model with: kedge run")
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    start = measured[0].window.end if measured else deployments[0].since - (deployments[0].since - epoch) % length
    while start + length <= house.clock.now():
        yield Window(start, start + length)
        start += length
