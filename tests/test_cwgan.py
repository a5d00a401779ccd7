"""cWGAN: the penalty's closed form, what it makes, and that a run does not depend on its neighbours."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from imbalance_bench.data.base import Part
from imbalance_bench.engine import Engine, graph
from imbalance_bench.engine.stack import Stack
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.cwgan.gan import DeepCross, GANs, conditions, gradient_penalty
from imbalance_bench.methods.cwgan.method import UnitScale
from tests.tasks import backbone, image_task, method, task, trainer

QUICK = {
    "epochs": 2, "batch_size": 32, "ac_epochs": 2, "noise_dim": 5,
    "generator_hidden": [12, 8], "generator_tail": 6, "critic_hidden": [12, 8], "ac_hidden": [8, 8],
}  # fmt: skip


def gans(tasks, precision="float64", where="cpu", **options):
    engine = Engine(trainer(precision=precision), where)
    out = GANs(method("cwgan", **QUICK | options), tasks, [UnitScale.of(t.train).apply(t.train) for t in tasks], engine)
    out.train()
    return out


def fit(tasks, **options):
    engine = Engine(trainer(epochs=2), "cpu")
    return method("cwgan", **QUICK | options).fit(tasks, backbone(), engine)


@pytest.mark.parametrize("sizes", [[(90, 15)], [(90, 15), (60, 12), (33, 20)], [(50, 14), (50, 14)]])
def test_steps_over_fixed_buffers_are_those_of_the_loop(sizes, monkeypatch):
    """Sets of unequal length, whose last batches are short or which have none there; 15 epochs."""
    tasks = [task(s, n) for s, n in enumerate(sizes)]
    eager = gans(tasks, epochs=15)
    monkeypatch.setattr(graph, "wanted", lambda *_: True)
    fixed = gans(tasks, epochs=15)
    for ours, theirs in ((fixed.critic, eager.critic), (fixed.generator, eager.generator)):
        torch.testing.assert_close(ours.flat, theirs.flat, rtol=0, atol=1e-10)
    for ours, theirs in zip(fixed.monitor.history, eager.monitor.history, strict=True):
        for new, old in zip(ours, theirs, strict=True):
            assert new == pytest.approx(old, abs=1e-9)
    made = [g.sample(0, 1, 5) for g in (fixed, eager)]
    np.testing.assert_allclose(*made, atol=1e-9)


def test_the_penalty_of_a_linear_critic_is_its_closed_form():
    w = torch.tensor([[[3.0], [4.0]], [[0.3], [-0.4]]], dtype=torch.float64).requires_grad_()
    real, fake = torch.randn(2, 2, 5, 2, dtype=torch.float64).unbind(0)
    mix = torch.rand(2, 5, 1, dtype=torch.float64)
    penalty = gradient_penalty(lambda x: x @ w + 7, real, fake, mix)
    expected = torch.tensor([[16.0], [0.25]], dtype=torch.float64).expand(2, 5)  # (‖w‖ - 1)² for ‖w‖ = 5 and 0.5
    torch.testing.assert_close(penalty, expected)
    # Its derivative, which the critic's step needs: 2 (‖w‖ - 1) w / ‖w‖.
    (gradient,) = torch.autograd.grad(penalty.mean(1).sum(), w)
    norms = w.detach().norm(dim=1, keepdim=True)
    torch.testing.assert_close(gradient, 2 * (norms - 1) * w.detach() / norms)


def test_the_penalty_is_taken_between_real_and_fake():
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.square().sum(-1, keepdim=True)

    real, fake, mix = torch.ones(1, 3, 2), torch.zeros(1, 3, 2), torch.tensor([0.0, 0.25, 1.0]).view(1, 3, 1)
    penalty = gradient_penalty(critic, real, fake, mix)
    torch.testing.assert_close(seen[0][0, :, 0], torch.tensor([0.0, 0.25, 1.0]))
    norms = 2 * 2**0.5 * torch.tensor([[0.0, 0.25, 1.0]])
    torch.testing.assert_close(penalty, (norms - 1).square(), atol=1e-5, rtol=0)


def test_deep_cross_is_what_plain_layers_compute():
    stack = Stack.create(
        lambda: DeepCross(5, [7, 6], 2, 3, norm=True, tail=4), [0, 1], torch.device("cpu"), torch.float64
    )
    x = torch.randn(2, 9, 5, dtype=torch.float64)
    out = stack(x)
    for r in range(2):
        net = stack.module
        torch.nn.utils.vector_to_parameters(stack.flat[r].detach().clone(), net.parameters())
        leaky = torch.nn.functional.leaky_relu
        h = leaky(net.norms[0](net.deep[1](leaky(net.deep[0](x[r])))))
        crossed = x[r]
        for w, b in zip(net.cross, net.bias):
            crossed = torch.stack([x0 * (xl @ w) + b + xl for x0, xl in zip(x[r], crossed)])
        torch.testing.assert_close(out[r], net.head(leaky(net.tail(torch.cat([h, crossed], 1)))))


def test_training_is_what_a_plain_loop_with_torch_optim_computes():
    """One run, module by module: the same draws, ordinary layers, .backward() and torch.optim.Adam."""
    t = task(0, (61, 9))
    options = {"epochs": 1, "input_noise": 0.3, "ac_weight": 0.5, "ac_floor": 0.7}  # a floor that cuts some, not all
    m = method("cwgan", **QUICK | options)
    part = UnitScale.of(t.train).apply(t.train)
    stacked = GANs(m, [t], [part], Engine(trainer(precision="float64"), "cpu"))
    nets = {}
    for name in ("generator", "critic", "auxiliary"):
        stack = getattr(stacked, name)
        nets[name] = stack.module
        torch.nn.utils.vector_to_parameters(stack.flat[0].detach().clone(), nets[name].parameters())
    rng = torch.Generator()
    rng.set_state(stacked.generators[0].get_state())
    stacked.train()

    def call(name, *columns):
        net, x = nets[name], torch.cat(columns, 1)
        h, crossed, leaky = x, x, torch.nn.functional.leaky_relu
        for i, layer in enumerate(net.deep):
            h = leaky(net.norms[i - 1](layer(h)) if net.norms is not None and i else layer(h))
        for w, b in zip(net.cross, net.bias):
            crossed = x * (crossed @ w)[:, None] + b + crossed
        h = torch.cat([h, crossed], 1)
        return net.head(h if net.tail is None else leaky(net.tail(h)))

    x, y = torch.as_tensor(part.x).double(), torch.as_tensor(part.y)
    rates = {"generator": m.lr, "critic": m.lr, "auxiliary": m.ac_lr}
    adam = {name: torch.optim.Adam(net.parameters(), rates[name], m.betas) for name, net in nets.items()}
    cut = []

    def draw(rows, normals):
        uniform = torch.empty(m.batch_size, m.noise_dim + 1, dtype=torch.float64).uniform_(generator=rng)[: len(rows)]
        normal = torch.empty(normals, m.batch_size, 4, dtype=torch.float64).normal_(0, m.input_noise, generator=rng)
        return uniform[:, 1:], uniform[:, :1], normal[:, : len(rows)], (2.0 * y[rows] - 1)[:, None].double()

    def move(name, loss):
        for optimiser in adam.values():
            optimiser.zero_grad()
        loss.backward()
        adam[name].step()

    for _ in range(m.ac_epochs):
        for rows in torch.randperm(len(y), generator=rng).split(m.batch_size):
            move("auxiliary", torch.nn.functional.cross_entropy(call("auxiliary", x[rows]), y[rows]))
    for s, rows in enumerate(torch.randperm(len(y), generator=rng).split(m.batch_size)):
        z, mix, normal, label = draw(rows, 3)
        fake = call("generator", z, label).detach()
        between = (mix * x[rows] + (1 - mix) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(call("critic", between + normal[2], label).sum(), between, create_graph=True)
        penalty = ((slope.norm(dim=1) - 1) ** 2).mean()
        of_real, of_fake = (call("critic", v + n, label).mean() for v, n in zip((x[rows], fake), normal))
        move("critic", of_fake - of_real + m.penalty_weight * penalty)
        if s % m.critic_steps == 0:
            z, _, normal, label = draw(rows, 1)
            fake = call("generator", z, label)
            g = -call("critic", fake + normal[0], label).mean()
            each = torch.nn.functional.cross_entropy(call("auxiliary", fake), y[rows], reduction="none")
            cut.append((each < m.ac_floor).double().mean().item())
            move("generator", g + m.ac_weight * g.abs().item() * each.clamp(min=m.ac_floor).mean())
    assert len(y) % m.batch_size and 0 < cut[0] < 1
    for name, net in nets.items():
        plain = torch.nn.utils.parameters_to_vector(net.parameters())
        torch.testing.assert_close(plain, getattr(stacked, name).flat[0], rtol=0, atol=1e-9)


def test_conditions():
    assert conditions(torch.tensor([0, 1]), 2, torch.float32).tolist() == [[-1], [1]]
    assert conditions(torch.tensor([2, 0]), 3, torch.float32).tolist() == [[-1, -1, 1], [1, -1, -1]]


def test_a_run_does_not_depend_on_which_runs_it_is_trained_with():
    """Runs of different lengths, so with other last batches and other numbers of steps."""
    tasks = [task(0, (90, 15)), task(1, (61, 9)), task(2, (200, 30))]
    earlier, together = gans(tasks, epochs=1), gans(tasks, epochs=10)
    for r, t in enumerate(tasks):
        alone = gans([t], epochs=10)
        for name in ("critic", "generator", "auxiliary"):
            one, joint = getattr(alone, name).flat[0], getattr(together, name).flat[r]
            torch.testing.assert_close(one, joint, rtol=0, atol=1e-9)
            if name != "auxiliary":
                assert (joint - getattr(earlier, name).flat[r]).abs().max() > 1e-4
        np.testing.assert_allclose(alone.sample(0, 1, 4), together.sample(r, 1, 4), rtol=0, atol=1e-9)


@pytest.mark.slow
def test_the_generator_makes_rows_of_the_class_it_is_told():
    centres = np.array([[0.2, 0.8], [0.8, 0.2]])
    y = np.repeat([0, 1], [200, 160])
    x = (centres[y] + 0.03 * np.random.default_rng(0).normal(size=(360, 2))).astype(np.float32)
    tasks = [dataclasses.replace(task(seed), train=Part(x, y, np.arange(360))) for seed in range(2)]
    # A light penalty and a higher rate: the authors' settings need thousands of steps to settle.
    quick = {"epochs": 150, "lr": 1e-3, "penalty_weight": 1.0, "generator_cross": 0, "critic_cross": 0}
    wide = {"generator_hidden": [32, 32], "generator_tail": 16, "critic_hidden": [32, 32]}
    out = gans(tasks, "float32", **quick, **wide)
    for r, t in enumerate(tasks):
        for c in (0, 1):
            made = UnitScale.of(t.train).undo(out.sample(r, c, 200), t.train)
            np.testing.assert_allclose(made.mean(0), centres[c], atol=0.15)
            assert (np.linalg.norm(made[:, None] - centres, axis=2).argmin(1) == c).mean() > 0.95


@pytest.mark.parametrize(
    "n,amount,fitted",
    [
        ((90, 15), "doubled", [90, 30]),
        ((90, 15), "balanced", [90, 90]),
        ((50, 20, 8), "doubled", [50, 40, 16]),
        ((50, 20, 8), "balanced", [50, 50, 50]),
    ],
)
def test_every_class_but_the_largest_is_filled_up(n, amount, fitted):
    (classifier,) = fit([task(0, n)], amount=amount)
    assert classifier.failure is None
    assert classifier.info["fitted_counts"] == fitted
    assert classifier.info["synthetic"]["rows"] == sum(fitted) - sum(n)
    assert np.isfinite(classifier.info["synthetic"]["distance_max"])
    assert classifier.artifacts["gan_critic_loss"].shape == (2,)
    scores = classifier.scores(task(5, n).train.x)
    np.testing.assert_allclose(np.exp(scores).sum(1), 1, rtol=1e-5)


def test_images_keep_their_shape():
    (classifier,) = fit([image_task()])
    assert classifier.info["fitted_counts"] == [30, 28, 24]
    assert classifier.scores(image_task(1).train.x).shape == (56, 3)


def test_the_same_seed_gives_the_same_bits():
    first, second = fit([task(0), task(1)]), fit([task(0), task(1)])
    assert all(torch.equal(a.parameters["last"], b.parameters["last"]) for a, b in zip(first, second))


def test_columns_are_scaled_to_the_unit_interval_and_back():
    part = Part(np.array([[1, 5], [3, 5], [2, 5]], np.float32), np.zeros(3, int), np.arange(3))
    scale = UnitScale.of(part)
    assert scale.apply(part).x.tolist() == [[0, 0], [1, 0], [0.5, 0]]
    np.testing.assert_allclose(scale.undo(scale.apply(part).x, part), part.x)


def test_a_diverged_gan_fails_its_run_and_no_other():
    bad = task(1)
    bad.train.x[3] = np.nan
    one, two = fit([task(0), bad])
    assert one.failure is None
    assert "critic_loss is nan at GAN epoch 1" in two.failure
    assert two.info["fitted_counts"] == two.info["train_counts"]


def test_a_class_of_one_row_is_an_error_that_names_the_way_out():
    with pytest.raises(BenchError, match="at least 2 rows .* fold 0 has 1 of class 1: choose a lower ratio"):
        fit([task(0, (40, 1))])


def test_bad_options_are_errors():
    with pytest.raises(BenchError, match="method.critic_steps=0 must be a whole number, at least 1"):
        method("cwgan", critic_steps=0)
    with pytest.raises(BenchError, match="method.amount='tripled' must be one of doubled, balanced"):
        method("cwgan", amount="tripled")
