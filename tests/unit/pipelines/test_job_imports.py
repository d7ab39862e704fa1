"""What a training job's process loads: what it needs, and nothing that only the house beside it needs."""

import importlib.util
import subprocess
import sys

import pytest

PRELOADED = """
from kedge.adapters.sklearn import LIBRARIES
from kedge.job import train_job
for name in LIBRARIES: __import__(name)
"""


def loaded_after(code: str) -> set[str]:
    """Run code in a fresh interpreter and list the top-level modules that it has loaded then."""
    told = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    ran = subprocess.run([sys.executable, "-c", f"{code}\n{told}"], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_a_job_loads_no_frames_and_no_sql() -> None:
    loaded = loaded_after(PRELOADED)
    assert {"numpy", "sklearn", "skops"} <= loaded
    assert loaded & {"polars", "pyarrow", "pandas", "sqlalchemy", "litestar"} == set()


@pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="pandas is not installed")
@pytest.mark.parametrize("before", [True, False])
def test_pandas_is_there_for_whoever_imports_it(before: bool) -> None:
    steps = ["import kedge.adapters.sklearn.library", "import pandas; pandas.DataFrame({'a': [1]})"]
    loaded = loaded_after("\n".join(reversed(steps) if before else steps))
    assert {"pandas", "sklearn"} <= loaded


def test_scikit_learn_does_not_load_pandas() -> None:
    assert "pandas" not in loaded_after("import kedge.adapters.sklearn.library")
