"""Tables: the plain step of a small MLP, the meta step of Explicit Gradient, and what the runner adds."""

from __future__ import annotations

import tempfile
import warnings
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from imbalance_bench.bench.compare import compare, counted, show, trainer
from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine import Engine
from imbalance_bench.registry import BACKBONES, METHODS
from imbalance_bench.settings.config import Trainer

BATCH = 128
STEPS = 20  # batches an epoch
HIDDEN = (128, 16)
RUNS = (1, 4, 16, 40)
CPU = torch.device("cpu")


def setting(d: int, seed: int = 0) -> Task:
    """STEPS full batches of d features, 5 % positive, and a small validation part."""
    rng = np.random.default_rng(seed)

    def part(n: int) -> Part:
        y = (np.arange(n) < n // 20).astype(np.int64)
        return Part(rng.normal(size=(n, d)).astype(np.float32), y, np.arange(n))

    return Task(part(BATCH * STEPS), part(BATCH), None, 2, "classification", 0, 0, seed)


def network(d: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in zip((d, *HIDDEN), HIDDEN):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(HIDDEN[-1], 1), nn.Flatten(0))


def loader_loop(task: Task, epochs: int) -> None:
    """(a) The loop as it is usually written: DataLoader, torch.optim.Adam, loss.item()."""
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(torch.as_tensor(task.train.x), torch.as_tensor(task.train.y, dtype=torch.float32))
    net, objective = network(task.train.x.shape[1]), nn.BCEWithLogitsLoss()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.999))
    for _ in range(epochs):
        total = 0.0
        for x, y in DataLoader(data, BATCH, shuffle=True):
            optimiser.zero_grad()
            loss = objective(net(x), y)
            loss.backward()
            optimiser.step()
            total += loss.item()


def on(device: torch.device, part: Part) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.as_tensor(part.x).to(device), torch.as_tensor(part.y, dtype=torch.float32).to(device)


def resident_loop(task: Task, epochs: int, device: torch.device = CPU) -> None:
    """(b) Data in one tensor, batches by a permutation; torch.optim.Adam as it comes."""
    xs, ys = on(device, task.train)
    net, objective = network(xs.shape[1]).to(device), nn.BCEWithLogitsLoss()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.999))
    for _ in range(epochs):
        for rows in torch.randperm(len(xs), device=device).split(BATCH):
            optimiser.zero_grad()
            objective(net(xs[rows]), ys[rows]).backward()
            optimiser.step()


