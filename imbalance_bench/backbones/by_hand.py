"""Derivatives of a multi-layer perceptron written by hand, for R networks at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

Params = Mapping[str, torch.Tensor]

SHORT = 64  # numbers a row


class Activation(NamedTuple):
    """φ, in place; φ'(z) g of g, in its place, and h = φ(z); and φ''(z) / φ'(z) of h, None where φ'' is zero."""

    apply: Callable[[torch.Tensor], torch.Tensor]
    slope: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    bend: Callable[[torch.Tensor], torch.Tensor] | None


_RELU, _TANH = torch.ops.aten.threshold_backward.grad_input, torch.ops.aten.tanh_backward.grad_input
ACTIVATIONS = {
    "relu": Activation(torch.relu_, lambda g, h: _RELU(g, h, 0, grad_input=g), None),
    "tanh": Activation(torch.tanh_, lambda g, h: _TANH(g, h, grad_input=g), lambda h: -2 * h),
}


class Pass:
    """A pass of R networks over rows x (R, n, ...), outside of autograd.

    h_0 is x, flattened; z_l = h_{l-1} W_lᵀ + b_l and h_l = φ(z_l) for l = 1..L; z = h_L Wᵀ + b is what the head gives
    (L is the last but one layer: it counts as layer L + 1 below), for a cosine head ⟨h_L, w_c⟩ / |h_L| |w_c|.
    ``outputs`` are z; ``logits`` makes [0, z] of them where two classes have one output (``padded``).
    """

    def __init__(self, params: Params, x: torch.Tensor, layers: int, activation: str, padded: bool) -> None:
        self.params, self.activation = params, ACTIVATIONS[activation]
        self.names = [*(f"body.{i}" for i in range(layers)), "head"]
        self.cosine, self.padded = "head.bias" not in params, padded
        self.inputs = [x.flatten(2)]  # h_0..h_L
        self.deltas: list[torch.Tensor] = []
        with torch.no_grad():
            for name in self.names[:-1]:
                z = _affine(self.inputs[-1], params[f"{name}.weight"], params[f"{name}.bias"])
                self.inputs.append(self.activation.apply(z))
            last, weight = self.inputs[-1], params["head.weight"]
            if self.cosine:
                self.lengths = [t.norm(dim=-1, keepdim=True).clamp_(min=1e-12) for t in (last, weight)]
                self.units = [t / length for t, length in zip((last, weight), self.lengths)]
                self.outputs = _product(self.units[0], self.units[1].mT)
            else:
                self.outputs = _affine(last, weight, params["head.bias"])

    def logits(self, outputs: torch.Tensor) -> torch.Tensor:
        """Logits (R, n, C) of outputs z (R, n, C or 1), in a tensor of their own."""
        return torch.cat([torch.zeros_like(outputs), outputs], -1) if self.padded else outputs.clone()

    @torch.no_grad()
    def gradients(self, of_outputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """∂ℓ/∂θ by name, (R, ...) each, of a loss ℓ with δ_{L+1} = ∂ℓ/∂z (R, n, C or 1): with δ_l =
        φ'(z_l) (δ_{l+1} W_{l+1}) back-propagated, ∂ℓ/∂W_l = δ_lᵀ h_{l-1} and ∂ℓ/∂b_l = Σ δ_l."""
        found: dict[str, torch.Tensor] = {}
        delta = of_outputs.contiguous()
        self.deltas = [delta]
        for layer in range(len(self.names) - 1, -1, -1):
            name, h = self.names[layer], self.inputs[layer]
            weight = self.params[f"{name}.weight"]
            if name == "head" and self.cosine:
                back = self._cosine(found, delta)
            else:
                found[f"{name}.weight"], found[f"{name}.bias"] = _product(delta.mT, h), delta.sum(1)
                back = _product(delta, weight) if layer else delta
            if layer:
                delta = self.activation.slope(back, h)
                self.deltas.insert(0, delta)
        return found

    @torch.no_grad()
    def mixed(self, along: Params, curvature: Callable[[torch.Tensor], torch.Tensor], first: int = 0) -> torch.Tensor:
        """∂/∂x ⟨∂ℓ/∂θ, v⟩ (R, m, d) at the rows x from the ``first`` on, for a direction v in the space of θ
        (``along``: V_l, v_l by name). ``gradients`` of ℓ must have been asked for before; ``curvature``
        multiplies a change of these rows' outputs by the matrix of second derivatives ∂²ℓ/∂z². For heads that are not
        cosine.

        ⟨∂ℓ/∂θ, v⟩ is the derivative of ℓ along v, Σ δ_{L+1} ż, where a dot is the derivative along v:
        ż_l = h_{l-1} V_lᵀ + v_l + ḣ_{l-1} W_lᵀ, ḣ_l = φ'(z_l) ż_l, ḣ_0 = 0. Back-propagated, it reaches ż_l as δ_l and
        z_l as ε_l: ε_{L+1} = ∂²ℓ/∂z² ż, and below ε_l = φ'(z_l) (ε_{l+1} W_{l+1} + δ_{l+1} V_{l+1}) + φ''(z_l) ż_l
        (δ_{l+1} W_{l+1}); the last term is φ''/φ' ż_l δ_l. At x it is ε_1 W_1 + δ_1 V_1.
        """
        inputs, deltas = ([t[:, first:] for t in of_layers] for of_layers in (self.inputs, self.deltas))
        weights = [(self.params[f"{name}.weight"], along[f"{name}.weight"]) for name in self.names]
        dots = [_affine(inputs[0], weights[0][1], along[f"{self.names[0]}.bias"])]
        for name, h, (weight, v) in zip(self.names[1:], inputs[1:], weights[1:]):
            h_dot = self.activation.slope(dots[-1].clone() if self.activation.bend else dots[-1], h)
            dots.append(_product(h_dot, weight.mT, _affine(h, v, along[f"{name}.bias"])))
        epsilon = curvature(dots[-1])
        for layer in range(len(self.names) - 1, -1, -1):
            weight, v = weights[layer]
            back = _product(epsilon, weight, _product(deltas[layer], v))
            if layer:
                epsilon = self.activation.slope(back, inputs[layer])
                if self.activation.bend:
                    bent = self.activation.bend(inputs[layer]) * dots[layer - 1]
                    epsilon.addcmul_(bent, deltas[layer - 1])
        return back

    def _cosine(self, found: dict[str, torch.Tensor], delta: torch.Tensor) -> torch.Tensor:
        """The derivative with respect to W, into ``found``, and to h_L: that of a unit vector u = h / |h| turns g into
        (g - ⟨g, u⟩ u) / |h|."""
        of_units = _product(delta, self.units[1]), _product(delta.mT, self.units[0])
        back, found["head.weight"] = (
            (g - u * (g * u).sum(-1, keepdim=True)) / length for g, u, length in zip(of_units, self.units, self.lengths)
        )
        return back


def _product(a: torch.Tensor, b: torch.Tensor, plus: torch.Tensor | None = None) -> torch.Tensor:
    """a b, or ``plus`` + a b in place, of matrices (R, n, k) and (R, k, m)."""
    if _upright(a, b.shape[2]):
        return _product(b.mT, a.mT, None if plus is None else plus.mT).mT
    return torch.bmm(a, b) if plus is None else plus.baddbmm_(a, b)


def _affine(h: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """h Wᵀ + b for h (R, n, i), W (R, o, i) and b (R, o)."""
    if _upright(h, weight.shape[1]):
        return torch.baddbmm(bias[:, :, None], weight, h.mT).mT
    return torch.baddbmm(bias[:, None], h, weight.mT)


def _upright(rows: torch.Tensor, columns: int) -> bool:
    """Whether a product of these rows (R, n, ...) with so many columns lies in memory column by column: with rows of a
    few numbers a CPU takes twice the time."""
    return columns < SHORT and columns < rows.shape[1] and rows.is_cpu
