"""What the data plane counts: over processes, kept when one is killed, and read by the real parsers."""

import os
import signal
import threading

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openly
from prometheus_client.parser import text_string_to_metric_families as read

from kedge.serving.board import Board, WorkerState
from kedge.serving.exposition import exposition
from kedge.serving.metrics import FAMILIES, MOST, STAGES, Metrics


def everything(metrics: Metrics) -> None:
    """Count something of every family there is."""
    for family in FAMILIES:
        labels = [f"{label}\n\"'\\" for label in family.labels]
        match family.kind:
            case "counter":
                metrics.counter(family.name, *labels).add(3)
            case "gauge":
                metrics.gauge(family.name, *labels).set(2.5)
            case "histogram":
                metrics.histogram(family.name, *labels).observe(0.3)


@pytest.mark.parametrize(("accept", "parser"), [("", read), ("application/openmetrics-text;version=1.0.0", read_openly)])
def test_the_real_parsers_read_every_family_as_it_is_meant(accept: str, parser: object) -> None:
    metrics = Metrics()
    everything(metrics)
    kind, body = exposition(metrics, accept=accept)
    assert kind.startswith("application/openmetrics-text" if accept else "text/plain; version=0.0.4")
    found = {family.name: family for family in parser(body.decode())}  # type: ignore[operator]
    assert len(found) == len(FAMILIES)
    for family in FAMILIES:
        seen = found[family.name.removesuffix("_total")]
        assert (seen.type, seen.documentation) == (family.kind, family.told)
        assert set(seen.samples[0].labels) - {"le"} == set(family.labels)
        assert all(value == f"{label}\n\"'\\" for label, value in seen.samples[0].labels.items() if label != "le")
        values = {sample.name.removeprefix(family.name): sample.value for sample in seen.samples}
        if family.kind == "histogram":
            assert (values["_count"], values["_sum"], values["_bucket"]) == (1, 0.3, 1)
            assert [sample.value for sample in seen.samples[:-2]] == [bound >= 0.3 for bound in (*family.bounds, 1)]
        else:
            assert seen.samples[0].value == (3 if family.kind == "counter" else 2.5)


def sample(metrics: Metrics, text: str) -> float:
    lines = exposition(metrics)[1].decode().splitlines()
    return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(text)))


def killed(board: Board, segment: int, *, requests: int) -> None:
    """Count requests in a process that is killed the hard way right after."""
    child = os.fork()
    if not child:
        metrics = Metrics(board, board.segments[segment])
        board.segments[segment].take(now=0.0)
        for _ in range(requests):
            metrics.model("m").version(1, "champion").requests[200].add()
            for stage in STAGES:
                metrics.model("m").version(1, "champion").stages[stage].observe(0.001)
        metrics.model("m").queue.set(7)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def test_what_a_killed_process_counted_stays_and_its_successor_counts_on() -> None:
    board = Board(3)
    killed(board, 0, requests=5)
    killed(board, 1, requests=2)
    asked = Metrics(board, board.segments[2])
    assert sample(asked, "kedge_requests_total") == 7
    board.segments[0].leave()
    killed(board, 0, requests=3)
    assert sample(asked, "kedge_requests_total") == 10
    assert (
        sample(asked, 'kedge_request_seconds_bucket{model="m",version="1",variant="champion",stage="log",le="0.001"}') == 10
    )


def test_gauges_are_those_of_ready_workers_and_begin_anew() -> None:
    board = Board(2)
    first, second = (Metrics(board, segment) for segment in board.segments)
    for metrics, revision, waiting in ((first, 4, 2), (second, 3, 5)):
        metrics.model("m").revision.set(revision)
        metrics.model("m").queue.set(waiting)
    assert sample(first, "kedge_queue_requests") == 2, "nobody says that the second is ready"
    board.segments[1].state = WorkerState.READY
    assert sample(first, "kedge_queue_requests") == 7
    assert sample(first, 'kedge_revision{model="m"}') == 3, "what all answer by"
    Metrics(board, board.segments[1])
    assert sample(first, "kedge_queue_requests") == 2


def test_label_sets_are_bounded() -> None:
    metrics = Metrics()
    for number in range(MOST + 50):
        metrics.model(f"model-{number}").version(number, "champion").rows.add()
    lines = exposition(metrics)[1].decode().splitlines()
    rows = [line for line in lines if line.startswith("kedge_rows_total")]
    assert len(rows) == MOST + 1
    assert 'kedge_rows_total{model="other",version="",variant=""} 50' in rows


def test_a_family_takes_its_own_labels_only() -> None:
    with pytest.raises(ValueError, match="has the labels"):
        Metrics().counter("kedge_rows_total", "m")


def test_a_full_segment_says_so_and_threads_make_a_series_once() -> None:
    metrics = Metrics(Board(1, segment_bytes=1 << 10))
    with pytest.raises(MemoryError, match="1024 bytes"):
        everything(metrics)
    shared = Metrics()
    threads = [threading.Thread(target=shared.segment.series, args=(b"k", 2)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [key for key, _ in shared.segment.items()] == [b"k"]


def test_the_logs_figures_are_sampled() -> None:
    class Log:
        gap_rows, sync_failures, lag_rows, lag_seconds, logged_rows = 3, 1, 40, 0.5, 7

    metrics, log = Metrics(), Log()
    metrics.watch_log(log)  # type: ignore[arg-type]
    assert sample(metrics, "kedge_log_gap_rows_total") == 3
    log.gap_rows = 5
    assert sample(metrics, "kedge_log_gap_rows_total") == 5
    assert sample(metrics, "kedge_log_rows_total") == 7
    assert sample(metrics, "kedge_log_lag_seconds") == 0.5


def test_versions_held_are_gauges_and_their_coming_and_going_is_counted() -> None:
    metrics = Metrics()
    metrics.model("m").holds({1: 10, 2: 20}, loads=2, unloads=0)
    metrics.model("m").holds({2: 20}, loads=5, unloads=4)
    assert sample(metrics, 'kedge_loaded_workers{model="m",version="1"}') == 0
    assert sample(metrics, 'kedge_model_bytes{model="m",version="2"}') == 20
    assert sample(metrics, "kedge_loads_total") == 5
    assert sample(metrics, "kedge_unloads_total") == 4
