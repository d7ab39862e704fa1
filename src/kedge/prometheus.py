"""Figures as Prometheus reads them (text format 0.0.4, or OpenMetrics 1.0): what both planes write theirs with."""

from collections.abc import Iterable, Iterator, Mapping

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = Mapping[str, str]
Sample = tuple[Labels, float]


def family(name: str, kind: str, *, told: str, samples: Iterable[Sample]) -> Iterator[str]:
    """Write the lines of one metric: its help, its type (counter or gauge), and a line for each sample."""
    yield from head(name, kind, told=told)
    for labels, value in samples:
        yield line(name, labels, value=value)


def head(name: str, kind: str, *, told: str) -> Iterator[str]:
    """Write the two lines that begin a metric."""
    yield f"# HELP {name} {told}"
    yield f"# TYPE {name} {kind}"


def line(name: str, labels: Labels, *, value: float) -> str:
    """Write one sample."""
    value = int(value) if float(value).is_integer() else value
    named = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{named}}} {value!r}" if named else f"{name} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
