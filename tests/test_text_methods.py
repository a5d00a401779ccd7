"""Dice, TMix and over-sampled features against arithmetic written out here; methods on texts of token ids."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from imblearn.over_sampling import ADASYN, SMOTE

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine import Engine
from imbalance_bench.engine.batches import Rows, shuffled
from imbalance_bench.engine.loop import TrainState
from imbalance_bench.engine.stack import Stack, Traits
from imbalance_bench.errors import BenchError
from imbalance_bench.methods import mixup
from imbalance_bench.seeds import SECOND_STAGE, derived
from tests.tasks import backbone, byte_image_task, method, task, trainer
from tests.texts import MeanOfWords, text_task

BINARY = [task(0, (60, 15)), task(1, (41, 9))]
SEVERAL = [task(0, (60, 20, 9)), task(1, (41, 12, 8)), task(2, (80, 30, 12))]
TEXTS = [text_task(0), text_task(1, (33, 9))]


def tensor(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def fit(label, tasks, net=None, options=None, **settings):
    settings = {"epochs": 4, "batch_size": 16, "precision": "float64", "optimiser": "sgd", "lr": 0.05} | settings
    return method(label, **options or {}).fit(tasks, net or backbone(), Engine(trainer(**settings), "cpu"))


def batch_of(sets, size=128):
    """The last batch of an epoch: short, and of other lengths in other runs."""
    rows = Rows(sets, torch.device("cpu"), torch.float64)
    generators = [torch.Generator().manual_seed(r) for r in range(len(sets))]
    return list(rows.epoch(lambda y, b, g: shuffled(len(y), b, g), size, generators))[-1]


# Dice


def loss_of(logits, labels, **options):
    """The loss of one batch under logits (N, C)."""
    n = len(labels)
    part = Part(np.zeros((n, 1)), np.array(labels), np.arange(n))
    (batch,) = Rows([part], torch.device("cpu"), torch.float64).batches([torch.arange(n)[None]])
    return method("dice", **options).batch_loss(
        SimpleNamespace(logits=lambda x: logits[None], traits=Traits()), batch, None
    )[0]


def test_dice_of_a_batch_by_hand():
    # p = 1/2, 1/4, 4/5 of class 1, alpha = 1: p' = 1/4, 3/16, 4/25.
    z = tensor([[0, 0], [0, -np.log(3)], [0, np.log(4)]])
    width = 1 / 4 + 3 / 16 + 4 / 25
    expected = 1 - (2 * (1 / 4 + 4 / 25) + 1) / (width + 2 + 1)
    assert loss_of(z, [1, 0, 1], alpha=1.0).item() == pytest.approx(expected, rel=1e-12)
    squares = 1 / 16 + 9 / 256 + 16 / 625
    expected = 1 - (2 * (1 / 4 + 4 / 25) + 1) / (squares + 2 + 1)
    assert loss_of(z, [1, 0, 1], alpha=1.0, squared=True).item() == pytest.approx(expected, rel=1e-12)


def test_dice_of_samples_by_hand():
    z = tensor([[0, 0], [0, -np.log(3)]])
    plain = [1 - (2 / 4 + 1) / (1 / 4 + 1 + 1), 1 - 1 / (3 / 16 + 1)]
    assert loss_of(z, [1, 0], alpha=1.0, level="sample").item() == pytest.approx(np.mean(plain), rel=1e-12)
    squared = [1 - (2 / 4 + 1) / (1 / 16 + 1 + 1), 1 - 1 / (9 / 256 + 1)]
    found = loss_of(z, [1, 0], alpha=1.0, level="sample", squared=True).item()
    assert found == pytest.approx(np.mean(squared), rel=1e-12)


@pytest.mark.parametrize("level", ["batch", "sample"])
def test_several_classes_are_summed_each_against_the_rest(level):
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(9, 4)), rng.integers(0, 4, 9)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    p, own = (1 - p) ** 0.6 * p, np.eye(4)[y]
    if level == "batch":
        expected = sum(1 - (2 * p[own == 1][y == c].sum() + 1) / (p[:, c].sum() + (y == c).sum() + 1) for c in range(4))
    else:
        expected = (1 - (2 * p * own + 1) / (p + own + 1)).sum(1).mean()
    assert loss_of(tensor(z), y, level=level).item() == pytest.approx(expected, rel=1e-12)


def test_dice_without_alpha_and_smoothing_is_one_minus_f1_of_certain_decisions():
    labels, decided = [1, 1, 1, 0, 0, 0, 0], np.array([1, 1, 0, 1, 0, 0, 0])
    z = tensor(np.stack([np.zeros(7), np.where(decided, 40, -40)], 1))
    assert loss_of(z, labels, alpha=0.0, smooth=1e-12).item() == pytest.approx(1 - 2 * 2 / (3 + 3), rel=1e-9)


def mixed_levels(z, y, alpha, smooth):
    """Plain denominators as released: numerators are of single samples, denominators of the batch."""
    p = z.softmax(1)
    p, own = (1 - p) ** alpha * p, torch.nn.functional.one_hot(y, z.shape[1])
    return (1 - (2 * p * own + smooth) / (p.sum(0) + own.sum(0) + smooth)).sum(1).mean()


def test_the_form_that_mixes_levels_stays_near_c_with_a_gradient_divided_by_n_and_ours_does_not():
    rng, n, classes = np.random.default_rng(0), 256, 3
    y = torch.tensor(rng.integers(0, classes, n))
    right = 3 * torch.nn.functional.one_hot(y, classes).double()
    noise = tensor(rng.normal(size=(n, classes)))
    found = []
    for logits in (right + noise, noise - right):
        z = logits.requires_grad_()
        mixed, ours = mixed_levels(z, y, 0.6, 1e-9), loss_of(z, y.numpy(), smooth=1e-9)
        a, b = (torch.autograd.grad(loss, z)[0] for loss in (mixed, ours))
        torch.testing.assert_close(a, b / n, rtol=1e-6, atol=1e-12)
        alone = loss_of(z, y.numpy(), level="sample")
        found.append([loss.item() for loss in (mixed, ours, alone)])
    (mixed_good, good, alone_good), (mixed_bad, bad, alone_bad) = found
    assert classes - classes / n < mixed_good < mixed_bad < classes
    assert good < 2.1 < 2.8 < bad
    assert alone_good < 0.5 < 0.85 < alone_bad


@pytest.mark.parametrize("label", ["dice", "dice_squared"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_of_dice_is_neither_zero_nor_nan(label, dtype):
    options = {k: getattr(method(label), k) for k in ("squared", "level")}
    z = torch.tensor([[0.3, -0.2, 0.1], [0.0, 0.4, 0.2]], dtype=dtype).requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(z, [0, 2], **options), z)
    assert gradient.abs().sum() > 0.05
    assert gradient[0, 0] < 0 < gradient[0, 1]  # the probability of the own class is raised
    certain = torch.tensor([[200.0, -200, 0], [-200, 200, 0]], dtype=dtype).requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(certain, [0, 0], **options), certain)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("level", ["batch", "sample"])
@pytest.mark.parametrize("squared", [False, True])
def test_dice_in_float32_is_that_in_float64_at_saturated_logits(classes, level, squared):
    """(1 - p)^0.5 is 3e-4 where 1 - p is the last digit of float32."""
    z = torch.linspace(-60, 60, 241, dtype=torch.float64)
    logits = torch.stack([torch.zeros_like(z), z, z / 3][:classes], 1)
    labels = (np.arange(len(z)) % classes).tolist()
    options = {"alpha": 0.5, "level": level, "squared": squared}
    results = []
    for dtype in (torch.float64, torch.float32):
        leaf = logits.to(dtype).requires_grad_()
        loss = loss_of(leaf, labels, **options)
        results.append((loss.double(), torch.autograd.grad(loss, leaf)[0].double()))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=5e-7)


def test_a_short_batch_counts_its_own_rows_only():
    sets = [t.train for t in SEVERAL]
    batch = batch_of(sets, 32)
    assert batch.sizes == [0, 0, 26]
    stack = Stack.create(lambda: backbone().build((4,), 3), [1, 2, 3], torch.device("cpu"), torch.float64)
    m = method("dice")
    found = m.batch_loss(stack, batch, TrainState.of(sets, 3, 5, stack.flat))
    assert found[:2].tolist() == [0, 0]
    shared, width = m.terms(stack(batch.x)[2, :26], batch.y[2, :26])
    assert found[2].item() == pytest.approx(m.coefficients(shared.sum(0), width.sum(0)).item(), rel=1e-12)


# TMix


@pytest.mark.parametrize("net, tasks", [(backbone(), SEVERAL), (MeanOfWords(), TEXTS)], ids=["numbers", "texts"])
def test_mixed_sentence_vectors_by_hand(net, tasks):
    sets, classes = [t.train for t in tasks], tasks[0].classes
    batch = batch_of(sets)
    m = method("mixtext", alpha=0.7)
    shape, seeds = tasks[0].train.x.shape[1:], range(len(tasks))
    stack = Stack.create(lambda: net.build(shape, classes), seeds, torch.device("cpu"), torch.float64)
    s = TrainState.of(sets, classes, 5, stack.flat)
    found = m.batch_loss(stack, batch, replace(s, generators=[torch.Generator().manual_seed(r) for r in seeds]))
    for r, n in enumerate(batch.sizes):
        generator = torch.Generator().manual_seed(r)
        partner = torch.randperm(n, generator=generator)
        share = mixup.beta(0.7, 1, generator).item()
        share = max(share, 1 - share)
        torch.nn.utils.vector_to_parameters(stack.flat[r].detach(), stack.module.parameters())
        h, y = stack.module(batch.x[r, :n], "embed"), batch.y[r, :n]
        nll = -stack.module(share * h + (1 - share) * h[partner], "head").log_softmax(1)
        rows = torch.arange(n)
        expected = (share * nll[rows, y] + (1 - share) * nll[rows, y[partner]]).mean()
        assert found[r].item() == pytest.approx(expected.item(), rel=1e-10)


# Over-sampled features


@pytest.mark.parametrize("label, sampler", [("adasyn_features", ADASYN), ("smote_features", SMOTE)])
@pytest.mark.parametrize(
    "net, t",
    [
        (backbone(), SEVERAL[0]),
        (MeanOfWords(), text_task(0)),
        (backbone("lenet_small", kernel=2, conv=[3, 4], hidden=[12, 8]), byte_image_task(0)),
    ],
    ids=["table", "texts", "images"],
)
def test_the_head_learns_over_sampled_features_of_the_first_stage(label, sampler, net, t: Task):
    settings = {"batch_size": 512, "lr": 0.3}  # full batches: an epoch is a step
    (c,) = fit(label, [t], net, {"share": 0.5, "k_neighbors": 3}, **settings)
    (plain,) = fit("cross_entropy", [t], net, epochs=2, **settings)
    h = plain.features(t.train.x)
    np.testing.assert_array_equal(c.features(t.train.x), h)
    key = "k_neighbors" if sampler is SMOTE else "n_neighbors"
    wanted = {k: int(t.counts.max()) for k in range(1, t.classes)}
    x, y = sampler(sampling_strategy=wanted, random_state=t.seed, **{key: 3}).fit_resample(h.numpy(), t.train.y)
    assert len(x) > len(h)
    assert c.info["fitted_counts"] == np.bincount(y).tolist()
    assert c.info["synthetic"]["rows"] == len(x) - len(h)
    assert c.info["train_counts"] == t.counts.tolist()
    torch.manual_seed(derived(t.seed, SECOND_STAGE))
    head = net.build(t.train.x.shape[1:], t.classes).double().head
    for _ in range(2):
        z = torch.nn.functional.linear(tensor(x), head.weight, head.bias)
        z = torch.nn.functional.pad(z, (1, 0)) if t.classes == 2 else z
        gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(z, torch.tensor(y)), list(head.parameters()))
        for p, g in zip(head.parameters(), gradients):
            p.data -= 0.3 * g
    views = c.stack.views(c.parameters["last"][None])
    torch.testing.assert_close(views["head.weight"][0], head.weight.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(views["head.bias"][0], head.bias.detach(), rtol=0, atol=1e-10)


def test_too_few_rows_are_an_error_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(Engine, "stack", None)
    with pytest.raises(BenchError, match="method=adasyn_features needs at least k_neighbors.* method.k_neighbors=3"):
        fit("adasyn_features", [text_task(0), text_task(1, (40, 4))], MeanOfWords())


def test_features_of_a_run_that_diverged_are_not_resampled():
    x = BINARY[0].train.x.copy()
    x[3] = np.nan
    bad = replace(BINARY[0], train=replace(BINARY[0].train, x=x))
    good, broken = fit("adasyn_features", [BINARY[1], bad])
    assert good.failure is None
    assert "at training epoch 1" in broken.failure


def test_features_after_a_last_step_that_diverged_are_not_resampled():
    """One batch an epoch: the step that diverges is the first stage's last, and no loss has shown it."""
    settings = replace(trainer(epochs=2, batch_size=1000, precision="float64", optimiser="sgd"), lr=1e300)
    (broken,) = method("adasyn_features").fit([BINARY[0]], backbone(), Engine(settings, "cpu"))
    assert "outputs are not finite after the last step of epoch 1" in broken.failure


