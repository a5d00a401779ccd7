"""The wall between engine and methods: an object with the eight names of ``Trainable`` trains; it need be no Method."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import imbalance_bench.engine as engine_package
from imbalance_bench.engine import Engine
from imbalance_bench.engine.loop import Trainable
from imbalance_bench.methods.base import Method
from tests.tasks import backbone, task, trainer

NAMES = {"name", "head", "stages", "sampler", "batch_loss", "initialise", "graphed", "phase"}


class Bare:
    """Cross-entropy in shuffled batches, in the engine's eight names and nothing else; the same as plain ``Method``."""

    name, head, stages, graphed = "bare", "linear", False, True
    __slots__ = ()

    def sampler(self, labels, batch_size, generator):
        rows = F.pad(torch.randperm(len(labels), generator=generator), (0, -len(labels) % batch_size), value=-1)
        return rows.view(-1, batch_size)

    def batch_loss(self, stack, batch, state):
        logits = stack(batch.x)
        return batch.mean(F.cross_entropy(logits.movedim(-1, 1), batch.y, reduction="none"))

    def initialise(self, stack, tasks):
        pass

    def phase(self, state):
        return None


@pytest.mark.parametrize("backend", ["stacked", "sequential"])
def test_an_object_with_the_eight_names_trains_as_a_method_does(backend):
    tasks = [task(0), task(1)]
    scores = {}
    for method in (Bare(), type("Plain", (Method,), {"name": "plain"})()):
        engine = Engine(trainer(epochs=3, backend=backend, precision="float64"), "cpu")
        trained = engine.train(method, tasks, [t.train for t in tasks], backbone())
        assert [c.failure for c in trained] == [None, None]
        scores[method.name] = [c.scores(t.valid.x) for c, t in zip(trained, tasks)]
    np.testing.assert_allclose(scores["bare"], scores["plain"], rtol=1e-9)


def test_the_protocol_is_these_names():
    public = {name for name in vars(Trainable) if not name.startswith("_")}
    assert public | set(Trainable.__annotations__) == NAMES


def test_the_engine_asks_a_method_for_nothing_else():
    """Read off its code: what is taken of anything called ``method``."""
    taken = {
        node.attr
        for file in Path(engine_package.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
        and (getattr(node.value, "id", "") == "method" or getattr(node.value, "attr", "") == "method")
    }
    assert taken == NAMES
