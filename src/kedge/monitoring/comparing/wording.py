"""What a comparison says in words: for terminal, page and file alike."""

from kedge.domain.comparing import ComparedColumn, ComparedKind, DriftMeasure, FrameComparison, Oddity, Together
from kedge.domain.counts import count

_TITLES = {
    "ks": "Kolmogorov-Smirnov",
    "wasserstein": "Wasserstein",
    "wasserstein_raw": "Wasserstein (own unit)",
    "energy": "energy",
    "anderson_darling": "Anderson-Darling",
    "cramer_von_mises": "Cramér-von Mises",
    "t": "Student's t",
    "welch": "Welch's t",
    "mann_whitney": "Mann-Whitney",
    "mann_whitney_less": "Mann-Whitney (greater)",
    "epps_singleton": "Epps-Singleton",
    "levene": "Levene",
    "mmd": "MMD",
    "psi": "PSI",
    "kl": "KL",
    "jensen_shannon": "Jensen-Shannon",
    "hellinger": "Hellinger",
    "total_variation": "total variation",
    "l_infinity": "L-infinity",
    "chi2": "chi-squared",
    "chi2_fit": "chi-squared (fit)",
    "g": "G",
    "g_fit": "G (fit)",
    "z": "z",
    "fisher": "Fisher",
    "classifier": "AUC",
    "distance": "distance",
    "share": "difference",
}
_NUMBERS_BY_P = "ks anderson_darling cramer_von_mises t welch mann_whitney mann_whitney_less epps_singleton levene mmd"
_CELLS_BY_P = "chi2 chi2_fit g g_fit z fisher"
BY_P = frozenset([*_NUMBERS_BY_P.split(), *_CELLS_BY_P.split()])
"""The tests that are judged by their p-value: named here, so that a page needs none of what computes them."""
_OF = {"values": "", "chunks": "farthest chunk", "content": "classifier", "mean": "mean"}


def chance_words(column: ComparedColumn) -> str:
    """Say how sure a column's distances are, where no test says so itself: the p-value of its profiles' difference."""
    tests = [measure for measure in column.measures if measure.of == "values"]
    if column.chance is None or not tests or any(measure.p is not None for measure in tests):
        return ""
    return f"chance p {_p(column.chance)}"


def measure_words(measure: DriftMeasure) -> str:
    """Say what a test found: "Wasserstein 0.202 (limit 0.1)", "missing: difference 0.04, p 2e-05"."""
    of = _OF.get(measure.of, measure.of)
    title = _TITLES.get(measure.test, measure.test)
    said = f"{of}: {title} {_short(measure.value)}" if of else f"{title} {_short(measure.value)}"
    if measure.p is not None:
        said += f", p {_p(measure.p)}"
    if measure.threshold is not None:
        said += f" ({'level' if measure.test in BY_P else 'limit'} {_short(measure.threshold)})"
    return said


def summary(comparison: FrameComparison) -> str:
    """Say in a sentence what came out."""
    moved, tested = len(comparison.moved_columns), len(comparison.columns)
    if not moved:
        told = [one for one in comparison.together if one.moved]
        return (
            f"together the columns tell the two apart; none of {tested} moved alone"
            if told
            else (f"none of {count(tested, 'column')} moved")
        )
    return f"{moved} of {count(tested, 'column')} moved"


def sizes(comparison: FrameComparison) -> str:
    """Say what was compared with what."""
    return (
        f"{comparison.current} ({count(comparison.rows_current, 'row')}) against {comparison.reference}"
        f" ({count(comparison.rows_reference, 'row')}), rules: {comparison.rules}"
    )


def together_words(one: Together) -> str:
    """Say what a joint test found."""
    if one.test == "energy":
        return f"energy distance {_short(one.value)}, p {_p(one.p or 0.0)} (level {_short(one.threshold)})"
    said = (
        f"a classifier tells them apart with AUC {one.value:.3f} ({one.low:.3f} to {one.high:.3f}; limit {one.threshold:g})"
    )
    if one.telling:
        said += f", by {', '.join(f'{each.column} ({each.loss:.3f})' for each in one.telling[:3])}"
    return said


def change_words(column: ComparedColumn) -> str:
    """Say how a column's figures changed: its mean, and the share that is missing."""
    was, now = column.reference, column.current
    if was is None or now is None:
        return ""
    parts = []
    named = any(note.oddity is Oddity.IDENTIFIER for note in column.odd)
    if was.mean is not None and now.mean is not None and column.kind is not ComparedKind.TIME and not named:
        parts.append(f"mean {_figure(was.mean)} → {_figure(now.mean)}")
    if was.missing or now.missing:
        shares = [100 * side.missing / side.rows if side.rows else 0.0 for side in (was, now)]
        parts.append(f"missing {shares[0]:.1f} → {shares[1]:.1f} %")
    return ", ".join(parts)


def _figure(value: float) -> str:
    """Write a column's own figure: four digits, of greater numbers all before the point."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def _short(value: float) -> str:
    return f"{value:.3g}"


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else "< 1e-4"
