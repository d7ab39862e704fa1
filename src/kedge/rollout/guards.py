"""What may end a rollout: guards, each the odds against "the challenger does no harm" after everything seen so far.

Looking again and again is allowed: the odds are e-processes, which pass 1 / alpha with a chance of at most alpha ever
(Ville), or, for the means of answers, a normal tail paid for over looks by 1 / (k (k + 1)). All are made slow to accuse:
a guard stops harm, it does not prove merit (the gate does). Entities, not rows, are drawn to a side, so rows of one
side resemble one another; each guard's error is widened for that and it forgives a tolerance. To add a guard: a
function here and its line in `GUARDS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kedge.domain.durations import seconds_of
from kedge.domain.evaluation import Task
from kedge.domain.monitoring import Block, VersionHealth
from kedge.domain.rollout import RolloutLook, RolloutRules
from kedge.rollout.evidence import SURE, mean_exp

ERROR_TOLERANCE = 0.01
LOSS_TOLERANCE = 0.05
FEWEST_LABELS = 30
ALIKE_ANSWERS = 10.0  # variance of a mean answer, as a multiple of that of independent rows
ALIKE_LOSSES = 2.0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A trial as seen at a look: both sides in the window, the looks before, and the labelled days of both."""

    challenger: VersionHealth
    champion: VersionHealth
    before: Sequence[RolloutLook]
    blocks: Sequence[Block]
    rules: RolloutRules
    task: Task
    metric: str


@dataclass(frozen=True, kw_only=True)
class Odds:
    """What a guard found: the odds against "no harm", and what that is in words."""

    odds: float
    reason: str


def guard_errors(seen: Seen) -> Odds | None:
    """Compare rows failed on with the champion's rate plus 1 % of rows, by likelihood ratios against greater rates.

    The allowed rate of a window is the greater of the champion's in it and in the trial so far: an outage that hits both
    sides accuses nobody.
    """
    history = [(look.rows, look.errors, look.champion_rows, look.champion_errors) for look in seen.before]
    now = (seen.challenger.rows, seen.challenger.errors, seen.champion.rows, seen.champion.errors)
    wealth = dict.fromkeys((0.01, 0.03, 0.1, 0.3, 0.9), 0.0)
    rows = errors = 0
    for answered, failed, theirs, theirs_failed in (*history, now):
        rows, errors = rows + theirs, errors + theirs_failed
        rates = (theirs_failed / max(theirs + theirs_failed, 1), errors / max(rows + errors, 1))
        allowed = min(max(rates) + ERROR_TOLERANCE, 0.99)
        for step in wealth:
            rate = allowed + step * (1 - allowed)
            wealth[step] += failed * math.log(rate / allowed) + answered * math.log((1 - rate) / (1 - allowed))
    reason = f"it failed on {seen.challenger.errors} of {seen.challenger.rows + seen.challenger.errors} rows"
    return Odds(odds=mean_exp(list(wealth.values())), reason=f"{reason}; the champion on {seen.champion.errors}")


def guard_latency(seen: Seen) -> Odds | None:
    """Hold the mean request to the declared limit, unless the champion breaks it too: then the machine is slow."""
    limit = seconds_of(seen.rules.max_latency)
    slow = seen.challenger.rows > 0 and seen.challenger.latency_seconds > limit
    if not slow or (seen.champion.rows and seen.champion.latency_seconds > limit):
        return None
    seconds = seen.challenger.latency_seconds
    return Odds(odds=SURE, reason=f"a request takes {seconds:.3g} s, and at most {limit:.3g} s are allowed")


def guard_answers(seen: Seen) -> Odds | None:
    """Compare the mean answers of both sides: harm is a mean far outside, not a new opinion.

    Forgiven is half a standard deviation of a yes-or-no fact with the champion's mean answer, and for numbers twice the
    champion's typical error (known once labels are), since a fresh model rightly corrects a stale one's bias.
    """
    ours, theirs = seen.challenger, seen.champion
    if ours.rows and not math.isfinite(ours.mean_output):
        return Odds(odds=SURE, reason="its mean answer is not a finite number")
    scales = _answer_scales(seen)
    if not ours.rows or not theirs.rows or scales is None:
        return None
    spread, forgiven = scales
    error = spread * math.sqrt(ALIKE_ANSWERS * (1 / ours.rows + 1 / theirs.rows))
    apart = abs(ours.mean_output - theirs.mean_output) - forgiven
    looks = len(seen.before) + 1
    tail = max(apart, 0.0) / error if error > 0 else 0.0
    odds = min(math.exp(min(tail**2 / 2, 50.0)) / (2 * looks * (looks + 1)), SURE)
    return Odds(odds=odds, reason=f"its mean answer is {ours.mean_output:.4g}, the champion's {theirs.mean_output:.4g}")


