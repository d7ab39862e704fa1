"""Runs in MLflow's interpreter: play calls against MLflow's own server application, say what it answered.

Standard input: {"folder", "calls": [[method, path, body], ...]}. Standard output: [[status, answer], ...]. `play` is what
the test plays the same calls with: `{run}` and `{at}` stand for the run that the first call made and its artifact URI.
"""

import json
import sys


def play(send, calls):
    """Play calls with `send(method, path, body) -> (status, answer)`."""
    names, told = {}, []
    for method, path, body in calls:
        text = json.dumps(body)
        for name, value in names.items():
            text = text.replace("{" + name + "}", value)
        status, answer = send(method, path, json.loads(text))
        if path.endswith("runs/create"):
            names = {"run": answer["run"]["info"]["run_id"], "at": answer["run"]["info"]["artifact_uri"]}
        shown = json.dumps(answer)
        for name, value in sorted(names.items(), key=lambda one: -len(one[1])):
            shown = shown.replace(value, "{" + name + "}")
        told.append([status, json.loads(shown)])
    return told


def main():
    asked = json.load(sys.stdin)
    from mlflow.server import app, handlers  # only where MLflow is

    handlers.initialize_backend_stores(f"sqlite:///{asked['folder']}/mlflow.db", default_artifact_root="mlflow-artifacts:/")
    client = app.test_client()

    def send(method, path, body):
        given = {"query_string": body} if method == "GET" else {"json": body}
        answer = client.open(path, method=method, **given)
        return answer.status_code, answer.get_json(silent=True, force=True)

    json.dump(play(send, asked["calls"]), sys.stdout)


if __name__ == "__main__":
    main()
