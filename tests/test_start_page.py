"""docs/start.md, walked as it is written."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from tests.commands import shared
from tests.tasks import CONF
from tests.test_extend import written

ROOT = CONF.parent
PAGE = (ROOT / "docs/start.md").read_text()
LINES = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
SHORT = ["trainer.epochs=2", "protocol.folds=2", "device=cpu"]
DEMO = "python scripts/train.py -m paths.outputs=outputs/demo dataset=breast_cancer ratio=ir_20"
PRINTED = {
    "train.py -m dataset=csv": "4 of 4 cells: 4 done",
    "--columns method,metric": "balanced_softmax",
    "--advise": "tumours",
    "--tuned": "tuned over",
    "save=true": "its model: ",
    "predict.py": "written: scores.csv",
    "--config-dir my_conf": "2 of 2 cells: 2 done",
    "--versus": "poly1",
}


@pytest.mark.slow
def test_the_first_ten_minutes(tmp_path):
    written(tmp_path, "A loss")
    for line in [DEMO, *LINES]:
        python, script, *words = shlex.split(line)
        assert python == "python"
        if script == "-c":
            subprocess.run([sys.executable, script, *words], cwd=tmp_path, check=True)
            continue
        words = [found for word in words for found in (map(str, tmp_path.glob(word)) if "/*" in word else [word])]
        less = SHORT if "train.py" in script or "search.py" in script else []
        done = shared().call(tmp_path, [str(ROOT / script), *words, *less])
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        for word, text in PRINTED.items():
            assert word not in line or text in done.stdout + done.stderr, f"{line}\n{done.stdout}"
    assert (tmp_path / "outputs/demo/report/index.html").exists()
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 1 + 569
