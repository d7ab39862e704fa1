"""Python in a process of its own that computes to the last bit as this one does.

It gets all of this process's environment: which of its kernels the linear algebra takes is set there on some machines
(OPENBLAS_CORETYPE), and another kernel ends in other last digits.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def apart(*words: object) -> subprocess.CompletedProcess[str]:
    """Run `python *words` to its end."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True, text=True)
