"""WEOB2: online over- and under-sampling bagging, and whichever of the two has the better G-mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.methods.base import Method, resampling_info
from imbalance_bench.options import Count, Positive, Share
from imbalance_bench.registry import METHODS
from imbalance_bench.running import progress
from imbalance_bench.running.checkpoints import Loop
from imbalance_bench.running.models import State, Surroundings, kept

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine import Engine

ENSEMBLES = ("oob", "uob")
NEWTON_STEPS = 12
CHUNK = 256
"""Rows of a stream that are made vectors on the device at a time."""


@METHODS.register("weob2")
@dataclass(frozen=True)
class WEOB2(Method):
    """WEOB2 (Wang, Minku & Yao, "Resampling-Based Ensemble Methods for Online Class Imbalance Learning", TKDE 2015), of
    two classes. The training rows are a stream, in an order drawn from the run's seed, with ``passes`` passes.

    Sizes of the classes are tracked, w_k ← θ w_k + (1 - θ) [y = k] from w_k = 1/2, θ = ``theta``. Each of ``members``
    learners of OOB is trained on a row with weight Poisson(w_max / w_y), each of UOB with weight Poisson(w_min / w_y).
    Each row is predicted before it is learned, which gives each ensemble its recalls, R_y ← θ R_y + (1 - θ) [right]
    from 0, smoothed over the last ``window`` rows; G = √(R_0 R_1). The decision is that of OOB where its G is larger at
    the end of the stream, else of UOB: the mean of its members' probabilities.

    The learner is ours. The authors use Hoeffding trees and MLPs; a tree splits on one of 1024 entries of a BERT vector
    at a time after some hundred rows, and an MLP learns little in one pass. Here it is logistic regression, as behind
    the other samplers of the SetConv paper, learned online by implicit stochastic gradient steps (Toulis & Airoldi,
    2014), w ← w + ε K (y - σ(w·x)) x with the new w on both sides: a weight K of any size, or long x, overshoots
    nowhere. ε = ``lr`` over the mean ‖x‖² so far, x with a leading 1. All members of all runs take a step together.
    """

    reads = "vectors"

    members: Count
    theta: Share
    window: Count
    lr: Positive
    passes: Count

    def declines(self, task: Task) -> str | None:
        if task.classes > 2:
            return "two classes only: it weighs over- against under-sampling of one of two"
        return super().declines(task)

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        import torch

        sets = [engine.rows_of(task) for task in tasks]
        rngs = [np.random.default_rng(task.seed) for task in tasks]
        orders = [np.concatenate([g.permutation(len(s)) for _ in range(self.passes)]) for g, s in zip(rngs, sets)]
        labels = [rows.y[order] for rows, order in zip(sets, orders)]
        draws = [g.poisson(np.repeat(poisson_rates(y, self.theta), self.members, axis=1)) for g, y in zip(rngs, labels)]
        like = torch.empty(0, dtype=engine.dtype, device=engine.device)
        weights, seen = learn(sets, orders, draws, self.lr, like)
        return [self.finish(*run) for run in zip(tasks, sets, labels, weights, seen)]

    def finish(self, task: Task, rows: Part, labels: np.ndarray, weights: torch.Tensor, seen: np.ndarray) -> Classifier:
        """A run's decision from its members' weights (2 M, d + 1) and what the ensembles predicted along the stream,
        probabilities (n, 2); a row of history a pass."""
        from imbalance_bench.methods.shared.decisions import LEAST
        from imbalance_bench.methods.shared.vectors import VectorClassifier, valid_score

        recalls = tracked_recalls(labels, (seen > 0.5) == (labels == 1)[:, None], self.theta)
        ends = [len(rows) * (p + 1) for p in range(self.passes)]
        g_means = [np.sqrt(recalls[max(0, end - self.window) : end].mean(0).prod(0)) for end in ends]
        better = int(not g_means[-1][0] > g_means[-1][1])
        losses = -np.log(np.where(labels == 1, seen[:, better], 1 - seen[:, better]).clip(min=LEAST))
        decision = MeanOfMembers(weights[better * self.members :][: self.members])
        info = resampling_info(task, rows) | {"ensemble": ENSEMBLES[better]}
        classifier = VectorClassifier(decision, info=info)
        for p, (end, g) in enumerate(zip(ends, g_means)):
            loss = float(losses[end - len(rows) : end].mean())
            row = {f"g_mean_{name}": float(value) for name, value in zip(ENSEMBLES, g)}
            classifier.history.append({"epoch": p + 1, "train_loss": loss} | row)
        classifier.history[-1] |= valid_score(classifier, task)
        return classifier


@kept("mean_of_members")
class MeanOfMembers:
    """The mean of the probabilities of logistic regressions with weights (M, d + 1), the bias first."""

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights

    def log_probs(self, features: torch.Tensor) -> np.ndarray:
        """Log-probabilities (n, 2) of vectors (n, d)."""
        import torch

        from imbalance_bench.methods.shared.decisions import LEAST

        z = (features.to(self.weights) @ self.weights[:, 1:].T + self.weights[:, 0]).double()
        p = torch.stack([torch.sigmoid(-z).mean(1), torch.sigmoid(z).mean(1)], 1)
        return p.clamp_(min=LEAST).log_().cpu().numpy()

    def state(self) -> State:
        return State(arrays={"weights": self.weights})

    @classmethod
    def restored(cls, state: State, around: Surroundings) -> MeanOfMembers:
        return cls(**around.tensors(state))


def poisson_rates(labels: np.ndarray, theta: float) -> np.ndarray:
    """Rates (n, 2) of OOB and UOB for a stream of labels (n,) in {0, 1}: the larger and the smaller of the two tracked
    class sizes over that of the row's class, the row itself counted."""
    sizes, size = np.empty(len(labels)), 0.5
    for t, y in enumerate(labels.tolist()):
        size = theta * size + (1 - theta) * y
        sizes[t] = size  # of class 1; of class 0 it is what is left to one
    both = np.stack([1 - sizes, sizes], 1)
    own = both[np.arange(len(labels)), labels]
    return np.stack([both.max(1), both.min(1)], 1) / own[:, None]


