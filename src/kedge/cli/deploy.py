"""`kedge deploy`: put a version on trial, look at the trial, and move it by hand.

`kedge deploy NAME@VERSION` is short for `kedge deploy start NAME@VERSION`. Where MODEL is left out it is the project's.
Exit codes: 0 done; 1 refused, said in one line; 2 wrong usage.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Annotated, Any

import msgspec
import typer
from typer.core import TyperGroup

from kedge.app import House
from kedge.cli.models import Model, Place, Reason, model_named, told
from kedge.cli.opening import HERE, Json, Store, opened, print_json
from kedge.cli.who import person
from kedge.config import project_or_none
from kedge.controller import Controller, Looker, looker
from kedge.domain.ids import ModelName
from kedge.domain.rollout import Deployment, Move, RolloutLook, RuleChanges, Strategy, TrialDecision, newest_trial
from kedge.errors import ModelRefused, NotFound, RequestInvalid
from kedge.registry.names import check_reason
from kedge.rollout.steps import next_of, rules_of, steps_of

NOUN = "deploy"


class Starting(TyperGroup):
    """Reads `deploy NAME@VERSION` as `deploy start NAME@VERSION`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the verb before a version that stands in its place."""
        if args and "@" in args[0] and args[0] not in self.commands:
            args = ["start", *args]
        return super().parse_args(ctx, args)


nouns = typer.Typer(cls=Starting, no_args_is_help=True, rich_markup_mode=None)


@nouns.command()
def start(
    version: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The version, such as flights@3.")],
    reason: Annotated[str, typer.Option(help="Why; it goes into the history.")] = "deployed by hand",
    strategy: Annotated[Strategy | None, typer.Option(help="How it replaces the champion.")] = None,
    steps: Annotated[str | None, typer.Option(help='Shares of traffic, such as "5%,25%,100%".')] = None,
    hold: Annotated[str | None, typer.Option(help='How long a step lasts, such as "1d".')] = None,
    bake: Annotated[str | None, typer.Option(help="How long the step with all traffic lasts.")] = None,
    approve: Annotated[str | None, typer.Option(help='What waits for a person: yes, no, or "25%,promote".')] = None,
    max_disagreement: Annotated[
        str | None, typer.Option(help='Share of rows on which a shadow may decide otherwise, such as "10%".')
    ] = None,
    project: Place = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Put a version on trial by the rules of kedge.toml, or by those given here; they stay with this trial."""
    name, number = _version(version)
    changes = RuleChanges(
        strategy=strategy,
        steps=None if steps is None else _listed(steps),
        hold=hold,
        bake=bake,
        approve=None if approve is None else _approval(approve),
        max_disagreement=max_disagreement,
    )
    with opened(project, store, writer=NOUN, bare=True, make=False) as house:
        who, why = person(), check_reason(reason, parameter="--reason")
        made = house.by_hand.deploy(house.spec, name, number=number, changes=changes, actor=who, reason=why)
        more = _reads_more(house, made)
    told(_standing(made) + more, made, as_json=as_json)


def _reads_more(house: House, made: Deployment) -> str:
    """Say which columns the version on trial reads that callers of the champion do not send."""
    if made.challenger is None or (made.model == house.spec.name and house.spec.features.service):
        return ""
    try:
        champion, trial = (house.registry.servable(made.model, number) for number in (made.champion, made.challenger))
    except (ModelRefused, NotFound):
        return ""  # the trial is on its way; what cannot be loaded is told by its looks
    if champion.signature is None or trial.signature is None:
        return ""
    known = {column.name for column in champion.signature.inputs}
    if not (more := [column.name for column in trial.signature.inputs if column.name not in known]):
        return ""
    names = ", ".join(more)
    return f"\n  v{made.challenger} also reads {names}: on requests without them it fails, and v{made.champion} answers"


@nouns.command()
def status(model: Model = "", project: Place = HERE, store: Store = None, as_json: Json = False) -> None:
    """Show what is served, what is on trial and on which step, and what the newest look said; of every deployed model where
    none is named and there is no project."""
    with opened(project, store, writer=NOUN, bare=True, make=False) as house:
        shown = [
            (deployment, house.meta.deployments.newest_look(name), rules_of(deployment, house.spec))
            for name in _named(house, model, project=project)
            if (deployment := house.meta.deployments.find(name)) is not None
        ]
        by = looker(house)
    if not shown:
        what = f"model {model!r}" if model else "any model"
        raise NotFound(f"nothing is deployed for {what}; deploy a version with: kedge deploy {model or 'NAME'}@1")
    if as_json:
        every = [{"deployment": one, "look": _of_trial(look, one), "looker": by} for one, look, _ in shown]
        print_json(every[0] if model or project_or_none(project) is not None else every)
        return
    for deployment, look, rules in shown:
        typer.echo(_standing(deployment))
        if deployment.challenger is None:
            continue
        steps, since = len(steps_of(rules, deployment.strategy)), f"{deployment.since:%Y-%m-%d %H:%M} UTC"
        typer.echo(f"  step {deployment.step + 1} of {steps}, since {since}; then {next_of(rules, deployment)}")
        if (newest := _of_trial(look, deployment)) is not None:
            typer.echo(f"  {newest.looked_at:%Y-%m-%d %H:%M} UTC  {newest.move.value.replace('_', ' ')}: {newest.reason}")
        typer.echo(f"  {_looked_at_by(by)}")


