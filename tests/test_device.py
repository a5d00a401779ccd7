"""Everything that computes on a device that is not the host, without a GPU: ``simgpu`` stands for one (its docstring
says what it cannot see). Nothing may mix devices, and scores must be those of the CPU; and what a step may cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from imbalance_bench.cells import run_cell
from imbalance_bench.data.base import Task
from imbalance_bench.data.tasks import make_runs
from imbalance_bench.engine import Engine
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.methods import lmle
from imbalance_bench.registry import DATASETS, PROTOCOLS, RATIOS
from tests import launches, simgpu
from tests.cells import cell
from tests.tasks import CONF, backbone, byte_image_task, method, option, task, trainer
from tests.test_methods_contract import LABELS, REGRESSION, TASKS, built, chosen, declines, network, pair
from tests.test_text_backbones import SMALL
from tests.test_text_backbones import text_task as ids_task
from tests.texts import WORDS, save_bert, save_xlnet


@pytest.fixture(scope="module", autouse=True)
def device() -> Iterator[None]:
    """``device=sim``, and attention by one algorithm on both."""
    with launches.simulated(), sdpa_kernel(SDPBackend.MATH):
        yield


Fit = Callable[[Sequence[Task], str], Sequence[Classifier]]


def compare(fit: Fit, tasks: Sequence[Task], tolerance: float = 1e-5) -> None:
    """Scores of every run and readout on the CPU and on the device; of ``fit(tasks, device)``."""
    host, there = fit(tasks, "cpu"), fit(tasks, "sim")
    for a, b in zip(host, there, strict=True):
        assert a.failure is None and b.failure is None
        assert a.readouts == b.readouts
        for readout in a.readouts:
            x = tasks[0].valid.x
            np.testing.assert_allclose(b.scores(x, readout), a.scores(x, readout), atol=tolerance)
        assert [row.get("valid_score") for row in b.history] == pytest.approx(
            [row.get("valid_score") for row in a.history], abs=1e-3
        )


def trained(settings: dict[str, Any], net: Any, label: str = "cross_entropy") -> Fit:
    """``fit`` of a method in few epochs."""
    base = trainer("sgd", **{"epochs": 2, "batch_size": 8, "lr": 1e-3} | settings)
    return lambda tasks, where: method(label).fit(tasks, net, Engine(base, where))


def cases() -> Iterator[Any]:
    """Every option of conf/method × every kind of input that it takes. Quick: the first option of each method on every
    kind, others on one; generators of texts, which take seconds, once."""
    first: dict[str, str] = {}
    for label in LABELS:
        name = chosen(label)["method"]["name"]
        is_first = first.setdefault(name, label) == label
        taken = [made for made in TASKS if not declines(label, made)]
        for made in taken:
            quick = is_first or (made == taken[0] and name not in ("miso", "cag"))
            yield pytest.param(label, made, marks=() if quick else pytest.mark.slow, id=f"{label}-{made}")


@pytest.mark.parametrize(("label", "made"), list(cases()))
def test_method(label, made, monkeypatch):
    precision, kmeans = "float32", lmle.kmeans
    if chosen(label)["method"]["name"] == "lmle":
        # k-means++ meets ties (either of two rows that are near each other only), which the last digit decides: it is
        # given fewer digits, of rows that agree in more
        monkeypatch.setattr(lmle, "kmeans", lambda x, clusters, seed: kmeans(x.round(3), clusters, seed))
        precision = "float64"
    settings = trainer(epochs=2, rows=chosen(label)["trainer"]["rows"], precision=precision)
    compare(lambda tasks, where: built(label)[0].fit(tasks, network(made), Engine(settings, where)), pair(made))


@pytest.mark.parametrize("label", sorted(REGRESSION))
def test_regression(label):
    sine = DATASETS.build(option("dataset", "sine")).load(CONF)
    native, official = RATIOS.build(option("ratio", "native")), PROTOCOLS.build(option("protocol", "official_test"))
    tasks = [run.task for run in make_runs(sine, native, official, 0)]
    compare(
        lambda tasks, where: built(label)[0].fit(tasks, backbone("mlp_sine"), Engine(built(label)[1].trainer, where)),
        tasks,
    )


IMAGES = {
    "lenet_small": {"kernel": 2, "conv": [3, 4], "hidden": [12, 8]},
    "keras_cnn": {},
    "resnet20": {"depth": 8},
    "resnet20_v2": {"depth": 11},
}


def images(uneven: bool = False) -> list[Task]:
    """Two runs; ``uneven``: one has fewer rows, and shorter batches."""
    return [byte_image_task(s, (12 - 3 * s * uneven, 6, 4), 12) for s in range(2)]


@pytest.mark.parametrize(
    ("label", "augment", "uneven"),
    [
        *((label, "crop_flip", True) for label in IMAGES),
        ("lenet_small", "none", False),
        ("keras_cnn", "shift_flip", False),
    ],
)
def test_backbone_of_images(label, augment, uneven):
    settings = {"augment": augment, "channels_last": uneven, "weight_decay": 1e-4}
    compare(trained(settings, backbone(label, **IMAGES[label])), images(uneven))


@pytest.mark.parametrize("label", ["textcnn", "textrnn", "xlnet"])
def test_backbone_of_texts(label, tmp_path):
    options = SMALL[label] if label in SMALL else {"model": str(save_xlnet(tmp_path)), "length": 12}
    net = backbone(label, **options)
    compare(trained({}, net), [ids_task(net, s) for s in range(2)])


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_frozen_encoder_of_texts(pooling, tmp_path):
    texts = np.array(["win cash now", "are you home", "me"], object)
    net = backbone("frozen_transformer", model=str(save_bert(tmp_path, WORDS)), pooling=pooling)
    host, there = (net.text_encoder("en", tmp_path, where).encode(texts, where) for where in ("cpu", "sim"))
    np.testing.assert_allclose(there, host, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "float64"},
        {"precision": "tf32"},
        {"schedule": "cosine"},
        {"schedule": "inverse_time", "decay": 1e-2},
        {"runs_together": 1},
        {"backend": "sequential"},
    ],
)
def test_settings(options):
    compare(trained(options, backbone()), [task(s, (40 - 9 * s, 9)) for s in range(3)])


CELLS = {
    "readouts": ["dataset=breast_cancer", "ratio=ir_20", "method=dos", "protocol.folds=2"],
    "a decision after training": ["dataset=breast_cancer", "method=logit_adjustment", "protocol.folds=2"],
    "regression": ["dataset=sine", "protocol=official_test", "backbone=mlp_sine", "method=squared_error"],
}


@pytest.mark.parametrize("overrides", CELLS.values(), ids=CELLS)
def test_cell(overrides, tmp_path):
    arrays = []
    for where in ("cpu", "sim"):
        outcome = run_cell(cell(tmp_path / where, *overrides, f"device={where}"))
        assert outcome.status == "done", outcome.message
        with np.load(outcome.path / "predictions.npz", allow_pickle=False) as file:
            arrays.append(dict(file))
    host, there = arrays
    assert host.keys() == there.keys()
    for name, values in host.items():
        np.testing.assert_allclose(there[name], values, atol=1e-4)


def per_step(label: str, tasks: Sequence[Task], net: Any = None, size: int = 32, **options: Any) -> tuple[float, float]:
    """Kernels and waits of a step (of an MLP) in batches of ``size``: of what more epochs add, in which nothing is
    validated."""
    counts = []
    for epochs in (1, 2):
        settings = trainer("sgd" if net else "adam", epochs=epochs, batch_size=size, validate_every=100)
        with simgpu.counting() as counter:
            method(label, **options).fit(tasks, net or backbone(), Engine(settings, "sim"))
        counts.append(np.array([counter.kernels, counter.waits.total()]))
    kernels, waits = (counts[1] - counts[0]) / (-(-len(tasks[0].train) // size))
    return kernels, waits


@pytest.mark.parametrize(
    ("label", "runs", "most"),
    [("lenet_small", 1, 46), ("lenet_small", 2, 70), ("resnet20", 1, 190), ("resnet20", 2, 370)],
)
def test_a_step_of_convolutions_launches_no_more_than(label, runs, most):
    """Those of ResNet-20's 19 batch normalisations among them."""
    options = IMAGES[label] if label == "lenet_small" else {}
    tasks = [byte_image_task(s, (16, 8, 8)) for s in range(runs)]
    kernels, waits = per_step("cross_entropy", tasks, backbone(label, **options), 8)
    assert kernels <= most
    assert waits <= 0.25  # one an epoch of four steps


