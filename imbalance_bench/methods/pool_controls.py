"""Controls of what is added from an unlabelled pool: without them a gain cannot be ascribed to how it is selected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from imbalance_bench.data.base import Task
from imbalance_bench.methods.selectnet import SelectNet
from imbalance_bench.methods.shared.self_training import Predicted, Rule, Selection, SelfTraining
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    from imbalance_bench.engine import Engine


@METHODS.register("pool_random")
@dataclass(frozen=True)
class PoolRandom(SelectNet):
    """SelectNet with one difference: of the unlabelled samples predicted as minority as many are added as its rule
    takes, but drawn at random. Labelled ones are added as SelectNet adds them; f_s is trained for the counts."""

    def rule(self, tasks: Sequence[Task], engine: Engine) -> Rule:
        return AsMany(super().rule(tasks, engine), [np.random.default_rng([t.seed, 0]) for t in tasks])


class AsMany:
    """The rule: of the unlabelled samples predicted as minority as many as ``select`` takes, drawn for each run from
    one of ``draws``."""

    kept = ("select", "draws")

    def __init__(self, select: Rule, draws: list[np.random.Generator]) -> None:
        self.select, self.draws = select, draws

    def __call__(self, seen: Mapping[int, Predicted]) -> Mapping[int, Selection]:
        choices = {}
        for r, choice in self.select(seen).items():
            labelled, candidates = seen[r].labelled, np.flatnonzero(seen[r].minor & ~seen[r].labelled)
            added = choice.added & labelled
            taken = int((choice.added & ~labelled).sum())
            added[self.draws[r].choice(candidates, taken, replace=False)] = True
            choices[r] = Selection(added, choice.facts)
        return choices


@METHODS.register("pool_all")
@dataclass(frozen=True)
class PoolAll(SelfTraining):
    """No selection: all unlabelled samples predicted as minority are added, with their predicted labels."""

    def choose(self, predicted: Predicted) -> np.ndarray:
        return predicted.minor & ~predicted.labelled


@METHODS.register("pool_oracle")
@dataclass(frozen=True)
class PoolOracle(SelfTraining):
    """The upper bound: from the second round on all of the pool is added, with its true labels. It sees what no method
    has."""

    def choose(self, predicted: Predicted) -> np.ndarray:
        return ~predicted.labelled

    def labels(self, task: Task, predicted: Predicted) -> np.ndarray:
        assert task.withdrawn is not None
        return np.concatenate([predicted.given, task.withdrawn.y])
