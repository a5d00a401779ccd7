"""Every method goes on from a checkpoint to the numbers that it has without one, bit for bit.

A fit is stopped at its first, at a middle and at its last point (in the quick form: at a middle one), each time gone on
with by fresh objects from what lies on the disk.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from imbalance_bench.engine import Engine, graph
from imbalance_bench.methods import weob2
from imbalance_bench.registry import METHODS
from imbalance_bench.running import checkpoints, devices, kept
from imbalance_bench.running.checkpoints import Checkpoints, keeping
from imbalance_bench.settings.config import label_of
from imbalance_bench.store.files import atomic_write
from tests import simgpu
from tests.tasks import CONF, options_of
from tests.test_methods_contract import TASKS, built, declines, network, pair

# One of each way of training; all methods are seen by ``make test-slow``.
QUICK = (
    "cross_entropy", "crt", "cwgan", "dos", "explicit_gradient", "iml", "lmle", "logistic_regression", "mesa",
    "meta_weight_net", "miso", "pool_random", "selectnet", "setconv", "weob2",
)  # fmt: skip


class Stop(BaseException):
    """As a signal ends a process."""


class Stopping(Checkpoints):
    """Written at the ``at``-th point only, where the work stops."""

    def __init__(self, folder, at=0):
        super().__init__(folder, 0, lambda: {"cell": "this"}, atomic_write, lambda: 0.0)
        self.at, self.points = at, 0

    def point(self, run=False):
        self.points += 1
        if self.points == self.at:
            self.save()
            raise Stop


@cache
def one_of_each() -> dict[str, str]:
    """Registered name → an option of it."""
    found: dict[str, str] = {}
    for option in sorted(options_of("method"), key=lambda option: option.count("/")):
        name = OmegaConf.load(CONF / "method" / f"{option}.yaml").get("name")
        if name not in found or option == name:
            found[name] = label_of(option)
    assert set(METHODS.names()) <= set(found)
    return {name: found[name] for name in METHODS.names()}


# With which f_s takes some of the pool, and not all of it.
SOME = {"threshold": 0.5, "penalty": 0.5, "lr": 5e-2, "epochs": 5, "batch_size": 64}


def with_a_pool(task):
    """Classes that overlap, and a larger pool."""
    rng = np.random.default_rng(5)

    def blurred(part):
        return replace(part, x=(0.4 * part.x + rng.normal(size=part.x.shape)).astype(np.float32))

    pool = task.withdrawn.take(np.tile(np.arange(len(task.withdrawn)), 3))
    return replace(task, train=blurred(task.train), withdrawn=blurred(pool))


def results(label, made, of, device="cpu"):
    """The scores of what a method makes, and the rest of it."""
    method, engine = built(label)
    tasks, settings = pair(made), engine.trainer
    if hasattr(method, "rounds"):  # of which each but the first begins with a selection
        settings, tasks = replace(settings, epochs=4), [with_a_pool(t) for t in tasks]
        method = replace(method, rounds=4, **SOME if hasattr(method, "threshold") else {})
    with keeping(of):
        classifiers = method.fit(tasks, network(made), Engine(settings, device))
    x = TASKS[made](5).valid.x
    scores = [c.scores(x, readout) for c in classifiers for readout in c.readouts]
    return scores, [(c.history, c.info, c.failure, c.readouts) for c in classifiers]


def check(label, folder, device="cpu", often=True):
    made = next((made for made in TASKS if not declines(label, made)), None)
    if made is None:
        pytest.skip("for regression")
    whole = Stopping(folder / "none")
    scores, others = results(label, made, whole, device)
    taken = 0
    for at in sorted({1, whole.points // 2, whole.points - 1} if often else {max(1, whole.points // 2)}):
        stopped = Stopping(folder / "checkpoint", at - taken)
        with pytest.raises(Stop):
            results(label, made, stopped, device)
        taken = at
    last = Stopping(folder / "checkpoint")
    again, rest = results(label, made, last, device)
    assert last.points == whole.points - taken < whole.points
    assert all(np.array_equal(a, b) for a, b in zip(scores, again, strict=True))
    assert rest == others


@pytest.fixture(autouse=True)
def every_turn_counts(monkeypatch):
    monkeypatch.setattr(checkpoints, "WARM", 0.0)
    monkeypatch.setattr(weob2, "CHUNK", 16)


@pytest.mark.parametrize("label", QUICK)
def test_a_method_goes_on_where_it_stood(label, tmp_path):
    check(label, tmp_path, often=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_goes_on_wherever_it_stood(name, tmp_path):
    if name in ("estimator", "self_paced_ensemble"):
        pytest.importorskip("skops")
    check(one_of_each()[name], tmp_path)


@pytest.fixture
def simulated(monkeypatch):
    real = devices.choose_device
    monkeypatch.setattr(devices, "choose_device", lambda name: torch.device("sim", 0) if name == "sim" else real(name))
    with simgpu.installed():
        yield "sim"


def test_a_network_on_a_device_is_put_back_there(simulated):
    """Though it is the first of a checkpoint, before which nothing says which device that is."""
    device = devices.choose_device(simulated)
    one, two = (torch.nn.Linear(3, 2, device=device) for _ in range(2))
    kept.put_back(kept.as_bytes([one]), [two])
    assert all(torch.equal(a.cpu(), b.cpu()) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert two.weight.device == device


@pytest.mark.slow
@pytest.mark.parametrize("fixed", [False, True], ids=["by steps", "as graphs"])
@pytest.mark.parametrize("label", sorted({*QUICK} - {"logistic_regression", "mesa"}))
def test_so_it_does_on_a_device(label, fixed, tmp_path, monkeypatch, simulated):
    monkeypatch.setattr(graph, "wanted", lambda *_: fixed)
    check(label, tmp_path, simulated)
