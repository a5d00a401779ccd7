"""Optimisers of several runs at once, against torch.optim in float64."""

from __future__ import annotations

import pytest
import torch

from imbalance_bench.engine import Engine
from imbalance_bench.engine.loop import Training
from imbalance_bench.engine.optim import SGD, Adam, AdamW, Optimiser, optimiser
from imbalance_bench.engine.stack import Stack
from imbalance_bench.errors import BenchError
from tests.tasks import backbone, method, task, trainer

RUNS = 3
# One setting for all runs, and one of its own for each: rate, decay, betas, momentum.
ALIKE = [(0.01, 0.0, (0.9, 0.99), 0.9)] * RUNS
DECAYED = [(0.01, 0.1, (0.5, 0.999), 0.5)] * RUNS
OWN = [(0.01, 0.0, (0.9, 0.99), 0.9), (0.03, 0.2, (0.0, 0.9), 0.0), (0.002, 0.1, (0.5, 0.999), 0.5)]
# Which runs take part in each step.
ALL = [[0, 1, 2]] * 7
RAGGED = [[0, 1, 2], [1], [0, 2], [], [1, 2], [0, 1, 2], [2]]


class Weights(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.randn(11))


def made(settings: list, kind: str, columns: slice = slice(None)) -> tuple[Stack, Optimiser]:
    stack = Stack.create(Weights, list(range(len(settings))), torch.device("cpu"), torch.float64)
    rates, decays, betas, momenta = (list(of_runs) for of_runs in zip(*settings))
    if kind != "sgd":
        return stack, (Adam if kind == "adam" else AdamW)(stack, rates, betas, decays, columns)
    return stack, SGD(stack, rates, momenta, decays, columns)


def by_torch(start: torch.Tensor, setting: tuple, kind: str) -> tuple[torch.Tensor, torch.optim.Optimizer]:
    w = start.detach().clone().requires_grad_()
    rate, decay, betas, momentum = setting
    if kind != "sgd":
        return w, (torch.optim.Adam if kind == "adam" else torch.optim.AdamW)([w], rate, betas, weight_decay=decay)
    return w, torch.optim.SGD([w], rate, momentum, weight_decay=decay)


def gradients(steps: int) -> torch.Tensor:
    return torch.randn(steps, RUNS, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("settings", [ALIKE, DECAYED, OWN], ids=["alike", "decayed", "own"])
@pytest.mark.parametrize("who", [ALL, RAGGED], ids=["all", "ragged"])
@pytest.mark.parametrize("by", ["step", "table"])
def test_every_run_moves_as_torch_moves_it(kind, settings, who, by):
    """Rates halve from step to step of a run, as a schedule may have it."""
    stack, ours = made(settings, kind)
    theirs = [by_torch(stack.flat[r], setting, kind) for r, setting in enumerate(settings)]
    rates, taken = [], [0] * RUNS
    for among in who:
        rates.append([setting[0] / 2 ** taken[r] for r, setting in enumerate(settings)])
        taken = [t + (r in among) for r, t in enumerate(taken)]
    present = torch.tensor([[r in among for r in range(RUNS)] for among in who])
    # In two parts, as epochs are.
    tables = (
        [ours.plan(torch.tensor(rates[a:b], dtype=torch.float64), present[a:b]) for a, b in ((0, 4), (4, 7))]
        if by == "table"
        else []
    )
    rows = [row for table in tables for row in table]
    for s, (among, of_runs) in enumerate(zip(who, gradients(len(who)))):
        stack.grad.copy_(of_runs)
        if by == "table":
            ours.move(rows[s])
        else:
            ours.step(None if len(among) == RUNS else among, rates[s])
        for r in among:
            w, theirs_of_run = theirs[r]
            theirs_of_run.param_groups[0]["lr"], w.grad = rates[s][r], of_runs[r].clone()
            theirs_of_run.step()
    for r, (w, _) in enumerate(theirs):
        torch.testing.assert_close(stack.flat[r].detach(), w.detach(), rtol=0, atol=1e-12)
    if kind == "adam":
        assert ours.state["steps"].tolist() == [sum(r in among for among in who) for r in range(RUNS)]


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_the_state_is_all_that_a_training_needs_to_go_on(kind):
    (stack, ours), (other, theirs) = made(OWN, kind), made(OWN, kind)
    first, then = gradients(10).split(5)
    for g in first:
        stack.grad.copy_(g)
        ours.step()
    other.weights.detach().copy_(stack.weights)
    for name, values in ours.state.items():
        theirs.state[name].copy_(values)
    for g in then:
        for s, o in ((stack, ours), (other, theirs)):
            s.grad.copy_(g)
            o.step()
    assert torch.equal(stack.flat, other.flat)


@pytest.mark.parametrize("kind", ["adam", "sgd"])
@pytest.mark.parametrize("by", ["step", "table"])
def test_some_columns_alone(kind, by):
    stack, ours = made(DECAYED, kind, slice(4, None))
    before = stack.flat.detach().clone()
    stack.grad.fill_(1.0)
    if by == "step":
        ours.step()
    else:
        ours.move(ours.plan(torch.full((1, RUNS), 0.1, dtype=torch.float64), torch.ones(1, RUNS, dtype=torch.bool))[0])
    assert torch.equal(stack.flat[:, :4], before[:, :4])
    assert (stack.flat[:, 4:] != before[:, 4:]).all()


OWN_SETTINGS = [{"lr": 1e-2, "batch_size": 16}, {"lr": 3e-3, "batch_size": 40, "weight_decay": 0.1}, {"lr": 1e-3}]


@pytest.mark.parametrize(
    ("base", "options"),
    [
        ("adam", [{"betas": [0.9, 0.999]}, {"schedule": "cosine"}, {"schedule": "inverse_time", "decay": 0.1}]),
        ("sgd", [{"momentum": 0.5}, {"warmup_epochs": 2}, {"schedule": "step", "milestones": [0.5]}]),
    ],
)
def test_runs_with_settings_of_their_own_are_those_trained_alone(base, options):
    """Rate and schedule, decay, betas or momentum and batch size of each."""
    tasks = [task(s, (60 - 7 * s, 13)) for s in range(RUNS)]
    common = {"precision": "float64", "epochs": 4, "batch_size": 32}
    trainers = [trainer(base, **common | a | b) for a, b in zip(OWN_SETTINGS, options)]
    m, engine = method("cross_entropy"), Engine(trainers[0], "cpu")
    together = Training(engine.stack(m, tasks, backbone()), m, tasks, trainers)
    together.run([t.train for t in tasks], 4)
    for r, settings in enumerate(trainers):
        (alone,) = m.fit(tasks[r : r + 1], backbone(), Engine(settings, "cpu"))
        torch.testing.assert_close(together.stack.flat[r].detach(), alone.parameters["last"], rtol=0, atol=1e-12)


def test_what_concerns_the_whole_program_is_the_same_for_all():
    tasks, m, engine = [task(0), task(1)], method("cross_entropy"), Engine(trainer(), "cpu")
    stack = engine.stack(m, tasks, backbone())
    with pytest.raises(BenchError, match=r"one trainer.epochs, and there are \['3', '5'\]"):
        Training(stack, m, tasks, [trainer(epochs=3), trainer(epochs=5)])


def test_one_optimiser_is_that_of_the_trainers():
    stack, _ = made(ALIKE[:2], "adam")
    assert isinstance(optimiser(stack, [trainer("adam")] * 2), Adam)
    assert isinstance(optimiser(stack, [trainer("sgd")] * 2), SGD)
