"""`kedge up` imports what a server needs, no more: the libraries of frames, numbers and models wait for who asks."""

import subprocess
import sys

HEAVY = {"polars", "numpy", "pyarrow", "scipy", "sklearn", "pandas", "lightgbm", "xgboost", "torch", "plotly", "litestar"}


def test_the_control_plane_starts_without_frames_and_models() -> None:
    told = "import sys, kedge.cli.up; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert set(ran.stdout.split()) & HEAVY == set()
