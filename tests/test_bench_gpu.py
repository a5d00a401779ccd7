"""The bench of a GPU, at its smallest on the CPU: that it runs, and what it counts."""

from __future__ import annotations

import json

import pytest
import torch

from imbalance_bench.bench.compare import trainer
from imbalance_bench.bench.gpu import made, main, sections, tables
from imbalance_bench.engine import Engine, loop
from tests.test_cli import call

FEW = ("facts", "plain", "lenet", "tables")


def test_the_command_writes_every_number(tmp_path):
    out = tmp_path / "gpu.json"
    done = call(tmp_path, "bench_gpu.py", "--quick", "--out", str(out), *FEW)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert tuple(found) == FEW
    assert min(found["plain"]["run-steps a second"]["d = 8"].values()) > 0
    assert found["tables"]["seconds of both tables, a cell at a time (goal 300)"] > 0
    assert "== lenet" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(main.SECTIONS) - set(FEW)))
def test_section(name):
    found = main.main([name], "cpu", 1, True, None)[name]
    assert "error" not in found and "not reached" not in sections.lines(found)


def test_sections_take_eight_minutes_at_most():
    assert sum(seconds for _, seconds in main.SECTIONS.values()) <= 480


def test_what_is_late_or_fails_leaves_the_rest(tmp_path):
    def fails(setting):
        raise RuntimeError("CUDA error")

    def slow(setting):
        return sections.speeds({"a": lambda: 1}, setting)

    whole = sections.Setting(torch.device("cpu"), 2, False)
    out = tmp_path / "gpu.json"
    found = sections.run({"one": (fails, 9), "two": (slow, 0), "three": (slow, 9)}, whole, out)
    assert found["one"]["error"] == "RuntimeError: CUDA error"
    assert found["two"]["a"] is None
    assert found["three"]["a"] > 0
    assert json.loads(out.read_text()) == found


@pytest.mark.parametrize("option", tables.OPTIONS)
def test_counted_steps_are_those_that_are_taken(option, monkeypatch):
    if "sampling" in option:
        pytest.skip("its rows stand in for what imbalanced-learn makes")
    taken = 0
    step = loop.gradient_of

    def counting(*args):
        nonlocal taken
        taken += 1
        return step(*args)

    monkeypatch.setattr(loop, "gradient_of", counting)
    epochs = 2 if option == "cross_entropy/400" else 1
    settings = trainer("adam", epochs)
    tables.cell_method(option, 1, 1).fit([made.table((250, 20), 4)], made.backbone(), Engine(settings, "cpu"))
    assert taken == tables.steps(option, 270, 20, 1, 1)["plain"]