def test_no_neighbours_are_an_error():
    for label in ("smote", "adasyn_features"):
        with pytest.raises(BenchError, match="method.k_neighbors=0 must be a whole number, at least 1"):
            fit(label, [BINARY[0]], options={"k_neighbors": 0})


def test_the_second_stage_does_not_augment_features():
    t, net = byte_image_task(0), backbone("lenet_small", kernel=2, conv=[3, 4], hidden=[12, 8])
    (c,) = fit("adasyn_features", [t], net, {"k_neighbors": 3}, augment="crop_flip")
    assert c.failure is None


# Token ids


LABELS = [
    "focal", "dice", "dice_squared", "mixtext", "adasyn_features", "smote_features", "crt", "tau_norm",
    "tau_norm_selected", "class_weighted", "ldam", "ldam_drw", "balanced_softmax", "logit_adjustment",
]  # fmt: skip


@pytest.mark.parametrize("tasks", [TEXTS, [text_task(0, (40, 12, 10)), text_task(1, (30, 9, 8))]], ids=["2", "3"])
@pytest.mark.parametrize("label", LABELS)
def test_texts_of_token_ids_are_learned_whichever_runs_are_beside(label, tasks):
    assert method(label).declines(tasks[0]) is None
    settings = {"epochs": 20, "optimiser": "adam", "lr": 0.05}
    together = fit(label, tasks, MeanOfWords(), **settings)
    (alone,) = fit(label, tasks[1:], MeanOfWords(), **settings)
    for readout in alone.readouts:
        x = tasks[1].valid.x
        np.testing.assert_allclose(alone.scores(x, readout), together[1].scores(x, readout), atol=1e-9)
    for t, c in zip(tasks, together):
        assert c.failure is None
        decided = c.scores(t.train.x).argmax(1)
        assert np.mean([np.mean(decided[t.train.y == k] == k) for k in range(t.classes)]) > 0.9


@pytest.mark.parametrize("label", ["mixup", "remix", "smote", "adasyn", "borderline_smote"])
def test_token_ids_are_not_interpolated(label):
    assert "nothing lies between two token ids" in method(label).declines(TEXTS[0])


@pytest.mark.parametrize("label", ["dice", "dice_squared", "mixtext"])
def test_one_run_after_the_other_through_torch_optim_gives_the_same(label):
    for a, b in zip(fit(label, SEVERAL), fit(label, SEVERAL, backend="sequential")):
        np.testing.assert_allclose(a.scores(SEVERAL[0].valid.x), b.scores(SEVERAL[0].valid.x), atol=1e-12)


@pytest.mark.parametrize(
    "label, options", [("dice", {"alpha": -0.1}), ("dice", {"smooth": 0.0}), ("mixtext", {"alpha": 0.0})]
)
def test_nonsense_is_an_error_that_names_the_override(label, options):
    (key,) = options
    with pytest.raises(BenchError, match=f"method.{key}="):
        method(label, **options)
