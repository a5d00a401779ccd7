"""Scores on the validation part: those of all runs at once, as on a GPU, against those of one run after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from imbalance_bench import metrics
from imbalance_bench.data.base import Part
from imbalance_bench.engine import built
from imbalance_bench.engine.stack import Stack
from imbalance_bench.engine.validation import OnDevice, OnHost, average_precision, ranking_scores
from tests.tasks import backbone, image_task, task
from tests.test_text_backbones import SMALL, text_task

RNG = np.random.default_rng(3)
SCORES = {
    "none": RNG.normal(size=40),
    "some": RNG.integers(0, 6, 40).astype(float),
    "all": np.zeros(40),
    "zeros of both signs": np.where(RNG.random(40) < 0.5, 0.0, -0.0),
    "infinite": np.where(RNG.random(40) < 0.3, np.inf, np.where(RNG.random(40) < 0.5, -np.inf, 1.0)),
    "nan": np.where(np.arange(40) == 7, np.nan, RNG.normal(size=40)),
}
POSITIVE = {
    "some": RNG.random(40) < 0.2,
    "one": np.arange(40) == 5,
    "all": np.ones(40, bool),
    "none": np.zeros(40, bool),
}


@pytest.mark.parametrize("scores", SCORES.values(), ids=SCORES)
@pytest.mark.parametrize("positive", POSITIVE.values(), ids=POSITIVE)
def test_average_precision_is_that_of_metrics(scores, positive):
    """Beside rows that do not count, whatever their scores."""
    filler = np.array([np.nan, np.inf, -np.inf, 0.0, 1.0])
    real = torch.arange(45) < 40
    found = average_precision(
        torch.as_tensor(np.append(positive, np.zeros(5, bool))), torch.as_tensor(np.append(scores, filler)), real
    )
    assert float(found) == pytest.approx(metrics.average_precision(positive, scores), abs=1e-14, nan_ok=True)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_ranking_scores_are_those_of_metrics(classes):
    """Rows near probability 1 among them, in float32, too."""
    logits = torch.as_tensor(RNG.normal(size=(60, classes)) * RNG.choice([1, 30, 300], (60, 1)))
    log_probs = torch.cat([logits, logits[:20]]).float().double().log_softmax(-1)
    found = ranking_scores(log_probs).numpy()
    for c in [1] if classes == 2 else range(classes):
        expected = metrics.ranking_scores(log_probs.numpy(), c)
        np.testing.assert_allclose(found[:, 0 if classes == 2 else c], expected, rtol=1e-12)


def both(tasks, net, dtype=torch.float64):
    """The scores of each run in both ways, of networks as they start."""
    shape = tasks[0].train.x.shape[1:]
    build = lambda: built(net, shape, tasks[0].classes)  # noqa: E731
    stack = Stack.create(build, [t.seed for t in tasks], torch.device("cpu"), dtype)
    return OnDevice(stack, tasks).scores().numpy(), OnHost(stack, tasks).scores(range(len(tasks)))


def agree(tasks, net):
    many, one = both(tasks, net)
    np.testing.assert_allclose(many, one, rtol=1e-12)
    return one


def coarse(part: Part) -> Part:
    """Rows many of which are equal, and so are their scores."""
    return replace(part, x=np.round(part.x))


@pytest.mark.parametrize("n", [(60, 15), (30, 12, 9)])
def test_all_runs_at_once_score_as_one_by_one(n):
    tasks = [task(s, tuple(c + 9 * s for c in n)) for s in range(3)]  # parts of unequal length
    assert len({len(t.valid) for t in tasks}) == 3
    assert np.isfinite(agree(tasks, backbone())).all()
    agree([replace(t, valid=coarse(t.valid)) for t in tasks], backbone())
    agree([replace(t, valid=tasks[0].valid) for t in tasks], backbone())  # one part for all


def test_a_class_without_rows_and_a_run_without_any():
    """Of several classes the others count; of two the positive one, without which there is no score."""
    for n, known in (((60, 15), False), ((30, 12, 9), True)):
        tasks = [task(s, n) for s in range(3)]
        gone = tasks[0].valid
        tasks[0] = replace(tasks[0], valid=gone.take(np.flatnonzero(gone.y != 1)))
        tasks[1] = replace(tasks[1], valid=tasks[1].valid.take(np.arange(0)))
        scores = agree(tasks, backbone())
        assert np.isfinite(scores).tolist() == [known, False, True]


def test_a_run_whose_outputs_are_no_numbers_takes_no_other_with_it():
    tasks = [task(s) for s in range(2)]
    stack = Stack.create(lambda: built(backbone(), (4,), 2), [0, 1], torch.device("cpu"), torch.float64)
    stack.flat.data[0] = np.nan
    assert np.isfinite(OnDevice(stack, tasks).scores().numpy()).tolist() == [False, True]


def test_scores_of_a_regression():
    tasks = [
        replace(t, kind="regression", classes=0, valid=replace(t.valid, y=t.valid.x.sum(1).astype(np.float64)))
        for t in (task(s, (60 + 9 * s, 15)) for s in range(2))
    ]
    agree(tasks, backbone())


def test_scores_of_images_and_of_texts(monkeypatch):
    monkeypatch.setattr(Stack, "rows_at_once", lambda *_, **__: 5)  # parts in pieces
    agree([image_task(s, (30 + 6 * s, 14, 12), 12) for s in range(2)], backbone("lenet_small", kernel=2, conv=[3, 4]))
    net = backbone("textcnn", **SMALL["textcnn"])
    agree([text_task(net, s) for s in range(2)], net)


def test_small_networks_are_asked_for_all_runs_at_once_and_score_as_alone():
    """Parts of unequal length, one of them empty."""
    tasks = [task(s, (60 - 9 * s, 20)) for s in range(3)]
    empty = task(3)
    tasks.append(replace(empty, valid=empty.valid.take(np.arange(0))))
    stack = Stack.create(lambda: built(backbone(), (4,), 2), range(4), torch.device("cpu"), torch.float64)
    together, apart = OnHost(stack, tasks), OnHost(stack, tasks)
    assert together.filled is not None
    apart.filled = None
    np.testing.assert_allclose(together.scores([0, 2, 3]), apart.scores([0, 2, 3]), rtol=1e-12)
