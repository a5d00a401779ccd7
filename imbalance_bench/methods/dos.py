"""Deep Over-sampling: synthetic targets in deep feature space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np

from imbalance_bench.data.base import Part, Task
from imbalance_bench.engine.classifier import Classifier
from imbalance_bench.errors import BenchError
from imbalance_bench.methods.base import Method, resampling_info
from imbalance_bench.options import Count, Fraction, Interval, NonNegative, OnlyWith, Positive, Whole
from imbalance_bench.registry import METHODS
from imbalance_bench.running.checkpoints import Loop

if TYPE_CHECKING:
    import torch

    from imbalance_bench.engine import Engine
    from imbalance_bench.engine.batches import Batch
    from imbalance_bench.engine.loop import Training, TrainState
    from imbalance_bench.engine.stack import Stack


@METHODS.register("dos")
@dataclass(frozen=True)
class DOS(Method):
    """Deep Over-sampling (Ando & Huang, 2017), Algorithm 1, with embedding f and classifier g of the backbone.

    After ``initial`` (a share of trainer.epochs) of single-task training on the imbalanced set come T rounds of one
    pass each. Before a round every sample is embedded, v_i = f(x_i), and gets N(x_i): itself and its k nearest samples
    of its class (Eq. 1; ``k_minority`` for the task's minority classes, ``k_majority`` for the others). In a round it
    stands r times (``r`` · n_max / n_c, rounded, for a minority class c; once for others and with ``r`` null), each
    time with weights w drawn from Dirichlet(1, ..., 1). With λ = ``loss_weight`` the loss is l'_g + λ l'_f:

        l'_f = Σ_i w_i ‖f(x) - v_i‖²          (Eq. 8, least at Σ_i w_i v_i)
        l'_g = Σ_i ρ'_i H(g(v_i), y)          (Eq. 9)
        ρ'_i = exp(-w_i ‖f(x) - v_i‖²) / Z    (Eq. 10)

    The v_i are the stored embeddings and no gradient reaches f through them or through ρ'; the sample's own term of
    l'_g takes the live f(x), at distance 0, which is how classification trains f. A class with k = 0 has plain
    cross-entropy and no l'_f; so with k = 0 everywhere and ``r`` null this is the plain CNN, trained as long.

    ``weights``: w from Dirichlet(1, ..., 1), or ones, which makes these Eqs. 3-5.
    ``rho``: as printed, where a neighbour of more weight counts less in l'_g, or w_i exp(-d²) / Z ("weighted").
    ``enlarge``: for controls without targets, a round of as many samples as DOS has, drawn from all alike ("uniform").
    ``decisions``: classifiers fitted to f of the training rows at the end, scored beside g: k-nearest neighbours
    (``neighbours``) and logistic regression (``c``).
    """

    stages = True

    k_minority: Whole
    k_majority: Whole
    r: Annotated[Annotated[float, Interval(gt=0, le=1000)] | None, "null: every sample once"]
    enlarge: Literal["minority", "uniform"]
    loss_weight: NonNegative
    weights: Literal["dirichlet", "ones"]
    rho: Literal["printed", "weighted"]
    initial: Annotated[Fraction, "a share of trainer.epochs"]
    decisions: tuple[Literal["knn", "lr"], ...]
    neighbours: Annotated[Count, OnlyWith("decisions", ("knn",), otherwise=5)]
    c: Annotated[Positive, OnlyWith("decisions", ("lr",), otherwise=1.0)]

    def declines(self, task: Task) -> str | None:
        if reason := super().declines(task):
            return reason
        if (self.k_minority or self.r is not None) and not self.k_majority and not task.minority_classes:
            return (
                "minority classes are over-sampled, but under this ratio no class is one: choose a ratio that names "
                "them, e.g. ratio=four_random_90, or a steeper one; method=dos/all_k5 treats all classes alike"
            )
        return None

    def fit(self, tasks: Sequence[Task], backbone: Any, engine: Engine) -> list[Classifier]:
        from imbalance_bench.engine.batches import replay
        from imbalance_bench.methods.shared.decisions import with_decisions

        sets = [engine.rows_of(t) for t in tasks]
        self.check_all(tasks, sets)
        times = [self.repeats(t, s) for t, s in zip(tasks, sets)]
        training = engine.begin(self, tasks, backbone)
        initial = round(self.initial * engine.trainer.epochs)
        training.run(sets, initial)
        classes = [self.classes(t, s, engine.device) for t, s in zip(tasks, sets)]
        objective: MultiTaskLoss | None = None
        present = Round()
        loop = Loop("rounds", engine.trainer.epochs - initial, training, present)
        for _ in loop:
            if not loop.inside:
                present.targets = self.targets(training, sets, classes)
                present.plans = [
                    self.enlarged(of_class[s.y], engine.trainer.batch_size, g)
                    for of_class, s, g in zip(times, sets, training.shuffling)
                ]
            objective = self.objective([Targets(*of_run) for of_run in present.targets], objective)
            training.run(sets, 1, objective, replay(present.plans), phase="over-sampled training")
        classifiers = []
        for r, made in enumerate(engine.classifiers(training.stack, training.monitor)):
            task, rows = tasks[r], sets[r]
            made.info |= resampling_info(task, rows) | {"k": self.k(task), "r": times[r].tolist()}
            classifiers.append(with_decisions(made, rows, task.classes, self.decisions, self.neighbours, self.c))
        return classifiers

    def k(self, task: Task) -> list[int]:
        """Neighbours k_c of each class."""
        return [self.k_minority if c in task.minority_classes else self.k_majority for c in range(task.classes)]

    def check_all(self, tasks: Sequence[Task], sets: Sequence[Part]) -> None:
        too_few: dict[str, tuple[int, int, int]] = {}  # key → samples, class and fold, the fewest of all runs
        for task, rows in zip(tasks, sets):
            for c, (k, n) in enumerate(zip(self.k(task), np.bincount(rows.y, minlength=task.classes).tolist())):
                if 0 < n <= k:
                    key = "k_minority" if c in task.minority_classes else "k_majority"
                    too_few[key] = min(too_few.get(key, (n, c, task.fold)), (n, c, task.fold))
        if too_few:
            found = " and ".join(
                f"method.{key}+1 = {getattr(self, key) + 1} (fold {fold} has {n} of class {c})"
                for key, (n, c, fold) in too_few.items()
            )
            lower = ", ".join(f"method.{key}={n - 1}" for key, (n, _, _) in too_few.items())
            raise BenchError(
                f"method={self.name} needs as many samples of each class that it over-samples as {found}: set {lower}, "
                "or choose a lower ratio"
            )

    def repeats(self, task: Task, rows: Part) -> np.ndarray:
        """How often a sample of each class stands in a round, (C,): round(r · n_max / n_c) for a minority class, Eq.
        11's range in steps of 1/R; 1 for others."""
        counts = np.bincount(rows.y, minlength=task.classes)
        times = np.ones(task.classes, np.int64)
        for c in task.minority_classes if self.r is not None else ():
            times[c] = max(1, round(self.r * counts.max() / max(1, counts[c])))
        return times

    def classes(self, task: Task, rows: Part, device: torch.device) -> Classes:
        """Facts about the labels of a run for all its rounds: on the device once."""
        import torch

        ks, labels = self.k(task), torch.as_tensor(rows.y)
        own = [(k, torch.nonzero(labels == c).squeeze(1)) for c, k in enumerate(ks)]
        real = torch.arange(1 + max(self.k_minority, self.k_majority)) <= torch.tensor(ks)[labels][:, None]
        return Classes([(k, found.to(device)) for k, found in own if k and len(found)], real.to(device))

    def targets(self, training: Training, sets: Sequence[Part], classes: Sequence[Classes]) -> list[Targets]:
        """N(x_i) of every sample of each run under its present f; of a run that has diverged, the samples alone; of no
        run where no class is to have neighbours."""
        import torch

        from imbalance_bench.neighbours import k_nearest

        if not (self.k_minority or self.k_majority):
            return []
        found, stack, rows = [], training.stack, training.on_device(sets)
        for r, (known, offset) in enumerate(zip(classes, rows.offsets)):
            n, width = known.real.shape
            v = stack.predict(stack.flat[r].detach(), rows.x[offset : offset + n], "embed")
            # Where a class has fewer neighbours than another, the sample itself fills the columns that do not count.
            members = torch.arange(n, device=v.device)[:, None].repeat(1, width)
            if training.monitor.failures[r] is not None:
                alone = torch.arange(width, device=v.device) == 0
                found.append(Targets(v, members, alone.repeat(n, 1)))
                continue
            for k, own in known.own:
                members[own, 1 : k + 1] = own[k_nearest(v[own], v[own], k, own=True)[1]]
            found.append(Targets(v, members, known.real))
        return found

    def enlarged(self, times: np.ndarray, batch_size: int, generator: torch.Generator) -> torch.Tensor:
        """The batches of a round: row i ``times[i]`` times, or (``uniform``) as many rows from passes over all."""
        import torch

        from imbalance_bench.engine.batches import shuffled

        n, total = len(times), int(times.sum())
        if self.enlarge == "uniform":
            rows = torch.cat([torch.randperm(n, generator=generator) for _ in range(-(-total // n))])[:total]
            return torch.nn.functional.pad(rows, (0, -total % batch_size), value=-1).view(-1, batch_size)
        plan = shuffled(total, batch_size, generator)
        return torch.where(plan >= 0, torch.arange(n).repeat_interleave(torch.as_tensor(times))[plan], -1)

    def objective(self, targets: Sequence[Targets], earlier: MultiTaskLoss | None = None) -> MultiTaskLoss | None:
        """The multi-task loss over a round, for ``Training.run``; None (plain training) without targets. ``earlier``:
        that of the round before, which takes these targets."""
        if not targets:
            return None
        if earlier is None:
            return MultiTaskLoss(self, targets)
        earlier.take(targets)
        return earlier

    def shares(self, squared: torch.Tensor, w: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
        """ρ' (..., k + 1) of squared distances, weights and members that count, each of that shape; sums to 1."""
        import torch

        squared = torch.cat([torch.zeros_like(squared[..., :1]), squared[..., 1:]], -1)  # the sample to itself
        exponent = -w * squared if self.rho == "printed" else w.clamp(min=1e-30).log() - squared
        return exponent.masked_fill(~counted, -torch.inf).softmax(-1)


class Classes(NamedTuple):
    """A run's classes that are to have neighbours, ``own``: how many and which rows are theirs; and which members of
    N(x_i) count, ``real`` (n, k + 1)."""

    own: list[tuple[int, torch.Tensor]]
    real: torch.Tensor


class Targets(NamedTuple):
    """One run's overloaded samples: embeddings ``v`` (n, d), ``members`` (n, k + 1) of N(x_i), the sample first, and
    which of these count, ``real`` (n, k + 1)."""

    v: torch.Tensor
    members: torch.Tensor
    real: torch.Tensor


class Round:
    """Training material of a round: the targets of each run, and its batches."""

    kept = ("targets", "plans")

    def __init__(self) -> None:
        self.targets: list[Targets] = []
        self.plans: list[torch.Tensor] = []


class MultiTaskLoss:
    """The objective l'_g + λ l'_f of R runs. Targets of a later round are put where the first ones lay, as CUDA graphs
    need it."""

    def __init__(self, method: DOS, targets: Sequence[Targets]) -> None:
        self.method = method
        self.targets = side_by_side(targets)

    def take(self, targets: Sequence[Targets]) -> None:
        """The targets of a new round."""
        for mine, new in zip(self.targets, side_by_side(targets)):
            mine.copy_(new)

    def __call__(self, stack: Stack, batch: Batch, state: TrainState) -> torch.Tensor:
        import torch

        m, (v, members, real) = self.method, self.targets
        runs = torch.arange(len(v), device=v.device)[:, None]
        counted = real[runs, batch.own]  # (R, B, k + 1)
        neighbours = v[runs[..., None], members[runs, batch.own]]  # (R, B, k + 1, d)
        w = counted.to(v) if m.weights == "ones" else dirichlet(counted, batch, state.generators).to(v)
        h = stack(batch.x, "embed")
        squared = (h.unsqueeze(2) - neighbours).square().sum(-1)
        rho = m.shares(squared.detach(), w, counted)
        logits = stack(torch.cat([h.unsqueeze(2), neighbours[:, :, 1:]], 2), "head")
        of_g = (rho * m.loss(logits, batch.y.unsqueeze(2).expand(rho.shape), state)).sum(2)
        of_f = (w * squared).sum(2) * counted[:, :, 1:].any(2)
        return batch.mean(of_g + m.loss_weight * of_f)


def side_by_side(targets: Sequence[Targets]) -> Targets:
    """Of all runs, with a leading axis: sets may differ in length, and rows that a run has not are never looked up."""
    import torch

    return Targets(*(torch.nn.utils.rnn.pad_sequence(list(t), batch_first=True) for t in zip(*targets)))


def dirichlet(counted: torch.Tensor, batch: Batch, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Weights (R, B, k + 1), uniform on the simplex of the members that count; run r draws from ``generators[r]``."""
    import torch

    # Exponential variables over their sum.
    width = counted.shape[-1]
    drawn = batch.draw(generators, lambda n, g: torch.empty(n, width).exponential_(generator=g)) * counted
    return drawn / drawn.sum(-1, keepdim=True).clamp(min=1e-30)  # pads have drawn nothing
