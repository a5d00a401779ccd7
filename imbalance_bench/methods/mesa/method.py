"""MESA: an ensemble of decision trees whose training subsets a learned meta-sampler chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from imbalance_bench import metrics
from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier, Readout
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method
from imbalance_bench.methods.shared.parts import part_of
from imbalance_bench.options import Count, Fraction, Ge, Interval, NonNegative, Positive, Whole
from imbalance_bench.registry import METHODS
from imbalance_bench.running import progress
from imbalance_bench.running.checkpoints import Loop
from imbalance_bench.running.models import State, Surroundings, kept

if TYPE_CHECKING:
    from imbalance_bench.engine import Engine
    from imbalance_bench.methods.mesa.sac import SAC, Replay


@METHODS.register("mesa")
@dataclass(frozen=True)
class Mesa(Method):
    """Liu et al., "MESA: Boost Ensemble Imbalanced Learning with MEta-SAmpler", NeurIPS 2020 (arXiv 2010.08830).

    An ensemble F_t of t trees gives p = the mean of their probabilities of the minority. Tree t + 1 learns all minority
    rows and ``train_ir`` times as many majority rows, drawn without replacement with weights
    exp(-(|y - p| - μ)² / 2σ²) (σ = ``sigma``); the first tree's are drawn uniformly. The action μ ∈ [0, 1] is the
    meta-sampler's: a policy π(μ | s), s = the histograms of |y - p| over the majority rows of the training and of the
    validation part, ``bins`` bins on [0, 1] each, scaled to sum to ``bins``. It is trained by soft actor-critic
    (``sac``) on ``random_steps`` uniform actions and ``learned_steps`` of its own, each of the latter with one
    update; an episode grows one ensemble of ``learners`` trees, and the reward of a step is ``reward_scale`` times what
    it adds to the AUC-PR on the validation part. Then a run is one more ensemble, grown with actions drawn from π.

    The validation labels are thus learned from, which other methods do not do. The backbone and the trainer's settings
    play no part; trees are scikit-learn's, unlimited in depth. The published figures average 50 ensembles of one
    sampler: here that average is one over runs (``protocol.seeds``), each with a sampler of its own.

    Where the released code differs from the paper we follow the paper. It stores ``done`` where soft actor-critic needs
    ``not done``, so that its targets bootstrap at the end of an episode and nowhere else: not inherited. Its histograms
    span the errors met instead of [0, 1], and its critics' rate decays by a schedule meant for the policy: neither is
    here. Its hand-made transitions, which fill the replay memory before the first step (a third each: under-fitted
    state, μ = 0.9; half-fitted, 0.5; over-fitted, 0.1; each of reward 0.05 · ``reward_scale``), are kept, as ends of
    episodes: their reward is all that they are meant to be worth, and state and next state are alike, so that a
    bootstrapped value would grow without meaning to 1 / (1 - γ) times it.
    """

    reads = "vectors"
    guided = True

    learners: Annotated[int, Ge(2)]
    bins: Count
    sigma: Positive
    train_ir: Positive
    reward_scale: Annotated[float, Interval(gt=0, le=1e6)]
    random_steps: Whole
    learned_steps: Whole
    gamma: Fraction
    tau: Fraction
    alpha: NonNegative
    lr: Positive
    hidden: Count
    batch_size: Count
    replay: Annotated[int, Ge(3)]

    def declines(self, task: Task) -> str | None:
        if task.classes > 2:
            return "binary only: the sampler draws from one majority class"
        return super().declines(task)

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        """One run after the other: trees share no program."""
        self.check_held_out(tasks, engine)
        return [self.fit_one(task, engine) for task in tasks]

    def fit_one(self, task: Task, engine: Engine) -> TreeEnsemble:
        """Trains the meta-sampler of one run and grows its ensemble."""
        from imbalance_bench.methods.mesa.sac import SAC, SACOptions

        rng = np.random.default_rng(task.seed)
        growth = Growth(self, task, rng)
        sampler = SAC(part_of(SACOptions, self), 2 * self.bins, task.seed)
        history = self.meta_train(growth, sampler, rng)
        growth.start()
        actions = []
        while not growth.complete:
            actions.append(sampler.act(growth.state()))
            growth.step(actions[-1])
        info = {
            "train_counts": task.counts.tolist(),
            "fitted_counts": [growth.size, len(growth.minority)],  # of each tree
            "actions": [round(a, 4) for a in actions],
        }
        return TreeEnsemble(growth.trees, info=info, history=history)

    def meta_train(self, growth: Growth, sampler: SAC, rng: np.random.Generator) -> list[dict[str, float]]:
        """Soft actor-critic over episodes of growing an ensemble; a row of history an episode."""
        memory = self.prefilled(rng)
        history: list[dict[str, float]] = []
        actions: list[float] = []
        growth.start()
        steps = self.random_steps + self.learned_steps
        keeps = sampler, rng, history, memory, growth, actions
        for step in Loop("meta-sampler", steps, *keeps, leaves=keeps[:3]):
            progress.report("meta-sampler", step, steps, "steps", {"episodes": len(history)})
            if growth.complete:
                growth.start()
            state = growth.state()
            learned = step >= self.random_steps
            actions.append(sampler.act(state) if learned else rng.random())
            reward = self.reward_scale * growth.step(actions[-1])
            memory.push(state, actions[-1], reward, growth.state(), not growth.complete)
            if learned:
                sampler.update(memory.sample(self.batch_size, rng))
            if growth.complete:
                row = {"epoch": len(history) + 1, "valid_score": growth.score, "action": float(np.mean(actions))}
                history.append(row)
                actions.clear()
        return history

    def prefilled(self, rng: np.random.Generator) -> Replay:
        """A replay memory of hand-made transitions."""
        from imbalance_bench.methods.mesa.sac import Replay

        memory = Replay(self.replay, 2 * self.bins)
        middles = np.linspace(0, 1, self.bins)
        under, half, over = (gaussian(middles, mean, 0.3) for mean in (1, 0.5, 0))
        for train, valid, action in ((under, under, 0.9), (half, half, 0.5), (over, half, 0.1)):
            state = np.concatenate([train, valid])
            state *= 2 * self.bins / state.sum()
            for _ in range(self.replay // 3):
                here, there = state + 0.5 * rng.random((2, len(state)))
                memory.push(here, action, 0.05 * self.reward_scale, there, False)
        return memory


class Growth:
    """An ensemble that grows tree by tree, and what the meta-sampler sees of it.

    The summed probabilities of the majority training rows and of the validation rows are kept, so that each tree is
    asked once. ``score``: AUC-PR on the validation part; ``size``: majority rows that a tree learns. ``grown``: the
    majority rows and the seed of each tree, from which they are grown again.
    """

    kept = ("grown",)

    def __init__(self, options: Mesa, task: Task, rng: np.random.Generator) -> None:
        for name, part in (("training", task.train), ("validation", task.valid)):
            if set(part.y.tolist()) != {0, 1}:
                raise BenchError(
                    f"method=mesa needs rows of both classes in the {name} part, and fold {task.fold} has "
                    f"{np.bincount(part.y, minlength=2).tolist()}: choose a lower ratio, fewer protocol.folds, or a "
                    "larger protocol.valid_fraction"
                )
        self.options, self.rng = options, rng
        self.majority, self.minority = (flat(task.train, task.train.y == c) for c in (0, 1))
        self.valid, self.positive = flat(task.valid, slice(None)), task.valid.y == 1
        self.size = min(max(round(options.train_ir * len(self.minority)), 1), len(self.majority))
        self.labels = np.repeat([1, 0], [len(self.minority), self.size])
        self._clear()

    def _clear(self) -> None:
        self.trees: list[Any] = []
        self._grown: list[tuple[np.ndarray, int]] = []
        self.sums = [np.zeros(len(self.majority)), np.zeros(len(self.valid))]

    @property
    def grown(self) -> tuple[tuple[np.ndarray, int], ...]:
        return tuple(self._grown)

    @grown.setter
    def grown(self, grown: tuple[tuple[np.ndarray, int], ...]) -> None:
        self._clear()
        for rows, seed in grown:
            self._grow(rows, seed)

    @property
    def complete(self) -> bool:
        return len(self.trees) >= self.options.learners

    def start(self) -> None:
        """A new ensemble of one tree, whose majority rows are drawn uniformly."""
        self._clear()
        rows = self.rng.choice(len(self.majority), self.size, replace=False)
        self._grow(rows, int(self.rng.integers(2**31)))

    def state(self) -> np.ndarray:
        """Histograms of |y - p|, which is p for the majority, over training and validation rows, (2 · bins,)."""
        errors = self.sums[0] / len(self.trees), self.sums[1][~self.positive] / len(self.trees)
        return np.concatenate([error_histogram(e, self.options.bins) for e in errors])

    def step(self, action: float) -> float:
        """Adds the tree of action μ; the gain in ``score``."""
        before = self.score
        rows = self.draw(action)
        self._grow(rows, int(self.rng.integers(2**31)))
        return self.score - before

    def draw(self, action: float) -> np.ndarray:
        """Majority rows (size,) drawn without replacement by Gaussian weights around error μ."""
        weights = gaussian(self.sums[0] / len(self.trees), action, self.options.sigma)
        return self.rng.choice(len(weights), self.size, replace=False, p=weights / weights.sum())

    def _grow(self, rows: np.ndarray, seed: int) -> None:
        from sklearn.tree import DecisionTreeClassifier

        tree = DecisionTreeClassifier(random_state=seed)
        tree.fit(np.concatenate([self.minority, self.majority[rows]]), self.labels)
        self.trees.append(tree)
        self._grown.append((rows, seed))
        for sums, x in zip(self.sums, (self.majority, self.valid)):
            sums += tree.predict_proba(x, check_input=False)[:, 1]
        self.score = metrics.average_precision(self.positive, self.sums[1])


@kept("trees")
class TreeEnsemble(Classifier):
    """The mean of the trees' probabilities."""

    def __init__(self, trees: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trees = list(trees)

    def scores(self, x: np.ndarray, readout: Readout = "last") -> np.ndarray:
        rows = np.ascontiguousarray(x.reshape(len(x), -1), np.float32)
        p = np.mean([tree.predict_proba(rows, check_input=False) for tree in self.trees], 0)
        # Pure leaves give p = 0.
        return np.log(p.clip(1e-12, 1))

    def state(self) -> State:
        return State(estimators={"trees": self.trees})

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> TreeEnsemble:
        return cls(state.estimators["trees"])


def gaussian(x: np.ndarray, mean: float, sd: float) -> np.ndarray:
    """The Gaussian density up to its constant."""
    return np.exp(-0.5 * ((x - mean) / sd) ** 2)


def error_histogram(errors: np.ndarray, bins: int) -> np.ndarray:
    """Shares of errors in equal bins of [0, 1] (the last one closed), scaled to sum to ``bins``; (bins,)."""
    return np.histogram(errors, bins, (0, 1))[0] * (bins / len(errors))


def flat(part: Part, rows: Any) -> np.ndarray:
    """Features (n, d) of rows of a part, as trees take them without a copy."""
    x = part.x[rows]
    return np.ascontiguousarray(x.reshape(len(x), -1), np.float32)
