"""What both runners do; what only a process of its own must survive; the clock."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from datetime import UTC, datetime, timedelta

import numpy as np
import psutil
import pytest

from kedge.adapters.clock import SystemClock
from kedge.adapters.jobs import InlineRunner, ProcessRunner
from kedge.ports import JobFailed

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process what it has mapped")


@pytest.fixture(scope="module")
def runner():
    made = ProcessRunner(preload=("json", "no_such_module_here"))
    yield made
    made.close()


@pytest.fixture(params=["process", "inline"])
def either(request, runner):
    return runner if request.param == "process" else InlineRunner()


def work(x, y=0):
    return x + y


def fail(message):
    raise ValueError(message)


def leave(code):
    sys.exit(code)


def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def spin_and_sleep(seconds):
    spin(seconds)
    time.sleep(600)


def spin_in_child(seconds):
    pid = os.fork()
    if not pid:
        spin(seconds)
        os._exit(0)
    os.waitpid(pid, 0)


def use_memory(megabytes):
    return len(bytearray(b"x") * (megabytes << 20))


def die(number):
    os.kill(os.getpid(), number)


def give_lambda():
    return lambda: None


class Unreadable:
    def __reduce__(self):
        return (fail, ("cannot be rebuilt",))


class Strange(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def fail_strangely():
    raise Strange


def talk():
    print("words on stdout")
    os.write(1, b"more words\n")
    os.system("echo even more")
    return "quiet"


def close_everything():
    os.closerange(3, 1000)
    time.sleep(60)


def start_sleeper():
    return subprocess.Popen(["sleep", "60"]).pid


def order_of_a_set():
    return list({"carrier", "origin", "hour", "distance", "tail"})


def test_a_result_comes_back_with_what_it_used(either):
    result, usage = either.call(work, 2, 3, seconds=60)
    assert result == 5
    assert usage.wall_seconds > 0


def test_cpu_seconds_are_those_of_the_call(either):
    either.call(spin, 2.0, seconds=60)
    _, usage = either.call(spin, 0.2, seconds=60)
    assert 0.2 <= usage.cpu_seconds < 2.0, "the call before counts, too"
    assert either.call(work, 1, seconds=60)[1].cpu_seconds < 0.2


def test_a_raise_is_a_failure_with_its_traceback(either):
    result, _ = either.call(fail, "no luck", seconds=60)
    assert isinstance(result, JobFailed)
    assert result.reason == "ValueError: no luck"
    assert "in fail" in result.traceback
    assert "worker.py" not in result.traceback


def test_an_exit_is_a_failure(either):
    assert either.call(leave, 3, seconds=60)[0].reason == "SystemExit: 3"


def test_an_error_that_cannot_even_be_printed_is_a_failure(either):
    assert "Strange" in either.call(fail_strangely, seconds=60)[0].reason


def test_the_worker_stays_warm(runner):
    first, second = runner.call(os.getpid, seconds=60)[0], runner.call(os.getpid, seconds=60)[0]
    assert first == second != os.getpid()


def test_a_child_process_counts(runner):
    assert runner.call(spin_in_child, 0.2, seconds=60)[1].cpu_seconds > 0.19


def test_the_peak_is_that_of_the_call(runner):
    assert runner.call(use_memory, 200, seconds=60)[1].peak_bytes > 200 << 20
    assert runner.call(work, 1, seconds=60)[1].peak_bytes < 150 << 20


def test_a_large_argument_and_result_pass(runner):
    data = os.urandom(5 << 20)
    assert runner.call(work, data, b"", seconds=60)[0] == data


def fill(array, value):
    array[:] = value
    return array


def same(value):
    return value


def lie_in_the_parcel(*arrays):
    """Say of each array whether it lies in a mapping of a parcel's file."""
    with open("/proc/self/maps") as file:
        spans = [[int(end, 16) for end in line.split()[0].split("-")] for line in file if "kedge-job" in line]
    places = [array.__array_interface__["data"][0] for array in arrays]
    return [any(first <= place < last for first, last in spans) for place in places]


def count_parcels():
    """Count the mappings and open files of parcels in this process."""
    names = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            names.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    with open("/proc/self/maps") as file:
        return sum("kedge-job" in line for line in (*names, *file))


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_job_may_write_into_its_arrays_and_its_caller_does_not_see_it(runner, order):
    given = np.zeros((1000, 7), order=order)
    result, _ = runner.call(fill, given, 3.0, seconds=60)
    assert (result == 3.0).all()
    assert result.flags.f_contiguous == (order == "F")
    assert (given == 0.0).all()


def test_arrays_of_any_shape_and_type_pass(either):
    rows = np.arange(24.0).reshape(4, 6)
    for array in (rows, rows[::2, ::3], rows[:0], np.array([1, None, "x"]), np.array(5), np.arange(3, dtype=np.int8)):
        result, _ = either.call(same, array, seconds=60)
        assert result.dtype == array.dtype
        assert result.tolist() == array.tolist()


