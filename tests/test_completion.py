"""What the Tab key offers after ``imbalance-bench``, asked as bash asks it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.tasks import CONF

ASKS = """
complete() {{ :; }}
{function}
imbalance-bench() {{ {python} -m imbalance_bench; }}
for COMP_LINE in {lines}; do
    COMP_POINT=${{#COMP_LINE}} COMP_TYPE=9 COMPREPLY=()
    _python_argcomplete imbalance-bench "${{COMP_LINE##* }}" ""
    echo "${{COMPREPLY[*]}}"
done
"""
SAID = {
    "imbalance-bench rep": "report",
    "imbalance-bench status --fa": "--failed",
    "imbalance-bench train -m method=foc": "method=focal",
}


def test_verbs_options_and_overrides_are_completed(tmp_path):
    argcomplete = pytest.importorskip("argcomplete")
    script = ASKS.format(
        function=argcomplete.shellcode(["imbalance-bench"], shell="bash"),
        python=sys.executable,
        lines=" ".join(f'"{line}"' for line in SAID),
    )
    environment = os.environ | {"PYTHONPATH": str(CONF.parent)}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert [line.strip() for line in done.stdout.splitlines()] == list(SAID.values()), done.stderr
