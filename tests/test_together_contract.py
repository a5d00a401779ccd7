"""Every method: a run has the same numbers whichever runs it is trained with, and one that diverges takes none with it.

The network has state (batch statistics, dropout), and the runs have parts of unequal length, so that batches are filled
up and runs sit steps out. It is trained by SGD: a first step of Adam is about the sign of a gradient, which rounding
decides where there is next to none, and stacks of other sizes round otherwise.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from imbalance_bench.engine import Engine
from imbalance_bench.registry import METHODS
from tests.tasks import backbone, task, trainer
from tests.test_checkpoints_contract import QUICK, one_of_each
from tests.test_methods_contract import TASKS, built, declines
from tests.texts import text_task

SIZES = [(40, 15), (31, 12)]
# Those that train no network by the engine's loop, in which a run could diverge.
WITHOUT_NETWORK = {"estimator", "iml", "logistic_regression", "mesa", "self_paced_ensemble", "weob2"}
# Those whose scores are votes of neighbours, many of which stand equally far here, so that rounding chooses: their
# features are compared.
VOTES = {"tl_rs_csl"}
CASES = [
    pytest.param(label, made, marks=[] if label in QUICK and made == "table" else [pytest.mark.slow])
    for label in one_of_each().values()
    for made in [next((made for made in ("table", "texts") if not declines(label, made)), None)]
    if made is not None
]


def fitted(label, tasks, made):
    """The trained runs."""
    network = backbone("tabular_resnet", width=4, blocks=1)
    if made == "texts":
        network = backbone("textcnn", embedding=4, filters=2, widths=[2])
    settings = trainer("sgd", lr=0.05, precision="float64", batch_size=16, epochs=2)
    return built(label)[0].fit(tasks, network, Engine(settings, "cpu"))


def outputs(label, run, x):
    """What is to be the same, by readout."""
    return {"features": run.network.features(x)} if label in VOTES else {r: run.scores(x, r) for r in run.readouts}


@pytest.mark.parametrize("label, made", CASES)
def test_a_run_is_what_it_is_alone_and_beside_one_that_diverges(label, made, monkeypatch):
    kind, categories = {"table": (task, ((2, 4),)), "texts": (text_task, ())}[made]
    tasks = [replace(kind(seed, n), categories=categories) for seed, n in enumerate(SIZES)]
    (alone,) = fitted(label, tasks[1:], made)
    x = TASKS[made](5).valid.x
    expected = outputs(label, alone, x)

    def check(classifier):
        assert classifier.failure is None
        found = outputs(label, classifier, x)
        assert list(found) == list(expected)
        for readout in expected:
            np.testing.assert_allclose(found[readout], expected[readout], rtol=0, atol=1e-10)

    check(fitted(label, tasks, made)[1])

    ended, looked = [], Engine.classifiers

    def poisoned(self, stack, monitor):
        """By the last step of the first run, of which no loss tells."""
        ended.append(label)
        if len(stack) > 1:
            stack.flat.data[: len(stack) // 2].fill_(torch.nan)
        return looked(self, stack, monitor)

    monkeypatch.setattr(Engine, "classifiers", poisoned)
    broken, other = fitted(label, tasks, made)
    check(other)
    if label in WITHOUT_NETWORK:
        assert not ended
    else:
        assert "outputs are not finite after the last step" in broken.failure


def test_all_methods_but_that_of_regression_are_among_these():
    assert len(CASES) == len(METHODS.names()) - 1
