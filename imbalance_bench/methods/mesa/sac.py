"""Soft actor-critic (Haarnoja et al., 2018) for one action in [0, 1]; the meta-sampler of mesa is trained by it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from imbalance_bench.backbones.mlp import MLP
from imbalance_bench.engine.optim import Adam
from imbalance_bench.engine.stack import Stack

LOG_SD = (-20.0, 2.0)


BETAS = (0.9, 0.999)  # Adam's own defaults


@dataclass(frozen=True)
class SACOptions:
    """The options of the method that soft actor-critic takes: the discount, how fast the targets follow, the weight of
    the entropy, the step size, and units of a hidden layer."""

    gamma: float
    tau: float
    alpha: float
    lr: float
    hidden: int


class Actor(nn.Module):
    """states → hidden (ReLU) → mean and log sd of a Gaussian."""

    def __init__(self, states: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Linear(states, hidden)
        self.head = nn.Linear(hidden, 2)

    def batched(self, params: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """(R, n, 2) of states (R, n, states)."""
        h = torch.baddbmm(params["body.bias"][:, None], x, params["body.weight"].mT).relu()
        return torch.baddbmm(params["head.bias"][:, None], h, params["head.weight"].mT)


class Transitions(NamedTuple):
    """n steps: states (n, s), actions (n, 1), rewards (n, 1), next states (n, s), and ``more`` (n, 1): 1 where the
    episode went on, 0 where it ended."""

    state: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    next_state: torch.Tensor
    more: torch.Tensor


class Replay:
    """The last ``capacity`` transitions."""

    kept = ("columns", "pushed")

    def __init__(self, capacity: int, states: int) -> None:
        self.columns = [np.zeros((capacity, width), np.float32) for width in (states, 1, 1, states, 1)]
        self.pushed = 0

    def __len__(self) -> int:
        return min(self.pushed, len(self.columns[0]))

    def push(self, state: np.ndarray, action: float, reward: float, next_state: np.ndarray, more: bool) -> None:
        values: tuple[Any, ...] = (state, action, reward, next_state, more)
        for column, value in zip(self.columns, values):
            column[self.pushed % len(column)] = value
        self.pushed += 1

    def sample(self, n: int, rng: np.random.Generator) -> Transitions:
        """``n`` transitions without replacement (fewer where there are fewer)."""
        rows = rng.choice(len(self), min(n, len(self)), replace=False)
        return Transitions(*(torch.as_tensor(column[rows]) for column in self.columns))


class SAC:
    """An actor, two critics Q(s, a) and their slowly following targets."""

    kept = ("actor", "critics", "targets", "actor_optimiser", "critic_optimiser", "generator")

    def __init__(self, options: SACOptions, states: int, seed: int) -> None:
        self.options = options
        seeds = np.random.SeedSequence([seed, 0]).generate_state(4, np.uint64) >> np.uint64(1)
        *inits, noise = seeds.tolist()
        cpu, hidden = torch.device("cpu"), options.hidden
        self.actor = Stack.create(lambda: Actor(states, hidden), inits[:1], cpu, torch.float32)
        self.critics = Stack.create(
            lambda: MLP(states + 1, (hidden, hidden), "relu", 0, "linear"), inits[1:], cpu, torch.float32
        )
        self.targets = self.critics.twin()
        self.actor_optimiser = Adam(self.actor, options.lr, BETAS)
        self.critic_optimiser = Adam(self.critics, options.lr, BETAS)
        self.generator = torch.Generator().manual_seed(noise)

    def policy(self, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Actions (n, 1) drawn for states (n, s) and their log-densities (n, 1): a = (1 + tanh u) / 2 with u Gaussian,
        so log π(a) = log N(u) - log(½ (1 - tanh² u))."""
        mean, log_sd = self.actor(state[None])[0].split(1, -1)
        log_sd = log_sd.clamp(*LOG_SD)
        noise = torch.randn(mean.shape, generator=self.generator)
        u = mean + log_sd.exp() * noise
        log_normal = -0.5 * noise.square() - log_sd - 0.5 * math.log(2 * math.pi)
        # log(½ (1 - tanh² u)) = log 2 - 2u - 2 softplus(-2u), which does not overflow.
        return 0.5 * (1 + u.tanh()), log_normal - (math.log(2) - 2 * u - 2 * F.softplus(-2 * u))

    @torch.no_grad()
    def act(self, state: np.ndarray) -> float:
        """An action drawn for one state (s,)."""
        return self.policy(torch.as_tensor(state, dtype=torch.float32)[None])[0].item()

    @torch.no_grad()
    def target(self, batch: Transitions) -> torch.Tensor:
        """r + γ (min_i Q̄_i(s', a') - α log π(a'|s')), a' ~ π(·|s'); r alone where the episode ended. (n, 1)"""
        action, log_density = self.policy(batch.next_state)
        value = smaller(self.targets, batch.next_state, action) - self.options.alpha * log_density
        return batch.reward + batch.more * self.options.gamma * value

    def update(self, batch: Transitions) -> None:
        """One step of the critics, of the actor, and of the targets."""
        error = q_values(self.critics, batch.state, batch.action) - self.target(batch)
        self.critics.backward(error.square().mean((1, 2)).sum())
        self.critic_optimiser.step()
        action, log_density = self.policy(batch.state)
        self.actor.backward((self.options.alpha * log_density - smaller(self.critics, batch.state, action)).mean())
        self.actor_optimiser.step()
        self.targets.flat.lerp_(self.critics.flat, self.options.tau)


def q_values(critics: Stack, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """Q_1 and Q_2, (2, n, 1), of states (n, s) and actions (n, 1)."""
    return critics(torch.cat([state, action], 1).expand(2, -1, -1))


def smaller(critics: Stack, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """min(Q_1, Q_2), (n, 1)."""
    return q_values(critics, state, action).amin(0)
