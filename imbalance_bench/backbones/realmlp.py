"""RealMLP (Holzmüller, Grinsztajn & Steinwart, NeurIPS 2024): an MLP with tuned defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from imbalance_bench.backbones.base import Backbone
from imbalance_bench.backbones.network import Network
from imbalance_bench.backbones.tabular import Categories, dropout, numeric
from imbalance_bench.options import BelowOne, Count, Ge, Positive
from imbalance_bench.registry import BACKBONES

ACTIVATIONS = {"selu": F.selu, "mish": F.mish, "relu": F.relu}
# How fast parameters learn, of the rate of weights; and how much they decay, of the decay of weights.
RATES = {"scale": 6.0, "bias": 0.1, "activation": 0.1, "embedding": 0.1}
DECAYS = {"scale": 36.0, "bias": 0.0, "activation": 0.01, "embedding": 0.01}
FIRST_BATCH = 256  # training rows by which the layers start


@BACKBONES.register("realmlp")
@dataclass(frozen=True)
class RealMLPBackbone(Backbone):
    """``hidden`` widths, ``activation`` and ``dropout`` of the body. ``embedding``: numbers that each numeric column is
    made, one of them itself, by ``frequencies`` cosines whose frequencies start at ``sigma`` (0: as it is).
    ``one_hot``: categories of more columns become vectors of ``category`` numbers, which are learned."""

    categorical: ClassVar[bool] = True

    hidden: Annotated[tuple[Count, ...], "widths of the layers"]
    activation: Literal["selu", "mish", "relu"]
    dropout: BelowOne
    embedding: Annotated[int, Ge(0)]
    frequencies: Count
    sigma: Positive
    one_hot: Count
    category: Count

    def build(self, shape: tuple[int, ...], classes: int, head: str = "linear", categories: Categories = ()) -> RealMLP:
        """RealMLP for rows (n, *shape) and ``classes`` classes (0: regression)."""
        return RealMLP(math.prod(shape), self, classes, head, categories)


def rated(start: torch.Tensor, kind: str) -> nn.Parameter:
    """A parameter φ that stands for θ = rate · φ: Adam, whose steps do not depend on the size of a gradient, moves θ
    ``RATES[kind]`` times as fast as a parameter of its own."""
    made = nn.Parameter(start / RATES[kind])
    made.decay = DECAYS[kind]  # type: ignore[attr-defined]
    return made


class Layer(nn.Module):
    """x → x W / √d + b (d: numbers of x; weights learn at one rate whatever the width), W (d, o), b (o,)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs)), rated(torch.zeros(outputs), "bias")

    def start(self, x: torch.Tensor) -> torch.Tensor:
        """By rows (n, d): outputs of standard deviation one, and as biases a random mean of five of them, negated."""
        self.weight.data, bias = started(x / math.sqrt(x.shape[1]), self.weight)
        self.bias.data = bias / RATES["bias"]
        return self(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ (self.weight / math.sqrt(len(self.weight))) + RATES["bias"] * self.bias


def started(x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``weight`` (d, o) so that x W, of rows x (n, d), has standard deviation one, and the biases (o,) of each output:
    less the mean of five of its values, weighted at random (exponential variables over their sum)."""
    weight = weight / (x @ weight).std(0, correction=0).clamp(min=1e-30)
    out, outputs = x @ weight, weight.shape[1]
    shares = torch.empty(5, outputs).exponential_()
    chosen = out.gather(0, torch.randint(len(out), (5, outputs)))
    return weight, -(chosen * shares / shares.sum(0)).sum(0)


class Activation(nn.Module):
    """x + α (σ(x) - x), α (d,) learned from 1."""

    def __init__(self, units: int, name: str) -> None:
        super().__init__()
        self.named, self.share = name, rated(torch.ones(units), "activation")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.lerp(x, ACTIVATIONS[self.named](x), RATES["activation"] * self.share)


class Embedding(nn.Module):
    """Numbers x (n, m) → (n, m · e): W₂ cos(2π w₁ x + b₁) + b₂ of each column by weights of its own, e - 1 numbers, and
    behind all of these the columns themselves (PBLD)."""

    def __init__(self, columns: int, options: RealMLPBackbone) -> None:
        super().__init__()
        waves, made = options.frequencies, options.embedding - 1
        self.w1 = rated(options.sigma * torch.randn(columns, waves), "embedding")
        self.b1 = rated(math.pi * (2 * torch.rand(columns, waves) - 1), "embedding")
        self.w2 = rated((2 * torch.rand(columns, waves, made) - 1) / math.sqrt(waves), "embedding")
        self.b2 = rated((2 * torch.rand(columns, made) - 1) / math.sqrt(waves), "embedding")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w1, b1, w2, b2 = (RATES["embedding"] * p for p in (self.w1, self.b1, self.w2, self.b2))
        waves = torch.cos(2 * math.pi * w1 * x[..., None] + b1)
        return torch.cat([((waves[..., None, :] @ w2).squeeze(-2) + b2).flatten(1), x], 1)


class RealMLP(Network):
    """x → robust scaling and smooth clipping → embedding of numbers → front scale s ∘ x → ``hidden`` × (layer →
    activation → dropout) → f = h / √d (n, d) → head.

    Scaling and clipping learn of training rows only, which the run starts by (``start``): z = (x - median) / (quantile
    of 75 % - quantile of 25 %), half the range where these are equal, 0 where a column is constant; then z / √(1 +
    (z/3)²). A category of two columns is one number, ±1; one of up to ``one_hot`` its columns; others are embedded.

    Of the paper's defaults these are not here: label smoothing (0.1), which is a loss, and what falls over training
    besides the rate: dropout and weight decay stay as they are in the second half. trainer.schedule=coslog4 sets the
    rate once an epoch, to that of its middle, where the authors set it at every step; and they leave out the last,
    smaller batch of an epoch. The last biases learn at the full rate. Rates of kinds of parameters are exact for
    trainer.optimiser=adamw and adam. Binary tasks have one output, and not two.
    """

    median: torch.Tensor
    factor: torch.Tensor

    def __init__(self, d: int, options: RealMLPBackbone, classes: int, head: str, categories: Categories) -> None:
        widths = options.hidden
        large = [(first, end) for first, end in categories if end - first > options.one_hot]
        small = [(first, end) for first, end in categories if end - first <= options.one_hot]
        numbers = numeric(d, categories)
        columns = len(numbers) + sum(1 if end - first == 2 else end - first for first, end in small)
        embedded = options.embedding > 1 and numbers
        inputs = columns + len(large) * options.category + (len(numbers) * (options.embedding - 1) if embedded else 0)
        sizes = [inputs, *widths]
        super().__init__(sizes[-1], classes, head)
        self.numbers, self.small, self.large = numbers, small, large
        self.register_buffer("median", torch.zeros(columns))
        self.register_buffer("factor", torch.ones(columns))
        self.embedding = Embedding(len(numbers), options) if embedded else None
        self.tables = nn.ParameterList(torch.randn(end - first, options.category) for first, end in large)
        self.scale = rated(torch.ones(inputs), "scale")
        self.layers = nn.ModuleList(Layer(a, b) for a, b in zip(sizes, sizes[1:]))
        self.activations = nn.ModuleList(Activation(b, options.activation) for b in widths)
        self.dropouts = nn.ModuleList(dropout(options.dropout) for _ in widths)
        if self.head.bias is not None:
            self.head.bias.decay = 0.0  # type: ignore[attr-defined]

    @torch.no_grad()
    def start_from(self, x: torch.Tensor) -> None:
        """Fits scaling and layers to training rows (n, ...)."""
        features = self.features(x.flatten(1))
        quantiles = np.quantile(features.double().numpy(), [0.25, 0.5, 0.75], axis=0)
        low, self.median, high = torch.as_tensor(quantiles).to(features)
        spread = high - low
        spread = torch.where(spread == 0, (features.amax(0) - features.amin(0)) / 2, spread)
        self.factor = torch.where(spread == 0, 0, 1 / spread)
        h = RATES["scale"] * self.scale * self.inputs(x[torch.randperm(len(x))[:FIRST_BATCH]])
        for layer, activation in zip(self.layers, self.activations):
            h = activation(layer.start(h))  # type: ignore[operator]
        h = h / math.sqrt(h.shape[1])
        weight, bias = started(h, torch.randn_like(self.head.weight).T)
        self.head.weight.copy_(weight.T)
        if self.head.bias is not None:
            self.head.bias.copy_(bias)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The numbers of rows (n, d), then small categories: (n, columns)."""
        parts = [x if len(self.numbers) == x.shape[1] else x[:, self.numbers]]
        for first, end in self.small:
            of_category = x[:, first:end]
            parts.append(of_category[:, :1] - of_category[:, 1:] if end - first == 2 else of_category)
        return torch.cat(parts, 1) if self.small else parts[0]

    def inputs(self, x: torch.Tensor) -> torch.Tensor:
        """The input of the front scale, of rows (n, ...)."""
        x = x.flatten(1)
        z = (self.features(x) - self.median) * self.factor
        z = z / (1 + z.square() / 9).sqrt()
        parts = [z]
        if self.embedding is not None:
            numbers = len(self.numbers)
            parts = [self.embedding(z[:, :numbers]), z[:, numbers:]]
        parts += [x[:, first:end] @ table for table, (first, end) in zip(self.tables, self.large)]
        return torch.cat(parts, 1) if len(parts) > 1 else z

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        h = RATES["scale"] * self.scale * self.inputs(x)
        for layer, activation, drop in zip(self.layers, self.activations, self.dropouts):
            h = drop(activation(layer(h)))
        return h / math.sqrt(h.shape[1])
