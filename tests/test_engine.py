"""The engine: independent of how many runs share a program, equal to torch.optim, unhurt by a run that diverges."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imbalance_bench.backbones.base import Backbone
from imbalance_bench.engine import Engine
from imbalance_bench.engine.batches import Rows, shuffled, stratified
from imbalance_bench.engine.memory import give_back_freed_memory, keep_freed_memory
from imbalance_bench.engine.stack import Stack
from imbalance_bench.errors import BenchError
from tests.tasks import backbone, blobs, method, task, trainer

# Runs of different lengths: other numbers of steps an epoch, other last batches.
TASKS = [task(0, (90, 15)), task(1, (61, 9)), task(2, (200, 30))]


def fit(tasks, label="cross_entropy", net=None, **options):
    engine = Engine(trainer(precision="float64", batch_size=16, **{"epochs": 10} | options), "cpu")
    m = method(label) if isinstance(label, str) else label
    return m.fit(tasks, net or backbone(), engine)


def parameters(classifiers):
    return [c.parameters["last"] for c in classifiers]


@pytest.mark.parametrize("label", ["cross_entropy", "balanced_batches", "class_weighted", "focal", "ldam_drw", "smote"])
def test_a_run_does_not_depend_on_which_runs_it_is_trained_with(label):
    """R = 1 and R = 3 agree to 1e-12 after more than 100 steps in float64."""
    together = fit(TASKS, label, epochs=20)
    for t, joint in zip(TASKS, together):
        (alone,) = fit([t], label, epochs=20)
        torch.testing.assert_close(alone.parameters["last"], joint.parameters["last"], rtol=0, atol=1e-12)
        torch.testing.assert_close(alone.parameters["best"], joint.parameters["best"], rtol=0, atol=1e-12)
        assert [h.keys() for h in alone.history] == [h.keys() for h in joint.history]


@pytest.mark.parametrize("optimiser", [{}, {"optimiser": "sgd", "momentum": 0.9, "lr": 0.05}])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_the_stacked_program_is_what_torch_optim_does_one_run_after_the_other(optimiser, weight_decay):
    stacked = fit(TASKS, **optimiser, weight_decay=weight_decay)
    alone = fit(TASKS, **optimiser, weight_decay=weight_decay, backend="sequential")
    for a, b in zip(stacked, alone):
        torch.testing.assert_close(a.parameters["last"], b.parameters["last"], rtol=0, atol=1e-12)
        torch.testing.assert_close(a.parameters["best"], b.parameters["best"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(
            [h["train_loss"] for h in a.history], [h["train_loss"] for h in b.history], rtol=1e-10
        )


@pytest.mark.parametrize("optimiser", [{}, {"optimiser": "sgd", "momentum": 0.9, "lr": 0.05}])
@pytest.mark.parametrize("label", ["cross_entropy", "meta_weight_net"])
def test_a_rate_that_falls_with_the_steps_falls_with_those_of_the_run(label, optimiser):
    """A run of 24 rows sits most steps of one of 160 rows out."""
    tasks = [task(0, (18, 6)), task(1, (130, 30))]
    options = {**optimiser, "schedule": "inverse_time", "decay": 0.5}
    for t, joint in zip(tasks, fit(tasks, label, **options)):
        (alone,) = fit([t], label, **options)
        torch.testing.assert_close(alone.parameters["last"], joint.parameters["last"], rtol=0, atol=1e-12)
        if label == "cross_entropy":
            (oracle,) = fit([t], label, **options, backend="sequential")
            torch.testing.assert_close(oracle.parameters["last"], joint.parameters["last"], rtol=0, atol=1e-12)


def test_the_same_seed_gives_the_same_bits():
    first, second = fit(TASKS[:2], "smote"), fit(TASKS[:2], "smote")
    assert all(torch.equal(a, b) for a, b in zip(parameters(first), parameters(second)))


def test_a_module_without_a_batched_form_is_mapped_over_runs():
    net = backbone()

    class Plain(Backbone):
        def build(self, *args):
            module = net.build(*args)
            plain = torch.nn.Module()
            plain.inner, plain.forward = module, module.forward
            return plain

    for a, b in zip(fit(TASKS, net=Plain()), fit(TASKS, net=net)):
        torch.testing.assert_close(a.parameters["last"], b.parameters["last"], rtol=0, atol=1e-12)


class Ordinary(Backbone):
    """A backbone that is an ordinary module, of inputs alone."""

    def build(self, shape, classes, head="linear"):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(shape[0], classes))


def test_an_ordinary_module_serves_methods_that_ask_for_logits():
    assert all(c.failure is None for c in fit(TASKS, "focal", Ordinary()))


@pytest.mark.parametrize("label", ["crt", "smote_features", "lmle", "tl_rs_csl", "tau_norm_selected", "mixtext"])
def test_an_ordinary_module_is_an_error_before_training_where_embedding_and_head_are_asked_for_apart(
    label, monkeypatch
):
    monkeypatch.setattr(Stack, "backward", lambda *_: pytest.fail("a step was taken"))
    with pytest.raises(BenchError, match="Sequential gives logits only"):
        fit(TASKS, label, Ordinary())


def test_features_of_an_ordinary_module_are_an_error_that_names_it():
    (made,) = fit(TASKS[:1], net=Ordinary(), epochs=1)
    with pytest.raises(BenchError, match="Sequential gives logits only"):
        made.features(TASKS[0].valid.x)


@pytest.mark.parametrize("label", ["crt", "lmle", "cnn", "meta_weight_net"])
def test_the_sequential_backend_trains_no_method_of_several_stages(label):
    with pytest.raises(BenchError, match=r"method=\w+ .*: set trainer\.backend=stacked"):
        fit(TASKS[:1], label, backend="sequential")


def test_the_sequential_backend_has_no_bfloat16():
    engine = Engine(trainer(precision="bfloat16", backend="sequential"), "cpu")
    with pytest.raises(BenchError, match=r"trainer\.precision=float32"):
        method("cross_entropy").fit(TASKS, backbone(), engine)


@pytest.mark.parametrize("classes, head", [(2, "linear"), (3, "linear"), (2, "cosine"), (4, "cosine"), (0, "linear")])
def test_the_batched_mlp_is_the_mlp(classes, head):
    stack = Stack.create(lambda: backbone().build((5,), classes, head), [1, 2, 3], torch.device("cpu"), torch.float64)
    x = torch.randn(3, 7, 5, dtype=torch.float64)
    outputs = stack(x)
    for r in range(3):
        torch.nn.utils.vector_to_parameters(stack.flat[r].detach(), stack.module.parameters())
        torch.testing.assert_close(outputs[r], stack.module(x[r]))
    assert outputs.shape == (3, 7, classes or 1)


def test_a_run_that_diverges_ends_alone_and_says_where():
    x = TASKS[0].train.x.copy()
    x[3] = np.nan
    bad = replace(TASKS[0], train=replace(TASKS[0].train, x=x))
    good, broken = fit([TASKS[1], bad])
    assert "train_loss is nan at training epoch 1 step" in broken.failure
    assert "trainer.lr" in broken.failure
    assert good.failure is None
    torch.testing.assert_close(good.parameters["last"], fit([TASKS[1]])[0].parameters["last"], rtol=0, atol=1e-12)


def test_a_step_in_which_only_a_diverged_run_is_left_is_none():
    """The longer of two sets is broken: its last batches are its alone."""
    x = TASKS[2].train.x.copy()
    x[3] = np.nan
    bad = replace(TASKS[2], train=replace(TASKS[2].train, x=x))
    good, broken = fit([TASKS[1], bad], optimiser="sgd", lr=0.05, epochs=3)
    assert good.failure is None
    assert broken.failure is not None


def test_divergence_by_a_step_too_large_names_the_last_finite_loss():
    (run,) = fit([TASKS[0]], optimiser="sgd", lr=3e38, epochs=5)
    assert "the last finite value was" in run.failure


@pytest.mark.parametrize("backend", ["stacked", "sequential"])
def test_divergence_in_the_last_step_which_no_loss_shows_ends_the_run_alone(backend):
    x = TASKS[0].train.x * np.float32(1e25)
    bad = replace(TASKS[0], train=replace(TASKS[0].train, x=x))
    settings = trainer("sgd", lr=0.05, epochs=1, batch_size=1000, backend=backend)
    good, broken = method("cross_entropy").fit([TASKS[1], bad], backbone(), Engine(settings, "cpu"))
    assert good.failure is None
    assert "outputs are not finite after the last step of epoch 1; the last train_loss was" in broken.failure
    assert "lower trainer.lr" in broken.failure


def test_a_run_that_came_to_nothing_on_one_row_fails_alone_as_beside_a_run_of_fewer_rows():
    x = TASKS[0].train.x.copy()
    x[100] *= np.float32(1e15)
    bad = replace(TASKS[0], train=replace(TASKS[0].train, x=x))
    engine = Engine(trainer("sgd", lr=0.05, epochs=1, batch_size=1000), "cpu")
    (alone,) = method("cross_entropy").fit([bad], backbone(), engine)
    good, beside = method("cross_entropy").fit([TASKS[1], bad], backbone(), engine)
    assert np.isfinite(alone.scores(x[:90], "last")).all()
    assert len(TASKS[1].train) < 100 and good.failure is None
    for run in (alone, beside):
        assert "outputs are not finite after the last step of epoch 1" in run.failure


def test_parts_that_tasks_share_are_joined_once():
    engine = Engine(trainer(rows="train_valid"), "cpu")
    one, other = TASKS[0], replace(TASKS[0], seed=5, repeat=1)
    assert engine.rows_of(one) is not engine.rows_of(TASKS[1])  # of neither a trace is left
    rows = engine.rows_of(one)
    assert engine.rows_of(other) is rows
    np.testing.assert_array_equal(rows.ids, np.concatenate([one.train.ids, one.valid.ids]))
    assert engine.rows_of(replace(one, valid=TASKS[1].valid)) is not rows


def test_every_row_comes_once_an_epoch_and_pads_carry_no_weight():
    sets = [blobs([20, 5], 3, np.random.default_rng(0)), blobs([7, 2], 3, np.random.default_rng(1))]
    rows = Rows(sets, torch.device("cpu"), torch.float64)
    generators = [torch.Generator().manual_seed(s) for s in (0, 1)]
    seen = [0.0, 0.0]
    for batch in rows.epoch(lambda y, b, g: shuffled(len(y), b, g), 8, generators):
        weight = torch.full(batch.y.shape, 1 / batch.y.shape[1]) if batch.weight is None else batch.weight
        for r in range(2):
            if batch.active is None or r in batch.active:
                assert weight[r].sum() == pytest.approx(1)
                seen[r] += (batch.x[r][weight[r] > 0]).sum().item()
            else:
                assert weight[r].sum() == 0
    np.testing.assert_allclose(seen, [s.x.sum() for s in sets], rtol=1e-6)


def test_equal_sets_are_stored_once():
    part = TASKS[0].train
    rows = Rows([part, part, TASKS[1].train], torch.device("cpu"), torch.float32)
    assert len(rows.x) == len(part) + len(TASKS[1].train)


def test_sets_stay_on_the_device_from_round_to_round(monkeypatch):
    made, sets = [], [t.train for t in TASKS]
    original = Rows.__init__
    monkeypatch.setattr(Rows, "__init__", lambda self, sets, *a: made.append(list(sets)) or original(self, sets, *a))
    training = Engine(trainer(), "cpu").begin(method("cross_entropy"), TASKS, backbone())
    others = [replace(sets[0]), *sets[1:]]
    for fed in (sets, list(sets), others, sets):
        training.run(fed, 1)
    assert [len(m) for m in made] == [3, 3, 3]
    assert [m[0] is sets[0] for m in made] == [True, False, True]


def test_stratified_batches_hold_the_wanted_classes_and_use_rows_equally_often():
    labels = torch.tensor([0] * 30 + [1] * 4)
    plan = stratified(labels, {0: 6, 1: 2}, 10, torch.Generator().manual_seed(0))
    assert ((labels[plan] == 1).sum(1) == 2).all()
    uses = torch.bincount(plan.flatten(), minlength=34)
    assert uses[30:].tolist() == [5] * 4
    assert set(uses[:30].tolist()) == {2}


def test_what_an_objective_draws_is_apart_from_who_is_in_which_batch():
    """torch's CPU generators look at the low 32 bits of a seed only."""
    training = Engine(trainer(), "cpu").begin(method("cross_entropy"), TASKS[:1], backbone())
    streams = (training.shuffling, training.moving, training.drawing)
    drawn = {tuple(torch.rand(3, generator=g[0]).tolist()) for g in streams}
    assert len(drawn) == 3


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_is_kept_until_it_is_given_back():
    """Else a generator of texts, whose steps all have other shapes, grew to 10 GB where 2 are in use."""

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    keep_freed_memory()
    blocks = [torch.ones(2**21) for _ in range(40)]  # 8 MB each
    above = torch.ones(2**16)  # what is in use above them keeps the heap from shrinking
    held = resident()
    del blocks
    assert resident() > held - 50
    give_back_freed_memory()
    assert resident() < held - 250
    del above
