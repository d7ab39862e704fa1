"""Estimates without truth: what the answers themselves say of their quality. They know of moved inputs, never of a moved
relation between input and truth, so they are shown, checked against the truth, and alarm nobody.

Classes: answers are calibrated on the gate's rows; each then counts as that share of a 1 (CBPE, as NannyML calls it).
Numbers: gradient boosting learns the size of the error from features and answer on the gate's rows (direct loss
estimation), and is asked about the rows served.
"""

from __future__ import annotations

import msgspec
import numpy as np

from kedge.domain.evaluation import Task
from kedge.evaluation.metrics import Vector
from kedge.monitoring.quality.measures import measured
from kedge.monitoring.quality.tally import MIDDLES, Ruler, tally

FEWEST_FOR_STEPS = 1000
FEWEST_FOR_LINE = 100
FEWEST_FOR_TREES = 200
TREES, DEPTH, RATE, LEAST_LEAF = 30, 3, 0.15, 20
MOST_TRAINED = 20_000
LEAST = 1e-4
MISSING = -1e30
NOT_ESTIMATED = frozenset({"calibration_error", "ndcg", "precision_at"})


class LossTrees(msgspec.Struct, frozen=True):
    """Trees of one depth, as arrays: `columns` and `borders` are the splits of each tree by level order, `leaves` what
    each leaf adds (int32 and float64, packed). A row goes right where its value is above the border."""

    base: float
    columns: bytes
    borders: bytes
    leaves: bytes

    def expect(self, matrix: np.ndarray, answers: Vector) -> Vector:
        """Give the expected loss of rows, not below 0: float64 (n,)."""
        x = _with_answers(matrix, answers)
        columns = np.frombuffer(self.columns, dtype="<i4").reshape(-1, 2**DEPTH - 1)
        borders = np.frombuffer(self.borders, dtype="<f8").reshape(columns.shape)
        leaves = np.frombuffer(self.leaves, dtype="<f8").reshape(-1, 2**DEPTH)
        rows, total = np.arange(len(x)), np.full(len(x), self.base)
        for tree in range(len(columns)):
            node = np.zeros(len(x), dtype=np.intp)
            for _ in range(DEPTH):
                node = 2 * node + 1 + (x[rows, columns[tree][node]] > borders[tree][node])
            total += leaves[tree][node - (2**DEPTH - 1)]
        expected: Vector = np.maximum(total, 0.0)
        return expected


def calibration_of(facts: Vector, answers: Vector) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give the knots of truth by answer: isotonic from 1,000 rows on, a logistic line from 100; none with fewer, or where
    all facts are one."""
    ones = float(facts.sum())
    if len(facts) < FEWEST_FOR_LINE or min(ones, len(facts) - ones) < 10:
        return (), ()
    if len(facts) < FEWEST_FOR_STEPS:
        from sklearn.linear_model import LogisticRegression

        fit = LogisticRegression().fit(_logit(answers)[:, None], facts > 0.5)
        line = 1 / (1 + np.exp(-(fit.intercept_[0] + fit.coef_[0, 0] * _logit(MIDDLES))))
        return tuple(MIDDLES.tolist()), tuple(line.tolist())
    from sklearn.isotonic import IsotonicRegression

    steps = IsotonicRegression(y_min=LEAST, y_max=1 - LEAST, out_of_bounds="clip").fit(answers, facts)
    return tuple(steps.X_thresholds_.tolist()), tuple(steps.y_thresholds_.tolist())


def estimated(answers: Vector, *, knots: tuple[tuple[float, ...], tuple[float, ...]], threshold: float) -> dict[str, float]:
    """Estimate the measures of answers from what they say: by name, without those that cannot be estimated."""
    answers = answers[np.isfinite(answers)]
    if not knots[0] or not answers.size:
        return {}
    expected = np.interp(answers, knots[0], knots[1])
    groups = np.zeros(answers.size, dtype=np.intp)
    sums = tally(Task.CLASSIFICATION, expected, p=answers, ruler=Ruler(), threshold=threshold, groups=groups, count=1)
    found = measured(Task.CLASSIFICATION, sums, ruler=Ruler())
    return {name: float(value[0]) for name, value in found.items() if name not in NOT_ESTIMATED and np.isfinite(value[0])}


def train_losses(matrix: np.ndarray, answers: Vector, *, losses: Vector) -> LossTrees | None:
    """Learn the size of a loss from what the model reads and what it answered: least squares boosting of 30 trees of depth
    3. None with fewer than 200 rows."""
    if len(losses) < FEWEST_FOR_TREES:
        return None
    from sklearn.tree import DecisionTreeRegressor

    kept = np.linspace(0, len(losses) - 1, min(len(losses), MOST_TRAINED)).astype(np.intp)
    x, left = _with_answers(matrix[kept], answers[kept]), losses[kept].astype(np.float64)
    base = float(left.mean())
    left = left - base
    columns, borders, leaves = [], [], []
    for _ in range(TREES):
        grown = DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=LEAST_LEAF, random_state=0).fit(x, left)
        left = left - RATE * grown.predict(x)
        split, border, leaf = _levelled(grown.tree_)
        columns.append(split)
        borders.append(border)
        leaves.append(RATE * leaf)
    return LossTrees(
        base,
        np.array(columns, dtype="<i4").tobytes(),
        np.array(borders, dtype="<f8").tobytes(),
        np.array(leaves, dtype="<f8").tobytes(),
    )


def _levelled(tree: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Write a grown tree as a full one of the depth: where it ended early, every row goes left to the same leaf."""
    inner, count = 2**DEPTH - 1, 2 ** (DEPTH + 1) - 1
    split, border, leaf = np.zeros(inner, dtype=np.int32), np.full(inner, np.inf), np.zeros(2**DEPTH)
    at = np.zeros(count, dtype=np.intp)
    left, right = tree.children_left, tree.children_right  # type: ignore[attr-defined]
    feature, threshold, value = tree.feature, tree.threshold, tree.value  # type: ignore[attr-defined]
    for place in range(inner):
        node = at[place]
        ended = left[node] < 0
        if not ended:
            split[place], border[place] = feature[node], threshold[node]
        at[2 * place + 1], at[2 * place + 2] = (node, node) if ended else (left[node], right[node])
    leaf[:] = value[at[inner:], 0, 0]
    return split, border, leaf


def _with_answers(matrix: np.ndarray, answers: Vector) -> np.ndarray:
    """Put the answers beside what the model read, in the precision that trees split in; missing is far below all."""
    x = np.column_stack([matrix, answers]).astype(np.float32)
    x[~np.isfinite(x)] = MISSING
    return x


def _logit(p: Vector) -> Vector:
    clipped = np.clip(p, LEAST, 1 - LEAST)
    logit: Vector = np.log(clipped / (1 - clipped))
    return logit
