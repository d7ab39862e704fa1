"""`kedge watch`: the loop's second half, for the windows that have closed. Meant for a timer; safe to call at any time.

Before it ends it sends what people are to be told, unless a control plane is doing so.
"""

import typer

from kedge.cli.opening import HERE, Folder, Json, Store, opened, print_json
from kedge.domain.turning import Turned
from kedge.windows import attend, leading


def command(folder: Folder = HERE, store: Store = None, as_json: Json = False) -> None:
    """Measure each closed window that was not measured yet, settle rollouts, decide on retraining, check parity. Then make
    the training that was asked for, if any was."""
    with opened(folder, store, writer="watch", bare=True) as house, leading(house) as mine:
        outcomes = attend(house) if mine else {}
        parity = house.parity.newest(house.spec.name)
        house.messenger.tick()
    if as_json:
        print_json(outcomes)
        return
    for name, outcome in outcomes.items():
        typer.echo(f"{name}  {_said(outcome)}")
    if not mine:
        typer.echo("another process watches this project just now; there is nothing to do here")
    elif not outcomes:
        typer.echo("no window has closed since the last look")
    if parity is not None and not parity.holds:
        typer.echo(f"features: {parity}; see them with: kedge features parity {folder}")


def _said(outcome: Turned) -> str:
    released = f"v{outcome.released} starts its rollout" if outcome.released is not None else ""
    refused = "refused: " + "; ".join(outcome.refused.reasons) if outcome.refused else ""
    return released or refused or outcome.failed or outcome.steady
