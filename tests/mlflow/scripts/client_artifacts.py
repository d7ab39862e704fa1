"""Artifacts: files and folders up and down, text, dict, table, figure and picture, listings, parts, deletion."""

import os
import tempfile
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

import mlflow

client = mlflow.MlflowClient()
mlflow.set_experiment(f"artifacts {uuid.uuid4().hex[:8]}")
folder = Path(tempfile.mkdtemp())
(folder / "sub" / "deep").mkdir(parents=True)
(folder / "a file.txt").write_text("plain")
(folder / "100%.txt").write_text("percent")
(folder / "sub" / "é日.bin").write_bytes(bytes(range(256)) * 5000)
(folder / "sub" / "deep" / "empty").write_bytes(b"")

with mlflow.start_run() as run:
    mlflow.log_artifact(folder / "a file.txt")
    mlflow.log_artifact(folder / "a file.txt", "notes/more")
    mlflow.log_artifacts(folder, "tree")
    mlflow.log_text("<b>text</b>", "page.html")
    mlflow.log_dict({"a": [1, 2]}, "config/a.json")
    mlflow.log_table({"x": [1, 2], "y": ["u", "v"]}, "table.json")
    mlflow.log_image(np.zeros((8, 8, 3), dtype=np.uint8), "black.png")
    mlflow.log_image(np.zeros((8, 8, 3), dtype=np.uint8), key="step", step=3)
    mlflow.flush_async_logging() if hasattr(mlflow, "flush_async_logging") else None
    mlflow.flush_artifact_async_logging() if hasattr(mlflow, "flush_artifact_async_logging") else None

name = run.info.run_id
assert run.info.artifact_uri.startswith("mlflow-artifacts:/"), run.info.artifact_uri
top = {one.path: (one.is_dir, one.file_size) for one in client.list_artifacts(name)}
assert top["a file.txt"] == (False, 5), top
assert top["tree"] == (True, None), top
assert {"notes", "page.html", "config", "table.json", "black.png"} <= set(top), top
assert [one.path for one in client.list_artifacts(name, "tree")] == ["tree/100%.txt", "tree/a file.txt", "tree/sub"]
assert [one.path for one in client.list_artifacts(name, "notes/more")] == ["notes/more/a file.txt"]
assert client.list_artifacts(name, "a file.txt") == []
assert client.list_artifacts(name, "nothing") == []
assert any("step" in one.path for one in client.list_artifacts(name, "images"))

back = Path(mlflow.artifacts.download_artifacts(run_id=name, artifact_path="tree", dst_path=tempfile.mkdtemp()))
for path in folder.rglob("*"):
    if path.is_file():
        assert (back / path.relative_to(folder)).read_bytes() == path.read_bytes(), path
assert mlflow.artifacts.load_text(f"runs:/{name}/page.html") == "<b>text</b>"
assert mlflow.artifacts.load_dict(f"runs:/{name}/config/a.json") == {"a": [1, 2]}
read = mlflow.load_table("table.json", run_ids=[name])
assert read[["x", "y"]].equals(pd.DataFrame({"x": [1, 2], "y": ["u", "v"]})), read
whole = Path(mlflow.artifacts.download_artifacts(run_id=name, artifact_path="", dst_path=tempfile.mkdtemp()))
assert (whole / "notes" / "more" / "a file.txt").read_text() == "plain"

large = folder / "large.bin"
large.write_bytes(os.urandom(11_000_000))
os.environ.update(
    MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD="true",
    MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE=str(5_242_880),
    MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE=str(5_242_880),
    MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD="true",
)
client.log_artifact(name, str(large), "parts")
got = mlflow.artifacts.download_artifacts(run_id=name, artifact_path="parts/large.bin", dst_path=tempfile.mkdtemp())
assert Path(got).read_bytes() == large.read_bytes()
assert [(one.path, one.file_size) for one in client.list_artifacts(name, "parts")] == [("parts/large.bin", 11_000_000)]

for bad in ("../x", "/etc", "a/../../x", "C:\\x"):
    told = ""
    try:
        client.log_text(name, "x", f"{bad}/y.txt")
    except Exception as error:
        told = str(error)
    assert "nvalid" in told, (bad, told)

repository = get_artifact_repository(run.info.artifact_uri)
repository.delete_artifacts("tree/sub")
assert [one.path for one in client.list_artifacts(name, "tree")] == ["tree/100%.txt", "tree/a file.txt"]
repository.delete_artifacts()
assert client.list_artifacts(name) == []
print("done")
