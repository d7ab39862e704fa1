"""The threads of OpenMP and BLAS are pinned where `kedge serve` starts: the libraries say so themselves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOOK = """
import json, sys
import kedge.cli.serve as serve
early = [name for name in ("numpy", "polars", "sklearn") if name in sys.modules]
serve.pin_threads(1)
import numpy, polars, sklearn.ensemble
from threadpoolctl import threadpool_info
pools = {pool["user_api"]: pool["num_threads"] for pool in threadpool_info()}
print(json.dumps([early, pools, polars.thread_pool_size()]))
"""


@pytest.mark.parametrize(("told", "expected"), [({}, 1), ({"OMP_NUM_THREADS": "3"}, 3)])
def test_the_libraries_of_a_worker_use_one_thread_or_as_many_as_they_were_told(told: dict[str, str], expected: int) -> None:
    env = {"PYTHONPATH": str(ROOT / "src"), "PATH": "", **told}
    words = [sys.executable, "-c", LOOK]
    early, pools, frames = json.loads(subprocess.run(words, capture_output=True, text=True, check=True, env=env).stdout)
    assert early == [], "what is imported before it is pinned takes as many threads as there are cores"
    assert pools["openmp"] == expected
    assert (pools["blas"], frames) == (1, 1)
