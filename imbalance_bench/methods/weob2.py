"""WEOB2: online over- and under-sampling bagging, and whichever of the two has the better G-mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Classifier, Method, resampling_info
from imbalance_bench.registry import METHODS

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine import Engine

ENSEMBLES = ("oob", "uob")
NEWTON_STEPS = 5


@METHODS.register("weob2")
@dataclass(frozen=True)
class WEOB2(Method):
    """WEOB2 (Wang, Minku & Yao, "Resampling-Based Ensemble Methods for Online Class Imbalance Learning", TKDE 2015), two
    classes. The training rows are a stream, in an order drawn from the run's seed, gone through ``passes`` times.

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

    members: int
    theta: float
    window: int
    lr: float
    passes: int

    def __post_init__(self) -> None:
        for key in ("members", "window", "passes"):
            if getattr(self, key) < 1:
                raise BenchError(f"method.{key}={getattr(self, key)} must be at least 1")
        if not 0 < self.theta < 1:
            raise BenchError(f"method.theta={self.theta} must lie between 0 and 1")
        if not self.lr > 0:
            raise BenchError(f"method.lr={self.lr} must be above 0")

    def declines(self, task: Task) -> str | None:
        from imbalance_bench.methods.vectors import needs_vectors

        if task.classes > 2:
            return "two classes only: it weighs over- against under-sampling of one of two"
        return super().declines(task) or needs_vectors(task)

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        import torch

        sets = [engine.rows_of(task) for task in tasks]
        rngs = [np.random.default_rng(task.seed) for task in tasks]
        orders = [np.concatenate([g.permutation(len(s)) for _ in range(self.passes)]) for g, s in zip(rngs, sets)]
        labels = [rows.y[order] for rows, order in zip(sets, orders)]
        draws = [
            g.poisson(np.repeat(poisson_rates(y, self.theta), self.members, axis=1)) for g, y in zip(rngs, labels)
        ]
        store, starts = with_ones(sets, torch.zeros(0, dtype=engine.dtype, device=engine.device))
        weights, seen = learn(store, [o + start for o, start in zip(orders, starts)], labels, draws, self.lr)
        return [self.finish(*run) for run in zip(tasks, sets, labels, weights, seen)]

    def finish(self, task: Task, rows: Part, labels: np.ndarray, weights: torch.Tensor, seen: np.ndarray) -> Classifier:
        """A run's decision from its members' weights (2 M, d + 1) and what the ensembles predicted along the stream,
        probabilities (n, 2); a row of history a pass."""
        from imbalance_bench.methods.deep_neighbours import LEAST
        from imbalance_bench.methods.vectors import VectorClassifier, valid_score

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


class MeanOfMembers:
    """The mean of the probabilities of logistic regressions with weights (M, d + 1), the bias first."""

    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights

    def log_probs(self, features: torch.Tensor) -> np.ndarray:
        """Log-probabilities (n, 2) of vectors (n, d)."""
        import torch

        from imbalance_bench.methods.deep_neighbours import LEAST

        z = (features.to(self.weights) @ self.weights[:, 1:].T + self.weights[:, 0]).double()
        p = torch.stack([torch.sigmoid(-z).mean(1), torch.sigmoid(z).mean(1)], 1)
        return p.clamp_(min=LEAST).log_().cpu().numpy()


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


def with_ones(sets: Sequence[Part], like: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
    """The vectors of all sets with a leading 1, (N, d + 1), each set once; and where each set begins."""
    import torch

    from imbalance_bench.methods.vectors import flat_vectors

    distinct = list({id(s): s for s in sets}.values())
    starts = dict(zip(map(id, distinct), np.cumsum([0] + [len(s) for s in distinct]).tolist()))
    x = torch.cat([torch.from_numpy(flat_vectors(s.x)) for s in distinct]).to(like)
    return torch.nn.functional.pad(x, (1, 0), value=1.0), [starts[id(s)] for s in sets]


def learn(
    store: torch.Tensor, orders: Sequence[np.ndarray], labels: Sequence[np.ndarray], draws: Sequence[np.ndarray], lr: float
) -> tuple[torch.Tensor, list[np.ndarray]]:
    """Streams of R runs through 2 M logistic regressions each.

    Run r meets rows ``orders[r]`` (n,) of ``store`` (N, d + 1) with ``labels[r]`` (n,); member j learns row t with
    weight ``draws[r]`` (n, 2 M). Returns the weights (R, 2 M, d + 1) and, for each run, the probability of class 1 that
    each half of the members gave each row before it was learned, (n, 2). A stream that is over learns with weight 0.
    """
    import torch

    def padded(arrays: Sequence[np.ndarray]) -> torch.Tensor:
        """(steps, R, ...), zeros where a stream is over."""
        tensors = [torch.from_numpy(np.ascontiguousarray(a)) for a in arrays]
        return torch.nn.utils.rnn.pad_sequence(tensors).to(store.device)

    rows, signs, counts = padded(orders), 2 * padded(labels).to(store) - 1, padded(draws)
    lengths = store.square().sum(1)[rows]
    rates = lr / (lengths.double().cumsum(0) / torch.arange(1, len(rows) + 1, device=store.device)[:, None]).to(store)
    weights = torch.zeros(len(orders), draws[0].shape[1], store.shape[1], dtype=store.dtype, device=store.device)
    seen = torch.empty(*rows.shape, len(ENSEMBLES), dtype=store.dtype, device=store.device)
    for t, (row, sign, count) in enumerate(zip(rows, signs[:, :, None], counts)):
        x = store.index_select(0, row)
        z = torch.bmm(weights, x[:, :, None]).squeeze(2)
        seen[t] = torch.sigmoid(z).unflatten(1, (len(ENSEMBLES), -1)).mean(2)
        gained = implicit_step(sign * z, count * (rates[t] * lengths[t])[:, None])
        weights.baddbmm_((sign * gained / lengths[t][:, None])[:, :, None], x[:, None])
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
