"""The commands of docs/sweeps.md, run as they stand there."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex

from tests.commands import shared
from tests.tasks import CONF

ROOT = CONF.parent
PAGE = (ROOT / "docs/sweeps.md").read_text()
LINES = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
SHORT = ["trainer.epochs=2", "protocol.folds=2", "device=cpu"]
# What ends otherwise than well where there is no GPU, no cluster, and no data set of a paper.
ENDS = {
    "launcher=gpu": "error: hydra/launcher=gpu: there is no GPU here",
    "launcher=submitit_slurm": "error: hydra/launcher=submitit_slurm: there is no SLURM here",
    "launcher=ray": "error: hydra/launcher=ray is a plug-in that is not installed",
    "+paper=": " missing",
}
NEEDS = {"launcher=submitit": "hydra_submitit_launcher"}


def installed(plugin: str) -> bool:
    return bool(importlib.util.find_spec("hydra_plugins")) and bool(importlib.util.find_spec(f"hydra_plugins.{plugin}"))


def test_the_commands_of_the_page_work(tmp_path):
    assert len(LINES) == 14
    own = {key: value for key, value in os.environ.items() if key != "IMBALANCE_BENCH_DATA"}
    shell = shared(own | {"CUDA_VISIBLE_DEVICES": ""})
    for count, line in enumerate(LINES):
        if any(word in line and not installed(plugin) for word, plugin in NEEDS.items()):
            continue
        if "launcher=ray" in line and installed("hydra_ray_launcher"):
            continue
        python, script, *words = shlex.split(line)
        done = shell.call(tmp_path, [str(ROOT / script), *words, *(SHORT if "train.py" in script else [])])
        printed = f"{line}\n{done.stdout}{done.stderr}"
        said = next((text for word, text in ENDS.items() if word in line), "")
        assert (python, done.returncode) == ("python", int(bool(said))), printed
        wanted = said or ("2 of 2 cells: " if "train.py" in script else "done")
        assert wanted in printed, printed
        if "2 of 2" in wanted:
            assert ("2 done, 0 skipped" if count == 0 else "0 done, 2 skipped") in done.stdout, printed
