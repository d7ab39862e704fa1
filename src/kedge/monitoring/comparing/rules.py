"""Rules: which test a column gets unless told otherwise, in which bins, and when it counts as moved.

| rules | a distance moved | a test moved | a frame moved |
|---|---|---|---|
| kedge | at its threshold, and further than chance gives (p < 0.01) | p below its level | with any column |
| evidently | at its threshold | p below its level | with half of the columns |
| nannyml | beyond mean + 3 deviations of the reference's own chunks | p below its level | with any column |

Kedge's p-values are corrected for the number of columns (Holm). The two others repeat, number for number, what those
tools do with the same data (Evidently 0.7, NannyML 0.13), so that who moves can compare.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from kedge.domain.comparing import ComparedKind
from kedge.errors import RequestInvalid
from kedge.monitoring.comparing import cell_tests, number_tests
from kedge.monitoring.comparing.cell_tests import CELL_TESTS
from kedge.monitoring.comparing.number_tests import NUMBER_TESTS
from kedge.monitoring.comparing.outcome import LEVEL, MUCH, NamedTest

RULES = ("kedge", "evidently", "nannyml")
CHANCE = 0.01
MISSING = 0.02
"""The difference of two missing shares from which a column counts as moved under Kedge's rules."""
AUC = 0.55
"""The AUC from which free text, vectors or whole frames count as told apart."""
_BESIDE = ("share", "distance", "classifier")
"""What else has a threshold: unknown words, the means of vectors, texts and vectors told apart."""
_SMALL, _FEW = 1000, 5

_EVIDENTLY: dict[str, NamedTest] = {
    "psi": NamedTest(cell_tests.psi_filled, MUCH, False),
    "kl": NamedTest(cell_tests.kl_filled, MUCH, False),
    "jensen_shannon": NamedTest(cell_tests.jensen_shannon_nats, MUCH, False),
    "chi2": NamedTest(cell_tests.chi2_fit, LEVEL, True),
    "g": NamedTest(cell_tests.g_fit, MUCH, True),
    "fisher": NamedTest(cell_tests.fisher, MUCH, True),
    "mann_whitney": NamedTest(number_tests.mann_whitney_less, LEVEL, True),
    "anderson_darling": NamedTest(number_tests.anderson_darling, MUCH, True),
    "cramer_von_mises": NamedTest(number_tests.cramer_von_mises, MUCH, True),
    "mmd": NamedTest(number_tests.mmd, MUCH, True),
    "wasserstein": NamedTest(number_tests.wasserstein_floored, MUCH, False),
}


class Chosen(NamedTuple):
    """A test that was chosen for a column, and where it says "moved" (None: it is only shown). `beyond`: a distance has to
    be greater than its threshold, not as great."""

    name: str
    test: NamedTest
    threshold: float | None
    beyond: bool = False

    def exceeds(self, value: float, p: float | None) -> bool:
        """Tell whether a result lies beyond the threshold."""
        if self.threshold is None:
            return False
        if self.test.by_p:
            return p is not None and p < self.threshold
        return value > self.threshold if self.beyond else value >= self.threshold


class Wishes(NamedTuple):
    """What the caller asked for: tests by column, tests for all, thresholds by column or by test, or one for all."""

    rules: str
    tests: Mapping[str, tuple[str, ...]]
    test: tuple[str, ...]
    thresholds: Mapping[str, float]
    threshold: float | None
    bins: str | int


def named(name: str, rules: str) -> NamedTest:
    """Find a test by its name, as the rules have it. Raises RequestInvalid."""
    found = _EVIDENTLY.get(name) if rules == "evidently" else None
    found = found or NUMBER_TESTS.get(name) or CELL_TESTS.get(name)
    if found is None:
        raise RequestInvalid(f"there is no test {name!r}; there are: {', '.join(sorted({*NUMBER_TESTS, *CELL_TESTS}))}")
    return found


