"""How the machine does: CPU, memory, disk and network by psutil, NVIDIA GPUs by pynvml where it loads.

Names and units are those that other trackers use, so that charts can be compared.
"""

from contextlib import suppress
from typing import Any

import psutil

MEGABYTE = 1e6


class LocalMachine:
    """This machine. Rates are since the sample before."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._gpus = _Gpus()
        psutil.cpu_percent()
        self._process.cpu_percent()
        self._network_before = _network()

    def sample(self) -> dict[str, float]:
        """Look once."""
        memory, disk = psutil.virtual_memory(), psutil.disk_usage("/")
        network = _network()
        found = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / MEGABYTE,
            "system_memory_usage_percentage": memory.percent,
            "disk_usage_megabytes": disk.used / MEGABYTE,
            "disk_usage_percentage": disk.percent,
            "disk_available_megabytes": disk.free / MEGABYTE,
            "network_receive_megabytes": (network[0] - self._network_before[0]) / MEGABYTE,
            "network_transmit_megabytes": (network[1] - self._network_before[1]) / MEGABYTE,
        }
        with suppress(psutil.Error):
            found["process_cpu_utilization_percentage"] = self._process.cpu_percent()
            found["process_memory_usage_megabytes"] = self._process.memory_info().rss / MEGABYTE
        return {**found, **self._gpus.sample()}

    def close(self) -> None:
        """Let go of the GPUs' driver."""
        self._gpus.close()


def _network() -> tuple[int, int]:
    counters = psutil.net_io_counters()
    return (counters.bytes_recv, counters.bytes_sent) if counters is not None else (0, 0)


class _Gpus:
    """NVIDIA's GPUs; none where the driver or its library is missing."""

    def __init__(self) -> None:
        self._library: Any = None
        self._devices: list[Any] = []
        try:
            import pynvml
        except ImportError:
            return
        with suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            self._devices = [pynvml.nvmlDeviceGetHandleByIndex(place) for place in range(pynvml.nvmlDeviceGetCount())]
            self._library = pynvml

    def sample(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for place, device in enumerate(self._devices):
            with suppress(self._library.NVMLError):
                memory = self._library.nvmlDeviceGetMemoryInfo(device)
                found[f"gpu_{place}_memory_usage_megabytes"] = memory.used / MEGABYTE
                found[f"gpu_{place}_memory_usage_percentage"] = 100 * memory.used / memory.total
                found[f"gpu_{place}_utilization_percentage"] = self._library.nvmlDeviceGetUtilizationRates(device).gpu
                found[f"gpu_{place}_power_usage_watts"] = self._library.nvmlDeviceGetPowerUsage(device) / 1000
        return found

    def close(self) -> None:
        if self._library is not None:
            with suppress(self._library.NVMLError):
                self._library.nvmlShutdown()
