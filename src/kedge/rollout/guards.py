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

import numpy as np

from kedge.domain.durations import seconds_of
from kedge.domain.evaluation import Task
from kedge.domain.monitoring import Block, GroupLoss, VersionHealth
from kedge.domain.rollout import GROUPS, GuardOdds, RolloutLook, RolloutRules
from kedge.rollout.evidence import SURE, Cells, Estimate, mean_exp, mixture_odds, stratified

ERROR_TOLERANCE = 0.01
LOSS_TOLERANCE = 0.05
FEWEST_LABELS = 30
ALIKE_LOSSES = 2.0
ALIKE_ANSWERS = 10.0  # variance of a mean answer, as a multiple of that of independent rows


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
    groups: Sequence[GroupLoss] = ()
    shadow: bool = False


def guard_errors(seen: Seen) -> GuardOdds | None:
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
    return GuardOdds(odds=mean_exp(list(wealth.values())), reason=f"{reason}; the champion on {seen.champion.errors}")


def guard_latency(seen: Seen) -> GuardOdds | None:
    """Hold the mean request to the declared limit, unless the champion breaks it too: then the machine is slow."""
    limit = seconds_of(seen.rules.max_latency)
    slow = seen.challenger.rows > 0 and seen.challenger.latency_seconds > limit
    if not slow or (seen.champion.rows and seen.champion.latency_seconds > limit):
        return None
    seconds = seen.challenger.latency_seconds
    return GuardOdds(odds=SURE, reason=f"a request takes {seconds:.3g} s, and at most {limit:.3g} s are allowed")


def guard_answers(seen: Seen) -> GuardOdds | None:
    """Compare the mean answers of both sides: harm is a mean far outside, not a new opinion.

    Forgiven is half a standard deviation of a yes-or-no fact with the champion's mean answer, and for numbers twice the
    champion's typical error (known once labels are), since a fresh model rightly corrects a stale one's bias.
    """
    ours, theirs = seen.challenger, seen.champion
    if ours.rows and not math.isfinite(ours.mean_output):
        return GuardOdds(odds=SURE, reason="its mean answer is not a finite number")
    scales = _answer_scales(seen)
    if not ours.rows or not theirs.rows or scales is None:
        return None
    spread, forgiven = scales
    error = spread * math.sqrt(ALIKE_ANSWERS * (1 / ours.rows + 1 / theirs.rows))
    apart = abs(ours.mean_output - theirs.mean_output) - forgiven
    looks = len(seen.before) + 1
    tail = max(apart, 0.0) / error if error > 0 else 0.0
    odds = min(math.exp(min(tail**2 / 2, 50.0)) / (2 * looks * (looks + 1)), SURE)
    return GuardOdds(odds=odds, reason=f"its mean answer is {ours.mean_output:.4g}, the champion's {theirs.mean_output:.4g}")


def guard_loss(seen: Seen) -> GuardOdds | None:
    """Compare mean losses within days, the champion's plus 5 % forgiven, by groups of entities and days."""
    compared = compare_losses(seen)
    if compared is None:
        return None
    found, mean, ours_mean, days = compared
    excess = Estimate(value=found.value - LOSS_TOLERANCE * mean, variance=found.variance, freedom=found.freedom)
    reason = f"its mean {seen.metric} is {ours_mean:.4g} over {days} days, the champion's {mean:.4g}"
    return GuardOdds(odds=mixture_odds(excess, mean), reason=reason)


def guard_value(seen: Seen) -> GuardOdds | None:
    """Compare what the answers were worth, where the rules say it; 5 % of the champion's mean value is forgiven."""
    cells = cells_of(seen, value=True)
    if not seen.rules.value or cells is None or cells[0].rows.sum() < FEWEST_LABELS:
        return None
    ours, theirs = cells
    mean = float(theirs.sums.sum() / max(theirs.rows.sum(), 1))
    found = stratified(theirs, ours, paired=seen.shadow, scale=abs(mean))  # less worth is harm
    if found is None:
        return None
    scale = max(abs(mean), math.sqrt(found.variance))
    excess = Estimate(value=found.value - LOSS_TOLERANCE * abs(mean), variance=found.variance, freedom=found.freedom)
    reason = f"an answer of it was worth {mean - found.value:.4g}, of the champion {mean:.4g}"
    return GuardOdds(odds=mixture_odds(excess, scale), reason=reason)


