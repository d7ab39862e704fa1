"""/api/v1/models/NAME/retrain, .../triggers, /api/v1/hooks/NAME: what asks for a training besides the policy.

Asking is not training: the loop beside the control plane (or `kedge watch`) makes the turn as soon as the limits let it.
"""

from collections.abc import Sequence
from typing import Annotated

from litestar import Controller, get, post
from litestar.params import FromPath, HeaderParameter, JSONBody, RawBody

from kedge.domain.ids import ModelName, digest_of
from kedge.domain.retraining import Trigger
from kedge.errors import NotFound, SignatureInvalid
from kedge.registry.names import check_reason
from kedge.retraining.asking import PERSON, WEBHOOK
from kedge.security.webhooks import check
from kedge.server import wire
from kedge.server.guard import actor_of
from kedge.server.house import House
from kedge.server.routes.given import ANSWERS, TheHouse
from kedge.server.routes.writes import Asked, Key
from kedge.settings import webhook_secret

Signed = Annotated[str, HeaderParameter(name="Kedge-Signature", description="t=UNIX,v1=HEX: HMAC-SHA256 over `UNIX.BODY`.")]
AsGitHub = Annotated[str, HeaderParameter(name="X-Hub-Signature-256", description="sha256=HEX: HMAC-SHA256 over the body.")]


class Askings(Controller):
    """What asks for a training."""

    path = "/api/v1"

    @post("/models/{model:str}/retrain", sync_to_thread=True, status_code=202, responses=ANSWERS)
    def retrain(
        self, request: Asked, house: TheHouse, model: FromPath[str], data: JSONBody[wire.AskTraining], idempotency: Key = ""
    ) -> wire.AskTaken:
        """Ask for a training. It is made when no limit holds it back; the same key again asks once."""
        return ask(house, model, reason=data.reason, actor=actor_of(request), key=idempotency)

    @get("/models/{model:str}/triggers", sync_to_thread=True, responses=ANSWERS)
    def triggers(self, house: TheHouse, model: FromPath[str]) -> Sequence[Trigger]:
        """List what asked for a training, newest first; what waits has not been taken."""
        return house.meta.triggers.list(trained_model(house, model))

    @post("/hooks/{name:str}", sync_to_thread=True, status_code=202, responses=ANSWERS)
    def hook(
        self, house: TheHouse, body: RawBody, name: FromPath[str], signed: Signed = "", foreign: AsGitHub = ""
    ) -> wire.AskTaken:
        """Ask for a training from another program, by a signed message; the same message again asks once."""
        return take(house, name, body=body, headers={"kedge-signature": signed, "x-hub-signature-256": foreign})


def ask(house: House, model: str, *, reason: str, actor: str, key: str) -> wire.AskTaken:
    """Ask for a training by hand. Raises NotFound, RequestInvalid without a reason."""
    name, told = trained_model(house, model), check_reason(reason)
    named = digest_of(PERSON, key or house.clock.now(), actor)
    new = house.asking.ask(name, PERSON, key=named, reason=f"asked for by hand: {told}", actor=actor)
    return wire.AskTaken(taken=new)


def take(house: House, name: str, *, body: bytes, headers: dict[str, str]) -> wire.AskTaken:
    """Take a signed message. Raises SignatureInvalid, also for a hook that the project does not have:
    whoever cannot sign learns nothing of which there are."""
    secret = webhook_secret(name)
    if f"{WEBHOOK}:{name}" not in house.spec.retraining.triggers or not secret:
        raise SignatureInvalid(
            f'the message is refused: no webhook {name!r} is open here; it needs "webhook:{name}" in retraining.triggers '
            "and KEDGE_WEBHOOK_... as its secret"
        )
    present = {header: value for header, value in headers.items() if value}
    key = check(present, body, secret=secret, now=house.clock.now())
    actor = f"{WEBHOOK}:{name}"
    return wire.AskTaken(taken=house.asking.ask(house.spec.name, WEBHOOK, key=key, reason=f"webhook {name}", actor=actor))


def trained_model(house: House, name: str) -> ModelName:
    """Give the model that the project trains. Raises NotFound for another one, or where it trains none."""
    if name != house.spec.name or not house.spec.data.source:
        raise NotFound(f"{name!r} is not trained here; the project is {house.spec.name!r}, and trains where it has a source")
    return house.spec.name