@pytest.mark.parametrize("label", launches.measured())
def test_a_step_launches_what_the_page_says(label):
    """Launches are the bill of a small network on a GPU, and a wait within a step leaves it idle. A change of these
    numbers shows in docs/bench.md; waits and copies of a step want a reason."""
    found = launches.figures(label)
    assert launches.printed(launches.on_page())[label] == found, "python -m tests.launches --write"
    assert not any(found[1:3]) or label in launches.REASONS


def test_every_method_has_its_launches_on_the_page():
    assert set(launches.printed(launches.on_page())) == set(launches.measured()) >= set(launches.REASONS)
    assert set(launches.ON_HOST) < set(launches.first_labels())


def test_a_meta_step_of_explicit_gradient_launches_no_more_than():
    tasks, counts = [task(s, (304, 16)) for s in range(2)], []
    settings = trainer(epochs=1, batch_size=32, validate_every=100)
    for epochs in (1, 2):
        with simgpu.counting() as counter:
            method("explicit_gradient", meta_epochs=epochs).fit(tasks, backbone(), Engine(settings, "sim"))
        counts.append(np.array([counter.kernels, counter.waits.total()]))
    kernels, waits = (counts[1] - counts[0]) / 10
    assert kernels <= 112
    # An epoch has two: losses and moves come back.
    assert waits <= 0.2, "the host waits for the device within a step"


