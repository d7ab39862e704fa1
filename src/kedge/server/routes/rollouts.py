"""POST /api/v1/models/NAME/...: rollouts by hand: deploy, pause, resume, approve, abort. Each names who and why, and
happens once. Promotion and rolling back are in `writes.py`."""

from typing import NamedTuple

from litestar import Controller, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from kedge.domain.ids import ModelName
from kedge.domain.rollout import Deployment, TrialDecision
from kedge.registry.names import check_reason
from kedge.server import wire
from kedge.server.guard import actor_of
from kedge.server.house import House
from kedge.server.reading.rollout import RolloutPage, rollout_page
from kedge.server.routes.given import ANSWERS, TheHouse, TheScenes
from kedge.server.routes.writes import Asked, Key, act_once


def _deciding(decision: TrialDecision, says: str) -> HTTPRouteHandler:
    """Make the route of a decision: they differ in nothing else."""

    def handler(
        self: Controller,
        request: Asked,
        *,
        house: TheHouse,
        model: FromPath[str],
        data: JSONBody[wire.Decide],
        idempotency: Key = "",
    ) -> wire.Deployed:
        by = By(actor_of(request), idempotency)
        return wire.Deployed(deployment=decide(house, model, decision=decision, by=by, data=data))

    handler.__name__, handler.__doc__ = decision.value, says
    return post(f"/{{model:str}}/{decision.value}", sync_to_thread=True, status_code=200, responses=ANSWERS)(handler)


class Rollouts(Controller):
    """Rollouts by hand."""

    path = "/api/v1/models"

    @get("/{model:str}/rollout", sync_to_thread=True, responses=ANSWERS)
    def rollout(self, scenes: TheScenes, model: FromPath[str]) -> RolloutPage:
        """Describe what is on trial: its steps, the evidence guard by guard, a shadow's comparison, the newest looks."""
        return rollout_page(scenes.of(ModelName(model)))

    @post("/{model:str}/deploy", sync_to_thread=True, status_code=200, responses=ANSWERS)
    def deploy(
        self, request: Asked, house: TheHouse, model: FromPath[str], data: JSONBody[wire.Deploy], idempotency: Key = ""
    ) -> wire.Deployed:
        """Put a version on trial; it is champion at once where nothing is deployed."""
        return wire.Deployed(deployment=deploy(house, model, data=data, actor=actor_of(request), key=idempotency))

    pause = _deciding(TrialDecision.PAUSE, "Keep the trial on its step; harm still ends it.")
    resume = _deciding(TrialDecision.RESUME, "Let a paused trial go on.")
    approve = _deciding(TrialDecision.APPROVE, "Let pass what waits for a person: the next step, or the promotion.")
    abort = _deciding(TrialDecision.ABORT, "End the trial: the champion answers everything.")


class By(NamedTuple):
    """Who asks, and the key under which it happens once."""

    actor: str
    key: str = ""


def deploy(house: House, model: str, *, data: wire.Deploy, actor: str, key: str = "") -> Deployment:
    """Deploy by hand. Raises NotFound, ModelRefused, Conflict, RequestInvalid without a reason or by wrong rules."""
    reason = check_reason(data.reason)
    return act_once(
        house,
        ModelName(model),
        revision=data.revision,
        asked=("deploy", model, str(data.version), reason, str(data.revision), repr(data.rules)),
        key=key,
        act=lambda: house.by_hand.deploy(
            house.spec, model, number=data.version, changes=data.rules, actor=actor, reason=reason
        ),
    )


def decide(house: House, model: str, *, decision: TrialDecision, by: By, data: wire.Decide) -> Deployment:
    """Pause, resume, approve or abort by hand. Raises NotFound, Conflict, RequestInvalid without a reason."""
    reason = check_reason(data.reason)
    return act_once(
        house,
        ModelName(model),
        revision=data.revision,
        asked=(decision.value, model, reason, str(data.revision)),
        key=by.key,
        act=lambda: house.by_hand.decide(house.spec, model, decision=decision, actor=by.actor, reason=reason),
    )
