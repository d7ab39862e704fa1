"""How many threads a model's call may use: set for this process before what reads it is imported."""

import os


def pin_threads(threads: int) -> None:
    """Have OpenMP and BLAS use so many threads in a call. Before numpy is imported; who has set it knows better.

    One, as a rule: a request is answered by one thread, and more of them inside a model's call would fight over the cores
    with the next request: 50 rows through 100 trees take as long, with a 99th percentile of 21 ms instead of 8.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ.setdefault(name, str(threads))
