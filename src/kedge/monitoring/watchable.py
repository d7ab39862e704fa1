"""What a project wants watched by column, held against the columns that its model reads and its log has.

A name that no record will ever have would be watched by nobody, and a note in each window is read by nobody: so the turn
stops before it trains.
"""

from collections.abc import Collection, Iterator

from kedge.domain.fairness import CROSS
from kedge.domain.monitoring import ANSWERS, MonitoringRules, columns_named
from kedge.domain.rollout import RolloutRules
from kedge.errors import ConfigError
from kedge.evaluation.value import columns_read

OWN = frozenset({"prediction", "truth"})
"""The names in an expression of a business metric that are not columns."""


def require_watchable(
    rules: MonitoringRules, rollout: RolloutRules, *, read: Collection[str], logged: Collection[str]
) -> None:
    """Check that all columns that are named can be watched, and guarded in a rollout: `read` are those that the model
    reads, `logged` those that the prediction log has of each row. Raises ConfigError naming all that cannot."""
    said = []
    if strange := [f"{key} {name!r}" for key, name in _of_the_log(rules) if name not in logged]:
        said.append(
            f"{', '.join(strange)}: not in the prediction log, which has {', '.join(logged)} (a request brings what is in "
            "`request` of the feature service; `drop` keeps it from the model)"
        )
    if strange := [f"{key} {name!r}" for key, name in _of_the_model(rules) if name not in {*read, ANSWERS}]:
        said.append(f"{', '.join(strange)}: the model does not read that; it reads {', '.join(read)}")
    if said:
        raise ConfigError(f"[monitoring] {'; '.join(said)}")
    if strange := [f"{key} {name!r}" for key, name in _of_a_trial(rollout) if name not in read]:
        raise ConfigError(f"[rollout] {', '.join(strange)}: the model does not read that; it reads {', '.join(read)}")


def _of_the_log(rules: MonitoringRules) -> Iterator[tuple[str, str]]:
    """Give what is gathered from the log, by the key that names it."""
    yield from dict.fromkeys(("groups", name) for group in rules.groups for name in group.split(CROSS))
    for metric, business in rules.business.items():
        yield from ((f"business.{metric}", name) for name in sorted(columns_read(business.value) - OWN))


def _of_a_trial(rules: RolloutRules) -> Iterator[tuple[str, str]]:
    """Give what a trial is guarded by, by the key that names it."""
    yield from (("slices", name) for name in rules.slices)
    if rules.value:
        yield from (("value", name) for name in sorted(columns_read(rules.value) - OWN))


def _of_the_model(rules: MonitoringRules) -> Iterator[tuple[str, str]]:
    """Give what is followed by what the model reads, by the key that names it."""
    yield from (("slices", name) for name in rules.slices)
    yield from (("tolerance", name) for name in columns_named(rules.tolerance))
