"""POST /api/v1/...: releases by hand. Each write names who and why, and happens once."""

from collections.abc import Callable
from typing import Annotated

from litestar import Controller, Request, post
from litestar.datastructures import State as Shared
from litestar.params import FromPath, HeaderParameter, JSONBody

from kedge.domain.ids import ModelName
from kedge.domain.rollout import Deployment
from kedge.errors import NotFound, RevisionConflict
from kedge.registry.names import check_reason
from kedge.server import wire
from kedge.server.guard import actor_of
from kedge.server.house import House
from kedge.server.once import once
from kedge.server.routes.given import ANSWERS, TheHouse

Asked = Request[None, None, Shared]
Key = Annotated[
    str, HeaderParameter(name="Idempotency-Key", max_length=200, description="The same key again gets the same answer.")
]


class Writes(Controller):
    """The native API's writes."""

    path = "/api/v1"

    @post("/models/{model:str}/promote", sync_to_thread=True, status_code=200, responses=ANSWERS)
    def promote(
        self, request: Asked, house: TheHouse, model: FromPath[str], data: JSONBody[wire.Promote], idempotency: Key = ""
    ) -> wire.Deployed:
        """Make a version the champion now, for all traffic."""
        actor = actor_of(request)
        return wire.Deployed(deployment=promote(house, model, data=data, actor=actor, key=idempotency))

    @post("/models/{model:str}/roll-back", sync_to_thread=True, status_code=200, responses=ANSWERS)
    def roll_back(
        self, request: Asked, house: TheHouse, model: FromPath[str], data: JSONBody[wire.RollBack], idempotency: Key = ""
    ) -> wire.Deployed:
        """End the trial if there is one, else return to the champion before."""
        actor = actor_of(request)
        return wire.Deployed(deployment=roll_back(house, model, data=data, actor=actor, key=idempotency))


def promote(house: House, model: str, *, data: wire.Promote, actor: str, key: str = "") -> Deployment:
    """Promote by hand. Raises NotFound, RequestInvalid without a reason, RevisionConflict."""
    name, reason = ModelName(model), check_reason(data.reason)
    if house.meta.registered.find_version(name, data.version) is None:
        raise NotFound(f"model {model!r} has no version {data.version}; /api/v1/models/{model} lists those it has")
    asked = ("promote", model, str(data.version), reason, str(data.revision))
    return act_once(
        house,
        name,
        revision=data.revision,
        asked=asked,
        key=key,
        act=lambda: house.rollout.promote(name, data.version, actor=actor, reason=reason),
    )


def roll_back(house: House, model: str, *, data: wire.RollBack, actor: str, key: str = "") -> Deployment:
    """Roll back by hand. Raises NotFound, RequestInvalid without a reason, RevisionConflict."""
    name, reason = ModelName(model), check_reason(data.reason)
    asked = ("roll-back", model, reason, str(data.revision))
    return act_once(
        house,
        name,
        revision=data.revision,
        asked=asked,
        key=key,
        act=lambda: house.rollout.roll_back(name, actor=actor, reason=reason),
    )


def act_once(
    house: House, model: ModelName, *, revision: int | None, asked: tuple[str, ...], key: str, act: Callable[[], object]
) -> Deployment:
    """Act once, on the revision that was looked at, and read what is served then. Raises RevisionConflict, NotFound."""

    def acted() -> Deployment:
        found = house.meta.deployments.find(model)
        if revision is not None and revision != (found.revision if found else 0):
            raise RevisionConflict(model, revision, found=found.revision if found else 0)
        act()
        return _deployment(house, model)

    return once(house.meta, key, model=model, asked=asked, act=acted)


def _deployment(house: House, model: ModelName) -> Deployment:
    found = house.meta.deployments.find(model)
    if found is None:
        raise NotFound(f"nothing is deployed for model {model!r}; the first turn of the loop deploys its first version")
    return found