def sklearn_loop(task: Task, epochs: int) -> None:
    """(c) scikit-learn's MLPClassifier with the same widths, batches and optimiser."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    net = MLPClassifier(HIDDEN, batch_size=BATCH, beta_1=0.5, max_iter=epochs, n_iter_no_change=epochs + 1, alpha=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit(task.train.x, task.train.y)


def create_graph_loop(task: Task, epochs: int, device: torch.device = CPU) -> None:
    """Algorithm 1 of Explicit Gradient as it reads: one run, functional_call, create_graph, every row in the graph."""
    (xs, ys), (xv, yv) = on(device, task.train), on(device, task.valid)
    synthetic = xs[ys == 1].clone()
    objective, net = nn.BCEWithLogitsLoss(), network(xs.shape[1]).to(device)
    theta = {n: p.detach() for n, p in net.named_parameters()}
    for _ in range(epochs):
        for rows in torch.randperm(len(xs), device=device).split(BATCH):
            z = synthetic[:BATCH].clone().requires_grad_()
            theta = {n: p.requires_grad_() for n, p in theta.items()}
            x, y = torch.cat([xs[rows], z]), torch.cat([ys[rows], torch.ones_like(z[:, 0])])
            inner = objective(torch.func.functional_call(net, theta, (x,)), y)
            gradients = torch.autograd.grad(inner, list(theta.values()), create_graph=True)
            ahead = {n: p - 1e-2 * g for (n, p), g in zip(theta.items(), gradients)}
            outer = objective(torch.func.functional_call(net, ahead, (xv,)), yv)
            (gradient,) = torch.autograd.grad(outer, z)
            synthetic[:BATCH] -= 10 * gradient
            theta = {n: p.detach() for n, p in ahead.items()}


def settings(epochs: int) -> Trainer:
    return trainer("adam", epochs=epochs, batch_size=BATCH)


def backbone() -> Any:
    return BACKBONES.build({"name": "mlp", "hidden": list(HIDDEN), "activation": "relu"})


def meta_loop(tasks: list[Task], pretrained: list[Any], method: Any, engine: Engine) -> None:
    """The meta phase of this package, all tasks as one program."""
    method.adapt(tasks, [method.start(t, p) for t, p in zip(tasks, pretrained)], pretrained, engine)


def plain_steps(d: int, rounds: int) -> dict[str, float]:
    tasks = [setting(d, s) for s in range(max(RUNS))]
    epochs = 10 if d < 300 else 4  # enough that storing the data, done once, does not count
    rivals = {
        "(a) DataLoader": counted(lambda: loader_loop(tasks[0], epochs), epochs * STEPS),
        "(b) resident": counted(lambda: resident_loop(tasks[0], epochs), epochs * STEPS),
        "(c) scikit-learn": counted(lambda: sklearn_loop(tasks[0], epochs), epochs * STEPS),
    }
    # (d) This package: all tasks as one program, with its divergence watch and history.
    fit = partial(METHODS.get("cross_entropy")().fit, backbone=backbone(), engine=Engine(settings(epochs), "cpu"))
    for runs in RUNS:
        rivals[f"(d) ours R={runs}"] = counted(partial(fit, tasks[:runs]), epochs * STEPS * runs)
    return compare(rivals, rounds)


def meta_steps(d: int, rounds: int) -> dict[str, float]:
    tasks = [setting(d, s) for s in range(max(RUNS))]
    epochs = 6 if d < 300 else 3
    rivals = {"create_graph": counted(lambda: create_graph_loop(tasks[0], epochs), epochs * STEPS)}
    engine, plain = Engine(settings(1), "cpu"), METHODS.get("cross_entropy")()
    method = METHODS.get("explicit_gradient")(
        eta1=1e-2,
        eta2=10.0,
        c=1.0,
        meta_epochs=epochs,
        valid_batch=BATCH,
        synthetic_batch=BATCH,
        step1="algorithm1",
        final="iterate",
        objective="cross_entropy",
    )
    for runs in RUNS:
        pretrained = engine.train(plain, tasks[:runs], [t.train for t in tasks[:runs]], backbone())
        loop = partial(meta_loop, tasks[:runs], pretrained, method, engine)
        rivals[f"ours R={runs}"] = counted(loop, epochs * STEPS * runs)
    return compare(rivals, rounds)


def overhead(rounds: int) -> tuple[float, int]:
    """Milliseconds a run that the runner adds to training (data, splits, scoring, record), and the runs of the cell:
    a whole cell less the same ``fit``."""
    from hydra import compose, initialize_config_dir

    from imbalance_bench.cells import run_cell
    from imbalance_bench.cells.recipe import loaded
    from imbalance_bench.data.tasks import make_runs
    from imbalance_bench.settings.conf_files import CONF
    from imbalance_bench.settings.config import from_omegaconf

    with tempfile.TemporaryDirectory() as outputs, initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", [f"paths.outputs={outputs}", "trainer.epochs=1", "cache=overwrite"])
        config = from_omegaconf(cfg)
        method, net, settings = (config.component(g) for g in ("method", "backbone", "trainer"))
        dataset = loaded(config)
        runs = make_runs(dataset, config.component("ratio"), config.component("protocol"), 0)
        tasks = [r.task for r in runs]

        def cell() -> int:
            run_cell(config)
            return len(runs)

        def fit() -> int:
            method.fit(tasks, net, Engine(settings, config.device))
            return len(runs)

        speed = compare({"cell": cell, "fit": fit}, rounds)
    return 1000 * (1 / speed["cell"] - 1 / speed["fit"]), len(runs)


def plain(rounds: int) -> None:
    """Prints the plain step."""
    _show("Plain step: Adam, cross-entropy", {f"d = {d}": plain_steps(d, rounds) for d in (8, 74, 617)})


def meta(rounds: int) -> None:
    """Prints the meta step."""
    _show("Meta step: Algorithm 1 of Explicit Gradient", {f"d = {d}": meta_steps(d, rounds) for d in (8, 74, 300)})


def runner(rounds: int) -> None:
    """Prints what the runner adds."""
    added, runs = overhead(rounds)
    print(f"\nRunner overhead beyond Hydra's: {added:.1f} ms a run (cell of {runs} runs, breast_cancer)")


def _show(title: str, results: dict[str, dict[str, float]]) -> None:
    show(f"{title}; MLP d-{'-'.join(map(str, HIDDEN))}-1, batch {BATCH}: run-steps a second", results)
