"""The hold-out: a share of entities that is served a coin instead of the model's answer, so that some labels stay unbiased.

Where decisions change the labels (a refused loan is never repaid), a model that learns from them learns what it decided.
Who is in the hold-out is drawn by a hash of the entity: the same in every process, request and replay. Which side the
coin falls on is drawn by the prediction's id: each decision anew, and found again from the log.
"""

import math

from kedge.domain.monitoring import PredictionBatch
from kedge.domain.rollout import position

MEMBERS, COINS = "kedge.holdout", "kedge.holdout.coin"
HOLDOUT, PROPENSITY = "holdout", "propensity"
"""The log's columns: what was served at random (NaN: the model's answer), and how probable what was served was."""
NOT_RANDOM = float("nan")


def is_held(entity: str, share: float) -> bool:
    """Say whether an entity is in the hold-out. Monotone in the share: 5 % keeps the entities of 1 %."""
    return position(MEMBERS, entity) < share


def coin(prediction: str) -> float:
    """Give what is served instead of the model's answer: 1.0 or 0.0, each for half of the predictions."""
    return 1.0 if position(COINS, prediction) < 0.5 else 0.0


def propensity(share: float, *, random: bool) -> float:
    """Tell how probable it was that a row got what it got: one side of the coin, or the model's answer."""
    return share / 2 if random else 1 - share


def served_at_random(batch: PredictionBatch, place: int) -> float | None:
    """Find the coin that was served in place of the model's answer at a place in a record; None where none was."""
    coins = batch.tensors.get(HOLDOUT)
    return None if coins is None or math.isnan(coins[place]) else float(coins[place])
