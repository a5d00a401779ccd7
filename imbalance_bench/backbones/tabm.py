"""TabM (Gorishniy et al., ICLR 2025): k MLPs that share their matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import nn

from imbalance_bench.backbones.base import Backbone
from imbalance_bench.backbones.network import Network, Stage
from imbalance_bench.backbones.tabular import Categories, dropout, numeric, uniform
from imbalance_bench.options import BelowOne, Count
from imbalance_bench.registry import BACKBONES


@BACKBONES.register("tabm")
@dataclass(frozen=True)
class TabMBackbone(Backbone):
    """``members`` k; ``blocks`` layers of ``width`` units, ReLU and ``dropout`` each.

    Columns are taken as they are, without the embeddings of numbers of the paper's TabM† (bins of quantiles or trees,
    fitted on the training rows). The columns of a category start with one sign a member, as in the paper.
    """

    categorical: ClassVar[bool] = True

    members: Count
    blocks: Count
    width: Count
    dropout: BelowOne

    def build(self, shape: tuple[int, ...], classes: int, head: str = "linear", categories: Categories = ()) -> TabM:
        """TabM for rows (n, *shape) and ``classes`` classes (0: regression)."""
        return TabM(math.prod(shape), self, classes, head, categories)


class BatchEnsemble(nn.Module):
    """k linear layers with one matrix W (o, d), l_i(x) = s_i ∘ (W (r_i ∘ x)) + b_i (BatchEnsemble, Wen et al., ICLR
    2020, Eq. 5; TabM, Eq. 2): (n, k, d) → (n, k, o). All b_i start alike, the scales r_i, s_i at one."""

    def __init__(self, inputs: int, outputs: int, members: int) -> None:
        super().__init__()
        self.weight = uniform(outputs, inputs, fan_in=inputs)
        self.r, self.s = nn.Parameter(torch.ones(members, inputs)), nn.Parameter(torch.ones(members, outputs))
        self.bias = nn.Parameter(uniform(outputs, fan_in=inputs).detach().repeat(members, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(self.bias, F.linear(x * self.r, self.weight), self.s)


class Heads(nn.Module):
    """k linear layers with nothing in common: features (..., k·d), the members' side by side → (..., k, outputs)."""

    def __init__(self, members: int, width: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.members, self.in_features = members, members * width
        self.matrices = uniform(members, width, outputs, fan_in=width)
        self.bias = uniform(members, outputs, fan_in=width) if bias else None

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """Without ``bias``: cosines of feature and class weight."""
        h = h.unflatten(-1, (self.members, 1, -1))
        if self.bias is None:
            return (F.normalize(h, dim=-1) @ F.normalize(self.matrices, dim=-2)).squeeze(-2)
        return (h @ self.matrices).squeeze(-2) + self.bias


class TabM(Network):
    """x → k copies → ``blocks`` × (BatchEnsemble → ReLU → dropout) → a head a member. The scales r_i of the first
    layer start at random signs, one for each column or category, which is all that tells the members apart at first
    but their heads (Sections 3.3 and 3.4 of the paper).

    A loss is taken of each member, and the mean of the k is trained on (stage "members"). The logits of a row are those
    of the members' mean probability, of the outputs' mean in regression and of the cosines' with a ``cosine`` head;
    these are also what methods see whose step is their own (mixup, Explicit Gradient, ...). f (n, k·width) is the
    members' last layers side by side; there is no one linear head, which methods that train it apart need (crt,
    τ-norm).
    """

    def __init__(self, d: int, options: TabMBackbone, classes: int, head: str, categories: Categories) -> None:
        super().__init__(options.width, classes, head)
        self.loss_members = self.row_vectors = members = options.members
        widths = [d, *[options.width] * options.blocks]
        self.body = nn.ModuleList(BatchEnsemble(a, b, members) for a, b in zip(widths, widths[1:]))
        first_scales: torch.Tensor = self.body[0].get_parameter("r").data
        blocks = [(column, column + 1) for column in numeric(d, categories)] + [*categories]
        signs = 2.0 * torch.randint(0, 2, (members, len(blocks))) - 1
        for sign, (first, end) in zip(signs.T, blocks):
            first_scales[:, first:end] = sign[:, None]
        self.dropouts = nn.ModuleList(dropout(options.dropout) for _ in self.body)
        outputs = self.head.out_features
        self.head: Any = Heads(members, options.width, outputs, bias=head != "cosine")

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        h = x.flatten(1)[:, None].expand(-1, self.loss_members, -1)
        for layer, drop in zip(self.body, self.dropouts):
            h = drop(torch.relu(layer(h)))
        return h.flatten(1)

    def each(self, h: torch.Tensor) -> torch.Tensor:
        """The members' logits (..., k, C) of features (..., k·width)."""
        return self.padded(self.head(h))

    def classify(self, h: torch.Tensor) -> torch.Tensor:
        logits = self.each(h)
        if self.kind == "cosine" or not self.classes:
            return logits.mean(-2)
        mean = logits.log_softmax(-1).logsumexp(-2) - math.log(self.loss_members)
        # Two classes: [0, z], as any linear head has it.
        return mean - mean[..., :1] if self.classes == 2 and self.kind == "linear" else mean

    def forward(self, x: torch.Tensor, stage: Stage | Literal["members"] = "logits") -> torch.Tensor:
        if stage == "members":
            return self.each(self.embed(x)).flatten(0, 1)
        return super().forward(x, stage)
