"""The triggers of other tools, as rules and walks: Evidently's default drift per column, ADWIN on the error, persistence.

Evidently's defaults are written here anew, and held against its own figures where `.peers/evidently` is there
(`check_evidently`). ADWIN is river's own, run by bench/peers/adwin_walk.py in the environment `.peers/river`.
"""

import json
import subprocess

import numpy as np
from bench.policy.matrices import FIRST, home
from bench.policy.streams import LEAST, ROOT, Stream
from scipy import stats
from scipy.spatial.distance import jensenshannon

REFERENCE_ROWS = 20_000
FEW_VALUES, LARGE = 5, 1000
P_VALUE, DISTANCE = 0.05, 0.1
SCRIPT = ROOT / "bench" / "peers" / "adwin_walk.py"


class EvidentlyStyle:
    """Drift of each column of a step against the champion's training rows, as Evidently's DataDriftPreset decides it:
    over 1,000 reference rows the normed Wasserstein distance or, of few values, the Jensen-Shannon distance, at .1; below,
    Kolmogorov-Smirnov, chi-squared or the test of two shares at p < .05."""

    def __init__(self, made: Stream) -> None:
        self._made = made
        self._borders = np.searchsorted(made.step, np.arange(made.steps + 1))
        self._references: dict[int, list[np.ndarray]] = {}
        self._found: dict[tuple[int, int], float] = {}

    def share(self, model: int, step: int) -> float:
        """Give the share of columns that drift in a step (both counted from the first that is served)."""
        if (model, step) not in self._found:
            first, last = self._borders[FIRST + step], self._borders[FIRST + step + 1]
            reference = self._reference(model)
            drifts = [
                drifted(known, self._made.x[first:last, place], categorical=place in self._made.categorical)
                for place, known in enumerate(reference)
            ]
            self._found[model, step] = float(np.mean(drifts))
        return self._found[model, step]

    def _reference(self, model: int) -> list[np.ndarray]:
        if model not in self._references:
            upto = self._borders[FIRST + model]
            rows = self._made.x[: upto : max(1, upto // REFERENCE_ROWS)]
            self._references = {model: [column[~np.isnan(column)] for column in rows.T]}
        return self._references[model]


def drifted(reference: np.ndarray, current: np.ndarray, *, categorical: bool) -> bool:
    """Say whether one column drifts."""
    current = current[~np.isnan(current)]
    if not len(current) or not len(reference):
        return len(current) != len(reference)
    few = categorical or np.unique(reference).size <= FEW_VALUES
    if len(reference) > LARGE:
        return bool((_jensen_shannon if few else _wasserstein)(reference, current) >= DISTANCE)
    return bool((_shares if few else _smirnov)(reference, current) < P_VALUE)


def _wasserstein(reference: np.ndarray, current: np.ndarray) -> float:
    return float(stats.wasserstein_distance(reference, current) / max(float(np.std(reference)), 0.001))


def _jensen_shannon(reference: np.ndarray, current: np.ndarray) -> float:
    kinds = np.union1d(reference, current)
    counts = [np.array([np.count_nonzero(rows == kind) for kind in kinds]) for rows in (reference, current)]
    return float(jensenshannon(counts[0] / len(reference), counts[1] / len(current)))


def _smirnov(reference: np.ndarray, current: np.ndarray) -> float:
    return float(stats.ks_2samp(reference, current).pvalue)


def _shares(reference: np.ndarray, current: np.ndarray) -> float:
    """Test counts of kinds: two shares for two kinds, else chi-squared of the current counts against the expected ones."""
    kinds = np.union1d(reference, current)
    ours, theirs = (np.array([np.count_nonzero(rows == kind) for kind in kinds], float) for rows in (reference, current))
    if len(kinds) == 1:
        return 1.0
    if len(kinds) == 2:
        a, b, n, m = ours[0] / len(reference), theirs[0] / len(current), len(reference), len(current)
        pooled = (ours[0] + theirs[0]) / (n + m)
        error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
        return float(2 * stats.norm.sf(abs(a - b) / error)) if error > 0 else 1.0
    expected = ours / ours.sum() * theirs.sum()
    return 0.0 if (expected == 0).any() else float(stats.chisquare(theirs, expected).pvalue)


def adwin(made: Stream, rows: str, *, seed: int, delay: int) -> list[int] | None:
    """List the steps that begin with a new model where ADWIN on the champion's error asks for it; None without river."""
    python = ROOT / ".peers" / "river" / "bin" / "python"
    if not python.is_file():
        return None
    stem = made.name.replace(" ", "-")
    kept = home() / f"{stem}-{rows}-{seed}-adwin-{delay}.json"
    if not kept.is_file():
        steps = home() / f"{stem}-steps.npy"
        np.save(steps, made.step)
        words = [str(python), str(SCRIPT), str(home() / f"{stem}-{rows}-{seed}.npy"), str(steps), str(FIRST), str(delay)]
        done = subprocess.run([*words, "classes" if made.classes else "values"], check=True, capture_output=True, text=True)
        kept.write_text(done.stdout)
    return list(json.loads(kept.read_text()))


def persistence(made: Stream, *, delay: int) -> np.ndarray:
    """Give the row losses of no model at all, from the first served step on: the label of the same place in the day, so
    many days ago as labels take; for classes the share of positives so far after such a label. Flights: the newest day's
    share."""
    days = (7 if made.block_days > 1 else 1) + delay * made.step_days
    first = int(np.searchsorted(made.step, FIRST))
    if made.name.startswith("flights"):
        sums, counts = np.bincount(made.block, weights=made.y), np.bincount(made.block)
        shares = sums / np.maximum(counts, 1)
        answers = shares[np.maximum(made.block - days, 0)]
    else:
        back = round(made.day_rows * days)
        before = np.concatenate([np.full(back, made.y[:first].mean()), made.y[:-back]])
        answers = _shares_after(made.y, before, back=back) if made.classes else before
    return made.losses(np.clip(answers[first:], LEAST, 1 - LEAST) if made.classes else answers[first:], first)


def _shares_after(y: np.ndarray, before: np.ndarray, *, back: int) -> np.ndarray:
    """Give the share of positives so far among the rows whose label before was the same; the newest `back` are unknown."""
    answers = np.full(len(y), 0.5)
    for kind in (0.0, 1.0):
        same = before == kind
        hits = np.concatenate([np.zeros(back), np.cumsum(same * y)[:-back]])
        count = np.concatenate([np.zeros(back), np.cumsum(same)[:-back]])
        answers[same] = ((hits + 1) / (count + 2))[same]
    return answers


CHECK = """
import json, sys
import numpy as np, pandas as pd
from evidently import Report, Dataset, DataDefinition
from evidently.presets import DataDriftPreset
z = np.load(sys.argv[1])
names = [f"c{i}" for i in range(z["reference"].shape[1])]
texts = [names[i] for i in z["categorical"]]
frames = [pd.DataFrame(z[k], columns=names) for k in ("reference", "current")]
for frame in frames:
    for name in texts: frame[name] = frame[name].astype(str)
shape = DataDefinition(numerical_columns=[n for n in names if n not in texts], categorical_columns=texts)
sets = [Dataset.from_pandas(frame, data_definition=shape) for frame in frames]
told = Report([DataDriftPreset()]).run(sets[1], sets[0]).dict()
found = {}
for one in told["metrics"]:
    settings = one.get("config") or {}
    if "ValueDrift" in str(settings.get("type", one.get("metric_name", ""))):
        found[settings["column"]] = [float(one["value"]), settings.get("method", ""), settings.get("threshold")]
print(json.dumps(found))
"""


def check_evidently(made: Stream, *, pairs: int = 6) -> str:
    """Hold the verdicts of some steps against Evidently's own; says how many columns agree."""
    python = ROOT / ".peers" / "evidently" / "bin" / "python"
    if not python.is_file():
        return "no environment with Evidently to check with (.peers/evidently)"
    borders = np.searchsorted(made.step, np.arange(made.steps + 1))
    same = asked = 0
    for step in np.linspace(FIRST, made.steps - 1, pairs).astype(int):
        reference, current = made.x[: borders[FIRST]], made.x[borders[step] : borders[step + 1]]
        file = home() / "check.npz"
        np.savez(file, reference=reference, current=current, categorical=np.array(made.categorical, dtype=int))
        done = subprocess.run([str(python), "-c", CHECK, str(file)], check=True, capture_output=True, text=True)
        for name, (value, method, threshold) in json.loads(done.stdout).items():
            place = int(name[1:])  # Evidently tells numbers first, then kinds
            theirs = value < threshold if "p_value" in method else value >= threshold
            ours = drifted(
                reference[~np.isnan(reference[:, place]), place], current[:, place], categorical=place in made.categorical
            )
            same, asked = same + (ours == theirs), asked + 1
    return f"{same} of {asked} verdicts on columns are Evidently's own"
