"""Promote, roll back and archive by a person, whatever the model: deployed ones through their rollout, others by alias.

    deployed      the champion alias moves, then the deployment's next revision is written (`Rollout`)
    not deployed  the alias moves, and that is all
The alias is compared and set: of many who saw the same serial, one wins; the others are told AliasConflict.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kedge.domain.ids import ModelName
from kedge.domain.project import ProjectSpec
from kedge.domain.registry import CHAMPION, AliasMove, CatalogVersion, ModelStage, Servable
from kedge.domain.rollout import Deployment, RolloutRules, RuleChanges, TrialDecision
from kedge.errors import NotFound, RequestInvalid
from kedge.ports import Deployments
from kedge.registry.catalog import Catalog
from kedge.registry.holders import previous_holder
from kedge.registry.room import Registry
from kedge.rollout.room import Rollout


class ByHand:
    """Move champions, other aliases and stages for people."""

    def __init__(self, *, catalog: Catalog, registry: Registry, rollout: Rollout, deployments: Deployments) -> None:
        self._catalog, self._registry, self._rollout, self._deployments = catalog, registry, rollout, deployments

    def promote(
        self, model: str, number: int | None = None, *, actor: str, reason: str, serial: int | None = None
    ) -> AliasMove:
        """Make a version champion now; without a number the one on trial. Gives the alias's newest move.

        Raises NotFound, ModelRefused for a version that cannot be served where the model is, AliasConflict.
        """
        if number is None and not self.is_deployed(model):
            raise NotFound(
                f"nothing is deployed for model {model!r}, so none of its versions is on trial; name one by its number"
            )
        if number is None or self.is_deployed(model):
            return self._promote_deployed(model, number, actor=actor, reason=reason, serial=serial)
        return self._catalog.set_alias(model, CHAMPION, number=number, actor=actor, reason=reason, serial=serial)

    def deploy(
        self, spec: ProjectSpec, model: str, *, number: int, changes: RuleChanges, actor: str, reason: str
    ) -> Deployment:
        """Put a version on trial by the project's rules with changes; champion at once where nothing is deployed.

        Raises NotFound, ModelRefused for a version that the data plane cannot check, Conflict for one that is served
        already, RequestInvalid for rules that cannot be followed.
        """
        try:
            version = self._servable(ModelName(model), number)
        except NotFound:
            raise NotFound(
                f"there is no version {number} of a model {model!r} here; `kedge models list` says which models there are,"
                f" `kedge models versions {model}` which versions"
            ) from None
        base = spec.rollout if model == spec.name else RolloutRules()
        return self._rollout.deploy(version, rules=changes.of(base), actor=actor, reason=reason)

    def decide(self, spec: ProjectSpec, model: str, *, decision: TrialDecision, actor: str, reason: str) -> Deployment:
        """Do what a person decides of a deployed model. Raises NotFound, Conflict where it cannot be done now."""
        rollout = self._rollout
        acts: dict[TrialDecision, Callable[..., Deployment]] = {
            TrialDecision.PAUSE: rollout.pause,
            TrialDecision.RESUME: rollout.resume,
            TrialDecision.APPROVE: partial(rollout.approve, spec),
            TrialDecision.PROMOTE: rollout.promote,
            TrialDecision.ABORT: rollout.abort,
            TrialDecision.ROLL_BACK: rollout.roll_back,
        }
        return acts[decision](ModelName(model), actor=actor, reason=reason)

    def roll_back(self, model: str, *, actor: str, reason: str, serial: int | None = None) -> AliasMove:
        """Go back: end the trial where one runs, else to the champion before. Gives the alias's newest move.

        Raises NotFound where there is none before, AliasConflict.
        """
        name = self._catalog.get(model).name
        if self.is_deployed(model):
            self._registry.require_serial(name, serial)
            self._rollout.roll_back(name, actor=actor, reason=reason, serial=serial)
            return self._newest(name)
        there = {version.number for version in self._catalog.versions(model)}
        previous = previous_holder([move for move in self._registry.history(name) if move.number in {None, *there}])
        if previous is None:
            raise NotFound(f"model {model!r} has no champion before this one; promote a version by its number instead")
        return self._catalog.set_alias(model, CHAMPION, number=previous, actor=actor, reason=reason, serial=serial)

    def set_alias(
        self, model: str, alias: str, *, number: int, actor: str, reason: str, serial: int | None = None
    ) -> AliasMove:
        """Point an alias to a version; the champion of a deployed model is promoted. Raises as `promote` does."""
        if alias == CHAMPION and self.is_deployed(model):
            return self._promote_deployed(model, number, actor=actor, reason=reason, serial=serial)
        return self._catalog.set_alias(model, alias, number=number, actor=actor, reason=reason, serial=serial)

    def delete_alias(self, model: str, alias: str, *, actor: str, reason: str) -> None:
        """Take an alias away. Raises NotFound, RequestInvalid for the champion of a deployed model."""
        if alias == CHAMPION and self.is_deployed(model):
            raise RequestInvalid(
                f"the champion of {model!r} answers what is asked of it, so its alias cannot be taken away; promote another"
                " version, or roll back"
            )
        self._catalog.delete_alias(model, alias, actor=actor, reason=reason)

    def archive(self, model: str, number: int, *, actor: str, reason: str) -> CatalogVersion:
        """Take a version out of use: its stage is Archived, its aliases are taken away.

        Raises NotFound, RequestInvalid for a version that is served.
        """
        version = self._catalog.version(model, number)
        served = self._deployments.find(version.model)
        if served is not None and number in (served.champion, served.challenger):
            raise RequestInvalid(
                f"version {number} of {model!r} is served now, so it cannot be archived; promote another version, or roll"
                " back, then archive it"
            )
        for alias in version.aliases:
            self._catalog.delete_alias(model, alias, actor=actor, reason=reason)
        return self._catalog.move_stage(model, number, stage=ModelStage.ARCHIVED.value, actor=actor, reason=reason)

    def is_deployed(self, model: str) -> bool:
        """Say whether a deployment answers for this model."""
        return self._deployments.find(ModelName(model)) is not None

    def _promote_deployed(self, model: str, number: int | None, *, actor: str, reason: str, serial: int | None) -> AliasMove:
        name = ModelName(model)
        if number is not None:
            self._servable(name, number)
        self._rollout.promote(name, number, actor=actor, reason=reason, serial=serial)
        return self._newest(name)

    def _servable(self, model: ModelName, number: int) -> Servable:
        """Give a version that the data plane can serve. Raises NotFound, ModelRefused."""
        self._catalog.version(model, number)
        return self._registry.servable(model, number)

    def _newest(self, name: ModelName) -> AliasMove:
        return next(move for move in reversed(self._registry.history(name)) if move.alias == CHAMPION)
