"""make reproduce: what it calls, and what it says where something fails."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="needs make")


@pytest.fixture
def reproduce(tmp_path):
    """Runs the target with a python that notes its words, and fails at the scripts named; (status, calls, errors)."""

    def run(*words, fails=""):
        log = tmp_path / "log"
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\necho "$@" >> {log}\ncase "{fails}" in *"$1"*) exit 2;; esac\n')
        python.chmod(0o755)
        done = subprocess.run(
            ["make", "-o", "setup", "-o", ".venv/.installed", f"BIN={tmp_path}", "reproduce", *words],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        return done.returncode, log.read_text().splitlines(), done.stderr

    return run


@pytest.mark.parametrize(
    "words, preset, asked",
    [
        (["PAPER=dos", "TABLE=2"], "dos/table2", "--table table2"),
        (["PAPER=explicit_gradient", "TABLE=table1_balanced_first"], None, "--table table1_balanced_first"),
        (["PAPER=explicit_gradient", "FIGURE=3"], "explicit_gradient/figure3", "--figure figure3"),
        (["PAPER=explicit_gradient", "FIGURE=convergence"], None, "--figure convergence"),
    ],
)
def test_a_table_or_a_figure(reproduce, words, preset, asked):
    paper, name = words[0].partition("=")[2], asked.split()[1]
    status, calls, _ = reproduce(*words)
    assert status == 0
    assert calls == [
        f"scripts/train.py -m +paper={preset or f'{paper}/{name}'}",
        f"scripts/report.py --paper {paper} {asked}",
    ]


def test_overrides_go_to_both(reproduce):
    args = "ARGS='dataset=glob(e*)' trainer.epochs=2 paths.outputs=/x paths.data=/y"
    status, calls, _ = reproduce("PAPER=dos", "TABLE=2", args)
    assert status == 0
    assert calls == [
        "scripts/train.py -m +paper=dos/table2 dataset=glob(e*) trainer.epochs=2 paths.outputs=/x paths.data=/y",
        "scripts/report.py --paper dos --table table2 dataset=glob(e*) trainer.epochs=2 --outputs=/x --data=/y",
    ]


@pytest.mark.parametrize("fails", ["scripts/train.py", "scripts/report.py", "scripts/train.py scripts/report.py"])
def test_the_report_is_printed_whatever_failed_and_the_failure_said(reproduce, fails):
    status, calls, error = reproduce("PAPER=dos", "TABLE=2", "ARGS=dataset=oil paths.data=/y", fails=fails)
    assert status != 0
    assert [call.split()[0] for call in calls] == ["scripts/train.py", "scripts/report.py", "scripts/status.py"]
    assert calls[-1] == "scripts/status.py --failed +paper=dos/table2 dataset=oil"
    names = " ".join(name.removeprefix("scripts/") for name in fails.split())
    assert f"failed: {names}; what is above was made of the cells that are done" in error
