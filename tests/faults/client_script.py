"""A training script for the fault tests: logs 0, 1, 2 ... under `x`, and says how far it has come.

python -m tests.faults.client_script WHAT COUNT      with KEDGE_STORE or KEDGE_URL set, KEDGE_RUN the run's id
"""

import os
import resource
import signal
import sys
import time

import kedge
from kedge.client.process import PROCESS


def handed(run) -> None:
    """Have what was logged handed to the file, and say so."""
    assert PROCESS.channel(run.settings).drain(60)


def say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def count(run, numbers) -> None:
    """Log numbers; say each hundredth once it was handed over."""
    for number in numbers:
        run.log(x=float(number), step=number)
        if number % 100 == 99:
            handed(run)
            say(number)


def main(what: str, most: int) -> None:
    if what == "handler":
        signal.signal(signal.SIGTERM, lambda number, frame: os.write(1, b"handled\n"))  # print cannot be re-entered
    if what == "full":  # no file may grow over 30 kB: the disk is full, as far as this process can tell
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
    with kedge.run("faults", id=os.environ["KEDGE_RUN"], params={"a": 1}, system_metrics=False, wait_seconds=30) as run:
        match what:
            case "count":
                count(run, range(most))
            case "full":
                for number in range(most):
                    run.log(x=float(number), step=number)
            case "raise":
                run.log(x=1.0)
                raise RuntimeError("as wanted")
            case "exit":
                run.log(x=1.0)
                sys.exit(3)
            case "forget":
                forgotten = kedge.run("faults", id=os.environ["KEDGE_RUN"] + "f", system_metrics=False).start()
                forgotten.log(x=2.0)  # never ended: the interpreter's exit does it
            case "wait" | "handler":
                for number in range(most):
                    run.log(x=float(number), step=number)
                say("ready")
                while what == "wait" or "system" not in run._keys:
                    time.sleep(0.01)
                    if what == "handler" and not sys.stdin.readline():
                        break
            case "fork":
                fork(run, most)
            case "pool":
                pool(run)


def fork(run, most: int) -> None:
    """Fork in the middle of logging; parent and child both go on."""
    for number in range(most):
        run.log(x=float(number), step=number)
    child = os.fork()
    if child == 0:
        for number in range(most):
            run.log(child=float(number), step=number)
        handed(run)
        os._exit(0)
    for number in range(most, 2 * most):
        run.log(x=float(number), step=number)
    assert os.waitpid(child, 0)[1] == 0


def in_pool(number: int) -> int:
    kedge.log(pool=float(number), step=number)
    return number


def pool(run) -> None:
    """Log from the processes of a multiprocessing pool, which end without exit handlers."""
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(3) as workers:
        assert workers.map(in_pool, range(60)) == list(range(60))
        workers.close()
        workers.join()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
