"""Sweeps that are killed and starved of disk lose no record and no number (``python -m tests.faults``)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.commands import shared
from tests.faults.__main__ import quick, run
from tests.faults.sweeps import ROOT


def test_faults_cost_no_record_and_no_number(tmp_path, capsys):
    status = run(quick(), [shared()], tmp_path, ["focal"])
    assert status == 0, capsys.readouterr().out


@pytest.mark.slow
def test_all_faults():
    done = subprocess.run([sys.executable, "-m", "tests.faults"], cwd=ROOT, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
