"""What every registered backbone must do, whoever wrote it: a new one is examined without being told, and fails until
``SMALL`` has a small one of its kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from imbalance_bench.engine import Engine
from imbalance_bench.engine.stack import Stack, as_input
from imbalance_bench.errors import BenchError
from imbalance_bench.registry import BACKBONES
from tests import simgpu
from tests.tasks import backbone, task, trainer
from tests.texts import save_xlnet

CPU, F64, IDS = torch.device("cpu"), torch.float64, 12
WORDS = {"vocabulary": 40, "length": IDS, "stop_words": False, "embedding": 6}
# Registered name → an option of it, small, and the shape of a row.
SMALL: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "mlp": ("mlp", {"hidden": [7, 5]}, (4,)),
    "tabm": ("tabm", {"members": 3, "blocks": 2, "width": 6}, (4,)),
    "ft_transformer": ("ft_transformer", {"blocks": 2, "width": 6, "heads": 2}, (4,)),
    "tabular_resnet": ("tabular_resnet", {"blocks": 1, "width": 5}, (4,)),
    "realmlp": ("realmlp", {"hidden": [6, 5], "embedding": 3, "frequencies": 4}, (4,)),
    "lsa": ("lsa", {"hidden": [5]}, (9,)),
    "frozen_transformer": ("frozen_transformer", {"hidden": [5]}, (9,)),
    "lenet": ("lenet_small", {"conv": [3, 4], "hidden": [7, 5]}, (1, 17, 18)),
    "keras_cnn": ("keras_cnn", {}, (3, 10, 11)),
    "resnet": ("resnet20", {"depth": 8}, (3, 9, 8)),
    "textcnn": ("textcnn", WORDS | {"filters": 5}, (IDS,)),
    "textrnn": ("textrnn", WORDS | {"hidden": 4}, (IDS,)),
    "xlnet": ("xlnet", {"length": IDS}, (IDS,)),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> str:
    return str(save_xlnet(tmp_path_factory.mktemp("xlnet")))


@dataclass
class Case:
    net: Any
    shape: tuple[int, ...]

    def build(self, classes: int = 3, head: str = "linear", seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return self.net.build(self.shape, classes, head).double()

    def rows(self, n: int = 6, seed: int = 0) -> torch.Tensor:
        """Numbers, or ids of texts of any length, which only a network with ``pad`` reads."""
        generator = torch.Generator().manual_seed(seed)
        pad = self.build().pad
        if pad is None:
            return torch.rand(n, *self.shape, generator=generator, dtype=F64)
        ids = torch.randint(6, 20, (n, IDS), generator=generator, dtype=torch.int32)
        ends = torch.randint(1, IDS - 2, (n, 1), generator=generator)
        return ids.masked_fill(torch.arange(IDS) >= ends, pad)

    def stack(self, seeds: list[int], device: torch.device = CPU) -> Stack:
        return Stack.create(lambda: self.net.build(self.shape, 3, "linear"), seeds, device, F64)


@pytest.fixture(params=[name for name in BACKBONES.names() if name != "none"])
def case(request, saved) -> Case:
    assert request.param in SMALL, "a new backbone: say in SMALL how a small one of it is made"
    label, options, shape = SMALL[request.param]
    return Case(backbone(label, **options | ({"model": saved} if request.param == "xlnet" else {})), shape)


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_shapes_and_stages(case):
    x = case.rows()
    for classes, head, outputs in (
        (3, "linear", 3),
        (2, "linear", 2),
        (2, "full", 2),
        (3, "cosine", 3),
        (0, "linear", 1),
    ):
        module = case.build(classes, head).eval()
        logits, h = module(x), module(x, "embed")
        assert logits.shape == (len(x), outputs)
        assert h.shape == (len(x), module.head.in_features)
        close(module(h, "head"), logits)
        close(module(x), logits)  # evaluation changes nothing
        assert head != "cosine" or logits.abs().max() <= 1 + 1e-12


def test_runs_together_are_runs_alone(case):
    """Logits in training, what their gradients say, buffers after; then logits and embeddings in evaluation."""
    seeds = [3, 1, 2]
    x = torch.stack([case.rows(seed=s) for s in seeds])
    together = case.stack(seeds)
    out = together(x)
    together.backward(out.logsumexp(-1).sum())
    for r, seed in enumerate(seeds):
        alone = case.stack([seed])
        single = alone(x[r : r + 1])
        alone.backward(single.logsumexp(-1).sum())
        close(out[r], single[0])
        close(together.grad[r], alone.grad[0])
        close(together.flat.detach()[r], alone.flat.detach()[0])
        for stage in ("logits", "embed"):
            close(
                together.predict(together.flat[r].detach(), x[r], stage),
                alone.predict(alone.flat[0].detach(), x[r], stage),
            )


def test_padding_has_no_influence(case):
    module, x = case.build().eval(), case.rows()
    if module.pad is None:
        assert x.is_floating_point()
        return
    assert case.net.text_encoder is not None
    for stage in ("logits", "embed"):
        whole = module(x, stage)
        assert whole.std(0).max() > 1e-3  # texts have
        close(module(F.pad(x, (0, 5), value=module.pad), stage), whole)
        close(torch.cat([module(row[row != module.pad][None], stage) for row in x]), whole)


def left_behind(module: nn.Module, like: torch.Tensor) -> Iterator[str]:
    """Tensors of a network that lie elsewhere, or are numbers of another type."""
    for name, layer in module.named_modules():
        held = {k: v for k, v in vars(layer).items() if isinstance(v, torch.Tensor)}
        for key, value in (held | layer._parameters | layer._buffers).items():
            if value is not None and (value.device.type != like.device.type or value.dtype != like.dtype):
                yield f"{name}.{key}: {value.dtype} on {value.device}"


def test_it_moves_whole_to_another_device_and_type(case):
    x = case.rows()
    with sdpa_kernel(SDPBackend.MATH):
        here = case.stack([0])
        expected = here(x[None]).detach()
        with simgpu.installed():
            there = case.stack([0], torch.device("sim", 0))
            assert not list(left_behind(there.module, there.flat))
            out = there(as_input(x, there.flat)[None])
            assert out.device.type == "sim" and out.dtype == F64
            there.backward(out.logsumexp(-1).sum())
            close(out.detach().cpu(), expected)
    assert not list(left_behind(case.build().to(torch.float32), torch.zeros(())))


def test_what_it_states_is_known(case):
    assert isinstance(case.net.maps, bool)
    stack = case.stack([0])
    assert all(isinstance(n, int) for n in (stack.traits.loss_members, stack.traits.row_vectors))
    features = stack.predict(stack.flat[0].detach(), case.rows(), "embed")
    assert stack.predict(stack.flat[0].detach(), features, "head").shape == (len(features), 3)
    rows = task()
    assert case.net.maps or Engine(trainer(runs_together=3), "cpu").together(case.net, rows) == 1


# A class of a user's own


def test_an_attribute_of_an_ordinary_name_states_nothing():
    class Own(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 3)
            self.members, self.vectors, self.start = nn.ModuleList(), nn.Linear(4, 4), 0

    stack = Stack.create(Own, [0], CPU, F64, rows=[torch.zeros(2, 4)])
    assert (stack.traits.loss_members, stack.traits.row_vectors) == (1, 1)
    assert stack.predict(stack.flat[0].detach(), torch.zeros(2, 4, dtype=F64)).shape == (2, 3)


@pytest.fixture
def own() -> Iterator[Any]:
    @BACKBONES.register("plain")
    @dataclass(frozen=True)
    class Plain:
        """Inherits nothing, and builds an ordinary module."""

        width: int

        def build(self, shape, classes, head="linear"):
            return nn.Sequential(nn.Linear(shape[0], self.width), nn.ReLU(), nn.Linear(self.width, classes))

    yield BACKBONES.build({"name": "plain", "width": 4})
    del BACKBONES._classes["plain"]


def test_a_class_that_inherits_nothing_has_the_defaults(own):
    assert own.maps is True and own.text_encoder is None
    engine = Engine(trainer(runs_together=None), "cpu")
    assert engine.together(own, task()) == 1  # an ordinary module has no form for several runs at once
    stack = Stack.create(lambda: own.build((4,), 2), [0, 1], CPU, F64)
    assert (stack.pad, stack.traits.batched, stack.traits.ragged) == (None, None, ())
    assert stack(torch.rand(2, 5, 4, dtype=F64)).shape == (2, 5, 2)
    with pytest.raises(BenchError, match="gives logits only"):
        stack(torch.rand(2, 5, 4, dtype=F64), "embed")
