"""The page of a rollout, and its forms: deploy, pause, resume, let pass. Aborting and promoting are in `acts.py`."""

from collections.abc import Mapping

from litestar import Controller, get, post
from litestar.params import FromPath, FromQuery, URLEncodedBody
from litestar.response import Redirect

from kedge.domain.ids import ModelName
from kedge.domain.rollout import RolloutRules, RuleChanges, Strategy, TrialDecision
from kedge.errors import NotFound, RequestInvalid
from kedge.server import wire
from kedge.server.forms import Asked, Asking, Field, Page, act, ask
from kedge.server.guard import actor_of
from kedge.server.house import House
from kedge.server.reading.rollout import rollout_page
from kedge.server.routes.given import TheHouse, ThePages, TheScenes
from kedge.server.routes.pages import show
from kedge.server.routes.rollouts import By, decide, deploy
from kedge.web.addresses import part

Sent = URLEncodedBody[dict[str, str]]
ASKED = "Before it takes all traffic; a shadow before its promotion"
VERBS = {
    "pause": ("Pause the trial of v{0}?", "Pause", ("Its share of the traffic stays as it is", "Harm still ends it")),
    "resume": (
        "Let the trial of v{0} go on?",
        "Resume",
        ("It goes on where it was", "The pause counts for no hold"),
    ),
    "approve": ("Let v{0} pass?", "Let it pass", ("What waited begins at once", "You stand behind it, with your reason")),
}


class RolloutPages(Controller):
    """One model's rollout in a browser."""

    include_in_schema = False

    @get("/models/{model:str}/rollout", sync_to_thread=True)
    def rollout(self, pages: ThePages, scenes: TheScenes, model: FromPath[str]) -> Page:
        """Show what is on trial, the evidence, and the looks."""
        scene = scenes.of(ModelName(model))
        page = rollout_page(scene)
        return show(pages, "rollout", title=f"Rollout of {model}", noun="Models", page=page, live=scene.serial)

    @get("/models/{model:str}/deploy", sync_to_thread=True)
    def ask_deploy(
        self, request: Asked, pages: ThePages, house: TheHouse, *, model: FromPath[str], version: FromQuery[int] = 0
    ) -> Page:
        """Ask by which rules a version shall go on trial."""
        return ask(request, pages, asking=_deploying(house, model, version=version))

    @post("/models/{model:str}/deploy", sync_to_thread=True)
    def do_deploy(
        self, request: Asked, pages: ThePages, house: TheHouse, *, model: FromPath[str], data: Sent
    ) -> Page | Redirect:
        """Put a version on trial."""
        version = _number(data, "version")

        def do() -> None:
            rules, revision = _changes(data, _rules(house, model)), _number(data, "revision")
            body = wire.Deploy(version=version, reason=data.get("reason", ""), rules=rules, revision=revision)
            deploy(house, model, data=body, actor=actor_of(request))

        return act(request, pages, asking=_deploying(house, model, version=version), given=data, do=do)

    @get("/models/{model:str}/trial/{verb:str}", sync_to_thread=True)
    def ask_verb(
        self, request: Asked, pages: ThePages, house: TheHouse, *, model: FromPath[str], verb: FromPath[str]
    ) -> Page:
        """Ask before a trial is paused, goes on, or passes."""
        return ask(request, pages, asking=_deciding(house, model, verb=verb))

    @post("/models/{model:str}/trial/{verb:str}", sync_to_thread=True)
    def do_verb(
        self, request: Asked, pages: ThePages, house: TheHouse, *, model: FromPath[str], verb: FromPath[str], data: Sent
    ) -> Page | Redirect:
        """Pause, resume, or let pass."""

        def do() -> None:
            body = wire.Decide(reason=data.get("reason", ""), revision=_number(data, "revision"))
            decide(house, model, decision=TrialDecision(verb), by=By(actor_of(request)), data=body)

        return act(request, pages, asking=_deciding(house, model, verb=verb), given=data, do=do)


