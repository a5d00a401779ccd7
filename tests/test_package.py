"""The installed package: its command, and what a wheel holds."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_breast_cancer

import imbalance_bench
from imbalance_bench.__main__ import VERBS, main
from tests.tasks import CONF


def test_each_verb_has_a_command_and_a_script():
    for verb, (module, _, _) in VERBS.items():
        assert callable(importlib.import_module(module).main)
        assert (CONF.parent / "scripts" / f"{verb}.py").exists()


def test_the_verbs_are_listed(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in VERBS)


def test_a_mistyped_verb(capsys):
    assert main(["trian"]) == 2
    assert capsys.readouterr().err == "error: imbalance-bench trian: did you mean train?\n"


@pytest.mark.parametrize("words", [["data", "list"], ["train", "--help"]])
def test_a_reader_that_has_seen_enough_ends_a_command_quietly(words, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "imbalance_bench", *words], cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == imbalance_bench.__version__


@pytest.mark.slow
def test_a_wheel_trains_reports_and_predicts_from_an_empty_folder(tmp_path):
    """Installed without the checkout, beside the packages of this environment."""
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*wheel, "--wheel-dir", str(tmp_path), str(CONF.parent)], check=True)
    venv.create(tmp_path / "env", with_pip=True)
    env = tmp_path / "env/bin"
    site = next((tmp_path / "env/lib").glob("python*/site-packages"))
    found = next(tmp_path.glob("*.whl"))
    subprocess.run([env / "python", "-m", "pip", "install", "--quiet", "--no-deps", found], check=True)
    (site / "others.pth").write_text(str(Path(torch.__file__).parents[1]))
    empty = tmp_path / "empty"
    empty.mkdir()

    def call(*words: str) -> str:
        done = subprocess.run([env / "imbalance-bench", *words], cwd=empty, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    call("train", "-m", "method=cross_entropy,focal", "trainer.epochs=2", "device=cpu")
    assert "2 done" in call("status")
    assert "| breast_cancer |" in call("report")
    page = empty / call("report", "--all").strip()
    assert "SelectNet, Table 2" in page.read_text()  # of the presets and printed values that the wheel holds
    rows = load_breast_cancer(as_frame=True).data.head(5)
    rows.to_csv(tmp_path / "rows.csv", index=False, header=[f"x{k}" for k in range(rows.shape[1])])
    trained = call("train", "method=logistic_regression", "save=true", "device=cpu")
    scores = call("predict", trained.partition("its model: ")[2].strip(), str(tmp_path / "rows.csv"))
    assert len(scores.splitlines()) == 1 + len(rows)
    assert [path.name for path in empty.iterdir()] == ["outputs"]


def test_a_message_names_a_command_once():
    """``command`` begins with the interpreter: a literal before it must not end with that too."""
    for path in Path(imbalance_bench.__file__).parent.rglob("*.py"):
        assert not re.search(r"python (\"\s+f\")?\{command\(", path.read_text()), path
