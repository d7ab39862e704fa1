"""The retraining page: where the policy stands and why, what waits, and every decision with its reason."""

from collections import Counter
from datetime import datetime, timedelta

import msgspec

from kedge.domain.backtest import KeptBacktest, backtest_note
from kedge.domain.durations import roughly
from kedge.domain.ids import ModelName
from kedge.domain.retraining import LedgerEntry, RetrainingStanding, Trigger
from kedge.errors import NotFound
from kedge.ports import MetaStore
from kedge.retraining.ledger import RETRAIN
from kedge.retraining.standing import slope_words, standing
from kedge.server.reading.scene import Scene
from kedge.server.reading.state import Figure, Sentence, State
from kedge.web import words

DECISIONS = 15
LONGEST = 520
TRIGGERS = 20
_STATES = {"retrain": State.RUNNING, "look": State.WATCH, "wait": State.HOLDS}


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One step's decision: trained, looked, or did not, and why; `bound` names the limit that held a training back."""

    step: int
    window: str
    at: datetime
    state: State
    decision: str
    reason: str
    bound: str
    regret: float
    price: float
    champion: int


class LedgerPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A step in the ledger's line: when it closed, the regret then, and whether it trained or looked."""

    at: datetime
    regret: float
    trained: bool
    looked: bool


class RetrainingPage(msgspec.Struct, frozen=True, kw_only=True):
    """A model's retraining. `ahead` says when regret meets the price at this rate (None: not at this rate)."""

    model: str
    now: datetime
    verdict: Sentence
    policy: str
    own: bool
    days_left: float | None
    ahead: datetime | None
    course: tuple[LedgerPoint, ...]
    price: float | None
    facts: tuple[Figure, ...]
    decided: dict[str, int]
    bounds: dict[str, int]
    decisions: tuple[Decision, ...]
    older: int
    waiting: tuple[Trigger, ...]
    triggers: tuple[Trigger, ...]
    listens: tuple[str, ...]
    under_way: bool
    held: str
    words: str
    backtested_at: datetime | None


def retraining_page(scene: Scene, meta: MetaStore, *, under_way: bool = False, held: str = "") -> RetrainingPage:
    """Describe a model's retraining; `held` names the limit that holds back what was asked for. Raises NotFound for a model
    that the project does not train."""
    own = scene.model == scene.spec.name
    if not own and not scene.entries:
        raise NotFound(f"{scene.model!r} is not trained here; this project trains {scene.spec.name!r}")
    stands = standing(scene.spec, scene.entries, ended=scene.ended)
    entry, entries = stands.entry, scene.entries
    triggers = tuple(meta.triggers.list(scene.model, limit=TRIGGERS))
    waiting = tuple(meta.triggers.waiting(scene.model))
    kept = find_backtest(meta, scene.model)
    by_ledger = stands.policy == "ledger"
    days = stands.days_left if stands.days_left is not None and stands.days_left < 3650 else None
    return RetrainingPage(
        model=scene.model,
        now=scene.now,
        verdict=_asked_for(len(waiting), stands, held=held)
        if waiting and not under_way
        else _verdict(scene, stands, days=days, under_way=under_way),
        policy=stands.policy,
        own=own,
        days_left=days,
        ahead=entry.decided_at + timedelta(days=days) if entry is not None and days is not None else None,
        course=tuple(_point(one) for one in entries[-LONGEST:]) if by_ledger else (),
        price=entry.price if entry is not None and by_ledger else None,
        facts=_facts(scene, entry),
        decided=dict(Counter(one.decision for one in entries)),
        bounds=dict(Counter(one.bound for one in entries if one.bound)),
        decisions=tuple(_decision(one) for one in reversed(entries[-DECISIONS:])),
        older=max(0, len(entries) - DECISIONS),
        waiting=waiting,
        triggers=triggers,
        listens=scene.spec.retraining.triggers,
        under_way=under_way,
        held=held,
        words=words.sentence(stands.words),
        backtested_at=None if kept is None else kept.at,
    )


def find_backtest(meta: MetaStore, model: ModelName) -> KeptBacktest | None:
    """Find the newest backtest of a model's retraining policies."""
    kept = meta.notes.get(backtest_note(model))
    return None if kept is None else msgspec.json.decode(kept, type=KeptBacktest)


