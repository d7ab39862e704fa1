"""The line of the project's own code is found in a traceback, and no other."""

import pytest

from kedge.pipelines.trace import Place, place_of, sentence_of

TEXT = """Traceback (most recent call last):
  File "/usr/lib/python3.11/runpy.py", line 3, in run
    x
  File "/home/ann/delay/train.py", line 12, in model
    return learner(data)
  File "/home/ann/delay/lib/learner.py", line 7, in learner
    fit()
  File "/home/ann/delay/.venv/lib/python3.11/site-packages/sklearn/base.py", line 99, in fit
    raise ValueError("Input X contains NaN.")
ValueError: Input X contains NaN.
"""


@pytest.mark.parametrize(
    ("root", "place"),
    [
        ("/home/ann/delay", Place("lib/learner.py", 7)),
        ("/home/ann/delay/", Place("lib/learner.py", 7)),
        ("/home/ann/del", None),
        ("/home/bob", None),
    ],
)
def test_place(root, place) -> None:
    assert place_of(TEXT, root) == place


def test_no_traceback() -> None:
    assert place_of("", "/home/ann") is None


def test_windows() -> None:
    assert place_of('  File "C:\\ann\\train.py", line 4, in model', "C:\\ann") == Place("train.py", 4)


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("ValueError: Input X contains NaN.\nLogisticRegression does not ...", "ValueError: Input X contains NaN."),
        ("kedge.errors.TrainingFailed: step 'a' returned None", "step 'a' returned None"),
        ("mine.errors.TrainingFailed: a", "mine.errors.TrainingFailed: a"),
        ("ValueError", "ValueError"),
        ("", ""),
    ],
)
def test_sentence(reason, sentence) -> None:
    assert sentence_of(reason) == sentence
