"""The oracle: the cheapest trainings that hindsight could have chosen, by dynamic programming over time.

With V(t, m) the least cost of the steps from t on where model m serves step t:
    V(t, m) = loss(m, t) + min(V(t + 1, m), price + V(t + 1, fresh(t + 1)))
It cannot be reached: it knows the future. It says how much there was to gain.
"""

from collections.abc import Sequence

import numpy as np

from kedge.retraining.backtest.matrix import Vector


def fresh_model(step: int, delay: int) -> int:
    """Name the model that is the newest one when a step begins and labels come `delay` steps later than in the matrix."""
    return max(0, step - delay)


def oracle(losses: Sequence[Vector], price: float, *, delay: int = 0) -> tuple[float, list[tuple[int, int]]]:
    """Find the least cost and its course: for each step (choice of rows, model).

    `losses` holds a matrix (models, steps) for each choice of rows; the first model is the first choice's.
    """
    steps = losses[0].shape[1]
    value = np.zeros((len(losses), steps))  # of what serves the step after
    moves: list[tuple[np.ndarray, int]] = []
    for step in reversed(range(steps)):
        last = step + 1 == steps
        fresh = fresh_model(step + 1, delay)
        best = 0 if last else int(np.argmin(value[:, fresh]))
        turned = np.inf if last else price + value[best, fresh]
        trains = turned < value
        moves.append((trains, best))
        value = np.stack([loss[:, step] for loss in losses]) + np.where(trains, turned, value)
    course = [(0, 0)]
    for step, (trains, best) in enumerate(reversed(moves)):
        kind, model = course[-1]
        if step + 1 < steps:
            course.append((best, fresh_model(step + 1, delay)) if trains[kind, model] else (kind, model))
    return float(value[0, 0]), course
