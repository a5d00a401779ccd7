"""The words by which report, rescore and status choose cells."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from imbalance_bench.errors import BenchError
from imbalance_bench.settings.conf_files import CONF
from imbalance_bench.settings.select import select

CELLS = [
    {"method": "dos", "dataset": "mnist", "id": "a1"},
    {"method": "dos_k3", "dataset": "mnist", "id": "b2"},
    {"method": "focal", "dataset": "svhn", "id": "c3"},
]


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ([], "a1 b2 c3"),
        (["method=dos*"], "a1 b2"),
        (["method=dos/k3,focal"], "b2 c3"),
        (["method=*", "dataset=svhn"], "c3"),
        (["method=dos", "method=focal"], "a1 c3"),
        (["c3", "a*"], "a1 c3"),
    ],
)
def test_words_select_by_patterns_and_ids(words, ids):
    assert [cell["id"] for cell in select(CELLS, words, dict)] == ids.split()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("method=dso", "no cell has method=dso: did you mean dos"),
        ("methd=dos", "no group 'methd' to select by: did you mean method"),
        ("zz", "no cell has id=zz"),
        ("c3 dataset=mnist", "no cell has all of c3 dataset=mnist"),
    ],
)
def test_what_matches_nothing_offers_the_nearest(word, message):
    with pytest.raises(BenchError, match=re.escape(message)):
        select(CELLS, word.split(), dict)


def test_status_lists_the_cells_asked_for(tmp_path):
    for method, name in (("dos", "a1"), ("focal", "b2")):
        folder = tmp_path / "runs/mnist/native/mlp" / method / name
        folder.mkdir(parents=True)
        (folder / "error.txt").write_text(f"{method} failed\n")
    command = [sys.executable, str(CONF.parent / "scripts/status.py"), "--outputs", str(tmp_path)]
    done = subprocess.run([*command, "method=fo*"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.startswith("failed    mnist/native/mlp/focal/b2\n          focal failed\n1 failed\n")
    assert f"--outputs {tmp_path} --forget 'method=fo*'` removes what failed cells left" in done.stdout
    none = subprocess.run([*command, "method=fcal"], capture_output=True, text=True)
    assert (none.returncode, none.stderr) == (1, "error: no cell has method=fcal: did you mean focal?\n")
