"""A data plane that is killed while a version in shadow computes has logged each answer once, and each copy at most once."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

from kedge.domain.monitoring import COPIED
from kedge.domain.records import decode_batch
from kedge.storage.journal import FileJournal

ROOT = Path(__file__).parents[2]


def test_kill_9_while_a_shadow_computes_loses_no_answer_and_doubles_no_copy(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.shadowed", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": "", "OPENBLAS_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout is not None
        answered = [process.stdout.readline().strip() for _ in range(200)]
        process.kill()
        answered += [line.strip() for line in process.stdout if line.endswith("\n")]
    records = [decode_batch(payload) for _, payload in FileJournal(tmp_path, "reader").scan()]
    answers = Counter(one.request for one in records if one.variant != COPIED)
    copies = Counter(one.request for one in records if one.variant == COPIED)
    assert set(answered) <= set(answers)
    assert max(answers.values()) == max(copies.values()) == 1
    assert 0 < len(copies) < len(answered), "the shadow is slower than its champion is asked"
    seen = set()
    for one in records:
        assert one.variant != COPIED or one.request in seen, "a copy comes after its answer"
        seen.add(one.request)
    assert all(one.shadow == {2: [-one.outputs[0]]} for one in records if one.variant == COPIED)
