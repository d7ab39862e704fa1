"""The limit: a raw ASGI program around the compiled model, with nothing else in it. Run by `bench/serving.py`.

No validation, no metrics, no log, no versions, no batching: decode, predict, encode. Binary bodies as the protocol has them.
"""

import sys
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import uvicorn

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(
    next(Path(sys.argv[1]).glob("compiled-*.onnx")).read_bytes(), options, providers=["CPUExecutionProvider"]
)
given = session.get_inputs()[0].name
decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode


async def app(scope, receive, send) -> None:
    """Answer whatever is asked with the model."""
    if scope["type"] != "http":
        return
    headers = dict(scope["headers"])
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    kind = b"application/json"
    if not body:
        data = b"{}"
    elif (header := headers.get(b"inference-header-content-length")) is not None:
        rows = np.frombuffer(body, dtype="<f8", offset=int(header)).reshape(-1, 20)
        answers = session.run(None, {given: rows})[0].reshape(-1)
        head = encode({"outputs": [{"name": "y", "datatype": "FP64", "shape": [len(rows)],
                                    "parameters": {"binary_data_size": answers.nbytes}}]})  # fmt: skip
        data, kind = head + answers.tobytes(), b"application/octet-stream"
        length = (b"inference-header-content-length", b"%d" % len(head))
        await send({"type": "http.response.start", "status": 200, "headers": [
            (b"content-type", kind), (b"content-length", b"%d" % len(data)), length]})  # fmt: skip
        await send({"type": "http.response.body", "body": data})
        return
    else:
        rows = np.array(decode(body)["inputs"][0]["data"], dtype=np.float64).reshape(-1, 20)
        answers = session.run(None, {given: rows})[0].reshape(-1)
        data = encode({"outputs": [{"name": "y", "datatype": "FP64", "shape": [len(rows)], "data": answers.tolist()}]})
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", kind), (b"content-length", b"%d" % len(data))]})  # fmt: skip
    await send({"type": "http.response.body", "body": data})


if __name__ == "__main__":
    uvicorn.run(
        app, port=int(sys.argv[2]), lifespan="off", access_log=False, log_config=None, loop="uvloop", http="httptools",
        server_header=False, date_header=False,
    )  # fmt: skip