@nouns.command()
def looks(
    model: Model = "",
    all_trials: Annotated[bool, typer.Option("--all", help="Those of earlier trials as well.")] = False,
    project: Place = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """List the looks at the trial, oldest first: what was seen, the odds against it, what was decided; at those of every
    deployed model where none is named and there is no project."""
    found: list[RolloutLook] = []
    with opened(project, store, writer=NOUN, bare=True, make=False) as house:
        names = _named(house, model, project=project)
        for name in names:
            trial = newest_trial(house.meta.deployments.list(name))
            began = trial[0].revision if trial and not all_trials else 0
            found += [look for look in house.meta.deployments.looks(name) if look.revision >= began]
    if as_json:
        print_json(found)
        return
    typer.echo(f"{', '.join(names) or 'nothing is deployed'}: {'1 look' if len(found) == 1 else f'{len(found)} looks'}")
    for look in found:
        typer.echo(_told(look))


@nouns.command()
def watch(
    seconds: Annotated[float, typer.Option(min=0.1, help="Between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    project: Place = HERE,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Look at every trial by the prediction log as it grows, and act on it, as `kedge up` does; until interrupted.

    Another process that looks already goes first: this one waits for it to end.
    """
    out = sys.stdout
    with opened(project, store, writer=NOUN, bare=True, make=False) as house:
        controller = Controller(house)
        shown = ""
        try:
            while True:
                for look in controller.tick():
                    if as_json:
                        out.write(f"{msgspec.json.encode(look).decode()}\n")
                    elif (line := f"{look.model}  {look.move.value.replace('_', ' ')}: {look.reason}") != shown:
                        shown = line
                        out.write(f"{look.looked_at:%H:%M:%S}  {line}\n")
                    out.flush()
                if once:
                    return
                sleep(seconds)
        finally:
            controller.stop()


DECISIONS = {
    TrialDecision.PAUSE: "Keep the trial on its step: its share stays, and harm still ends it.",
    TrialDecision.RESUME: "Let a paused trial go on; the pause does not count for its hold.",
    TrialDecision.APPROVE: "Let pass what waits for a person: the next step, or the promotion.",
    TrialDecision.PROMOTE: "Make the version on trial champion now, whatever its step.",
    TrialDecision.ABORT: "End the trial now: the champion answers everything.",
    TrialDecision.ROLL_BACK: "Go back: end the trial where one runs, else serve the champion before again.",
}
"""What a person may decide of a deployed model, each with the help of its verb."""


def _verb(decision: TrialDecision) -> Callable[..., None]:
    """Make the command of a decision: they differ in nothing else."""

    def decide(reason: Reason, model: Model = "", project: Place = HERE, store: Store = None, as_json: Json = False) -> None:
        with opened(project, store, writer=NOUN, bare=True, make=False) as house:
            name = model_named(model, project, house.spec.name)
            why = check_reason(reason, parameter="--reason")
            made = house.by_hand.decide(house.spec, name, decision=decision, actor=person(), reason=why)
        told(_standing(made), made, as_json=as_json)

    return decide


for _decision, _says in DECISIONS.items():
    nouns.command(_decision.value, help=_says)(_verb(_decision))


def _named(house: House, model: str, *, project: Path) -> list[ModelName]:
    """Give the model that is meant; every deployed one where none is named and there is no project."""
    if not model and project_or_none(project) is None:
        return list(house.meta.deployments.names())
    return [ModelName(model or house.spec.name)]


def _looked_at_by(by: Looker | None) -> str:
    """Say who looks at trials, and when looks go on if that process is gone."""
    if by is None:
        return "nobody looks at it now: kedge up does while it runs, or start kedge deploy watch"
    return f"looked at by {by.owner}; if that was killed, looks go on at {by.until:%H:%M:%S} UTC"


def _of_trial(look: RolloutLook | None, deployment: Deployment) -> RolloutLook | None:
    """Give a look if it was one at the version on trial."""
    return look if look is not None and look.challenger == deployment.challenger else None


def _version(text: str) -> tuple[str, int]:
    """Read NAME@VERSION. Raises RequestInvalid."""
    found = re.fullmatch(r"(.+)@v?(\d+)", text)
    if found is None:
        raise RequestInvalid(f"{text!r} names no version; write NAME@VERSION, such as flights@3")
    return found[1], int(found[2])


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _approval(text: str) -> bool | tuple[str, ...]:
    return {"yes": True, "no": False}[text] if text in ("yes", "no") else _listed(text)


def _standing(deployment: Deployment) -> str:
    """Say in one line what is served and what is on trial."""
    champion = f"{deployment.model} v{deployment.champion} is champion"
    if deployment.challenger is None:
        return f"{champion} and answers everything"
    share = "a copy" if deployment.strategy is Strategy.SHADOW else f"{deployment.share:.0%}"
    state = f"; it waits for a person: {deployment.waiting}" if deployment.waiting else ""
    state += "; paused" if deployment.paused_at is not None else ""
    return f"{champion}; v{deployment.challenger} is on trial ({deployment.strategy.value}) with {share} of traffic{state}"


def _told(look: RolloutLook) -> str:
    """Write a look as three lines: what was seen and decided, and why."""
    odds = "" if look.evidence is None else f", odds {look.evidence:.3g}"
    limit = "" if look.evidence is None or look.limit is None else f" of {look.limit:.3g}"
    seen = f"{look.rows:,} rows, {look.errors:,} failed{odds}{limit}"
    step = f"{look.model} v{look.challenger} step {look.step + 1} ({look.share:.0%})"
    move = look.move.value.replace("_", " ").upper() if look.move is not Move.HOLD else "hold"
    return f"{look.looked_at:%Y-%m-%d %H:%M:%S}  {step}  {move}\n    {seen}\n    {look.reason}"
