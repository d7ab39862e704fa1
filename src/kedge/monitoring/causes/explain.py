"""What moved and why it matters, from labelled answers and what the gate's rows taught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np

from kedge.domain.causes import Causes, MovedFeature, RisenSlice
from kedge.domain.durations import EPOCH
from kedge.domain.ids import PredictionId
from kedge.domain.monitoring import ANSWERS, Drift
from kedge.domain.registry import ModelVersion
from kedge.errors import RequestInvalid
from kedge.evaluation.metrics import Vector
from kedge.features.encode import encode
from kedge.monitoring.causes.items import Items, items_of
from kedge.monitoring.causes.search import BAND, FoundSlice, risen_slices, stray_of
from kedge.monitoring.columns import Plain
from kedge.monitoring.quality.at_gate import AtGate

MOST_ROWS = 10_000
EXAMPLES = 5
MOST_FEATURES = 10
LEAST_ROWS = 30
LEAST_SHARE = 0.02
_UNTAUGHT = (
    "version {0.number} has nothing kept of a gate of the loop, so what its features are worth and where it loses more than "
    "it did is not known; labelled rows that it was not fit on say it: "
    "kedge monitor normal {0.model}@{0.number} ROWS --time TIME --label LABEL"
)


class LabelledRows(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Labelled answers of one version: features by column, the loss of each, its time (seconds since 1970), its id."""

    columns: Mapping[str, Plain]
    losses: Vector
    at: Vector
    ids: Sequence[PredictionId]

    def thinned(self) -> LabelledRows:
        """Take at most 10,000 rows, evenly; those whose loss is no number are left out."""
        kept = np.flatnonzero(np.isfinite(self.losses))
        if len(kept) > MOST_ROWS:
            kept = kept[np.linspace(0, len(kept) - 1, MOST_ROWS).astype(np.intp)]
        if len(kept) == len(self.losses):
            return self
        places = kept.tolist()
        return LabelledRows(
            columns={
                name: values[kept] if isinstance(values, np.ndarray) else [values[place] for place in places]
                for name, values in self.columns.items()
            },
            losses=self.losses[kept],
            at=self.at[kept],
            ids=[self.ids[place] for place in places],
        )


def causes_of(
    rows: LabelledRows,
    champion: ModelVersion,
    *,
    gate: AtGate | None,
    drift: Sequence[Drift],
    window: timedelta,
    min_group: int,
    end: datetime,
) -> Causes:
    """Say which features moved by what they are worth, and where the loss rose, since when, with examples."""
    rows = rows.thinned()
    found = Causes(
        start=_when(float(rows.at.min())) if len(rows.losses) else end,
        end=end,
        version=champion.number,
        rows=len(rows.losses),
        gate_rows=0,
        loss=float(rows.losses.mean()) if len(rows.losses) else None,
        features=features_of(drift, gate.worth if gate is not None else {}),
    )
    if gate is None:
        return _noted(found, _UNTAUGHT.format(champion))
    if not gate.worth:
        found = _noted(found, "what each feature is worth is not known: the gate's candidate could not be asked")
    matrix, losses = gate.sample()
    found = msgspec.structs.replace(found, gate_rows=len(losses), gate_loss=float(losses.mean()) if len(losses) else None)
    if len(rows.losses) < LEAST_ROWS:
        return _noted(found, f"{len(rows.losses)} labelled rows are too few to look for slices; it takes {LEAST_ROWS}")
    try:
        seen = encode(champion.signature, rows.columns)
    except RequestInvalid as error:
        return _noted(found, f"the slices could not be looked for: {error}")
    least = max(LEAST_ROWS, min(min_group, round(LEAST_SHARE * len(rows.losses))))
    items = items_of(champion.signature.inputs, matrix)
    return _with_slices(found, rows, items=items, seen=seen, matrix=matrix, losses=losses, window=window, least=least)


def features_of(drift: Sequence[Drift], worth: Mapping[str, float]) -> tuple[MovedFeature, ...]:
    """Rank the features by how far they moved times their share of the worth of all; those without worth by how far."""
    total = sum(max(0.0, value) for value in worth.values())
    ranked = []
    for one in drift:
        if one.column == ANSWERS:
            continue
        own = worth.get(one.column, 0.0)
        share = max(0.0, own) / total if total > 0 else 0.0
        ranked.append(
            MovedFeature(
                column=one.column,
                moved=one.jensen_shannon,
                worth=own,
                share=share,
                weight=one.jensen_shannon * share,
                listed=one.alarm,
            )
        )
    return tuple(sorted(ranked, key=lambda one: (-one.weight, -one.moved, one.column))[:MOST_FEATURES])


def _with_slices(
    found: Causes,
    rows: LabelledRows,
    *,
    items: Items,
    seen: np.ndarray,
    matrix: np.ndarray,
    losses: Vector,
    window: timedelta,
    least: int,
) -> Causes:
    codes = items.codes(seen.astype(np.float32).astype(np.float64))
    stray = stray_of(rows.losses, rows.at // 86400)
    slices, tried = risen_slices(
        items,
        codes=codes,
        losses=rows.losses,
        gate_codes=items.codes(matrix.astype(np.float64)),
        gate_losses=losses,
        least=least,
        stray=stray,
    )
    whole = float(rows.losses.sum()) - float(losses.mean()) * len(rows.losses)
    told = tuple(_told(each, rows, items=items, whole=whole, window=window) for each in slices)
    found = msgspec.structs.replace(found, slices=told, tried=tried, least=least, stray=stray)
    if told:
        return found
    alike = "the loss rose alike everywhere" if whole > 0 else "the loss did not rise"
    return _noted(found, f"{alike}: no slice of {tried} tried stands out")


def _told(each: FoundSlice, rows: LabelledRows, *, items: Items, whole: float, window: timedelta) -> RisenSlice:
    places = np.flatnonzero(each.mask)
    worst = places[np.argsort(-rows.losses[places], kind="stable")[:EXAMPLES]]
    return RisenSlice(
        slice=" and ".join(items.names[item] for item in each.items),
        rows=each.rows,
        gate_rows=each.gate_rows,
        loss=each.loss,
        gate_loss=each.gate_loss,
        rise=each.rise,
        low=each.rise - BAND * each.error,
        high=each.rise + BAND * each.error,
        sure=each.sure,
        share=each.rise * each.rows / whole if whole > 0 else None,
        since=since_window(rows.at[places], rows.losses[places] - each.gate_loss, window=window, rise=each.rise),
        examples=tuple(rows.ids[place] for place in worst.tolist()),
    )


def since_window(at: Vector, risen: Vector, *, window: timedelta, rise: float) -> datetime | None:
    """Find the first window from which on a slice lost more than half of its rise above the gate (CUSUM over windows)."""
    length = window.total_seconds()
    names, place = np.unique(at // length, return_inverse=True)
    sums = np.bincount(place, weights=risen - rise / 2)
    best, total, found = 0.0, 0.0, None
    for index in range(len(names) - 1, -1, -1):
        total += float(sums[index])
        if total > best:
            best, found = total, _when(float(names[index]) * length)
    return found


def _when(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


def _noted(found: Causes, note: str) -> Causes:
    return msgspec.structs.replace(found, notes=(*found.notes, note))
