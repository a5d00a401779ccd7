"""Networks for images: parameter counts, shapes, starts, and the same numbers one by one and as a stack."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from imbalance_bench.backbones.network import BatchNorm, Dropout
from imbalance_bench.engine.stack import Stack
from imbalance_bench.errors import BenchError
from tests.tasks import backbone

# Each network at the smallest size that shows everything it does: label, options, image.
SMALL = {
    "lenet": ("lenet_small", {"conv": [3, 4], "hidden": [7, 5]}, (1, 17, 18)),
    "keras_cnn": ("keras_cnn", {}, (3, 10, 11)),
    "resnet_v1": ("resnet20", {"depth": 8}, (3, 9, 8)),
    "resnet_v2": ("resnet20_v2", {"depth": 11}, (3, 9, 8)),
}


def small(name: str, classes: int = 10, head: str = "linear", seed: int = 0) -> nn.Module:
    label, options, shape = SMALL[name]
    torch.manual_seed(seed)
    return backbone(label, **options).build(shape, classes, head).double()


def images(name: str, n: int = 4, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, *SMALL[name][2], generator=generator, dtype=torch.float64)


def state(net):
    """What training changes besides parameters."""
    return {name: buffer for name, buffer in net.named_buffers() if not name.endswith(".rows")}


def sizes(label: str, shape: tuple[int, ...] = (3, 32, 32), classes: int = 10) -> tuple[int, int, nn.Module]:
    """Parameters, buffers (but the row counts of batch norms), and the network, which takes up no memory."""
    with torch.device("meta"):
        net = backbone(label).build(shape, classes)
    return sum(p.numel() for p in net.parameters()), sum(b.numel() for b in state(net).values()), net


def layers(net: nn.Module, kind: type) -> list:
    return [m for m in net.modules() if isinstance(m, kind)]


# Parameter counts


@pytest.mark.parametrize(
    "label, shape, by_hand",
    [
        # 28 → 24 → 12 → 8 → 4 pixels a side, 32 → 28 → 14 → 10 → 5, 96 → 92 → 46 → 42 → 21
        ("lenet_small", (1, 28, 28), [6 * 26, 16 * 151, (16 * 16 + 1) * 400, 401 * 120, 121 * 10]),
        ("lenet_small", (3, 32, 32), [6 * 76, 16 * 151, (16 * 25 + 1) * 400, 401 * 120, 121 * 10]),
        ("lenet_large", (3, 32, 32), [20 * 76, 50 * 501, (50 * 25 + 1) * 500, 501 * 120, 121 * 10]),
        ("lenet_large", (3, 96, 96), [20 * 76, 50 * 501, (50 * 441 + 1) * 500, 501 * 120, 121 * 10]),
    ],
)
def test_lenet_has_as_many_parameters_as_counted_by_hand(label, shape, by_hand):
    parameters, buffers, net = sizes(label, shape)
    assert (parameters, buffers) == (sum(by_hand), 0)
    assert sum(p.numel() for p in net.head.parameters()) == by_hand[-1]


def test_the_keras_cnn_has_the_1_250_858_parameters_that_keras_prints():
    parameters, buffers, net = sizes("keras_cnn")
    assert parameters == 1_250_858
    assert buffers == len(layers(net, Dropout)) == 3  # what their noise is hashed from
    assert [layer.p for layer in layers(net, Dropout)] == [0.25, 0.25, 0.5]


@pytest.mark.parametrize(
    "label, exact, printed",
    [
        ("resnet20", 269_722, "0.27"),
        ("resnet32", 464_154, "0.46"),
        ("resnet56", 853_018, "0.85"),
        ("resnet110", 1_727_962, "1.7"),
    ],
)
def test_resnet_v1_has_the_published_number_of_parameters(label, exact, printed):
    """He et al. (2016), Table 6: in millions."""
    parameters, buffers, net = sizes(label)
    assert parameters == exact
    assert f"{parameters / 1e6:.2f}".startswith(printed)
    assert buffers == 2 * sum(m.weight.numel() for m in layers(net, BatchNorm))
    depth = int(label.removeprefix("resnet"))
    assert len(layers(net, nn.Conv2d)) + len(layers(net, nn.Linear)) == depth


@pytest.mark.parametrize("label, keras", [("resnet20_v2", 574_090), ("resnet56_v2", 1_673_738)])
def test_resnet_v2_has_what_keras_counts_less_the_biases_of_convolutions(label, keras):
    parameters, buffers, net = sizes(label)
    convolutions = layers(net, nn.Conv2d)
    assert parameters + buffers + sum(c.out_channels for c in convolutions) == keras
    projections = 3  # Keras's depth does not count the shortcuts' convolutions
    depth = int(label.removeprefix("resnet").removesuffix("_v2"))
    assert len(convolutions) - projections + 1 == depth


# What the networks compute


@pytest.mark.parametrize(
    "label, shape, features",
    [
        ("lenet_small", (1, 28, 28), 120),
        ("lenet_large", (3, 32, 32), 120),
        ("lenet_large", (3, 96, 96), 120),
        ("keras_cnn", (1, 28, 28), 512),
        ("keras_cnn", (3, 32, 32), 512),
        ("resnet20", (1, 28, 28), 64),
        ("resnet20", (3, 96, 96), 64),
        ("resnet20_v2", (3, 32, 32), 256),
    ],
)
def test_every_network_takes_the_papers_images(label, shape, features):
    with torch.device("meta"):
        net, x = backbone(label).build(shape, 10), torch.empty(2, *shape)
        assert net(x, "embed").shape == (2, features)
        assert net(x).shape == (2, 10)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_reach_every_parameter(name):
    net, x = small(name), images(name, 8)
    net(x).logsumexp(1).sum().backward()
    for key, p in net.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 1e-8, key


@pytest.mark.parametrize("name", SMALL)
def test_training_changes_running_statistics_and_noise_only(name):
    net, x = small(name), images(name)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    first, second = net(x), net(x)
    changed = {k for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == set(state(net))
    assert torch.equal(first, second) == (name != "keras_cnn")  # dropout draws anew at each pass
    net.load_state_dict(before)
    assert torch.equal(net(x), first)


def test_pooling_before_the_relu_is_the_relu_before_pooling():
    net, x = small("lenet"), images("lenet")
    one, two, three, four = (m for m in net.body if isinstance(m, (nn.Conv2d, nn.Linear)))
    h = F.max_pool2d(torch.relu(two(F.max_pool2d(torch.relu(one(x)), 2))), 2).flatten(1)
    torch.testing.assert_close(net(x), net.head(torch.relu(four(torch.relu(three(h))))))


def test_a_block_that_halves_the_image_skips_pixels_and_pads_channels_with_zeros():
    """Option A of He et al. (2016), Section 3.3: with the residual at zero, the shortcut is all."""
    block = backbone("resnet20").build((3, 8, 8), 10).body[6]
    x = torch.rand(2, 16, 8, 8)
    nn.init.zeros_(block.residual[-1].weight)
    out = block(x)
    assert out.shape == (2, 32, 4, 4)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert out[:, :8].abs().max() == out[:, 24:].abs().max() == 0


def test_resnet_v2_starts_with_a_convolution_that_nothing_goes_before():
    """The first block gets the ReLU of the first convolution; the others begin with their own normalisation."""
    blocks = [m for m in backbone("resnet56_v2").build((3, 8, 8), 10).body if hasattr(m, "residual")]
    assert [isinstance(b.residual[0], nn.Conv2d) for b in blocks] == [True] + [False] * 17
    assert [isinstance(b.shortcut, nn.Conv2d) for b in blocks] == [i % 6 == 0 for i in range(18)]
    strides = [[c.stride[0] for c in layers(b.residual, nn.Conv2d)] for b in blocks]
    assert strides == [[2, 1, 1] if i in (6, 12) else [1, 1, 1] for i in range(18)]


def test_a_bias_before_batch_normalisation_would_do_nothing():
    """Why version 2 has none, where Keras has."""
    net, x = small("resnet_v2"), images("resnet_v2")
    expected = net(x)
    for layer in layers(net, nn.Conv2d):
        layer.bias = nn.Parameter(torch.randn(layer.out_channels, dtype=torch.float64))
    torch.testing.assert_close(net(x), expected)


# Starts


def test_the_keras_cnn_starts_glorot_uniform_with_biases_of_zero():
    torch.manual_seed(0)
    net = backbone("keras_cnn").build((3, 16, 16), 10)
    for layer in layers(net, nn.Conv2d) + layers(net, nn.Linear):
        area = layer.weight[0, 0].numel()
        limit = (6 / (area * (layer.weight.shape[0] + layer.weight.shape[1]))) ** 0.5
        assert 0.97 * limit < layer.weight.abs().max() <= limit
        assert layer.bias.abs().max() == 0


@pytest.mark.parametrize("label, cut_off", [("resnet20", False), ("resnet20_v2", True)])
def test_resnets_start_with_weights_of_variance_2_over_fan_in(label, cut_off):
    torch.manual_seed(0)
    net = backbone(label).build((3, 32, 32), 100)
    for layer in layers(net, nn.Conv2d) + layers(net, nn.Linear):
        weight = layer.weight.detach() * (layer.weight[0].numel() / 2) ** 0.5
        assert weight.std().item() == pytest.approx(1, rel=0.02 if weight.numel() > 20_000 else 0.1)
        if weight.numel() > 20_000:
            assert (weight.abs().max().item() <= 2 / 0.8796) == cut_off


def test_running_statistics_follow_at_the_pace_of_their_framework():
    for label, momentum, eps in (("resnet20", 0.1, 1e-5), ("resnet20_v2", 0.01, 1e-3)):
        norms = layers(backbone(label).build((3, 8, 8), 10), BatchNorm)
        assert {(m.momentum, m.eps) for m in norms} == {(momentum, eps)}


# Errors


@pytest.mark.parametrize(
    "label, shape, message",
    [
        ("lenet_small", (1, 15, 28), "lenet needs images of at least 16 x 16 pixels, but those of this dataset have"),
        ("keras_cnn", (3, 9, 9), "backbone=keras_cnn needs images of at least 10 x 10 pixels"),
        ("lenet_small", (64,), "backbone=lenet takes images (channels, height, width), but the rows of this dataset"),
        ("keras_cnn", (64,), "backbone=keras_cnn takes images"),
        ("resnet20", (64,), "backbone=resnet takes images"),
    ],
)  # fmt: skip
def test_images_that_a_network_cannot_take_are_an_error_that_says_so(label, shape, message):
    with pytest.raises(BenchError, match=re.escape(message)):
        backbone(label).build(shape, 10)


def test_the_smallest_images_that_are_said_to_do_do():
    for label, side in (("lenet_small", 16), ("keras_cnn", 10), ("resnet20", 1), ("resnet20_v2", 1)):
        with torch.device("meta"):
            assert backbone(label).build((1, side, side), 3)(torch.empty(2, 1, side, side)).shape == (2, 3)


@pytest.mark.parametrize(
    "label, options, message",
    [
        ("resnet20_v2", {"depth": 32}, "depth=32: backbone.version=2 has the depths 9n + 2 (nearest: 29, 38)"),
        ("resnet20", {"depth": 21}, "backbone.depth=21: backbone.version=1 has the depths 6n + 2 (nearest: 20, 26)"),
        ("resnet20", {"depth": 2}, "(nearest: 8, 14)"),
        ("resnet20", {"version": 3}, "backbone.version=3 must be one of 1, 2"),
        ("lenet_small", {"conv": [6]}, "backbone.conv=[6] must be a list of 2 whole numbers, each at"),
        ("lenet_small", {"hidden": [400, 0]}, "backbone.hidden=[400, 0] must be a list of 2 whole numbers, each at"),
        ("lenet_small", {"kernel": 0}, "backbone.kernel=0 must be a whole number, at least 1"),
    ],
)  # fmt: skip
def test_options_that_make_no_network_are_errors_that_name_them(label, options, message):
    with pytest.raises(BenchError, match=re.escape(message)):
        backbone(label, **options)


# As a stack

STEPS, LR = 2, 0.1


def loss_of(logits: torch.Tensor) -> torch.Tensor:
    """A mean over the batch, (..., n, C) → a sum over the rest."""
    return (logits.logsumexp(-1) - logits[..., 0]).mean(-1).sum()


def train_module(net: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Logits of steps of gradient descent on batches (STEPS, n, ...)."""
    outputs = []
    for batch in x:
        net.zero_grad()
        outputs.append(net(batch))
        loss_of(outputs[-1]).backward()
        with torch.no_grad():
            for p in net.parameters():
                p.sub_(LR * p.grad)
    return outputs


