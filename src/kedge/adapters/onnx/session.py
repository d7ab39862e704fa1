"""Sessions of onnxruntime as Kedge runs them: on the CPU, one thread, quiet, nothing read but the bytes that are given."""

from typing import Any

from kedge.errors import ConfigError, ModelRefused


def open_session(data: bytes) -> Any:
    """Open a session of a model's bytes. Raises ConfigError without onnxruntime, ModelRefused with its reason."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError("this model needs onnxruntime; install it: pip install 'kedge[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # it would keep what the largest batch took
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except faults(onnxruntime) as error:
        raise ModelRefused(f"onnxruntime cannot load the model: {' '.join(str(error).split())[:300]}") from error


def faults(onnxruntime: Any) -> tuple[type[Exception], ...]:
    """Name what onnxruntime raises: each of its errors is a class by itself, below Exception alone."""
    state = onnxruntime.capi.onnxruntime_pybind11_state
    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException", "EPFail")
    return (ValueError, RuntimeError, *(getattr(state, name) for name in names if hasattr(state, name)))
