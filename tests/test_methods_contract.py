"""What every method promises, over every option of conf/method × a binary table, images of several classes, as numbers
under an MLP and as bytes under a network with convolutions, and binary texts as token ids."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from imbalance_bench.config import label_of
from imbalance_bench.data.base import Part, Task
from imbalance_bench.data.tasks import make_runs
from imbalance_bench.engine import Engine
from imbalance_bench.methods.base import Method
from imbalance_bench.registry import DATASETS, METHODS, PROTOCOLS, RATIOS
from tests.cells import by_label, composed
from tests.tasks import CONF, backbone, byte_image_task, image_task, option, options_of, task, trainer
from tests.texts import MeanOfWords, text_task

LABELS = [label_of(option) for option in options_of("method")]
TASKS = {"table": task, "images": image_task, "bytes": byte_image_task, "texts": text_task}

# Methods that train something of their own beside the backbone: less of it.
QUICK_GENERATOR = {
    "width": 8, "heads": 2, "layers": 1, "batch_size": 8, "pretrain_steps": 2, "epochs": 2, "epoch_steps": 1,
}  # fmt: skip
QUICK = {
    "cwgan": {
        "epochs": 2, "batch_size": 32, "ac_epochs": 2, "noise_dim": 5, "generator_hidden": [12, 8],
        "generator_tail": 6, "critic_hidden": [12, 8], "ac_hidden": [8, 8],
    },
    "mesa": {"random_steps": 10, "learned_steps": 10, "learners": 3, "hidden": 8, "batch_size": 16},
    "explicit_gradient": {"meta_epochs": 2},
    "iht": {"trees": 5},
    "setconv": {"episodes": 10, "support": 16, "post_sizes": [20]},
    "iml": {"iterations": 2, "steps": 5},
    "cag": QUICK_GENERATOR,
    "miso": {**QUICK_GENERATOR, "mine_steps": 1},
}  # fmt: skip
# Methods that draw nothing: equal rows, equal scores, whatever the seed.
SEEDLESS = {"logistic_regression", "logistic_regression_balanced", "iml"}
REGRESSION = {"squared_error", "squared_error_train_valid", "explicit_gradient_sine"}
DECLINED = {(label, made) for label in REGRESSION for made in TASKS} | {
    ("mesa", "images"), ("mesa", "bytes"),
    ("cwgan", "bytes"),
    ("weob2", "images"), ("weob2", "bytes"),
}  # fmt: skip


class Watched(Engine):
    """Keeps the sets that networks are trained on."""

    def train(self, method, tasks, sets, backbone):
        self.sets = list(sets)
        return super().train(method, tasks, sets, backbone)


@cache
def chosen(label: str) -> dict[str, Any]:
    return OmegaConf.to_container(composed(by_label("method", label)), resolve=True)


def quick(options: dict[str, Any]) -> dict[str, Any]:
    """The keys of a method with less to do, and of one inside it (``method.resampler``)."""
    inner = {key: quick(value) for key, value in options.items() if isinstance(value, dict) and "name" in value}
    return options | inner | QUICK.get(options["name"], {})


def built(label: str) -> tuple[Method, Watched]:
    """A method as its option has it, and the engine with what the option asks of the trainer (rows=train_valid)."""
    settings = trainer(epochs=2, rows=chosen(label)["trainer"]["rows"])
    return METHODS.build(quick(chosen(label)["method"])), Watched(settings, "cpu")


def declines(label: str, made: str) -> bool:
    """Whether a method is to decline a task: as above, and where it computes with what the rows are not."""
    reads = METHODS.get(chosen(label)["method"]["name"]).reads
    return (label, made) in DECLINED or reads == ("vectors" if made == "texts" else "tokens")


def pair(made: str) -> list[Task]:
    """Two runs on the same rows with different seeds, as protocol.seeds=2 makes them."""
    first = TASKS[made](0)
    return [first, replace(first, seed=first.seed + 1, repeat=1)]


def network(made: str) -> Any:
    """The smallest LeNet for images of 8 pixels, a mean of words for texts, else an MLP."""
    if made == "texts":
        return MeanOfWords()
    return backbone("lenet_small", kernel=2, conv=[3, 4], hidden=[12, 8]) if made == "bytes" else backbone()


def numbers(x: np.ndarray) -> np.ndarray:
    """What networks see of features."""
    return x / np.float32(255) if x.dtype == np.uint8 else x


def parts(t: Task) -> list[Part]:
    return [t.train, t.valid, t.withdrawn]


def contents(tasks: list[Task]) -> list[bytes]:
    return [array.tobytes() for t in tasks for p in parts(t) for array in (p.x, p.y, p.ids)]


@pytest.mark.parametrize("made", TASKS)
@pytest.mark.parametrize("label", LABELS)
def test_contract(label, made):
    method, engine = built(label)
    tasks = pair(made)
    reasons = [method.declines(t) for t in tasks]
    if declines(label, made):
        assert all(isinstance(reason, str) and reason for reason in reasons)
        return
    assert reasons == [None, None]
    before = contents(tasks)
    classifiers = method.fit(tasks, network(made), engine)
    assert contents(tasks) == before

    x = TASKS[made](5).valid.x
    for t, classifier in zip(tasks, classifiers):
        assert classifier.failure is None
        assert classifier.readouts[0] == "last"
        for readout in classifier.readouts:
            scores = classifier.scores(x, readout)
            assert scores.shape == (len(x), t.classes)
            assert np.isfinite(scores).all()
            np.testing.assert_allclose(np.exp(scores.astype(np.float64)).sum(1), 1, rtol=1e-5)
        assert classifier.history
        assert [row["epoch"] for row in classifier.history] == list(range(1, len(classifier.history) + 1))
        assert classifier.info["train_counts"] == t.counts.tolist()

    # Networks learn given rows under their own ids, and made rows under -1.
    for t, rows in zip(tasks, getattr(engine, "sets", [])):
        given = {(i, int(y), x.tobytes()) for p in parts(t) for i, y, x in zip(p.ids.tolist(), p.y, numbers(p.x))}
        real = rows.take(rows.ids >= 0)
        assert {(i, int(y), x.tobytes()) for i, y, x in zip(real.ids.tolist(), real.y, numbers(real.x))} <= given
        assert (rows.ids >= -1).all()
        assert rows.x.dtype in (np.float32, t.train.x.dtype)
        assert rows.x.shape[1:] == t.train.x.shape[1:]

    # Equal seeds, equal bits, whatever the state of the process's own generators; another seed, other scores.
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    first, second = (c.scores(x) for c in classifiers)
    again = [c.scores(x) for c in method.fit(pair(made), network(made), built(label)[1])]
    np.testing.assert_array_equal(first, again[0])
    np.testing.assert_array_equal(second, again[1])
    assert (first != second).any() == (label not in SEEDLESS)


@pytest.mark.parametrize("label", LABELS)
def test_a_regression_task_is_fitted_or_declined_with_a_reason(label):
    sine = DATASETS.build(option("dataset", "sine")).load(CONF)
    native, official = RATIOS.build(option("ratio", "native")), PROTOCOLS.build(option("protocol", "official_test"))
    (run,) = make_runs(sine, native, official, 0)
    method, engine = built(label)
    reason = method.declines(run.task)
    if label not in REGRESSION:
        assert isinstance(reason, str)
        assert reason
        return
    assert reason is None
    before = [a.tobytes() for p in (run.task.train, run.task.valid) for a in (p.x, p.y)]
    (classifier,) = method.fit([run.task], backbone("mlp_sine"), engine)
    assert before == [a.tobytes() for p in (run.task.train, run.task.valid) for a in (p.x, p.y)]
    assert classifier.failure is None
    predictions = classifier.scores(run.test.x)
    assert predictions.shape == (201, 1)
    assert np.isfinite(predictions).all()


def test_every_registered_method_has_an_option_of_its_name():
    assert set(METHODS.names()) <= set(LABELS)