def guard_slices(seen: Seen) -> GuardOdds | None:
    """Compare mean losses slice by slice: the n-th slice seen has 1 / (n (n + 1)) of the capital, and is judged with
    enough labelled rows on both sides."""
    found = []
    for place, name in enumerate(dict.fromkeys(one.slice for one in seen.groups if one.slice), 1):
        cells = cells_of(seen, slice_=name)
        if cells is None or min(cells[0].rows.sum(), cells[1].rows.sum()) < seen.rules.min_group:
            continue
        ours, theirs = cells
        mean = float(theirs.sums.sum() / theirs.rows.sum())
        apart = stratified(ours, theirs, paired=seen.shadow, scale=mean)
        if apart is not None and mean > 0:
            excess = Estimate(value=apart.value - LOSS_TOLERANCE * mean, variance=apart.variance, freedom=apart.freedom)
            found.append((mixture_odds(excess, mean) / (place * (place + 1)), name, mean + apart.value, mean))
    if not found:
        return None
    _, name, ours_mean, mean = max(found)
    reason = f"where {name} its mean {seen.metric} is {ours_mean:.4g}, the champion's {mean:.4g}"
    return GuardOdds(odds=min(sum(one[0] for one in found), SURE), reason=reason)


def better_odds(seen: Seen) -> float:
    """Give the odds against "it loses no less than the champion": what a trial for superiority has to show."""
    compared = compare_losses(seen)
    if compared is None:
        return 1.0
    found, mean = compared[0], compared[1]
    return mixture_odds(Estimate(value=-found.value, variance=found.variance, freedom=found.freedom), mean)


def compare_losses(seen: Seen) -> tuple[Estimate, float, float, int] | None:
    """Estimate our mean loss less the champion's; with it the champion's, ours, and the number of days. None with too few
    labels.

    Where the sums by group are not there, each row's variance is bounded by the mean loss (`row_variance`).
    """
    days = paired_days(seen.blocks, seen.challenger.version, champion=seen.champion.version)
    rows, loss = sum(theirs.rows for _, theirs in days), sum(theirs.loss for _, theirs in days)
    labels = sum(ours.rows for ours, _ in days)
    if labels < FEWEST_LABELS or loss <= 0:
        return None
    mean, ours_mean = loss / rows, sum(ours.loss for ours, _ in days) / labels
    cells = cells_of(seen)
    found = (
        stratified(*cells, paired=seen.shadow, scale=mean) if cells is not None else _bounded(seen.metric, days, mean=mean)
    )
    return None if found is None else (found, mean, ours_mean, len(days))


def cells_of(seen: Seen, *, slice_: str = "", value: bool = False) -> tuple[Cells, Cells] | None:
    """Lay the trial's sums out by day and group, ours and the champion's; None where there are none."""
    groups = [one for one in seen.groups if one.slice == slice_]
    if not groups:
        return None
    days = {day: place for place, day in enumerate(sorted({one.day for one in groups}))}
    shape = (len(days), GROUPS)
    sides = {
        version: Cells(rows=np.zeros(shape), sums=np.zeros(shape))
        for version in (seen.challenger.version, seen.champion.version)
    }
    for one in groups:
        if one.version in sides:
            sides[one.version].rows[days[one.day], one.group] += one.rows
            sides[one.version].sums[days[one.day], one.group] += one.value if value else one.loss
    return sides[seen.challenger.version], sides[seen.champion.version]


def _bounded(metric: str, days: Sequence[tuple[Block, Block]], *, mean: float) -> Estimate:
    """Estimate the difference within days by a bound on the variance of a row's loss."""
    weights = np.array([ours.rows * theirs.rows / (ours.rows + theirs.rows) for ours, theirs in days])
    weights = weights / weights.sum()
    apart = np.array([ours.loss / ours.rows - theirs.loss / theirs.rows for ours, theirs in days])
    errors = np.array([1 / ours.rows + 1 / theirs.rows for ours, theirs in days]) * row_variance(metric, mean)
    variance = ALIKE_LOSSES * float(np.square(weights) @ errors)
    return Estimate(value=float(weights @ apart), variance=variance, freedom=1000.0)


GUARDS: dict[str, Callable[[Seen], GuardOdds | None]] = {
    "errors": guard_errors,
    "latency": guard_latency,
    "answers": guard_answers,
    "loss": guard_loss,
    "value": guard_value,
    "loss in a slice": guard_slices,
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
