"""`kedge serve` with a prediction log that writes nothing: the difference is what the log costs. For `bench/serving.py`."""

import sys

from kedge.cli.main import main
from kedge.serving.log import PredictionLog

PredictionLog.append_all = lambda self, batches: True  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.argv[0] = "kedge"
    main()
