"""One OpenMP thread for the whole suite: many small parallel regions on busy cores cost more in waiting than in work."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