def test_more_runs_launch_no_more():
    assert launches.cost("cross_entropy", 1).step == launches.cost("cross_entropy").step


def test_what_the_simulation_is_held_to():
    there, here = torch.ones(3, device="sim"), torch.ones(3)
    index = torch.zeros(1, dtype=torch.int64)
    for refused in (
        lambda: there + here,
        lambda: torch.stack([there, here]),
        lambda: there.gather(0, index),
        lambda: there.index_select(0, index),
        lambda: here[index.to("sim")],
        lambda: torch.nn.functional.embedding(index, torch.ones(2, 3, device="sim")),
        lambda: torch.rand(3, device="sim", generator=torch.Generator()),
        lambda: there.numpy(),
        lambda: there.cumsum(0),
    ):
        with pytest.raises(RuntimeError):
            refused()
    assert (there + torch.tensor(1.0)).tolist() == [2, 2, 2]  # scalars may be the host's
    with simgpu.counting() as counter:
        torch.nonzero(there)
        there.sum().item()
        there[index]
        there.view(1, 3)
    assert counter.waits.total() == 3
    assert counter.kernels == 3


def test_an_lstm_of_the_simulation_is_torchs():
    lstm = torch.nn.LSTM(3, 4, batch_first=True)
    x = torch.randn(2, 5, 3)
    outputs = []
    for where in ("cpu", "sim"):
        lstm.to(where)
        lstm.zero_grad()
        h, (_, c) = lstm(x.to(where))
        (h.square().sum() + c.sum()).backward()
        outputs.append([h.detach().cpu(), *(p.grad.cpu() for p in lstm.parameters())])
    torch.testing.assert_close(outputs[0], outputs[1])
