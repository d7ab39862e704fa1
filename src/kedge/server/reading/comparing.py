"""Any two tables compared by their distributions, as a page says it: versions of datasets, windows of the prediction log,
and what versions of models were judged on."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from kedge.data.references import split
from kedge.domain.comparing import PREDICTIONS, FrameComparison, is_logged, logged_parts
from kedge.domain.ids import ModelName
from kedge.domain.monitoring import Window
from kedge.errors import NotFound, RequestInvalid
from kedge.registry.known import require_model
from kedge.server.brought import PLACES, BroughtFile, placed, shown
from kedge.server.comparing import RULES, ComparedPair, ComparisonAsked, Comparisons, SideAsked
from kedge.server.house import House
from kedge.server.reading.state import Sentence, State
from kedge.web import words

_CHOOSE = "A version of a dataset, a window of the prediction log, or what a model's version was judged on."
_MODELS, _WINDOWS, _DATASETS = 10, 14, 60


class Suggestion(NamedTuple):
    """A side that can be named, and what it is."""

    name: str
    what: str


class OfferedPair(NamedTuple):
    """A pair that is often asked for."""

    title: str
    reference: str
    current: str


class Offers(NamedTuple):
    """What can be compared, by name, and pairs that are often asked for."""

    sides: tuple[Suggestion, ...]
    pairs: tuple[OfferedPair, ...]


class ComparisonPage(msgspec.Struct, frozen=True, kw_only=True):
    """Two sides and how far their columns lie apart; `failed` says why that could not be told, `waiting` for how many
    seconds they are being compared still. Without names there is nothing to compare yet. `brought` names the sides that
    are files of whoever asks."""

    reference: str
    current: str
    rules: str
    together: bool
    verdict: Sentence
    comparison: FrameComparison | None = None
    failed: str = ""
    waiting: float | None = None
    brought: tuple[str, ...] = ()


def brought_page(
    house: House,
    comparisons: Comparisons,
    *,
    names: Mapping[str, str],
    files: Mapping[str, BroughtFile],
    asked: ComparisonAsked,
) -> ComparisonPage:
    """Compare a file that was brought with another, or with a side by name; nothing of it is kept.

    What cannot be read is said on the page.
    """
    called = {side: shown(files[side].name) if side in files else names[side] for side in PLACES}
    say = Sentence(state=State.IDLE, say="Name two sides to compare.", sub=_CHOOSE)
    page = ComparisonPage(
        reference=called["reference"],
        current=called["current"],
        rules=asked.rules,
        together=asked.together,
        verdict=say,
        brought=tuple(files),
    )
    if missing := [side for side in PLACES if not called[side]]:
        return _failed(page, f"the {' and the '.join(missing)} is not named, and no file was chosen for it")
    if asked.rules not in RULES:
        return _failed(page, f"rules {asked.rules[:40]!r}: one of {', '.join(RULES)}")
    try:
        whole = {side: "" if side in files else _side(house, names[side]).name for side in PLACES}
        page = replace(page, **{side: name for side, name in whole.items() if name})
        with placed(files) as brought:
            found = comparisons.once(house, whole, brought=brought, wishes=asked)
    except (NotFound, RequestInvalid) as error:
        return _failed(page, str(error))
    if isinstance(found, str):
        return _failed(page, f"the file {found}" if found.startswith(tuple(called[side] for side in files)) else found)
    return replace(page, verdict=_sentence(found), comparison=found)


def _failed(page: ComparisonPage, why: str) -> ComparisonPage:
    say = Sentence(state=State.ALARM, say=f"{_both(page)} could not be compared.", sub=words.sentence(why))
    return replace(page, verdict=say, failed=why)


def _both(page: ComparisonPage) -> str:
    return f"{page.current or 'Nothing'} and {page.reference or 'nothing'}"


def comparison_page(
    house: House,
    comparisons: Comparisons,
    *,
    reference: str,
    current: str,
    rules: str = "kedge",
    together: bool = False,
    patience: float | None = None,
) -> ComparisonPage:
    """Compare two sides by name ("flights@v3", "predictions:flights@2026-05-01..2026-05-08", "reference:flights@v3").
    With `patience`, in seconds, what takes longer goes on meanwhile.

    Raises NotFound, RequestInvalid.
    """
    if rules not in RULES:
        raise RequestInvalid(f"rules {rules[:40]!r}: one of {', '.join(RULES)}")
    say = Sentence(state=State.IDLE, say="Name two sides to compare.", sub=_CHOOSE)
    page = ComparisonPage(reference=reference, current=current, rules=rules, together=together, verdict=say)
    if not reference or not current:
        return page
    old, new = (_side(house, name) for name in (reference, current))
    page = replace(page, reference=old.name, current=new.name)
    found = comparisons.of(house, ComparedPair(old, new, rules, together), patience=patience)
    if isinstance(found, float):
        sub = f"For {words.duration(found)} so far; this page shows what moved as soon as it is known."
        say = Sentence(state=State.IDLE, say=f"{_both(page)} are being compared.", sub=sub)
        return replace(page, verdict=say, waiting=found)
    if isinstance(found, str):
        return _failed(page, found)
    return replace(page, verdict=_sentence(found), comparison=found)


def _side(house: House, name: str) -> SideAsked:
    """Find a side: what it is called in full, and all that its rows depend on. Raises NotFound."""
    if is_logged(name):
        require_model(house.meta, ModelName(logged_parts(name)[0]), own=house.spec.name)
        hour = house.clock.now().replace(minute=0, second=0, microsecond=0)  # late rows may still come
        return SideAsked(name, (hour.isoformat(),))
    dataset, which = split(name)
    version = house.catalogue.version(dataset, which)
    personal = sorted(house.catalogue.get(version.dataset).entry.personal())
    return SideAsked(f"{version.dataset}@v{version.number}", (version.digest, str(version.erased_at), *personal))


def offers(house: House) -> Offers:
    """Offer what can be compared: of each deployed model its newest windows and what its champion was judged on, and the
    datasets."""
    sides: list[Suggestion] = []
    pairs: list[OfferedPair] = []
    names = sorted(house.meta.deployments.names(), key=lambda name: (name != house.spec.name, name))
    for model in names[:_MODELS]:
        deployment = house.meta.deployments.find(model)
        judged = f"reference:{model}@v{deployment.champion}" if deployment is not None else ""
        windows = list(reversed(house.meta.watches.windows(model, limit=_WINDOWS)))
        sides += [Suggestion(judged, f"what v{deployment.champion} of {model} was judged on")] if deployment else []
        sides += [Suggestion(window_side(model, one, last=one), f"answered by {model} in the window") for one in windows]
        pairs += _pairs(model, windows, judged=judged)
    datasets = list(house.meta.datasets.names())[:_DATASETS]
    return Offers((*sides, *(Suggestion(name, "newest version of the dataset") for name in datasets)), tuple(pairs))


def _pairs(model: str, windows: Sequence[Window], *, judged: str) -> list[OfferedPair]:
    """Offer the pairs that are asked for most; `windows` are newest first."""
    if not windows:
        return []
    newest = window_side(model, windows[0], last=windows[0])
    found = [OfferedPair(f"{model}: the newest window against what its champion was judged on", judged, newest)]
    if len(windows) > 1:
        before = window_side(model, windows[1], last=windows[1])
        found.append(OfferedPair(f"{model}: the newest window against the one before", before, newest))
    half = len(windows) // 2
    if half > 1:
        older, newer = (
            window_side(model, windows[2 * half - 1], last=windows[half]),
            window_side(model, windows[half - 1], last=windows[0]),
        )
        found.append(OfferedPair(f"{model}: the newest {half} windows against the {half} before", older, newer))
    return [one for one in found if one.reference]


def window_side(model: str, first: Window, *, last: Window) -> str:
    """Name the predictions of windows, from the first to the last, as a side of a comparison."""
    return f"{PREDICTIONS}{model}@{first.start:%Y-%m-%dT%H:%M}..{last.end:%Y-%m-%dT%H:%M}"


def _sentence(found: FrameComparison) -> Sentence:
    moved = [column.name for column in found.moved_columns]
    now = f"{found.current}, {words.many(found.rows_current, 'row')}"
    rows = f"{now}, against {found.reference}, {words.count(found.rows_reference)}; rules: {found.rules}."
    if not moved:
        say = f"None of {words.many(len(found.columns), 'column')} moved."
        return Sentence(state=State.WATCH if found.moved else State.WELL, say=say, sub=rows)
    say = f"{len(moved)} of {words.many(len(found.columns), 'column')} moved: {words.listed(moved, 5)}."
    return Sentence(state=State.WATCH, say=say, sub=rows)
