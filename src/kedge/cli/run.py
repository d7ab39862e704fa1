"""`kedge run`: one turn of the loop, now, by hand. Killed and called again, it ends the turn that it began."""

import typer

from kedge.cli.opening import HERE, Folder, Json, Store, opened, print_json
from kedge.cli.who import person
from kedge.loop import turn


def command(folder: Folder = HERE, store: Store = None, as_json: Json = False) -> None:
    """Commit, validate, train, pass the gate, register and start the rollout. Exits with 3 if nothing was released,
    unless rows and code are still those of a version that was."""
    with opened(folder, store, writer="run") as house:
        outcome = turn(house, house.spec, house.retraining.by_hand(house.spec, person()))
        deployment = house.meta.deployments.find(house.spec.name)
    if as_json:
        print_json(outcome)
    elif outcome.released is not None:
        is_live = deployment is not None and deployment.champion == outcome.released
        typer.echo(f"{house.spec.name} v{outcome.released} passed the gate and {'is live' if is_live else 'is on trial'}")
    else:
        typer.echo(outcome.failed or "; ".join(outcome.refused.reasons if outcome.refused else (outcome.steady,)))
    if outcome.released is None and not outcome.steady:
        raise typer.Exit(3)