@linux
def test_arrays_are_read_where_they_were_written_and_nothing_of_them_stays(runner):
    before = count_parcels()
    assert runner.call(lie_in_the_parcel, np.ones((50_000, 8)), np.ones(50_000), seconds=60)[0] == [True, True]
    assert runner.call(count_parcels, seconds=60)[0] == 0
    assert count_parcels() == before


class Held:
    """An argument that can be watched."""

    def __init__(self):
        self.array = np.zeros(1000)


def appears(_, path):
    end = time.monotonic() + 10
    while time.monotonic() < end and not os.path.exists(path):
        time.sleep(0.01)
    return os.path.exists(path)


def test_an_argument_that_its_caller_does_not_hold_is_gone_while_the_job_runs(runner, tmp_path):
    waiting, path = [Held()], tmp_path / "gone"
    weakref.finalize(waiting[0], path.touch)
    assert runner.call(appears, waiting.pop(), str(path), seconds=60)[0] is True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_death_is_a_failure_and_the_next_call_has_a_new_worker(runner, number):
    result, usage = runner.call(die, number, seconds=60)
    assert result.reason.startswith(f"the process died (signal {int(number)})")
    assert usage.peak_bytes > 0
    assert runner.call(work, 1, seconds=60)[0] == 1


def test_an_immediate_exit_is_a_death(runner):
    assert runner.call(os._exit, 7, seconds=60)[0].reason == "the process died (exit code 7)"


def test_a_job_that_never_ends_is_stopped_with_its_children(runner):
    sleeper = runner.call(start_sleeper, seconds=60)[0]
    result, usage = runner.call(spin_and_sleep, 0.3, seconds=3)
    assert result.reason == "ran longer than 3 seconds and was stopped"
    assert 3 <= usage.wall_seconds < 600, "it was not waited for"
    assert 0.3 <= usage.cpu_seconds <= usage.wall_seconds
    end = time.monotonic() + 30
    while psutil.pid_exists(sleeper) and psutil.Process(sleeper).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, "a process that it had started lives on"
        time.sleep(0.01)
    assert runner.call(work, 1, seconds=60)[0] == 1


def test_a_job_that_closes_the_pipe_is_a_death(runner):
    assert runner.call(close_everything, seconds=60)[0].reason == "the process let go of its pipe and was stopped"


def test_a_result_that_cannot_be_sent_or_read_is_a_failure(runner):
    assert "returned a function, which cannot be sent back" in runner.call(give_lambda, seconds=60)[0].reason
    assert "cannot be read here: ValueError: cannot be rebuilt" in runner.call(Unreadable, seconds=60)[0].reason
    assert runner.call(work, 1, seconds=60)[0] == 1


def test_what_a_job_prints_goes_to_stderr(capfd):
    other = ProcessRunner(preload=())
    assert other.call(talk, seconds=60)[0] == "quiet"
    out, err = capfd.readouterr()  # told at once: the worker lives on, and ends by a kill
    other.close()
    assert out == ""
    assert [word in err for word in ("words on stdout", "more words", "even more")] == [True] * 3


def test_sets_of_strings_have_the_same_order_in_each_worker(runner):
    other = ProcessRunner(preload=())
    orders = [one.call(order_of_a_set, seconds=60)[0] for one in (runner, other)]
    other.close()
    assert orders[0] == orders[1]


def test_threads_take_turns(runner):
    results = []
    threads = [threading.Thread(target=lambda n=n: results.append(runner.call(work, n, seconds=60)[0])) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(5))


def test_a_closed_runner_has_no_process_and_starts_again(capfd):
    runner = ProcessRunner(preload=())
    pid = runner.call(os.getpid, seconds=60)[0]
    runner.close()
    runner.close()
    assert not psutil.pid_exists(pid)
    assert runner.call(work, 1, seconds=60)[0] == 1
    runner.close()


def test_no_worker_outlives_a_killed_parent():
    code = textwrap.dedent("""
        import os, threading, time
        from kedge.adapters.jobs import ProcessRunner
        runner = ProcessRunner(preload=())
        print(runner.call(os.getpid, seconds=60)[0], flush=True)
        runner.call(time.sleep, 60, seconds=60)
    """)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env)
    worker = psutil.Process(int(parent.stdout.readline()))
    time.sleep(0.1)
    parent.kill()
    parent.wait()
    worker.wait(timeout=60)


def test_an_interrupt_stops_the_job(runner):
    pid = runner.call(os.getpid, seconds=60)[0]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
    try:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            runner.call(time.sleep, 60, seconds=60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not psutil.pid_exists(pid)
    assert runner.call(work, 1, seconds=60)[0] == 1


def test_the_clock_tells_the_machines_time_in_utc():
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)


def test_a_job_in_this_process_is_stopped_after_its_time() -> None:
    def forever() -> None:
        while True:
            try:
                sum(range(1000))
            except Exception:
                continue

    result, usage = InlineRunner().call(forever, seconds=0.2)
    assert isinstance(result, JobFailed)
    assert "ran longer than 0.2 seconds" in result.reason
    assert usage.wall_seconds >= 0.2
    assert InlineRunner().call(sum, [1, 2], seconds=0.2)[0] == 3
