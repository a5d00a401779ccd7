"""SetConv: episodes a second, against one repeat at a time as the published code goes about it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

from imbalance_bench.bench.compare import compare, counted, option, show, trainer
from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine import Engine
from imbalance_bench.registry import BACKBONES, METHODS
from imbalance_bench.running.devices import choose_device

D, WIDTH = 1024, 128  # BERT vectors, d_o
REPEATS = 10
ROWS = (1750, 250)  # of the majority and of the minority
SUPPORT = (56, 8)


def setting(seed: int) -> Task:
    """Random vectors, 1 in 8 of the minority, and as good as no validation part."""
    rng = np.random.default_rng(seed)

    def part(counts: tuple[int, int]) -> Part:
        y = np.repeat([0, 1], counts)
        return Part((rng.normal(size=(len(y), D)) + 0.1 * y[:, None]).astype(np.float32), y, np.arange(len(y)))

    return Task(part(ROWS), part((7, 1)), None, 2, "classification", 0, 0, seed)


class EpisodeSampler(Sampler):
    """Batches of a fresh permutation of each class: its support, then its query."""

    def __init__(self, labels: torch.Tensor, episodes: int) -> None:
        self.rows = [torch.nonzero(labels == c).flatten() for c in (0, 1)]
        self.episodes = episodes

    def __len__(self) -> int:
        return self.episodes

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self.episodes):
            drawn = (rows[torch.randperm(len(rows))[: size + 1]] for rows, size in zip(self.rows, SUPPORT))
            yield torch.cat(list(drawn)).tolist()


class KernelLayer(nn.Module):
    """Eqs. 2-4 as they read: the kernel (N, d, d_o) is built, times the samples, and summed."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Linear(D, WIDTH)
        self.w = nn.Parameter(torch.ones(D, WIDTH))

    def forward(self, x: torch.Tensor, anchor: torch.Tensor) -> torch.Tensor:
        kernel = self.mlp(anchor - x)[:, None, :] * self.w.softmax(0)
        return (kernel * x[:, :, None]).sum((0, 1)) / len(x)


class ProductLayer(KernelLayer):
    """The same by two products, without the kernel."""

    def forward(self, x: torch.Tensor, anchor: torch.Tensor) -> torch.Tensor:
        return (self.mlp(anchor - x) * (x @ self.w.softmax(0))).mean(0)


def module_loop(layer: type[KernelLayer], task: Task, episodes: int, device: torch.device) -> None:
    """One repeat: DataLoader with a sampler of episodes, a set at a time through an nn.Module, torch.optim.Adam."""
    xs, ys = torch.as_tensor(task.train.x), torch.as_tensor(task.train.y)
    loader = DataLoader(TensorDataset(xs, ys), batch_sampler=EpisodeSampler(ys, episodes))
    anchor = xs[ys == 1].mean(0).to(device)
    net = layer().to(device)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    labels = torch.tensor([0, 1], device=device)
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        classes = [x[y == c] for c in (0, 1)]
        representatives = torch.stack([net(rows[:-1], anchor) for rows in classes])
        queries = torch.stack([net(rows[-1:], anchor) for rows in classes])
        loss = F.cross_entropy(queries @ representatives.T, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()


def speeds(few: int, many: int, device: torch.device, rounds: int) -> dict[str, float]:
    """Episodes a second, all repeats counted; ``few``: how many the slowest is measured with."""
    tasks = [setting(seed) for seed in range(REPEATS)]
    # This package: all repeats as one program, with its history, validation and representatives.
    method = METHODS.build(option("method", "setconv") | {"episodes": many})
    backbone, engine = BACKBONES.build(option("backbone", "mlp")), Engine(trainer("setconv", 1), device.type)
    rivals = {
        "(a) kernel, one repeat": counted(partial(module_loop, KernelLayer, tasks[0], few, device), few),
        "(b) products, one repeat": counted(partial(module_loop, ProductLayer, tasks[0], many, device), many),
        "(c) ours, one repeat": counted(partial(method.fit, tasks[:1], backbone, engine), many),
        f"(d) ours, {REPEATS} repeats": counted(partial(method.fit, tasks, backbone, engine), many * REPEATS),
    }
    return compare(rivals, rounds)


def main(rounds: int) -> None:
    """Prints the comparison."""
    device = choose_device("auto")
    few, many = (100, 1000) if device.type == "cuda" else (30, 200)
    found = speeds(few, many, device, rounds)
    show("SetConv: episodes a second, all repeats counted", {f"{D} -> {WIDTH}": found})
