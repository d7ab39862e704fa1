"""The steps of a rollout: their shares and names, how long each lasts, which of them wait for a person.

all-at-once    promotion
blue-green     100% (the switch; the old side stays loaded for the bake) -> promotion
canary         5% -> 25% -> 100% -> promotion
shadow         0% (copied traffic) -> promotion
"""

from collections.abc import Sequence

from kedge.domain.durations import seconds_of, share_of
from kedge.domain.project import ProjectSpec
from kedge.domain.rollout import PROMOTE, Deployment, RolloutRules, Strategy
from kedge.errors import RequestInvalid


def rules_of(deployment: Deployment, spec: ProjectSpec) -> RolloutRules:
    """Give the rules that a trial started with; the project's for a trial that began before they were kept with it."""
    return deployment.rules or spec.rollout


def steps_of(rules: RolloutRules, strategy: Strategy) -> tuple[float, ...]:
    """List the shares of a rollout's steps: shadow has one step without traffic, blue-green one with all of it,
    all-at-once has none."""
    if strategy is Strategy.CANARY:
        return tuple(share_of(step) for step in rules.steps)
    return {Strategy.SHADOW: (0.0,), Strategy.BLUE_GREEN: (1.0,)}.get(strategy, ())


def step_name(share: float) -> str:
    """Name a step by its share, as rules name it: "25%"."""
    return f"{share * 100:g}%"


def next_of(rules: RolloutRules, deployment: Deployment) -> str:
    """Name what comes after a deployment's step: a step, or "promote"."""
    shares = steps_of(rules, deployment.strategy)
    return step_name(shares[deployment.step + 1]) if deployment.step + 1 < len(shares) else PROMOTE


def waits_for_person(rules: RolloutRules, strategy: Strategy, *, name: str) -> bool:
    """Say whether a step, or the promotion, waits for a person."""
    if isinstance(rules.approve, bool):
        whole = step_name(1.0) if 1.0 in steps_of(rules, strategy) else PROMOTE
        return rules.approve and name == whole
    return name in {PROMOTE if each == PROMOTE else step_name(share_of(each)) for each in rules.approve}


def hold_of(rules: RolloutRules, share: float) -> str:
    """Tell how long a step lasts: the one with all traffic its bake, any other its hold."""
    return rules.bake if rules.bake and share == 1.0 else rules.hold


def check_rules(rules: RolloutRules) -> RolloutRules:
    """Give rules back that can be followed. Raises RequestInvalid naming the rule and what would be right."""
    for name in ("hold", "bake", "max_latency", "max_age"):
        if text := getattr(rules, name):
            try:
                seconds_of(text)
            except ValueError as error:
                raise RequestInvalid(f"{name}: {error}") from None
    if not 0 < rules.alpha < 1:
        raise RequestInvalid(f"alpha is {rules.alpha}; write a level between 0 and 1, such as 0.01")
    shares = _shares("steps", rules.steps)
    if not shares or shares != sorted(set(shares)) or shares[-1] != 1:
        raise RequestInvalid('steps must rise and end with "100%", such as ["5%", "25%", "100%"]')
    if rules.max_disagreement:
        _shares("max_disagreement", [rules.max_disagreement])
    if rules.min_group < 1:
        raise RequestInvalid(f"min_group is {rules.min_group}; write 1 or more rows")
    if rules.value:
        from kedge.evaluation.value import check_value  # here: it needs Polars, which most rules do not

        check_value(rules.value)
    if not isinstance(rules.approve, bool):
        named = {step_name(share) for share in steps_of(rules, rules.strategy)} | {PROMOTE}
        for each in rules.approve:
            if each != PROMOTE and not each.strip().endswith("%"):
                raise RequestInvalid(
                    f'approve: {each!r} is neither a step such as "25%" nor "promote"; for all or none of them write'
                    " yes or no (in kedge.toml true or false)"
                )
        _shares("approve", [each for each in rules.approve if each != PROMOTE])
        if unknown := [each for each in rules.approve if each != PROMOTE and step_name(share_of(each)) not in named]:
            raise RequestInvalid(f"approve names {', '.join(unknown)}; this rollout's steps are {', '.join(sorted(named))}")
    return rules


def _shares(name: str, steps: Sequence[str]) -> list[float]:
    try:
        return [share_of(step) for step in steps]
    except ValueError as error:
        raise RequestInvalid(f"{name}: {error}") from None
