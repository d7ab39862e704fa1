"""What a data plane counted, over all its workers, as Prometheus or an OpenMetrics reader takes it.

Counters and histograms are added up, those of workers that have ended too. A gauge holds of the workers that are ready,
and of the one that is asked.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from kedge.prometheus import OPEN_METRICS, TEXT, Labels, head, line
from kedge.serving.board import WorkerState
from kedge.serving.metrics import BY_NAME, FAMILIES, Family, Metrics

Series = dict[tuple[str, ...], list[float]]
_OVER: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "min": min, "max": max}


def exposition(metrics: Metrics, *, accept: str = "") -> tuple[str, bytes]:
    """Write all metrics: content type and body, in the format that an Accept header asks for."""
    metrics.sample()
    series, openly = collected(metrics), "application/openmetrics-text" in accept
    lines = (each for family in FAMILIES for each in _family(family, series[family.name], openly=openly))
    text = "".join(f"{each}\n" for each in lines) + ("# EOF\n" if openly else "")
    return (OPEN_METRICS if openly else TEXT), text.encode()


def collected(metrics: Metrics) -> dict[str, Series]:
    """Add every family up over the processes, by label values."""
    found: dict[str, dict[tuple[str, ...], list[memoryview[float]]]] = defaultdict(lambda: defaultdict(list))
    for segment in metrics.board.segments:
        current = segment is metrics.segment or segment.state is WorkerState.READY
        for key, values in segment.items():
            name, *labels = json.loads(key)
            if current or BY_NAME[name].kind != "gauge":
                found[name][tuple(labels)].append(values)
    return {family.name: _added(family, found[family.name]) for family in FAMILIES}


def _added(family: Family, parts: dict[tuple[str, ...], list["memoryview[float]"]]) -> Series:
    over = _OVER[family.over]
    return {labels: [over(column) for column in zip(*values, strict=True)] for labels, values in sorted(parts.items())}


def _family(family: Family, series: Series, *, openly: bool) -> Iterator[str]:
    # OpenMetrics names a counter without its ending, and its samples with it.
    name = family.name.removesuffix("_total") if openly else family.name
    yield from head(name, family.kind, told=family.told)
    for values, counted in series.items():
        labels = dict(zip(family.labels, values, strict=True))
        if family.kind == "histogram":
            yield from _histogram(family, labels, counted=counted)
        else:
            yield line(family.name, labels, value=counted[0])


def _histogram(family: Family, labels: Labels, *, counted: list[float]) -> Iterator[str]:
    seen = 0.0
    for bound, count in zip((*map(str, family.bounds), "+Inf"), counted, strict=False):
        seen += count
        yield line(f"{family.name}_bucket", {**labels, "le": bound}, value=seen)
    yield line(f"{family.name}_sum", labels, value=counted[-1])
    yield line(f"{family.name}_count", labels, value=seen)
