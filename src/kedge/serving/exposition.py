"""What the data plane counted, as Prometheus reads it (text format 0.0.4)."""

from collections.abc import Iterable, Iterator

from kedge.serving.metrics import BOUNDS, Histogram
from kedge.serving.plane import Plane

Sample = tuple[str, float]
"""Further labels, and a value."""


def prometheus(plane: Plane) -> str:
    """Write all metrics of a plane."""
    return "\n".join(_lines(plane, f'model="{_escaped(plane.model)}"')) + "\n"


def _lines(plane: Plane, model: str) -> Iterator[str]:
    metrics, log, active = plane.metrics, plane.log, plane.active
    for name, text, samples in (
        ("requests", "Inference requests by HTTP status.", _by("code", metrics.requests)),
        ("errors", "Inference requests answered with an error.", _by("code", _errors(metrics.requests))),
        ("rows", "Rows answered, by model version.", _by("version", metrics.rows)),
        ("challenger_errors", "Rows that the version on trial failed on.", metrics.challenger_errors),
        ("repeated_requests", "Requests sent again, answered as before and counted once.", metrics.repeated),
        ("load_failures", "Attempts to load a revision that failed; the one before went on serving.", metrics.load_failures),
        ("log_gap_rows", "Rows answered that could not be logged.", log.gap_rows),
        ("log_sync_failures", "Syncs of the prediction log that failed.", log.sync_failures),
    ):
        yield from _family(f"kedge_{name}_total", "counter", text, model, samples)
    for name, text, value in (
        ("revision", "The deployment's revision that answers; 0 for none.", active.deployment.revision if active else 0),
        ("revision_wanted", "The newest revision that was tried.", plane.wanted),
        ("trial_share", "The share of traffic on trial.", active.deployment.share if active else 0.0),
        ("log_lag_rows", "Rows logged that are not yet synced.", log.lag_rows),
        ("log_lag_seconds", "How long the oldest of them has been waiting.", log.lag_seconds),
    ):
        yield from _family(f"kedge_{name}", "gauge", text, model, value)
    yield "# HELP kedge_request_seconds Seconds of answered requests, by stage."
    yield "# TYPE kedge_request_seconds histogram"
    for stage, histogram in metrics.stages.items():
        yield from _histogram("kedge_request_seconds", f'{model},stage="{stage}"', histogram)


def _by(label: str, counts: dict[int, int]) -> list[Sample]:
    return [(f',{label}="{key}"', count) for key, count in sorted(counts.items())]


def _errors(requests: dict[int, int]) -> dict[int, int]:
    return {code: count for code, count in requests.items() if code >= 400}


def _family(name: str, kind: str, text: str, model: str, samples: Iterable[Sample] | float) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples if isinstance(samples, list) else [("", samples)]:
        yield f"{name}{{{model}{labels}}} {value:.9g}"


def _histogram(name: str, labels: str, histogram: Histogram) -> Iterator[str]:
    seen = 0
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), histogram.counts, strict=True):
        seen += count
        yield f'{name}_bucket{{{labels},le="{bound}"}} {seen}'
    yield f"{name}_sum{{{labels}}} {histogram.sum:.9g}"
    yield f"{name}_count{{{labels}}} {seen}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