def tracked_recalls(labels: np.ndarray, hits: np.ndarray, theta: float) -> np.ndarray:
    """Time-decayed recalls after each row of a stream, (n, class, ensemble), from labels (n,) and which ensembles were
    right (n, ensembles)."""
    recalls, now = np.empty((len(labels), 2, hits.shape[1])), np.zeros((2, hits.shape[1]))
    for t, y in enumerate(labels.tolist()):
        now[y] = theta * now[y] + (1 - theta) * hits[t]
        recalls[t] = now
    return recalls


def learn(
    sets: Sequence[Part],
    orders: Sequence[np.ndarray],
    draws: Sequence[np.ndarray],
    lr: float,
    like: torch.Tensor,
) -> tuple[torch.Tensor, list[np.ndarray]]:
    """Streams of R runs through 2 M logistic regressions each, in the type and on the device of ``like``.

    Run r meets rows ``orders[r]`` (n,) of ``sets[r]``; member j learns the t-th with weight ``draws[r]`` (n, 2 M).
    Returns the weights (R, 2 M, d + 1) and, for each run, the probability of class 1 that each half of the members gave
    each row before it was learned, (n, 2). A stream that is over learns with weight 0.
    """
    import torch

    from imbalance_bench.methods.shared.vectors import flat_vectors

    def padded(arrays: Sequence[np.ndarray]) -> torch.Tensor:
        """(steps, R, ...), zeros where a stream is over."""
        return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(a) for a in arrays]).to(like)

    signs = 2 * padded([s.y[o] for s, o in zip(sets, orders)])[:, :, None] - 1
    counts = padded(draws)
    weights = like.new_zeros(len(sets), counts.shape[2], sets[0].x[0].size + 1)
    seen = like.new_empty(*signs.shape[:2], len(ENSEMBLES))
    total = torch.zeros(len(sets), dtype=torch.double)
    for chunk in Loop("stream", -(-len(signs) // CHUNK), weights, seen, total):
        start = chunk * CHUNK
        progress.report("stream", start, len(signs), "rows")
        x = padded([flat_vectors(s.x[o[start : start + CHUNK]]) for s, o in zip(sets, orders)])
        x = torch.nn.functional.pad(x, (1, 0), value=1.0)
        lengths = x.square().sum(2)
        # On the host: running sums of floats on a GPU come out another way each time.
        totals = total + lengths.cpu().double().cumsum(0)
        total.copy_(totals[-1])
        rates = lr * torch.arange(start + 1, start + len(x) + 1)[:, None] / totals
        reach = (rates.to(like) * lengths)[:, :, None]  # how far a step with weight 1 may move a row's own log-odds
        for t in range(len(x)):
            z = torch.bmm(weights, x[t, :, :, None]).squeeze(2)
            sign = signs[start + t]
            seen[start + t] = torch.sigmoid(z).unflatten(1, (len(ENSEMBLES), -1)).mean(2)
            moved = sign * implicit_step(sign * z, counts[start + t] * reach[t])
            weights.baddbmm_((moved / lengths[t, :, None])[:, :, None], x[t, :, None])
    return weights, [run[: len(order)] for run, order in zip(seen.double().cpu().numpy().swapaxes(0, 1), orders)]


def implicit_step(margins: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """How far margins m (...) move by implicit steps a (...) on the logistic loss: v - m with v = m + a σ(-v)."""
    # v - m - a σ(-v) is concave above 0 and convex below. Newton's method that starts from 0 (or from the end of
    # [m, m + a], where the solution lies, that is nearest to 0) comes nearer in each step and never passes it.
    v = margins.maximum((margins + steps).clamp(max=0))
    for _ in range(NEWTON_STEPS):
        p = (-v).sigmoid()
        v = v - (v - margins - steps * p) / (1 + steps * p * (1 - p))
    return v - margins