def guard_loss(seen: Seen) -> Odds | None:
    """Compare mean losses day by day, the champion's plus 5 % forgiven: the mean of two e-processes.

    One knows how much a day's difference may scatter (`row_variance`) and is quick on great harm: a normal mixture
    (Robbins 1970; Howard et al. 2021, section 3.2). The other knows nothing but that a harmless day errs to either side
    alike, and is slow: sum of l d - l^2 d^2 / 2 (de la Pena 1999).
    """
    days = paired_days(seen.blocks, seen.challenger.version, champion=seen.champion.version)
    rows, loss = sum(theirs.rows for _, theirs in days), sum(theirs.loss for _, theirs in days)
    labels = sum(ours.rows for ours, _ in days)
    if labels < FEWEST_LABELS or loss <= 0:
        return None
    mean = loss / rows
    excess = [ours.loss / ours.rows - theirs.loss / theirs.rows - LOSS_TOLERANCE * mean for ours, theirs in days]
    per_row = ALIKE_LOSSES * row_variance(seen.metric, mean)
    scatter = [per_row * (1 / ours.rows + 1 / theirs.rows) for ours, theirs in days]
    odds = (_normal_mixture(excess, scatter) + _sign_free(excess, mean)) / 2
    ours_mean = sum(ours.loss for ours, _ in days) / labels
    reason = f"its mean {seen.metric} is {ours_mean:.4g} over {len(days)} days, the champion's {mean:.4g}"
    return Odds(odds=min(odds, SURE), reason=reason)


GUARDS: dict[str, Callable[[Seen], Odds | None]] = {
    "errors": guard_errors,
    "latency": guard_latency,
    "answers": guard_answers,
    "loss": guard_loss,
}


def paired_days(blocks: Sequence[Block], challenger: int, *, champion: int) -> list[tuple[Block, Block]]:
    """Pair both versions' blocks of the days on which each has labels, oldest first."""
    ours = {block.day: block for block in blocks if block.version == challenger and block.rows}
    theirs = {block.day: block for block in blocks if block.version == champion and block.rows}
    return [(ours[day], theirs[day]) for day in sorted(ours.keys() & theirs.keys())]


def _answer_scales(seen: Seen) -> tuple[float, float] | None:
    """Give how much single answers may scatter, and the difference of means that is forgiven; None where unknown."""
    if seen.task is Task.CLASSIFICATION:
        mean = (seen.challenger.mean_output + seen.champion.mean_output) / 2
        theirs = seen.champion.mean_output
        return math.sqrt(max(mean * (1 - mean), 1e-6)), 0.5 * math.sqrt(max(theirs * (1 - theirs), 1e-6))
    blocks = [block for block in seen.blocks if block.version == seen.champion.version]
    if not (rows := sum(block.rows for block in blocks)):
        return None
    mean = sum(block.loss for block in blocks) / rows
    typical = mean if seen.metric == "absolute_error" else math.sqrt(mean)
    # answers scatter more than errors do: 5 times as much where 96 % of the variance is explained
    return 5 * typical, 2 * typical


def row_variance(metric: str, mean: float) -> float:
    """Bound the variance of one row's loss by its mean m.

    Bounded by 1 (Brier, mistakes): m (1 - m). Log loss: a calibrated p has the mean -p ln p - (1 - p) ln(1 - p) and the
    variance p (1 - p) ln^2(p / (1 - p)), which stays below m (1 - 1.2 ln m). Absolute and squared errors: tails heavier
    than the normal's, for which they are 0.57 m^2 and 2 m^2.
    """
    if metric == "log_loss":
        return mean * max(1.0, 1.0 - 1.2 * math.log(mean))
    if metric in ("brier", "accuracy"):
        return max(mean * (1 - mean), 1e-6)
    return (2 if metric == "absolute_error" else 9) * mean**2


def _normal_mixture(excess: Sequence[float], scatter: Sequence[float]) -> float:
    """Mix exp(l S - l^2 V / 2) over a half-normal l > 0, sharpest where V is four times the first day's."""
    total, variance = sum(excess), sum(scatter)
    weight = 4 / scatter[0]
    grown = 1 + weight * variance
    reach = math.sqrt(weight / grown) * total
    below = 0.5 * math.erfc(-reach / math.sqrt(2))
    return 2 / math.sqrt(grown) * math.exp(min(reach**2 / 2, 50.0)) * below


def _sign_free(excess: Sequence[float], scale: float) -> float:
    """Mix exp(sum of l d - l^2 d^2 / 2) over bets l around 1 / scale."""
    bets = [factor / scale for factor in (0.5, 1.0, 2.0, 4.0, 8.0)]
    return mean_exp([sum(bet * d - (bet * d) ** 2 / 2 for d in excess) for bet in bets])
