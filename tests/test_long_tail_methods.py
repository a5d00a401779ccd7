"""Losses, decisions and training schemes for long tails, against arithmetic and plain loops written out here."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call

from imbalance_bench.backbones.base import Backbone
from imbalance_bench.backbones.network import BatchNorm, Network
from imbalance_bench.data.base import Part
from imbalance_bench.engine import Engine
from imbalance_bench.engine.augment import AUGMENTATIONS
from imbalance_bench.engine.batches import Rows, class_aware, shuffled
from imbalance_bench.engine.loop import TrainState
from imbalance_bench.engine.losses import effective_number_weights
from imbalance_bench.engine.stack import Stack
from imbalance_bench.errors import BenchError
from imbalance_bench.methods import mixup
from imbalance_bench.methods.class_balanced import sigmoid_focal
from imbalance_bench.methods.meta_weight_net import Weighing
from imbalance_bench.seeds import META, SECOND_STAGE, derived
from tests.tasks import backbone, byte_image_task, method, task, trainer

# Runs of different lengths: other numbers of steps an epoch, other last batches.
BINARY = [task(0, (90, 15)), task(1, (61, 9)), task(2, (120, 30))]
SEVERAL = [task(0, (60, 20, 9)), task(1, (41, 12, 8)), task(2, (80, 30, 12))]
TAIL = [replace(t, minority_classes=(1, 2)) for t in SEVERAL]


def state(*counts: int) -> TrainState:
    return TrainState(torch.tensor([[list(counts)]], dtype=torch.float64), 0, 10)


def tensor(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def losses(m, logits, labels, s):
    return m.loss(tensor([logits]), torch.tensor([labels]), s)[0]


def fit(label, tasks, net=None, options=None, **settings):
    """Classifiers of a method given by its option, in float64."""
    settings = {"epochs": 4, "batch_size": 16, "precision": "float64", "optimiser": "sgd", "lr": 0.05} | settings
    return method(label, **options or {}).fit(tasks, net or backbone(), Engine(trainer(**settings), "cpu"))


def normed() -> object:
    """The smallest ResNet: convolutions and batch normalisation."""
    return backbone("resnet20", depth=8)


def views(classifier, readout="last"):
    return {n: v[0] for n, v in classifier.stack.views(classifier.parameters[readout][None]).items()}


# Weights by effective numbers


def test_effective_number_weights_by_hand():
    # β = 1/2, n = (2, 1): (1 - β) / (1 - β^n) = (2/3, 1), scaled to sum to 2.
    assert effective_number_weights(tensor([2, 1]), 0.5).tolist() == pytest.approx([4 / 5, 6 / 5], rel=1e-14)


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=12), st.floats(0, 0.99999, allow_subnormal=False))
def test_effective_number_weights_sum_to_the_number_of_classes(counts, beta):
    weights = effective_number_weights(tensor(counts), beta)
    assert weights.sum().item() == pytest.approx(len(counts), rel=1e-12)
    assert (weights[np.argsort(counts)].diff() <= 1e-12).all()  # never more for a larger class
    single = effective_number_weights(tensor(counts).float(), beta)
    torch.testing.assert_close(single.double(), weights, rtol=1e-5, atol=0)


def test_effective_number_weights_lie_between_none_and_inverse_frequency():
    counts = tensor([500, 50, 5])
    assert effective_number_weights(counts, 0.0).tolist() == [1, 1, 1]
    inverse = 3 / counts / (1 / counts).sum()
    torch.testing.assert_close(effective_number_weights(counts, 1 - 1e-9), inverse, rtol=1e-5, atol=0)


def test_a_class_without_rows_takes_no_weight_from_the_others():
    assert effective_number_weights(tensor([2, 0, 1]), 0.5).tolist() == pytest.approx([4 / 5, 0, 6 / 5])


# Class-balanced loss


def test_class_balanced_softmax_by_hand():
    values = losses(method("class_balanced", beta=0.5), [[0, 0]] * 2, [0, 1], state(2, 1))
    assert values.tolist() == pytest.approx([0.8 * math.log(2), 1.2 * math.log(2)], rel=1e-14)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_class_balanced_focal_is_a_focal_loss_of_each_sigmoid(gamma):
    rng = np.random.default_rng(0)
    z, y, counts = rng.normal(size=(7, 4)), rng.integers(0, 4, 7), [40, 9, 3, 2]
    p = 1 / (1 + np.exp(-z))
    own = np.eye(4)[y]
    p_t = own * p + (1 - own) * (1 - p)
    weights = (1 - 0.9) / (1 - 0.9 ** np.array(counts))
    expected = (weights * 4 / weights.sum())[y] * (-((1 - p_t) ** gamma) * np.log(p_t)).sum(1)
    m = method("class_balanced_focal", beta=0.9, gamma=gamma)
    np.testing.assert_allclose(losses(m, z.tolist(), y.tolist(), state(*counts)), expected, rtol=1e-12)


def test_sigmoids_without_focus_are_binary_cross_entropies_and_nothing_overflows():
    z = tensor([[1e4, -1e4, 3.0], [-1e4, 1e4, -0.5]]).requires_grad_()
    values = sigmoid_focal(z, torch.tensor([1, 1]), 0.0)
    expected = F.binary_cross_entropy_with_logits(z, tensor([[0, 1, 0]] * 2), reduction="none").sum(1)
    torch.testing.assert_close(values, expected)
    (gradient,) = torch.autograd.grad(sigmoid_focal(z.float(), torch.tensor([1, 1]), 2.0).sum(), z)
    assert gradient.isfinite().all()


def test_two_classes_have_one_sigmoid():
    z, y = [0.7, -2.0, 0.1], [1, 0, 0]
    ours = losses(method("class_balanced_focal", beta=0.0, gamma=2.0), [[0, v] for v in z], y, state(9, 3))
    plain = losses(method("focal", gamma=2.0, alpha=None), [[0, v] for v in z], y, state(9, 3))
    torch.testing.assert_close(ours, plain)


def test_sigmoids_start_at_the_probability_of_one_class():
    m = method("class_balanced_focal")
    stack = Engine(trainer(precision="float64"), "cpu").stack(m, SEVERAL, backbone())
    assert torch.sigmoid(stack.params["head.bias"]).detach().numpy() == pytest.approx(np.full((3, 3), 1 / 3))
    plain = Engine(trainer(precision="float64"), "cpu").stack(method("class_balanced"), SEVERAL, backbone())
    torch.testing.assert_close(stack.params["head.weight"], plain.params["head.weight"])


def test_several_sigmoids_rank_rows_each_by_its_own_logit():
    """And not by softmax over them, which puts the first row first for class 0: 1 / (1 + e^-9) > 1 / (1 + e^-1)."""
    (made,), x = fit("class_balanced_focal", SEVERAL[:1]), np.zeros((2, 4), np.float32)
    z = torch.tensor([[1.0, -8.0, -80.0], [3.0, 2.0, -80.0]])
    made.network.logits = lambda x, readout: z
    np.testing.assert_array_equal(made.ranks(x), z)
    np.testing.assert_allclose(made.scores(x), z.log_softmax(1), rtol=1e-6)
    assert made.scores(x)[0, 0] > made.scores(x)[1, 0]
    assert made.ranks(x)[0, 0] < made.ranks(x)[1, 0]


@pytest.mark.parametrize("label, tasks", [("class_balanced_focal", BINARY[:1]), ("class_balanced", SEVERAL[:1])])
def test_one_sigmoid_and_softmax_rank_rows_by_their_probabilities(label, tasks):
    (made,) = fit(label, tasks)
    assert made.ranks(tasks[0].valid.x) is None


def test_a_network_without_a_head_is_an_error_that_names_the_method():
    class Headless(Backbone):
        def build(self, shape, classes, head="linear"):
            return torch.nn.Sequential(torch.nn.Linear(4, classes))

    with pytest.raises(BenchError, match="method=class_balanced changes the last layer"):
        fit("class_balanced_focal", SEVERAL[:1], Headless())


# Balanced softmax and logit adjustment


def test_the_gradient_of_balanced_softmax_is_that_of_a_weighted_softmax():
    z, n, y = tensor([0.3, -1.0, 2.0]).requires_grad_(), [50, 30, 2], 2
    loss = method("balanced_softmax").loss(z[None, None], torch.tensor([[y]]), state(*n)).sum()
    e = np.array(n) * np.exp(z.detach().numpy())
    assert loss.item() == pytest.approx(-math.log(e[y] / e.sum()), rel=1e-12)
    (gradient,) = torch.autograd.grad(loss, z)
    np.testing.assert_allclose(gradient, e / e.sum() - np.eye(3)[y], rtol=1e-12)


def test_logit_adjustment_divides_probabilities_by_class_shares():
    tasks = [task(0, (90, 10)), task(1, (30, 20))]
    x = BINARY[2].valid.x
    for tau in (0.0, 1.0, 2.5):
        adjusted = fit("logit_adjustment", tasks, options={"tau": tau})
        for t, a, plain in zip(tasks, adjusted, fit("cross_entropy", tasks)):
            assert a.readouts == plain.readouts == ("last", "best")
            assert a.history == plain.history
            for readout in a.readouts:
                odds = np.exp(plain.scores(x, readout)) / (t.counts / t.counts.sum()) ** tau
                expected = odds / odds.sum(1, keepdims=True)
                np.testing.assert_allclose(np.exp(a.scores(x, readout)), expected, rtol=1e-10)


def test_shares_are_those_of_the_rows_that_were_trained_on():
    t = SEVERAL[0]
    x = t.valid.x
    (a,), (plain,) = (fit(label, [t], rows="train_valid") for label in ("logit_adjustment", "cross_entropy"))
    odds = np.exp(plain.scores(x)) / (t.counts + np.bincount(t.valid.y))
    np.testing.assert_allclose(np.exp(a.scores(x)), odds / odds.sum(1, keepdims=True), rtol=1e-10)


def test_logit_adjustment_in_the_loss_is_the_balanced_softmax_at_tau_1_and_cross_entropy_at_0():
    for tau, label in ((1.0, "balanced_softmax"), (0.0, "cross_entropy")):
        for a, b in zip(fit("logit_adjustment_loss", SEVERAL, options={"tau": tau}), fit(label, SEVERAL)):
            torch.testing.assert_close(a.parameters["last"], b.parameters["last"], rtol=0, atol=1e-12)


# tau-normalisation


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_tau_norm_divides_each_class_s_weights_by_a_power_of_their_length(tau):
    x = SEVERAL[2].valid.x
    for c, plain in zip(fit("tau_norm", SEVERAL, options={"tau": tau}), fit("cross_entropy", SEVERAL)):
        assert c.info["tau"] == {"last": tau, "best": tau}
        for readout in ("last", "best"):
            w = views(plain, readout)["head.weight"].numpy()
            z = plain.features(x, readout).numpy() @ (w / np.linalg.norm(w, axis=1, keepdims=True) ** tau).T
            np.testing.assert_allclose(c.logits(x, readout), z, rtol=1e-10)


def test_tau_norm_of_zero_is_the_plain_network():
    for c, plain in zip(fit("tau_norm", SEVERAL, options={"tau": 0.0}), fit("cross_entropy", SEVERAL)):
        for readout in ("last", "best"):
            assert torch.equal(c.parameters[readout], plain.parameters[readout])


def test_tau_is_chosen_by_the_mean_accuracy_of_the_classes_on_validation_rows():
    chosen = set()
    tasks = [task(seed, (60, 12, 6)) for seed in range(4)]
    for t, c, plain in zip(tasks, fit("tau_norm_selected", tasks), fit("cross_entropy", tasks)):
        for readout in ("last", "best"):
            w, b = (views(plain, readout)[f"head.{k}"].numpy() for k in ("weight", "bias"))
            h, best = plain.features(t.valid.x, readout).numpy(), (-1.0, 0.0)
            for step in range(11):
                tau = step / 10
                z = h @ (w / np.linalg.norm(w, axis=1, keepdims=True) ** tau).T + b * (tau == 0)
                recalls = [(z.argmax(1) == t.valid.y)[t.valid.y == k].mean() for k in range(3)]
                best = max(best, (np.mean(recalls), -tau))  # the smallest of equals
            assert c.info["tau"][readout] == -best[1]
            chosen.add(-best[1])
    assert len(chosen) > 2


def test_tau_is_never_chosen_without_rows_that_were_not_trained_on():
    bare = replace(SEVERAL[0], valid=SEVERAL[0].valid.take(np.arange(0)))
    for tasks, rows in (([bare], "train"), (SEVERAL, "train_valid")):
        with pytest.raises(BenchError, match="method.tau=null needs .*, or method.tau=1"):
            fit("tau_norm_selected", tasks, rows=rows)
    assert fit("tau_norm", [bare])[0].readouts == ("last",)


def test_two_classes_have_an_output_each_whose_lengths_are_compared():
    x = BINARY[2].valid.x
    for c, plain in zip(fit("tau_norm", BINARY), fit("tau_norm", BINARY, options={"tau": 0.0})):
        w = views(plain)["head.weight"].numpy()
        assert w.shape[0] == 2
        z = plain.features(x).numpy() @ (w / np.linalg.norm(w, axis=1, keepdims=True)).T
        np.testing.assert_allclose(c.logits(x), z, rtol=1e-10)
        np.testing.assert_allclose(np.exp(c.scores(x)).sum(1), 1)


# cRT


@pytest.mark.parametrize("net", [backbone, normed])
def test_crt_leaves_the_body_as_the_first_stage_left_it(net):
    tasks = SEVERAL[:2] if net is backbone else [byte_image_task(0), byte_image_task(1)]
    again = fit("crt", tasks, net(), {"share": 0.5})
    for a, plain in zip(again, fit("cross_entropy", tasks, net(), epochs=2)):
        for readout in ("last", "best"):
            after = views(a, readout)
            for name, before in views(plain).items():
                assert torch.equal(before, after[name]) != name.startswith("head.")
        assert a.info["stage_epochs"] == [2, 2]
        assert [h["epoch"] for h in a.history] == [1, 2, 3, 4]
        assert a.history[:2] == plain.history


def test_the_second_stage_is_logistic_regression_on_class_aware_batches():
    t = SEVERAL[0]
    (c,) = fit("crt", [t], options={"share": 0.5}, momentum=0.9, weight_decay=1e-2, schedule="cosine", warmup_epochs=1)
    h = c.features(t.train.x)
    torch.manual_seed(derived(t.seed, SECOND_STAGE))
    head = backbone().build((4,), 3).double().head
    descent = torch.optim.SGD(head.parameters(), lr=1.0, momentum=0.9, weight_decay=1e-2)
    generator = torch.Generator().manual_seed(derived(t.seed, SECOND_STAGE))
    y = torch.tensor(t.train.y)
    for epoch in range(2):
        # The schedule starts anew, over two epochs and without warm-up.
        descent.param_groups[0]["lr"] = 0.05 * (1 + math.cos(math.pi * epoch / 2)) / 2
        for rows in class_aware(y, 16, generator):
            rows = rows[rows >= 0]
            descent.zero_grad()
            F.cross_entropy(head(h[rows]), y[rows]).backward()
            descent.step()
    torch.testing.assert_close(views(c)["head.weight"], head.weight.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(views(c)["head.bias"], head.bias.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("net", ["realmlp", "ft_transformer", "mlp"])
def test_the_second_stage_decays_what_the_backbone_decays_of_its_head(net):
    narrow = {"realmlp": {"hidden": (8, 8)}, "mlp": {}, "ft_transformer": {"blocks": 1, "width": 16}}[net]
    engine = Engine(trainer("adam", optimiser="adamw", weight_decay=0.1, epochs=2, batch_size=32), "cpu")
    crt, whole, t = method("crt", share=0.5), backbone(net, **narrow), SEVERAL[0]
    body = engine.begin(crt, [t], whole)
    heads = crt.heads(body, whole, engine, 1, False)

    def factors(stack: Stack) -> dict[str, float]:
        return {n: getattr(p, "decay", 1.0) for n, p in stack.module.named_parameters() if n.startswith("head.")}

    assert factors(heads.stack) == factors(body.stack)
    assert factors(body.stack)["head.bias"] == (1.0 if net == "mlp" else 0.0)


def test_augmented_images_go_through_the_frozen_body(monkeypatch):
    tasks = [byte_image_task(0), byte_image_task(1)]
    plain = fit("crt", tasks, normed(), {"share": 0.5})
    moved = fit("crt", tasks, normed(), {"share": 0.5}, augment="crop_flip")
    monkeypatch.setitem(AUGMENTATIONS, "crop_flip", lambda batch, generators: batch)
    still = fit("crt", tasks, normed(), {"share": 0.5}, augment="crop_flip")
    for a, b, c in zip(plain, still, moved):
        torch.testing.assert_close(a.parameters["last"], b.parameters["last"], rtol=0, atol=1e-12)
        torch.testing.assert_close(a.parameters["best"], b.parameters["best"], rtol=0, atol=1e-12)
        assert not torch.allclose(views(a)["head.weight"], views(c)["head.weight"])


@pytest.mark.parametrize("n, size", [((90, 6), 16), ((90, 6, 3), 16), ((50, 0, 6), 8), ((9, 5, 4, 3, 2, 2), 4)])
def test_class_aware_batches_draw_equally_from_every_class(n, size):
    labels = torch.as_tensor(np.random.default_rng(0).permutation(np.repeat(np.arange(len(n)), n)))
    plan = class_aware(labels, size, torch.Generator().manual_seed(0))
    assert plan.shape == (math.ceil(sum(n) / size), size)
    rows = plan[plan >= 0]
    assert len(rows) == sum(n)
    drawn = torch.bincount(labels[rows], minlength=len(n))[torch.tensor(n) > 0]
    assert drawn.max() - drawn.min() <= 1
    for c, count in enumerate(n):
        uses = torch.bincount(rows, minlength=len(labels))[labels == c]
        assert count == 0 or uses.max() - uses.min() <= 1


def test_balanced_batches_of_fewer_rows_than_classes_are_balanced_on_average():
    labels = torch.as_tensor(np.repeat(np.arange(6), (9, 5, 4, 3, 2, 2)))
    plan = method("balanced_batches").sampler(labels, 4, torch.Generator().manual_seed(0))
    drawn = torch.bincount(labels[plan[plan >= 0]], minlength=6)
    assert drawn.max() - drawn.min() <= 1


def test_a_share_of_nearly_all_leaves_each_stage_of_crt_an_epoch():
    for share, stages in ((0.95, [4, 1]), (0.05, [1, 4])):
        (c,) = fit("crt", SEVERAL[:1], options={"share": 1 - share}, epochs=5)
        assert c.info["stage_epochs"] == stages


def test_crt_needs_two_epochs():
    with pytest.raises(BenchError, match="trainer.epochs=1 must be at least 2"):
        fit("crt", SEVERAL[:1], epochs=1)


def test_a_run_that_diverged_in_the_first_stage_stays_so():
    x = SEVERAL[0].train.x.copy()
    x[3] = np.nan
    bad = replace(SEVERAL[0], train=replace(SEVERAL[0].train, x=x))
    good, broken = fit("crt", [SEVERAL[2], bad], options={"share": 0.5})
    assert good.failure is None
    assert "at training epoch 1" in broken.failure
    (alone,) = fit("crt", SEVERAL[2:], options={"share": 0.5})
    torch.testing.assert_close(good.parameters["last"], alone.parameters["last"], rtol=0, atol=1e-12)


# Mixup and Remix


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_lambda_is_beta_distributed(alpha):
    generator = torch.Generator().manual_seed(0)
    drawn = np.array([mixup.beta(alpha, 1, generator).item() for _ in range(4000)])
    assert drawn.mean() == pytest.approx(0.5, abs=0.02)
    assert drawn.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.06)


def test_lambda_of_a_tiny_alpha_is_a_number_and_no_rows_draw_nothing():
    generator = torch.Generator().manual_seed(0)
    assert all(mixup.beta(1e-3, 2, generator).isfinite().all() for _ in range(200))
    before = generator.get_state()
    assert mixup.beta(1.0, 0, generator).shape == (0,)
    assert torch.equal(generator.get_state(), before)


def batch_of(sets, size, seed=0):
    """The last batch of an epoch: short, and of other lengths in other runs."""
    rows = Rows(sets, torch.device("cpu"), torch.float64)
    generators = [torch.Generator().manual_seed(seed + r) for r in range(len(sets))]
    return list(rows.epoch(lambda y, b, g: shuffled(len(y), b, g), size, generators))[-1]


@pytest.mark.parametrize("size, sizes", [(128, [89, 61, 122]), (32, [0, 0, 26])])
@pytest.mark.parametrize("label", ["mixup", "remix"])
def test_mixed_batches_by_hand(label, size, sizes):
    sets = [t.train for t in SEVERAL]
    batch = batch_of(sets, size)
    assert batch.sizes == sizes
    m = method(label)
    stack = Stack.create(lambda: backbone().build((4,), 3), [1, 2, 3], torch.device("cpu"), torch.float64)
    s = TrainState.of(sets, 3, 5, stack.flat)
    found = m.batch_loss(stack, batch, replace(s, generators=[torch.Generator().manual_seed(r) for r in range(3)]))
    for r, n in enumerate(batch.sizes):
        if not n:
            assert found[r] == 0
            continue
        generator = torch.Generator().manual_seed(r)
        partner = torch.randperm(n, generator=generator)
        share = mixup.beta(m.alpha, 1, generator).item()
        x, y = batch.x[r, :n], batch.y[r, :n]
        mixed = share * x + (1 - share) * x[partner]
        torch.nn.utils.vector_to_parameters(stack.flat[r].detach(), stack.module.parameters())
        nll = -stack.module(mixed).log_softmax(1)
        total, counts = 0.0, sets[r].y
        for i, j in enumerate(partner.tolist()):
            share_y, ratio = share, (counts == y[i].item()).sum() / (counts == y[j].item()).sum()
            if label == "remix" and ratio >= 3 and share < 0.5:
                share_y = 0.0
            elif label == "remix" and ratio <= 1 / 3 and 1 - share < 0.5:
                share_y = 1.0
            total += (share_y * nll[i, y[i]] + (1 - share_y) * nll[i, y[j]]).item()
        assert found[r].item() == pytest.approx(total / n, rel=1e-10)


def test_mixup_of_nothing_is_cross_entropy(monkeypatch):
    monkeypatch.setattr(mixup, "beta", lambda alpha, n, generator: torch.ones(n, dtype=torch.float64))
    for a, b in zip(fit("mixup", SEVERAL), fit("cross_entropy", SEVERAL)):
        torch.testing.assert_close(a.parameters["last"], b.parameters["last"], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "drawn, first, second, share",
    [
        (0.4, 300, 100, 0.0),  # three times as many rows, and less than half of it
        (0.5, 300, 100, 0.5),  # half of it
        (0.9, 300, 100, 0.9),
        (0.4, 299, 100, 0.4),  # not quite three times as many
        (0.6, 100, 300, 1.0),
        (0.5, 100, 300, 0.5),
        (0.1, 100, 300, 0.1),
        (0.6, 100, 299, 0.6),
        (0.1, 100, 100, 0.1),
        (0.9, 100, 100, 0.9),
    ],
)
def test_the_label_of_remix(drawn, first, second, share):
    counts = tensor([[[first, second]]])
    labels = torch.tensor([[0]]), torch.tensor([[1]])
    assert method("remix").label_share(tensor([[drawn]]), *labels, counts).item() == share
    assert method("remix", tau=0.0).label_share(tensor([[drawn]]), *labels, counts).item() == drawn
    assert method("mixup").label_share(tensor([[drawn]]), *labels, counts).item() == drawn


# Meta-Weight-Net


class SmallNet(Network):
    """A convolution with batch normalisation, smooth, so that differences of its loss converge."""

    def __init__(self, shape, classes, head="linear"):
        super().__init__(4, classes, head)
        self.conv, self.norm = torch.nn.Conv2d(shape[0], 4, 3, bias=False), BatchNorm(4)

    def embed(self, x):
        return torch.tanh(self.norm(self.conv(x))).mean((2, 3))

    def build(self, shape, classes, head="linear"):
        return SmallNet(shape, classes, head)


def weighing_of(tasks, net, **options):
    """A Meta-Weight-Net before its first step, its training and the two sets of each run."""
    m = method("meta_weight_net", **{"meta_lr": 0.0, "meta_momentum": 0.0, "meta_weight_decay": 0.0} | options)
    engine = Engine(trainer(precision="float64", batch_size=64, optimiser="sgd", lr=0.7), "cpu")
    training = engine.begin(m, tasks, net)
    metas, sets = zip(*(m.split(t, t.train) for t in tasks))
    return Weighing(m, training, metas), training, metas, sets


THETA = ("body.0.weight", "body.0.bias", "head.weight", "head.bias")


def outer_loss(module, start, theta, batch, meta, rate):
    """L^meta(ŵ(Θ)) of one run, Θ = (hidden weight (H, 1), bias (H,), output weight (1, H), bias (1,))."""
    w = {n: v.detach().requires_grad_() for n, v in start.items()}

    def per_sample(w, x, y):
        return F.cross_entropy(functional_call(module, w, (x,)), y, reduction="none")

    each = per_sample(w, *batch)
    hidden = torch.relu(each.detach()[:, None] @ theta[0].T + theta[1])
    v = torch.sigmoid(hidden @ theta[2].T + theta[3])[:, 0]
    gradients = torch.autograd.grad((v / v.sum() * each).sum(), list(w.values()), create_graph=True)
    ahead = {n: p - rate * g for (n, p), g in zip(w.items(), gradients)}
    return per_sample(ahead, *meta).mean()


@pytest.mark.parametrize("images", [False, True])
def test_the_meta_gradient_is_the_limit_of_differences(images):
    tasks = [byte_image_task(0), byte_image_task(1, (27, 14, 12))] if images else TAIL[:2]
    net = SmallNet((1, 8, 8), 3) if images else backbone(activation="tanh", hidden=[6])
    weighing, training, metas, sets = weighing_of(tasks, net, meta_per_class=3, hidden=5)
    stack = training.stack
    for p in weighing.vnet.params.values():  # a V-net that tells losses apart
        p.data.mul_(3)
    batch = batch_of(sets, 128)
    assert len(set(batch.sizes)) == 2
    start = {n: v.detach().clone() for n, v in stack.params.items()}
    with stack.attending(batch.sizes):
        weighing(stack, batch, TrainState.of(sets, 3, 5, stack.flat))
    module = net.build(tasks[0].train.x.shape[1:], 3).double().train()
    step = 1e-5
    for r, n in enumerate(batch.sizes):
        x = torch.as_tensor(metas[r].x).double() / (255 if images else 1)
        meta = x, torch.as_tensor(metas[r].y)  # a meta batch is the whole meta set: 3 rows a class
        data = batch.x[r, :n], batch.y[r, :n]
        gradients = weighing.vnet.views(weighing.vnet.grad)
        theta = [weighing.vnet.params[name][r].detach().clone() for name in THETA]
        found = [gradients[name][r] for name in THETA]
        own = {name: v[r] for name, v in start.items()}
        assert torch.cat([f.flatten() for f in found]).abs().max() > 1e-5
        for values, gradient in zip(theta, found):
            flat = values.view(-1)
            for k in range(flat.numel()):
                ends = []
                for sign in (1, -1):
                    flat[k] += sign * step
                    ends.append(outer_loss(module, own, theta, data, meta, 0.7).item())
                    flat[k] -= sign * step
                slope = (ends[0] - ends[1]) / (2 * step)
                assert gradient.flatten()[k].item() == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_steps_are_those_of_algorithm_1_with_plain_double_backward():
    """Full batches: three epochs are three steps."""
    t = TAIL[0]
    options = {"meta_lr": 0.5, "meta_momentum": 0.9, "meta_weight_decay": 1e-3, "meta_per_class": 4, "hidden": 7}
    settings = {"batch_size": 128, "epochs": 3, "lr": 0.3, "momentum": 0.9, "weight_decay": 1e-3}
    (found,) = fit("meta_weight_net", [t], backbone(), options, **settings)
    m = method("meta_weight_net", **options)
    meta, rows = ((torch.tensor(p.x).double(), torch.tensor(p.y)) for p in m.split(t, t.train))
    torch.manual_seed(t.seed)
    net = backbone().build((4,), 3).double()
    torch.manual_seed(derived(t.seed, META))
    vnet = torch.nn.Sequential(torch.nn.Linear(1, 7), torch.nn.ReLU(), torch.nn.Linear(7, 1), torch.nn.Sigmoid())
    vnet.double()
    descent = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9, weight_decay=1e-3)
    meta_descent = torch.optim.SGD(vnet.parameters(), lr=0.5, momentum=0.9, weight_decay=1e-3)
    history = []
    for _ in range(3):
        theta = [vnet[0].weight, vnet[0].bias, vnet[2].weight, vnet[2].bias]
        meta_descent.zero_grad()
        outer_loss(net, dict(net.named_parameters()), theta, rows, meta, 0.3).backward(inputs=theta)
        history.append(torch.cat([p.grad.flatten() for p in theta]).norm().item())
        meta_descent.step()
        each = F.cross_entropy(net(rows[0]), rows[1], reduction="none")
        v = vnet(each.detach()[:, None])[:, 0].detach()
        v /= v.sum()
        descent.zero_grad()
        (v * each).sum().backward()
        descent.step()
    for name, p in net.named_parameters():
        torch.testing.assert_close(views(found)[name], p.detach(), rtol=0, atol=1e-12)
    assert [h["vnet_gradient"] for h in found.history] == pytest.approx(history, rel=1e-9)
    # Of the last step: the mean weight of a sample, on a scale where one is no weighting.
    v = len(v) * v
    assert found.history[-1]["weight_minority"] == pytest.approx(v[rows[1] > 0].mean().item(), rel=1e-9)
    assert found.history[-1]["weight_majority"] == pytest.approx(v[rows[1] == 0].mean().item(), rel=1e-9)


def test_running_statistics_of_the_step_ahead_are_discarded():
    tasks = [byte_image_task(0), byte_image_task(1)]
    weighing, training, _, sets = weighing_of(tasks, normed(), meta_per_class=4)
    plain = Engine(trainer(precision="float64", batch_size=64), "cpu").begin(method("cross_entropy"), tasks, normed())
    for one, objective in ((training, weighing), (plain, None)):
        one.run(sets, 1, objective)
    assert plain.stack.buffers
    for name, buffer in plain.stack.buffers.items():
        torch.testing.assert_close(training.stack.buffers[name], buffer, rtol=1e-12, atol=0)


def test_the_meta_set_is_balanced_and_taken_out_of_the_training_part():
    t = task(0, (50, 30, 7))
    m = method("meta_weight_net", meta_per_class=10)
    meta, rows = m.split(t, t.train)
    assert np.bincount(meta.y).tolist() == [10, 10, 3]  # at most half of a class
    assert sorted([*meta.ids, *rows.ids]) == sorted(t.train.ids)
    np.testing.assert_array_equal(meta.x, t.train.x[np.isin(t.train.ids, meta.ids)])
    again, other = m.split(t, t.train)[0], m.split(replace(t, seed=t.seed + 1), t.train)[0]
    np.testing.assert_array_equal(meta.ids, again.ids)
    assert set(meta.ids.tolist()) != set(other.ids.tolist())
    (c,) = fit("meta_weight_net", [t], epochs=1)
    assert c.info["meta_counts"] == [10, 10, 3]
    assert c.info["fitted_counts"] == [40, 20, 4]
    np.testing.assert_array_equal(c.artifacts["meta_ids"], meta.ids)
    # A batch has as many rows of the small class as of the others.
    weighing, *_ = weighing_of([t], backbone())
    (labels,) = weighing.batches.rows.labels
    assert np.bincount(labels[weighing.batches.plans[0].next(1)[0]]).tolist() == [10, 10, 10]


def test_a_class_of_one_row_is_an_error():
    with pytest.raises(BenchError, match="fold 0 has 1 of class 2: choose a lower ratio"):
        fit("meta_weight_net", [task(0, (50, 30, 1))])


def test_weights_are_learned_in_every_kth_step_of_a_run():
    weighing, training, _, sets = weighing_of(TAIL, backbone(), meta_every=3)
    training.trainers = [replace(t, batch_size=16) for t in training.trainers]
    training.run(sets, 2, weighing)
    for r, rows in enumerate(sets):
        steps = 2 * math.ceil(len(rows) / 16)
        assert sum(s[r, 1] for s in weighing.sums.values()) == math.ceil(steps / 3)


def test_losses_that_weigh_alike_are_cross_entropy():
    """A V-net whose output does not depend on the loss, and never learns, weighs all samples alike."""
    weighing, training, _, sets = weighing_of(TAIL, backbone())
    for p in weighing.vnet.params.values():
        p.data.zero_()
    engine = Engine(trainer(precision="float64", batch_size=64, optimiser="sgd", lr=0.7), "cpu")
    plain = engine.begin(method("cross_entropy"), TAIL, backbone())
    for one, objective in ((training, weighing), (plain, None)):
        one.run(sets, 3, objective)
    torch.testing.assert_close(training.stack.flat, plain.stack.flat, rtol=0, atol=1e-12)


def test_what_cannot_be_differentiated_twice_is_an_error():
    with pytest.raises(BenchError, match="trainer.compile=false"):
        fit("meta_weight_net", TAIL, compile=True)


# All together

LABELS = [
    "class_balanced", "class_balanced_focal", "balanced_softmax", "logit_adjustment", "logit_adjustment_loss", "crt",
    "tau_norm", "tau_norm_selected", "mixup", "remix", "meta_weight_net",
]  # fmt: skip
OPTIONS = {"meta_weight_net": {"meta_lr": 0.1, "meta_every": 2}, "crt": {"share": 0.5}}


def assert_independent(label, tasks, **settings):
    together = fit(label, tasks, options=OPTIONS.get(label), **settings)
    for t, joint in zip(tasks, together):
        (alone,) = fit(label, [t], options=OPTIONS.get(label), **settings)
        assert alone.readouts == joint.readouts
        for readout in joint.readouts:
            np.testing.assert_allclose(alone.scores(t.valid.x, readout), joint.scores(t.valid.x, readout), atol=1e-12)
        for a, b in zip(alone.history, joint.history, strict=True):
            assert a == pytest.approx(b, rel=1e-9)


@pytest.mark.parametrize("tasks", [BINARY, TAIL], ids=["binary", "several"])
@pytest.mark.parametrize("label", LABELS)
def test_a_run_does_not_depend_on_which_runs_it_is_trained_with(label, tasks):
    if method(label).declines(tasks[0]) is None:
        assert_independent(label, tasks)


@pytest.mark.parametrize("label", ["crt", "mixup", "meta_weight_net"])
def test_nor_do_images_that_are_augmented_under_batch_normalisation(label):
    tasks = [byte_image_task(0), byte_image_task(1, (27, 14, 12))]
    assert_independent(label, tasks, net=normed(), augment="crop_flip", epochs=2, batch_size=24)


@pytest.mark.parametrize("label", ["class_balanced_focal", "logit_adjustment", "tau_norm", "mixup", "remix"])
def test_one_run_after_the_other_through_torch_optim_gives_the_same(label):
    for a, b in zip(fit(label, TAIL), fit(label, TAIL, backend="sequential")):
        np.testing.assert_allclose(a.scores(TAIL[0].valid.x), b.scores(TAIL[0].valid.x), atol=1e-12)


@pytest.mark.parametrize(
    "label, options",
    [
        ("class_balanced", {"beta": 1.0}),
        ("class_balanced", {"gamma": -1.0}),
        ("logit_adjustment", {"tau": -1.0}),
        ("tau_norm", {"tau": -0.1}),
        ("crt", {"share": 1.0}),
        ("mixup", {"alpha": 0.0}),
        ("remix", {"kappa": 0.5}),
        ("remix", {"tau": 1.5}),
        ("meta_weight_net", {"meta_every": 0}),
        ("meta_weight_net", {"meta_lr": -1.0}),
    ],
)
def test_nonsense_is_an_error_that_names_the_override(label, options):
    (key,) = options
    with pytest.raises(BenchError, match=f"method.{key}="):
        method(label, **options)


# Images of bytes in methods that compute with features


@pytest.mark.parametrize("label", ["smote", "borderline_smote", "adasyn"])
def test_bytes_are_interpolated_as_numbers(label):
    t = byte_image_task(0, (40, 14, 12), size=2)
    options = {"m_neighbors": 5} if label == "borderline_smote" else {}
    rows = method(label, **options).resample(t, t.train)
    floats = replace(t, train=Part(t.train.x.astype(np.float32), t.train.y, t.train.ids))
    expected = method(label, **options).resample(floats, floats.train)
    assert rows.x.dtype == np.uint8
    np.testing.assert_array_equal(rows.x, np.rint(expected.x))
    assert (rows.ids == -1).sum() > 10


def test_a_point_between_dark_and_bright_is_grey():
    x = np.array([10, 240, 12, 238, 11, 239, *[128] * 20], np.uint8).reshape(-1, 1, 1, 1)
    t = replace(byte_image_task(0), train=Part(x, np.repeat([1, 0], [6, 20]), np.arange(26)), classes=2)
    made = method("smote", k_neighbors=5, amount="balanced").resample(t, t.train).x[26:].ravel()
    assert made.min() >= 10
    assert made.max() <= 240
    assert ((made > 60) & (made < 200)).any()


def test_random_over_sampling_copies_bytes():
    t = byte_image_task()
    rows = method("random_oversampling").resample(t, t.train)
    assert rows.x.dtype == np.uint8
    assert {x.tobytes() for x in rows.x} == {x.tobytes() for x in t.train.x}


@pytest.mark.parametrize("label", ["explicit_gradient", "explicit_gradient_retrain", "explicit_gradient_eta2_0"])
def test_synthetic_images_move_as_numbers(label):
    t = byte_image_task()

    def numbers(part):
        return replace(part, x=part.x / np.float32(255))

    floats = replace(t, train=numbers(t.train), valid=numbers(t.valid))
    net, options = backbone("lenet_small", kernel=2, conv=[3, 4], hidden=[12, 8]), {"meta_epochs": 3}
    (a,), (b,) = (fit(label, [one], net, options, precision="float32") for one in (t, floats))
    np.testing.assert_allclose(a.scores(t.valid.x), b.scores(floats.valid.x), atol=1e-4)
    assert a.info["synthetic"]["moved_max"] == pytest.approx(b.info["synthetic"]["moved_max"], rel=1e-3)
    assert (a.info["synthetic"]["moved_max"] > 0) == (label != "explicit_gradient_eta2_0")


def test_running_statistics_follow_the_training_batches_of_explicit_gradient():
    for options in ({}, {"eta2": 0.0}):
        (plain,) = fit("cross_entropy", [byte_image_task()], SmallNet((1, 8, 8), 3))
        (c,) = fit("explicit_gradient", [byte_image_task()], SmallNet((1, 8, 8), 3), {"meta_epochs": 2} | options)
        assert not torch.equal(views(c)["norm.running_mean"], views(plain)["norm.running_mean"])


def test_trees_of_bytes_are_trees_of_numbers():
    t = byte_image_task(0, (40, 14))
    floats = replace(t, **{k: replace(getattr(t, k), x=getattr(t, k).x.astype(np.float32)) for k in ("train", "valid")})
    options = {"random_steps": 5, "learned_steps": 5, "learners": 3, "hidden": 8, "batch_size": 8}
    (a,), (b,) = (fit("mesa", [one], options=options) for one in (t, floats))
    np.testing.assert_array_equal(a.scores(t.valid.x), b.scores(floats.valid.x))
