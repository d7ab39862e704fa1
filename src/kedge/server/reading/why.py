"""Why one answer is what it is: the walk's sentence, and its links as a page reads them."""

from datetime import datetime
from typing import Any

import msgspec

from kedge.domain.lineage import Explanation, Link
from kedge.server.reading.state import Figure, Sentence, State
from kedge.web import words

_NOUNS = {
    "answer": ("what was said", "dot"),
    "route": ("why this version", "split"),
    "features": ("what it saw", "rows"),
    "model version": ("who answered", "cube"),
    "gate verdict": ("what was proved", "gate"),
    "approver": ("who let it in", "person"),
    "run": ("how it was made", "run"),
    "code": ("by what", "code"),
    "environment": ("in what", "box"),
    "params": ("with what", "dial"),
    "dataset version": ("from what", "data"),
}


_AS_OF = " as of"
_STATES = {True: State.WELL, False: State.ALARM, None: State.HOLDS}


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """What came of computing an answer again: the two values, whether they are the same bits, and over how many rows."""

    again: float | None
    logged: float | None
    equal: bool
    batch_rows: int
    failed: str = ""


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """A stop of the walk: a link with its question, its icon, and where its thing has a page."""

    title: str
    asks: str
    icon: str
    summary: str
    state: State
    verified: bool | None
    check: str
    digest: str
    facts: tuple[Figure, ...]
    link: str = ""


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """A value that the model saw, and the event time of the row it came from, where a view was looked up for it."""

    name: str
    text: str
    event_time: str


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """One prediction's page."""

    prediction: str
    model: str
    version: int
    at: datetime
    output: float
    verdict: Sentence
    replay: Again | None
    features: tuple[Feature, ...]
    stops: tuple[Stop, ...]


def why_page(explanation: Explanation, again: Again | None) -> Why:
    """Describe the walk."""
    return Why(
        prediction=explanation.prediction,
        model=explanation.model,
        version=explanation.version,
        at=explanation.at,
        output=explanation.output,
        verdict=_verdict(explanation, again),
        replay=again,
        features=_features(explanation),
        stops=tuple(_stop(link) for link in explanation.links),
    )


def _features(explanation: Explanation) -> tuple[Feature, ...]:
    """Take the served values apart from the times they are of: `VIEW as of` is the event time of all `VIEW__...`.

    Those that were looked up come first.
    """
    facts = next((link.facts for link in explanation.links if link.title == "features"), {})
    times = {name.removesuffix(_AS_OF): str(value) for name, value in facts.items() if name.endswith(_AS_OF) and value}
    seen = [
        Feature(name=name, text=_text(value), event_time=_minute(times.get(name.partition("__")[0], "")))
        for name, value in facts.items()
        if not name.endswith(_AS_OF)
    ]
    return tuple(sorted(seen, key=lambda feature: feature.event_time == words.NONE))


def _minute(iso: str) -> str:
    return iso[:16].replace("T", " ") or words.NONE


def _verdict(explanation: Explanation, again: Again | None) -> Sentence:
    broken = [link for link in explanation.links if link.verified is False]
    open_ = [link for link in explanation.links if link.verified is None]
    number = len(explanation.links)
    replayed = _replayed(again)
    asked = f"v{explanation.version} of {explanation.model} answered for {words.utc(explanation.at)}."
    if broken:
        names = words.listed([link.title for link in broken])
        say = f"Kedge cannot answer for all of this prediction: {len(broken)} of its {number} links did not hold ({names})."
        return Sentence(
            state=State.ALARM, say=say, sub=f"{asked} The walk below says what was found at each of them. {replayed}".strip()
        )
    if again is not None and not again.failed and not again.equal:
        say = f"All {number} links are verified, but the answer computed again is not the same."
        return Sentence(state=State.ALARM, say=say, sub=f"{asked} {replayed}")
    ending = ", and the replay gave the same bits" if again and again.equal else ""
    if open_:
        names = words.listed([link.title for link in open_])
        verified = f"{number - len(open_)} of the {number} links behind this prediction are verified{ending}"
        say = f"{verified}; not checkable here: {names}."
        return Sentence(state=State.HOLDS, say=say, sub=f"{asked} {replayed}".strip())
    return Sentence(
        state=State.WELL,
        say=f"Kedge can answer for this prediction: every one of its {number} links is verified{ending}.",
        sub=f"{asked} {replayed}".strip(),
    )


def _replayed(again: Again | None) -> str:
    if again is None:
        return ""
    if again.failed:
        return f"The replay did not get through: {again.failed}"
    rows = words.many(again.batch_rows, "row")
    if again.equal:
        return f"Computed again in the same batch of {rows}: {again.again!r}, bit for bit what was logged."
    return f"Computed again in the same batch of {rows}: {again.again!r}; logged was {again.logged!r}."


def _stop(link: Link) -> Stop:
    asks, icon = _NOUNS.get(link.title, ("", "dot"))
    return Stop(
        title=link.title,
        asks=asks,
        icon=icon,
        summary=link.summary,
        state=_STATES[link.verified],
        verified=link.verified,
        check=link.check,
        digest=link.digest or "",
        facts=tuple(Figure(name=name, text=_text(value)) for name, value in link.facts.items()),
        link=_page(link),
    )


def _text(value: Any) -> str:
    if value is None:
        return words.NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return words.count(value)
    return words.plain(value) if isinstance(value, float) else str(value)


def _page(link: Link) -> str:
    facts = link.facts
    if link.title == "run" and facts.get("run"):
        return f"/runs/{facts['run']}"
    if link.title == "dataset version" and facts.get("dataset"):
        return f"/data/{facts['dataset']}"
    return ""