def _asked_for(waiting: int, stands: RetrainingStanding, *, held: str) -> Sentence:
    """Say what waits for a training, and what holds it back."""
    say = f"{words.many(waiting, 'request')} for a training {'waits' if waiting == 1 else 'wait'}"
    sub = words.sentence(stands.words)
    if held:
        return Sentence(state=State.HOLDS, say=f"{say}: {held}.", sub=f"One turn answers all, once that is over. {sub}")
    return Sentence(state=State.RUNNING, say=f"{say} for the loop.", sub=f"One turn answers all. {sub}")


def _verdict(scene: Scene, stands: RetrainingStanding, *, days: float | None, under_way: bool) -> Sentence:
    sub = words.sentence(stands.words)
    if under_way:
        return Sentence(state=State.RUNNING, say="A training was ordered and is under way.", sub=sub)
    idle = {"never": "This project never retrains.", "manual": "Nothing is trained until a person asks for it."}
    if stands.policy in idle:
        return Sentence(state=State.IDLE, say=idle[stands.policy], sub=sub)
    if stands.entry is None:
        say = f"Nothing was decided yet: no step of {scene.spec.retraining.step} has closed."
        return Sentence(state=State.IDLE, say=say, sub="Each step that closes is decided, and its reason kept.")
    return _decided(scene, stands, entry=stands.entry, days=days)


def _decided(scene: Scene, stands: RetrainingStanding, *, entry: LedgerEntry, days: float | None) -> Sentence:
    """Say what the newest step decided."""
    sub = words.sentence(stands.words)
    state, say = State.HOLDS, f"Policy {stands.policy} does not train now."
    stood = f"regret stands at {words.number(entry.regret)} of {words.number(entry.price)}"
    if entry.decision == RETRAIN:
        stopped, say = scene.stopped, f"Retraining was ordered on {words.day(entry.decided_at, scene.now)}"
        if stopped is not None:
            return Sentence(state=State.WATCH, say=f"{say}, and was stopped.", sub=words.sentence(stopped.message))
        if scene.ended is not None:
            state = State.HOLDS if scene.ended.outcome == "released" else State.WATCH
            return Sentence(state=state, say=f"{say}: {scene.ended.words}.", sub=sub)
        state, say = State.RUNNING, f"{say}."
    elif stands.policy == "ledger":
        return _by_regret(entry, stood, days=days)
    return Sentence(state=state, say=say, sub=sub)


def _by_regret(entry: LedgerEntry, stood: str, *, days: float | None) -> Sentence:
    """Say when the regret meets the price."""
    state = State.HOLDS
    if days is None:
        say = f"It does not retrain at this rate: {stood}."
    elif days <= 0:
        held = f", but {entry.bound}" if entry.bound else ""
        state, say = State.WATCH, f"A retraining is due{held}: {stood}."
    else:
        say = f"It retrains in about {roughly(86400 * days)} at this rate: {stood}."
    return Sentence(state=state, say=say, sub=words.sentence(slope_words(entry)))


def _point(entry: LedgerEntry) -> LedgerPoint:
    return LedgerPoint(
        at=entry.decided_at,
        regret=entry.regret,
        trained=entry.decision == RETRAIN,
        looked=entry.looked or entry.decision == "look",
    )


def _facts(scene: Scene, entry: LedgerEntry | None) -> tuple[Figure, ...]:
    rules = scene.spec.retraining
    declared: tuple[Figure, ...] = (
        Figure(name="A step lasts", text=rules.step),
        Figure(name="Cool-down after a training", text=rules.cooldown),
        Figure(name="New labels it needs", text=words.count(rules.min_labels)),
    )
    if rules.policy != "ledger":
        return declared
    declared += (Figure(name="Trains in any case after", text=rules.longest),)
    if entry is None:
        return declared
    look = words.many(entry.since_look, "step") + " ago"
    return (
        Figure(name="Slope: lost per step of age", text=words.number(entry.slope), unit="loss"),
        Figure(name="Regret of the newest step", text=words.signed(entry.gain), unit="loss"),
        Figure(name="Best interval at this rate", text=words.number(entry.interval), unit="steps"),
        Figure(name="Last look", text="in this step" if entry.looked else look),
        Figure(name="Price: compute's share", text=words.percent(entry.phi), unit="%"),
        Figure(name="History it started from", text=words.many(entry.started, "step")),
        *declared,
    )


def _decision(entry: LedgerEntry) -> Decision:
    return Decision(
        step=entry.step,
        window=entry.window.replace("/", "--"),
        at=entry.decided_at,
        state=_STATES.get(entry.decision, State.HOLDS),
        decision=entry.decision,
        reason=entry.reason,
        bound=entry.bound,
        regret=entry.regret,
        price=entry.price,
        champion=entry.champion,
    )