def train_stack(stack: Stack, x: torch.Tensor) -> list[torch.Tensor]:
    """The same for batches (STEPS, R, n, ...)."""
    outputs = []
    for batch in x:
        outputs.append(stack(batch))
        stack.backward(loss_of(outputs[-1]))
        with torch.no_grad():
            stack.weights.sub_(LR * stack.grad)
    return outputs


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_three_networks_in_a_stack_are_three_networks(name, channels_last):
    """Together (torch.func.vmap) and each in a stack of its own: logits in training, what the gradients and the running
    statistics lead to, logits and embeddings in evaluation."""
    label, options, shape = SMALL[name]

    def build() -> nn.Module:
        return backbone(label, **options).build(shape, 3)

    def stack_of(seeds: list[int]) -> Stack:
        return Stack.create(build, seeds, torch.device("cpu"), torch.float64, channels_last=channels_last)

    def same(a: torch.Tensor, b: torch.Tensor) -> None:
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)

    seeds = [3, 1, 2]
    x = torch.stack([torch.stack([images(name, seed=10 * s + r) for r in seeds]) for s in range(STEPS)])
    together, alone = stack_of(seeds), [stack_of([s]) for s in seeds]
    trained = train_stack(together, x)
    for r, seed in enumerate(seeds):
        torch.manual_seed(seed)
        net = build().double()
        expected = train_module(net, x[:, r])
        places = ((together, r, trained), (alone[r], 0, train_stack(alone[r], x[:, r : r + 1])))
        for stack, row, outputs in places:
            for a, b in zip(outputs, expected):
                same(a[row], b)
            now = stack.views(stack.flat.detach())
            for key, value in net.state_dict().items():
                same(now[key][row], value)
        net.eval()
        for stack, row, _ in places:
            same(stack.predict(stack.flat[row].detach(), x[0, r]), net(x[0, r]))
            same(stack.predict(stack.flat[row].detach(), x[0, r], "embed"), net(x[0, r], "embed"))
        net.train()


def test_dropout_keeps_its_share_and_looks_random():
    torch.manual_seed(3)
    layer, x = Dropout(0.25), torch.ones(400, 500)
    first, second = layer(x), layer(x)
    kept = (first > 0).float()
    assert first.unique().tolist() == pytest.approx([0, 1 / 0.75])
    # 200,000 draws: three standard errors of a share are 0.003.
    assert kept.mean().item() == pytest.approx(0.75, abs=0.003)
    other = (second > 0).float()
    for a, b in ((kept[:, 1:], kept[:, :-1]), (kept[1:], kept[:-1]), (kept, other)):
        assert torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].abs() < 0.01
    layer.eval()
    assert torch.equal(layer(x), x)