def wished(
    rules: str,
    *,
    tests: Mapping[str, str | Sequence[str]] | None,
    test: str | Sequence[str] | None,
    thresholds: Mapping[str, float] | None,
    threshold: float | None,
    bins: str | int | None,
) -> Wishes:
    """Check what the caller asked for. Raises RequestInvalid."""
    if rules not in RULES:
        raise RequestInvalid(f"there are no rules {rules!r}; there are: {', '.join(RULES)}")
    many = {column: _names(wanted) for column, wanted in (tests or {}).items()}
    of_all = _names(test)
    for name in (*of_all, *(name for wanted in many.values() for name in wanted)):
        named(name, rules)
    for where, value in (dict(thresholds or {}) | ({} if threshold is None else {"": threshold})).items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
            raise RequestInvalid(f"threshold{f' of {where!r}' if where else ''}: {value!r} is not a number of 0 or more")
    chosen = bins if bins is not None else "sturges" if rules == "evidently" else "profile"
    if not (chosen in ("profile", "sturges") or (isinstance(chosen, int) and not isinstance(chosen, bool) and chosen > 1)):
        raise RequestInvalid(f'bins: {bins!r} is neither "profile" nor "sturges" nor a number above 1')
    return Wishes(rules, many, of_all, thresholds or {}, threshold, chosen)


def require_known(wishes: Wishes, columns: Sequence[str]) -> None:
    """Refuse a threshold of nothing: a misspelt one would leave the usual limit in place, unseen. Raises RequestInvalid."""
    tests = {*NUMBER_TESTS, *CELL_TESTS, *_BESIDE}
    for where in wishes.thresholds:
        if where not in tests and where not in columns:
            raise RequestInvalid(
                f"threshold of {where!r}: there is no such column or test; the columns are {', '.join(columns[:20])}, "
                f"the tests {', '.join(sorted(tests))}"
            )


def _names(wanted: str | Sequence[str] | None) -> tuple[str, ...]:
    if wanted is None:
        return ()
    return (wanted,) if isinstance(wanted, str) else tuple(wanted)


def choose(wishes: Wishes, column: str, *, kind: ComparedKind, rows: int, distinct: int | None) -> tuple[Chosen, ...]:
    """Choose the tests of a column's values. `rows` are the reference's with a value, `distinct` the values of both sides
    where they are few (None: many). Raises RequestInvalid for a test that the column named for it does not allow."""
    ordered = kind in (ComparedKind.NUMBER, ComparedKind.TIME)
    names = wishes.tests.get(column)
    if names is None:
        names = tuple(name for name in wishes.test if ordered or name in CELL_TESTS) or (
            _usual(wishes.rules, ordered=ordered, rows=rows, distinct=distinct),
        )
    found = []
    for name in names:
        if not ordered and name not in CELL_TESTS:
            raise RequestInvalid(
                f"column {column!r} has no order: test {name!r} is for numbers; use one of {', '.join(CELL_TESTS)}"
            )
        test = named(name, wishes.rules)
        found.append(Chosen(name, test, threshold_of(wishes, column, name=name, test=test)))
    return tuple(found)


def threshold_of(wishes: Wishes, column: str, *, name: str, test: NamedTest) -> float:
    """Give the threshold of a test of a column: that of the column, of the test, of all, or the test's own."""
    for where in (column, name):
        if where in wishes.thresholds:
            return wishes.thresholds[where]
    return wishes.threshold if wishes.threshold is not None else test.threshold


def _usual(rules: str, *, ordered: bool, rows: int, distinct: int | None) -> str:
    if rules == "kedge":
        return "wasserstein" if ordered else "jensen_shannon"
    if rules == "nannyml":
        return "jensen_shannon"
    few = distinct is not None and distinct <= _FEW
    if rows > _SMALL:
        return "wasserstein" if ordered and not few else "jensen_shannon"
    if ordered and not few:
        return "ks"
    return "z" if distinct is not None and distinct <= 2 else "chi2"


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for how many they are (Holm, 1979); None stays None."""
    there = np.array([value for value in values if value is not None], dtype=np.float64)
    order = np.argsort(there, kind="stable")
    raised = np.minimum(np.maximum.accumulate(there[order] * np.arange(there.size, 0, -1)), 1.0)
    corrected = np.empty_like(raised)
    corrected[order] = raised
    given = iter(corrected.tolist())
    return [None if value is None else next(given) for value in values]