def _deciding(house: House, model: str, *, verb: str) -> Asking:
    if verb not in VERBS:
        raise NotFound(f"a trial cannot be {verb!r}; there are {', '.join(VERBS)}")
    deployment = house.meta.deployments.find(ModelName(model))
    if deployment is None or deployment.challenger is None:
        raise NotFound(f"no version of {model!r} is on trial, so there is nothing to {verb}")
    heading, button, facts = VERBS[verb]
    more = (f"What waits: {deployment.waiting}",) if verb == "approve" and deployment.waiting else ()
    return _form(
        model,
        heading=heading.format(deployment.challenger),
        button=button,
        facts=(*facts, *more),
        fields=(Field(name="revision", value=str(deployment.revision), kind="hidden"), *_REASON),
    )


_REASON = (Field(name="reason", label="Reason, kept in the history", required=True),)


def _rules(house: House, model: str) -> RolloutRules:
    """Give the rules that a trial has where nobody says otherwise: the project's for its own model."""
    return house.spec.rollout if model == house.spec.name else RolloutRules()


def _deploying(house: House, model: str, *, version: int) -> Asking:
    house.catalog.version(model, version)
    deployment = house.meta.deployments.find(ModelName(model))
    rules = _rules(house, model)
    if deployment is None:
        facts: tuple[str, ...] = ("Nothing of this model is deployed: it is champion at once",)
    else:
        ends = (f"The trial of v{deployment.challenger} ends",) if deployment.challenger is not None else ()
        facts = (f"v{deployment.champion} stays champion until it is promoted", *ends)
    fields = (
        Field(name="revision", value=str(deployment.revision if deployment else 0), kind="hidden"),
        Field(name="version", value=str(version), kind="hidden"),
        Field(
            name="strategy",
            label="Strategy",
            value=rules.strategy.value,
            kind="choice",
            choices=tuple(one.value for one in Strategy),
        ),
        Field(name="steps", label="Steps of a canary", value=", ".join(rules.steps)),
        Field(name="hold", label="Each step holds for", value=rules.hold),
        Field(name="bake", label="All traffic holds for", value=rules.bake, hint="Left out: as every step"),
        Field(name="approve", label="A person lets it pass", kind="check", value="1" if rules.approve else "", hint=ASKED),
        *_REASON,
    )
    return _form(model, heading=f"Put {model} v{version} on trial?", button="Deploy", facts=facts, fields=fields)


def _changes(data: Mapping[str, str], rules: RolloutRules) -> RuleChanges:
    """Read the rules of a form: a box left as the project's `rules` have it keeps the steps that they name.

    Raises RequestInvalid for a strategy that there is not.
    """
    named = data.get("strategy", "").strip()
    known = {one.value: one for one in Strategy}
    if named not in known:
        raise RequestInvalid(f"strategy {named!r} is none of {', '.join(known)}")
    steps = tuple(step.strip() for step in data.get("steps", "").split(",") if step.strip())
    asked = bool(data.get("approve"))
    return RuleChanges(
        strategy=known[named],
        steps=steps or None,
        hold=data.get("hold", "").strip() or None,
        bake=data.get("bake", "").strip(),
        approve=None if asked == bool(rules.approve) else asked,
    )


def _form(model: str, *, heading: str, button: str, facts: tuple[str, ...], fields: tuple[Field, ...]) -> Asking:
    home = f"/models/{part(model)}"
    return Asking(
        heading=heading,
        button=button,
        fields=fields,
        noun="Models",
        crumbs=(("Models", "/models"), (model, home), ("Rollout", f"{home}/rollout")),
        back=f"{home}/rollout",
        consequences=(*facts, "Your name and reason stand in the history"),
    )


def _number(data: Mapping[str, str], name: str) -> int:
    text = data.get(name, "")
    if not (text.isascii() and text.isdecimal()):
        raise RequestInvalid(f"{name}: {text!r} is no number; open the form again")
    return int(text)
