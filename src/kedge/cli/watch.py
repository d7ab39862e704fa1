"""`kedge watch`: the loop's second half, for the windows that have closed. Meant for a timer; safe to call at any time."""

import typer

from kedge.cli.opening import HERE, Folder, Json, Store, opened, print_json
from kedge.windows import watch_closed


def command(folder: Folder = HERE, store: Store = None, as_json: Json = False) -> None:
    """Measure each closed window that was not measured yet, settle rollouts, decide on retraining, check parity."""
    with opened(folder, store, writer="watch") as house:
        outcomes = watch_closed(house)
        parity = house.parity.newest(house.spec.name)
    if as_json:
        print_json(outcomes)
        return
    for name, outcome in outcomes.items():
        released = f"v{outcome.released} starts its rollout" if outcome.released is not None else ""
        refused = "refused: " + "; ".join(outcome.refused.reasons) if outcome.refused else ""
        typer.echo(f"{name}  {released or refused or outcome.failed or outcome.steady}")
    if not outcomes:
        typer.echo("no window has closed since the last look")
    if parity is not None and not parity.holds:
        typer.echo(f"features: {parity}; see them with: kedge features parity {folder}")
