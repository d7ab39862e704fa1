"""Files of runs: logged one by one, as folders, as text, tables, pictures and figures; listed, read, downloaded offline."""

import json
import tempfile
import uuid
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from mlflow.artifacts import download_artifacts, list_artifacts, load_dict, load_text

import mlflow

client = mlflow.MlflowClient()
mlflow.set_experiment(f"files {uuid.uuid4().hex[:8]}")
folder = Path(tempfile.mkdtemp())
(folder / "in").mkdir()
(folder / "in" / "a b.txt").write_text("a b")
(folder / "in" / "\u2603.bin").write_bytes(bytes(range(256)))
big = np.random.default_rng(1).bytes(3_000_000)
(folder / "big.bin").write_bytes(big)

with mlflow.start_run() as run:
    mlflow.log_artifact(folder / "big.bin")
    mlflow.log_artifact(folder / "big.bin", "deep/er")
    mlflow.log_artifacts(str(folder / "in"), "in")
    mlflow.log_text("hello", "notes/hello.txt")
    mlflow.log_dict({"a": [1, 2]}, "conf/a.json")
    mlflow.log_dict({"a": [1, 2]}, "conf/a.yaml")
    mlflow.log_table({"x": [1, 2], "y": ["a", "b"]}, "table.json")
    mlflow.log_table(pd.DataFrame({"x": [3], "y": ["c"]}), "table.json")
    mlflow.log_image(np.zeros((8, 8, 3), dtype=np.uint8), "black.png")
    mlflow.log_image(np.full((8, 8, 3), 255, dtype=np.uint8), key="white", step=3)
    figure, axes = plt.subplots()
    axes.plot([1, 2, 3])
    mlflow.log_figure(figure, "plots/line.png")
    mlflow.log_text("old", "again.txt")
    mlflow.log_text("new", "again.txt")
    mlflow.log_text("", "empty.txt")
    mlflow.flush_artifact_async_logging()

name = run.info.run_id
top = {one.path: one for one in client.list_artifacts(name)}
assert {"big.bin", "deep", "in", "notes", "conf", "table.json", "black.png", "images", "plots", "again.txt"} <= set(top), top
assert (top["big.bin"].file_size, top["big.bin"].is_dir, top["deep"].is_dir) == (len(big), False, True)
assert sorted(one.path for one in client.list_artifacts(name, "in")) == ["in/a b.txt", "in/\u2603.bin"]
assert [one.path for one in client.list_artifacts(name, "deep/er")] == ["deep/er/big.bin"]
assert client.list_artifacts(name, "none") == []
assert sorted(one.path for one in list_artifacts(run_id=name, artifact_path="conf")) == ["conf/a.json", "conf/a.yaml"]

uri = run.info.artifact_uri
assert load_text(f"{uri}/notes/hello.txt") == "hello"
assert load_text(f"{uri}/again.txt") == "new"
assert load_text(f"{uri}/empty.txt") == ""
assert load_dict(f"{uri}/conf/a.json") == {"a": [1, 2]}
assert load_dict(f"runs:/{name}/conf/a.json") == {"a": [1, 2]}
table = mlflow.load_table("table.json", run_ids=[name])
assert list(table["x"]) == [1, 2, 3]
assert mlflow.artifacts.load_image(f"{uri}/black.png").size == (8, 8)

there = Path(download_artifacts(run_id=name, dst_path=str(folder / "all")))
assert (there / "deep" / "er" / "big.bin").read_bytes() == big
assert (there / "in" / "\u2603.bin").read_bytes() == bytes(range(256))
assert (there / "in" / "a b.txt").read_text() == "a b"
assert json.loads((there / "conf" / "a.json").read_text()) == {"a": [1, 2]}
assert (there / "plots" / "line.png").read_bytes()[:4] == b"\x89PNG"
assert len(list((there / "images").iterdir())) == 2
assert Path(download_artifacts(f"runs:/{name}/in")).joinpath("a b.txt").read_text() == "a b"

said = ""
try:
    download_artifacts(f"runs:/{name}/nothing.txt")
except Exception as error:
    said = str(error)
assert said
print("done")
