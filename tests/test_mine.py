"""MINE against the mutual information of correlated Gaussians, and its gradient against the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from imbalance_bench.methods.miso.mine import MINE


def gaussians(n, rho, generator):
    x, noise = torch.randn(2, n, 1, generator=generator)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_it_finds_the_mutual_information_of_gaussians(rho):
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    mine = MINE(1, 1, 32)
    optimiser = torch.optim.Adam(mine.parameters(), 5e-3)
    for step in range(600):
        optimiser.param_groups[0]["lr"] = 5e-3 * (1 - step / 600)
        x, y = gaussians(512, rho, generator)
        optimiser.zero_grad()
        (-mine.ascent(x, y, torch.randperm(512, generator=generator))).backward()
        optimiser.step()
    with torch.no_grad():
        x, y = gaussians(50_000, rho, generator)
        found = float(mine.bound(x, y, torch.randperm(50_000, generator=generator)))
    assert abs(found + 0.5 * math.log(1 - rho**2)) < 0.05


def test_the_bound_and_the_corrected_gradient_are_those_of_their_definitions():
    torch.manual_seed(0)
    mine = MINE(2, 3, 8, rate=0.25).double()
    x, y = torch.randn(6, 2, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    order = torch.tensor([1, 2, 0, 4, 5, 3])
    joint, apart = mine(x, y), mine(x, y[order])
    torch.testing.assert_close(mine.bound(x, y, order), joint.mean() - apart.exp().mean().log())

    parameters = list(mine.parameters())
    averages = []
    for batch in (order, order.flip(0)):  # the average starts from the first batch
        apart = mine(x, y[batch])
        new = float(apart.detach().exp().mean())
        averages.append(new if not averages else 0.75 * averages[-1] + 0.25 * new)
        expected = torch.autograd.grad(joint.mean() - apart.exp().mean() / averages[-1], parameters, retain_graph=True)
        for e, g in zip(expected, torch.autograd.grad(mine.ascent(x, y, batch), parameters)):
            torch.testing.assert_close(e, g)
    assert float(mine.average) == pytest.approx(math.log(averages[-1]))


def test_large_statistics_do_not_overflow():
    mine = MINE(1, 1, 4)
    with torch.no_grad():
        mine.net[-1].bias.fill_(500.0)
    x, y = gaussians(16, 0.5, torch.Generator().manual_seed(0))
    order = torch.arange(16).roll(1)
    value = mine.ascent(x, y, order)
    value.backward()
    assert np.isfinite([float(value), float(mine.bound(x, y, order)), float(mine.average)]).all()
    assert all(p.grad.isfinite().all() for p in mine.parameters())


def test_looking_at_the_bound_leaves_the_average():
    mine = MINE(1, 1, 4)
    x, y = gaussians(16, 0.5, torch.Generator().manual_seed(0))
    mine.bound(x, y, torch.arange(16))
    assert mine.average == -math.inf
