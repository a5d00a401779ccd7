"""The mutation check (`make mutation`): its table names what there is, its mutants are what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.mutants import mutants, of_source
from tests.mutation.targets import EQUIVALENT, QUICK, TARGETS

ROOT = Path(__file__).parents[1]


def test_every_function_of_the_table_has_mutants_and_tests():
    for where, files in TARGETS.items():
        assert mutants(where), where
        assert all((ROOT / "tests" / name).is_file() for name in files), where


def test_every_equivalent_mutant_is_one_and_has_a_reason():
    changes = {where: {m.change for m in mutants(where)} for where in {where for where, *_ in EQUIVALENT}}
    for where, change, reason in EQUIVALENT:
        assert change in changes[where], (where, change)
        assert len(reason) > 8


SOURCE = '''
class Thing:
    def worth(self, x: int = 1, *, y) -> int:
        """A text with 1 + 1."""
        if x < 3 and not y:
            raise ValueError(f"{x + 1} is no worth")
        return -x * max(y, 2) if y else [v for v in y if v][-1]
'''
LAST = "-x * max(y, 2) if {} else [v for v in y if v][-1]"
CHANGES = [
    "x < 3 → x <= 3", "x < 3 → x >= 3", "x < 3 → x < 4", "x < 3 and (not y) → x < 3 and y",
    "x < 3 and (not y) → x < 3 or not y", "-x * max(y, 2) → x * max(y, 2)", "-x * max(y, 2) → -x / max(y, 2)",
    "max → min", "max(y, 2) → max(y, 3)", f"{LAST.format('y')} → {LAST.format('not y')}", "v → not v",
    "[v for v in y if v][-1] → [v for v in y if v][1]", "-1 → -2",
]  # fmt: skip


def test_operators_bounds_and_signs_are_changed_one_at_a_time():
    found = list(of_source(SOURCE, "Thing.worth"))
    assert sorted(m.change for m in found) == sorted(CHANGES)  # defaults, annotations and messages stay
    assert len({m.code for m in found}) == len(found)


def test_changes_that_read_alike_are_numbered(tmp_path, monkeypatch):
    (tmp_path / "made_up_module.py").write_text("def f(x):\n    return (x + 1) * (x + 1) - 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    changes = [m.change for m in mutants("made_up_module:f")]
    assert {"x + 1 → x - 1 (1 of 2)", "x + 1 → x - 1 (2 of 2)"} < set(changes)
    assert len(set(changes)) == len(changes) == 7


@pytest.mark.slow
def test_the_check_runs():
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutation", "--quick"], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{QUICK}: " in done.stdout and " 0 survive" in done.stdout
