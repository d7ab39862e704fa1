"""A scoring server as MLflow's own client asks one: frames, and the forms that its documentation shows."""

import sys

import numpy as np
import pandas as pd
import requests
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

url = sys.argv[1]
host, port = url.removeprefix("http://").split(":")
client = ScoringServerClient(host, int(port))
client.wait_server_ready(timeout=10)
client.ping()
frame = pd.DataFrame({"distance": [100.0, np.nan, 250.0], "carrier": ["AA", "UA", None]})
told = client.invoke(frame).get_predictions()
assert told[0].tolist()[::2] == [0.1, 0.25], told
assert np.isnan(told[0][1])

forms = [
    {"dataframe_split": frame[:1].to_dict(orient="split")},
    {"dataframe_records": frame[:1].to_dict(orient="records"), "params": {"custom": 1}},
    {"instances": frame[:1].to_dict(orient="records")},
    {"inputs": frame[:1].to_dict(orient="list")},
]
for form in forms:
    assert requests.post(f"{url}/invocations", json=form, timeout=10).json() == {"predictions": [0.1]}, form
text = {"Content-Type": "text/csv"}
answer = requests.post(f"{url}/invocations", data=frame.to_csv(index=False), headers=text, timeout=10).json()
assert answer == {"predictions": [0.1, None, 0.25]}
refused = requests.post(f"{url}/invocations", json={"inputs": {"distance": ["far"]}}, timeout=10)
assert (refused.status_code, refused.json()["error"][:26]) == (400, "input 'distance' (FP64): e")
