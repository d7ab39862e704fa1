"""What each group got in a window, as sums by day and group; and sums written out as rates and means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kedge.domain.evaluation import Task
from kedge.domain.fairness import CalibrationBin, GroupMeasure
from kedge.monitoring.context import ContextRows
from kedge.monitoring.groups.days import (
    ANSWERS,
    BINS,
    CHOSEN,
    FALSE_ALARMS,
    HITS,
    LABELLED,
    LOSS,
    POSITIVES,
    ROWS,
    SUMS,
    TOLD,
    TRUTH,
)


def sums_of(
    answered: ContextRows,
    labelled: ContextRows,
    *,
    codes: tuple[np.ndarray, np.ndarray],
    groups: int,
    days: np.ndarray,
    threshold: float,
    task: Task,
) -> np.ndarray:
    """Sum rows by day and group; `days` are the numbers of the days to have, in order, all that the rows name."""
    sums = np.zeros((days.size, groups, SUMS))
    flat = sums.reshape(-1, SUMS)
    cells = len(flat)
    for rows, code, parts in (
        (answered, codes[0], _answered_parts(answered, threshold)),
        (labelled, codes[1], _labelled_parts(labelled, threshold, task=task)),
    ):
        if len(rows):
            at = np.searchsorted(days, rows.days) * groups + code
            for place, values in parts:
                flat[:, place] += np.bincount(at, weights=values, minlength=cells)
    return sums


def _answered_parts(rows: ContextRows, threshold: float) -> list[tuple[int, np.ndarray | None]]:
    return [(ROWS, None), (CHOSEN, (rows.answers >= threshold) * 1.0), (ANSWERS, rows.answers)]


def _labelled_parts(rows: ContextRows, threshold: float, *, task: Task) -> list[tuple[int, np.ndarray | None]]:
    parts: list[tuple[int, np.ndarray | None]] = [
        (LABELLED, None),
        (LOSS, rows.losses),
        (TOLD, rows.answers),
        (TRUTH, rows.facts),
    ]
    if task is Task.CLASSIFICATION:
        ones, chosen = rows.facts > 0.5, rows.answers >= threshold
        parts += [(POSITIVES, ones * 1.0), (HITS, (ones & chosen) * 1.0), (FALSE_ALARMS, (~ones & chosen) * 1.0)]
    return parts


def bins_of(labelled: ContextRows, codes: np.ndarray, *, groups: int) -> np.ndarray:
    """Sum the labelled rows by group and tenth of their answer: rows, answers, truths; float64 (groups, BINS, 3)."""
    tenth = np.clip((labelled.answers * BINS).astype(np.int64), 0, BINS - 1)
    at = codes * BINS + tenth
    weights = (None, labelled.answers, labelled.facts)
    return np.stack([np.bincount(at, weights=each, minlength=groups * BINS) for each in weights], axis=-1).reshape(
        groups, BINS, 3
    )


def measures_of(
    column: str, names: Sequence[str], *, sums: np.ndarray, bins: np.ndarray, task: Task
) -> tuple[GroupMeasure, ...]:
    """Write out what each group got, from its sums (groups, SUMS)."""
    classes = task is Task.CLASSIFICATION
    return tuple(
        GroupMeasure(
            column=column,
            group=name,
            rows=round(one[ROWS]),
            labelled=round(one[LABELLED]),
            positives=round(one[POSITIVES]),
            selection_rate=_share(one[CHOSEN], one[ROWS]) if classes else None,
            true_positive_rate=_share(one[HITS], one[POSITIVES]) if classes else None,
            false_positive_rate=_share(one[FALSE_ALARMS], one[LABELLED] - one[POSITIVES]) if classes else None,
            answer=_share(one[ANSWERS], one[ROWS]),
            truth=_share(one[TRUTH], one[LABELLED]),
            error=_share(one[TOLD] - one[TRUTH], one[LABELLED]),
            loss=_share(one[LOSS], one[LABELLED]),
            bins=tuple(
                CalibrationBin(max(round(rows), 1), answers / rows, truths / rows)
                for rows, answers, truths in tenths
                if rows
            )
            if classes
            else (),
        )
        for name, one, tenths in zip(names, sums.tolist(), bins.tolist(), strict=True)
    )


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
