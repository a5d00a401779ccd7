"""The README's walk-through, run as it stands; and its commands name options that exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.tasks import CONF

ROOT = CONF.parent
README = (ROOT / "README.md").read_text()


@pytest.fixture
def folder(tmp_path):
    """What the walk-through has the reader write, as the reader writes it."""
    blocks = re.findall(r"`(my_[\w/.]+)`:\n\n```\w+\n(.*?)```", README, re.S)
    assert [name for name, _ in blocks] == ["my_method.py", "my_conf/method/poly1.yaml"]
    for name, text in blocks:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_the_walk_through_to_a_method_of_ones_own_works(folder):
    (commands,) = re.findall(r"```bash\n(.*?)```", README, re.S)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for line in commands.splitlines():
        words = line.replace("python scripts", f"{sys.executable} {ROOT}/scripts").split()
        if "train.py" in line:
            words.append("trainer.epochs=3")
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    assert "poly1 epsilon=2" in done.stdout and "cross_entropy" in done.stdout


def test_the_commands_of_the_readme_name_options_that_exist():
    for group, options in re.findall(r"\b(method|dataset|ratio|paper)=([\w/,]+)", README):
        for option in options.split(","):
            if (group, option) != ("method", "poly1"):
                assert (CONF / group / f"{option}.yaml").exists(), f"{group}={option}"
