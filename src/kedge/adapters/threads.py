"""OpenMP on few rows: starting its threads costs more than they save, so a small batch is answered by one."""

from collections.abc import Iterator
from contextlib import contextmanager

FEW = 1000  # rows up to which one thread is faster


class OpenMp:
    """The OpenMP libraries that were loaded when this was made."""

    def __init__(self) -> None:
        from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

        self._pools = [pool for pool in ThreadpoolController().lib_controllers if pool.user_api == "openmp"]

    @contextmanager
    def fitting(self, rows: int) -> Iterator[None]:
        """Keep to one thread within, where `rows` are few."""
        if rows > FEW:
            yield
            return
        before = [pool.num_threads for pool in self._pools]
        for pool in self._pools:  # this thread's own setting, 1 us; threadpoolctl's context would look for libraries anew
            pool.set_num_threads(1)
        try:
            yield
        finally:
            for pool, threads in zip(self._pools, before, strict=True):
                pool.set_num_threads(threads)
